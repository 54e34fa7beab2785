// out[r] = weight ⊙ x̂[r] + bias, x̂ = (x − mean) · s, s = 1 / √(variance + epsilon); and its
// gradient: with g = d_out ⊙ weight,
//
//   d_x += s · (g − mean(g) − x̂ · mean(g ⊙ x̂)),
//   d_weight += Σ over rows of d_out ⊙ x̂, d_bias += Σ over rows of d_out.
//
// Shapes:  x, out, d_out, d_x (rows, hidden) f32; affine (2, hidden): weight, then bias; statistics
//          (rows, 2): mean, then s; parts (rows / 64, 2, hidden) f32: each block's sums for weight
//          and bias, which column_sums adds up; or null.
// Blocks:  layer_norm: one for each row; layer_norm_backward: one for each 64 rows, which follow
//          each other. A thread has columns that lie as far apart as there are threads.
// Order:   a row's by `hidden` alone; rows are added in their order within a block.
// Limits:  hidden at most 1024.
// Bound:   memory: 8 · hidden bytes a row, and 16 · hidden backward.
// Source:  Ba et al., Layer Normalization (2016), eq. 3.
#include "common.cuh"

constexpr int LAYER_NORM_THREADS = 128;
constexpr int LAYER_NORM_COLUMNS = 8; // of a thread
constexpr u32 LAYER_NORM_ROWS = 64;

KERNEL(LAYER_NORM_THREADS)
layer_norm(const float* __restrict__ x, const float* __restrict__ affine, float* __restrict__ out,
           float* __restrict__ statistics, u32 hidden, float epsilon) {
    BLOCK_MEMORY(float, parts, 2 * WARP);
    u64 row = (u64)blockIdx.x * hidden;
    float numbers[LAYER_NORM_COLUMNS], sum = 0.0f, squares = 0.0f;
    for (int j = 0; j < LAYER_NORM_COLUMNS; j++) {
        u32 i = threadIdx.x + j * LAYER_NORM_THREADS;
        numbers[j] = i < hidden ? x[row + i] : 0.0f;
        sum += numbers[j];
    }
    float mean = block_sum(sum, parts) / (float)hidden;
    for (int j = 0; j < LAYER_NORM_COLUMNS; j++) {
        u32 i = threadIdx.x + j * LAYER_NORM_THREADS;
        numbers[j] = i < hidden ? numbers[j] - mean : 0.0f;
        squares += numbers[j] * numbers[j];
    }
    float variance = block_sum(squares, parts + WARP) / (float)hidden;
    float inverse = 1.0f / sqrtf(variance + epsilon);
    for (int j = 0; j < LAYER_NORM_COLUMNS; j++) {
        u32 i = threadIdx.x + j * LAYER_NORM_THREADS;
        if (i < hidden) out[row + i] = numbers[j] * inverse * affine[i] + affine[hidden + i];
    }
    if (threadIdx.x > 0) return;
    statistics[2 * blockIdx.x] = mean;
    statistics[2 * blockIdx.x + 1] = inverse;
}

KERNEL(LAYER_NORM_THREADS)
layer_norm_backward(const float* __restrict__ x, const float* __restrict__ affine,
                    const float* __restrict__ statistics, const float* __restrict__ d_out,
                    float* __restrict__ d_x, float* __restrict__ parts, u32 rows, u32 hidden) {
    BLOCK_MEMORY(float, sums, 4 * WARP);
    float d_weight[LAYER_NORM_COLUMNS] = {}, d_bias[LAYER_NORM_COLUMNS] = {};
    u32 first = blockIdx.x * LAYER_NORM_ROWS;
    for (u32 row = first; row < min(first + LAYER_NORM_ROWS, rows); row++) {
        float mean = statistics[2 * row], inverse = statistics[2 * row + 1];
        float hat[LAYER_NORM_COLUMNS], g[LAYER_NORM_COLUMNS], sum = 0.0f, along = 0.0f;
        for (int j = 0; j < LAYER_NORM_COLUMNS; j++) {
            u32 i = threadIdx.x + j * LAYER_NORM_THREADS;
            bool inside = i < hidden;
            float d = inside ? d_out[(u64)row * hidden + i] : 0.0f;
            hat[j] = inside ? (x[(u64)row * hidden + i] - mean) * inverse : 0.0f;
            g[j] = inside ? d * affine[i] : 0.0f;
            d_weight[j] += d * hat[j];
            d_bias[j] += d;
            sum += g[j];
            along += g[j] * hat[j];
        }
        // Two sets of sums in turn: a thread may still be reading those of the row before.
        float* turn = sums + row % 2 * 2 * WARP;
        sum = block_sum(sum, turn) / (float)hidden;
        along = block_sum(along, turn + WARP) / (float)hidden;
        for (int j = 0; j < LAYER_NORM_COLUMNS; j++) {
            u32 i = threadIdx.x + j * LAYER_NORM_THREADS;
            if (i >= hidden) continue;
            d_x[(u64)row * hidden + i] += inverse * (g[j] - sum - hat[j] * along);
        }
    }
    if (!parts) return;
    for (int j = 0; j < LAYER_NORM_COLUMNS; j++) {
        u32 i = threadIdx.x + j * LAYER_NORM_THREADS;
        if (i >= hidden) continue;
        parts[(u64)blockIdx.x * 2 * hidden + i] = d_weight[j];
        parts[((u64)blockIdx.x * 2 + 1) * hidden + i] = d_bias[j];
    }
}
