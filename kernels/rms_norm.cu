// out[r] = weight ⊙ x[r] / √(mean(x[r]²) + epsilon): of a stream as it is, before the first layer
// and where a layer is computed by itself to learn; lora_norm.cu adds to it first.
//
// Shapes:  x (rows, hidden) f32; weight (hidden) f32; out (rows, hidden) bf16; statistics (rows)
//          f32, 1 / √(…), or null.
// Blocks:  one for each row; a thread holds eight numbers of it in registers, so that the row is
//          read once. Threads are as many as hidden / 8, in whole warps.
// Limits:  hidden a multiple of 8, at most 8192.
// Bound:   memory: 6 · hidden bytes a row.
// Source:  Zhang and Sennrich, Root Mean Square Layer Normalization (2019), eq. 4.
#include "common.cuh"

KERNEL(1024)
rms_norm(const float* __restrict__ x, const float* __restrict__ weight, bf16* __restrict__ out,
         float* __restrict__ statistics, u32 hidden, float epsilon) {
    BLOCK_MEMORY(float, parts, WARP);
    u64 row = (u64)blockIdx.x * hidden;
    u32 i = threadIdx.x * 8;
    bool inside = i < hidden;
    float numbers[8] = {}, squares = 0.0f;
    if (inside) {
        read_eight(numbers, x + row + i);
        for (int j = 0; j < 8; j++) squares += numbers[j] * numbers[j];
    }
    float inverse = 1.0f / sqrtf(block_sum(squares, parts) / (float)hidden + epsilon);
    if (inside) {
        float scale[8];
        read_eight(scale, weight + i);
        for (int j = 0; j < 8; j++) scale[j] *= numbers[j] * inverse;
        write_eight(out + row + i, scale);
    }
    if (statistics && threadIdx.x == 0) statistics[blockIdx.x] = inverse;
}
