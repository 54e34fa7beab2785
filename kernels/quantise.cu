// out[r, i] = the FP8 number nearest to x[r, i] / scales[r], scales[r] = max_i |x[r, i]| / 448:
// rows for products of the matrix units' FP8 instructions. A row whose numbers are all below 1e-30
// becomes zeros.
//
// FP8 is E4M3: sign, four bits of exponent with bias 7, three of fraction; 448 is the largest, and
// below 2⁻⁶ numbers lie 2⁻⁹ apart. Ties go to even. What is no number stays none.
//
// Shapes:  x (rows, hidden) bf16; out (rows, hidden) u8; scales (rows) f32.
// Blocks:  one for each row, which is read twice: for its largest number, and then from the cache.
// Limits:  hidden a multiple of 8.
// Bound:   memory: 3 · hidden bytes a row.
// Source:  Micikevicius et al., FP8 Formats for Deep Learning (2022), §3.
#include "common.cuh"

constexpr float FP8_LARGEST = 448.0f;

// The bits of the nearest number.
DEVICE u32 to_fp8(float x) {
    x = x > FP8_LARGEST ? FP8_LARGEST : x < -FP8_LARGEST ? -FP8_LARGEST : x;
    u32 sign = bits_of(x) >> 24 & 0x80, size = bits_of(x) & 0x7fffffff;
    if (size > 0x7f800000) return 0x7f;
    if (float_of(size) < 0.015625f) return sign | (u32)rintf(float_of(size) * 512.0f);
    u32 rounded = (size + 0x7ffff + (size >> 20 & 1)) >> 20; // keeps three bits of fraction
    return sign | (rounded - ((127 - 7) << 3));
}

KERNEL(1024)
quantise(const bf16* __restrict__ x, u8* __restrict__ out, float* __restrict__ scales,
         u32 hidden) {
    BLOCK_MEMORY(float, parts, WARP);
    u64 row = (u64)blockIdx.x * hidden;
    u32 first = threadIdx.x * 8, apart = blockDim.x * 8;
    float numbers[8], largest = 0.0f;
    for (u32 i = first; i < hidden; i += apart) {
        read_eight(numbers, x + row + i);
        for (int j = 0; j < 8; j++) largest = fmaxf(largest, fabsf(numbers[j]));
    }
    largest = block_max(largest, parts);
    float factor = largest > 1e-30f ? FP8_LARGEST / largest : 0.0f;
    for (u32 i = first; i < hidden; i += apart) {
        Vector<u8, 8> bits;
        read_eight(numbers, x + row + i);
        for (int j = 0; j < 8; j++) bits.at[j] = (u8)to_fp8(numbers[j] * factor);
        write<8>(out + row + i, bits);
    }
    if (threadIdx.x == 0) scales[blockIdx.x] = largest / FP8_LARGEST;
}
