// The gradient of the turning of queries and keys by their positions: turned back, where it lies.
// With x = d[r, head, i] and y = d[r, head, i + width / 2], i < width / 2,
//
//   d[r, head, i]             = x · cosine[p, i] + y · sine[p, i]
//   d[r, head, i + width / 2] = y · cosine[p, i] − x · sine[p, i],   p = positions[r].
//
// Shapes:  d (rows, heads, width) bf16, of whose heads the first `turned` are turned; positions
//          (rows) u32; table (positions, width) f32: cosines, then sines.
// Blocks:  one for each row; a thread has eight pairs at a time.
// Limits:  width a multiple of 16.
// Bound:   memory: 4 bytes a number.
#include "common.cuh"

KERNEL(256)
rotary_backward(bf16* __restrict__ d, const u32* __restrict__ positions,
                const float* __restrict__ table, u32 heads, u32 turned, u32 width) {
    u32 half = width / 2, pieces = half / 8;
    bf16* row = d + (u64)blockIdx.x * heads * width;
    const float* angles = table + (u64)positions[blockIdx.x] * width;
    for (u32 i = threadIdx.x; i < turned * pieces; i += blockDim.x) {
        u32 pair = i % pieces * 8;
        bf16* left = row + i / pieces * width + pair;
        float x[8], y[8], cosine[8], sine[8];
        read_eight(x, left);
        read_eight(y, left + half);
        read_eight(cosine, angles + pair);
        read_eight(sine, angles + half + pair);
        for (int j = 0; j < 8; j++) {
            float turned_x = x[j] * cosine[j] + y[j] * sine[j];
            y[j] = y[j] * cosine[j] - x[j] * sine[j];
            x[j] = turned_x;
        }
        write_eight(left, x);
        write_eight(left + half, y);
    }
}
