// rounded[i] = x[i] in bf16: what products read of gradients and of weights that are kept in f32.
//
// Shapes:  x (length) f32, rounded (length) bf16.
// Blocks:  one for each 2048 numbers; a thread has eight.
// Limits:  length a multiple of 8.
// Bound:   memory: 6 bytes a number.
#include "common.cuh"

KERNEL(256)
round_numbers(const float* __restrict__ x, bf16* __restrict__ rounded, u32 length) {
    u32 i = (blockIdx.x * blockDim.x + threadIdx.x) * 8;
    if (i >= length) return;
    float values[8];
    read_eight(values, x + i);
    write_eight(rounded + i, values);
}
