// out[r] = x[from[r]], or 0 where from[r] is NONE or there is no x: the gradients of the rows that
// go on to the last layer's end, at their places among all rows; and what sums begin with.
//
// Shapes:  x (…, columns) f32, or null; from (rows) u32, not read without x; out (rows, columns)
//          f32, another place than x.
// Blocks:  one for each 2048 numbers of out; a thread has eight.
// Limits:  columns a multiple of 8; rows · columns below 2³².
// Bound:   memory: 4 to 8 bytes a number.
#include "common.cuh"

KERNEL(256)
spread(const float* __restrict__ x, const u32* __restrict__ from, float* __restrict__ out,
       u32 rows, u32 columns) {
    u32 i = (blockIdx.x * blockDim.x + threadIdx.x) * 8;
    if (i >= rows * columns) return;
    u32 source = x ? from[i / columns] : NONE;
    float values[8] = {};
    if (source != NONE) read_eight(values, x + (u64)source * columns + i % columns);
    write_eight(out + i, values);
}
