// parts[b] = Σ over the 4096 numbers of block b of x²: what a gradient's norm is made of. The parts
// are added elsewhere, in their order.
//
// Shapes:  x (length) f32, parts (length / 4096, rounded up) f32.
// Blocks:  one for each part; a thread has numbers 256 apart.
// Order:   a thread's numbers in theirs, then the threads': by `length` alone.
// Bound:   memory: 4 bytes a number.
#include "common.cuh"

constexpr u32 SQUARES = 4096; // of a block

KERNEL(256)
square_sums(const float* __restrict__ x, float* __restrict__ parts, u32 length) {
    BLOCK_MEMORY(float, sums, WARP);
    u32 first = blockIdx.x * SQUARES, end = min(first + SQUARES, length);
    float sum = 0.0f;
    for (u32 i = first + threadIdx.x; i < end; i += blockDim.x) sum += x[i] * x[i];
    sum = block_sum(sum, sums);
    if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}
