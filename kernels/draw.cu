// out[i] = scale · (u[i] − ½), u[i] the upper 24 bits of mix64(seed + i) as a fraction: numbers
// that look random, made where they are read, for measurements.
//
// Shapes:  out (count) f32 or bf16.
// Blocks:  one for each 256 numbers; a thread has a number.
// Bound:   memory: 4 or 2 bytes a number.
// Source:  Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators (2014): mix64.
#include "dropout.cuh"

DEVICE float drawn(u64 seed, u32 i, float scale) {
    float u = (float)(u32)(mix64(seed + i) >> 40) * 5.9604644775390625e-8f; // 2⁻²⁴
    return scale * (u - 0.5f);
}

KERNEL(256)
draw_f32(float* __restrict__ out, u32 seed_low, u32 seed_high, u32 count, float scale) {
    u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) out[i] = drawn(site_of(seed_low, seed_high), i, scale);
}

KERNEL(256)
draw_bf16(bf16* __restrict__ out, u32 seed_low, u32 seed_high, u32 count, float scale) {
    u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) out[i] = to_bf16(drawn(site_of(seed_low, seed_high), i, scale));
}
