// out[s] = the mean over a sequence's rows of x, or its last row: one vector for each sequence. And
// the mean's gradient: d_x[r] = d_out[s] / n for each of the n rows of sequence s.
//
// Shapes:  x and d_x (tokens, hidden) f32; offsets (sequences + 1) u32: sequence s is rows
//          offsets[s] … offsets[s + 1], at least one; out and d_out (sequences, hidden)
//          f32.
// Blocks:  (sequences, hidden / 256), narrower ones for fewer columns; a thread has a column.
// Order:   a sequence's rows in theirs.
// Bound:   memory: 4 · hidden bytes a token.
#include "common.cuh"

KERNEL(256)
pool_mean(const float* __restrict__ x, const u32* __restrict__ offsets, float* __restrict__ out,
          u32 hidden) {
    u32 i = blockIdx.y * blockDim.x + threadIdx.x;
    if (i >= hidden) return;
    u32 first = offsets[blockIdx.x], end = offsets[blockIdx.x + 1];
    float sum = 0.0f;
    for (u32 row = first; row < end; row++) sum += x[(u64)row * hidden + i];
    out[(u64)blockIdx.x * hidden + i] = sum / (float)(end - first);
}

KERNEL(256)
pool_mean_backward(const float* __restrict__ d_out, const u32* __restrict__ offsets,
                   float* __restrict__ d_x, u32 hidden) {
    u32 i = blockIdx.y * blockDim.x + threadIdx.x;
    if (i >= hidden) return;
    u32 first = offsets[blockIdx.x], end = offsets[blockIdx.x + 1];
    float share = d_out[(u64)blockIdx.x * hidden + i] / (float)(end - first);
    for (u32 row = first; row < end; row++) d_x[(u64)row * hidden + i] = share;
}

KERNEL(256)
pool_last(const float* __restrict__ x, const u32* __restrict__ offsets, float* __restrict__ out,
          u32 hidden) {
    u32 i = blockIdx.y * blockDim.x + threadIdx.x;
    if (i >= hidden) return;
    u64 row = offsets[blockIdx.x + 1] - 1;
    out[(u64)blockIdx.x * hidden + i] = x[row * hidden + i];
}
