// out[c] += Σ over rows r of x[r, c], in the rows' order.
//
// Shapes:  x (rows, columns) f32, out (columns) f32.
// Blocks:  one for each 256 columns.
// Bound:   memory: 4 bytes a number.
#include "common.cuh"

KERNEL(256)
column_sums(const float* __restrict__ x, float* __restrict__ out, u32 rows, u32 columns) {
    u32 column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= columns) return;
    float sum = 0.0f;
    for (u32 row = 0; row < rows; row++) sum += x[(u64)row * columns + column];
    out[column] += sum;
}
