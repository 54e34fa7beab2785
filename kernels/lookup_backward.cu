// d_rows[r] += scale · Σ over the tokens t of row r, in their order, of d_out[t]: the gradient of
// the rows of a table that are trained.
//
// Shapes:  d_out (tokens, hidden) f32; starts (trained rows + 1) and tokens u32: those of row r are
//          tokens[starts[r] … starts[r + 1]]; d_rows (trained rows, hidden) f32.
// Blocks:  (trained rows, hidden / 256).
// Bound:   memory: 4 · hidden bytes a token.
#include "common.cuh"

KERNEL(256)
lookup_backward(const float* __restrict__ d_out, const u32* __restrict__ starts,
                const u32* __restrict__ tokens, float* __restrict__ d_rows, u32 hidden,
                float scale) {
    u32 row = blockIdx.x, i = blockIdx.y * blockDim.x + threadIdx.x;
    if (i >= hidden) return;
    float sum = 0.0f;
    for (u32 at = starts[row]; at < starts[row + 1]; at++) {
        sum += d_out[(u64)tokens[at] * hidden + i];
    }
    d_rows[(u64)row * hidden + i] += scale * sum;
}
