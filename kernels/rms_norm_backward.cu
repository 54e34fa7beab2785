// The gradient of out = weight ⊙ x̂, x̂ = x · s, s = 1 / √(mean(x²) + epsilon): with
// g = d_out ⊙ weight,
//
//   d_x += s · (g − x̂ · mean(g ⊙ x̂)), d_weight += Σ over rows of d_out ⊙ x̂.
//
// Shapes:  x and d_x (rows, hidden) f32, statistics s (rows) f32 from the forward kernel, weight
//          (hidden) f32, d_out (rows, hidden) bf16; parts (rows / 64, hidden) f32, each block's
//          sum over its rows, or null; column_sums adds them up.
// Blocks:  one for each 64 rows, which follow each other; threads as in rms_norm.cu.
// Order:   rows are added in their order within a block, blocks in theirs.
// Limits:  as in rms_norm.cu.
// Bound:   memory: 14 · hidden bytes a row.
#include "common.cuh"

constexpr u32 NORM_ROWS = 64;

KERNEL(1024)
rms_norm_backward(const float* __restrict__ x, const float* __restrict__ statistics,
                  const float* __restrict__ weight, const bf16* __restrict__ d_out,
                  float* __restrict__ d_x, float* __restrict__ parts, u32 rows, u32 hidden) {
    BLOCK_MEMORY(float, sums, 2 * WARP);
    u32 first = blockIdx.x * NORM_ROWS, i = threadIdx.x * 8;
    bool inside = i < hidden;
    float scale[8] = {}, d_weight[8] = {};
    if (inside) read_eight(scale, weight + i);
    for (u32 row = first; row < min(first + NORM_ROWS, rows); row++) {
        u64 at = (u64)row * hidden + i;
        float hat[8] = {}, d[8] = {}, along = 0.0f, inverse = statistics[row];
        if (inside) {
            read_eight(hat, x + at);
            read_eight(d, d_out + at);
        }
        for (int j = 0; j < 8; j++) {
            hat[j] *= inverse;
            d_weight[j] += d[j] * hat[j];
            d[j] *= scale[j];
            along += d[j] * hat[j];
        }
        // Two sets of sums in turn: a thread may still be reading those of the row before.
        along = block_sum(along, sums + row % 2 * WARP) / (float)hidden;
        if (!inside) continue;
        float before[8];
        read_eight(before, d_x + at);
        for (int j = 0; j < 8; j++) before[j] += inverse * (d[j] - hat[j] * along);
        write_eight(d_x + at, before);
    }
    if (parts && inside) write_eight(parts + (u64)blockIdx.x * hidden + i, d_weight);
}
