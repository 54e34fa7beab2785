// The softmax loss of rows of scores, and scale times its gradient by them:
//
//   losses[r] = ln Σ_v exp(scores[r, v]) − scores[r, targets[r]],
//   d_scores[r, v] = scale · (exp(scores[r, v]) / Σ exp − (v = targets[r])).
//
// Shapes:  scores (rows, wide) f32, of which the first `items` of a row count; targets (rows) u32;
//          losses (rows) f32, nats; d_scores (rows, wide) bf16, 0 where scores do not count, so
//          that rows may begin where products like it.
// Blocks:  one for each row.
// Order:   a row's by the number of items alone.
// Bound:   memory: 10 bytes a score, if a row stays in the caches.
#include "common.cuh"

KERNEL(256)
cross_entropy(const float* __restrict__ scores, const u32* __restrict__ targets,
              float* __restrict__ losses, bf16* __restrict__ d_scores, u32 items, u32 wide,
              float scale) {
    BLOCK_MEMORY(float, parts, 2 * WARP);
    const float* row = scores + (u64)blockIdx.x * wide;
    u32 target = targets[blockIdx.x];
    float largest = row[0], total = 0.0f;
    for (u32 v = threadIdx.x; v < items; v += blockDim.x) largest = fmaxf(largest, row[v]);
    largest = block_max(largest, parts);
    for (u32 v = threadIdx.x; v < items; v += blockDim.x) total += expf(row[v] - largest);
    total = block_sum(total, parts + WARP);
    for (u32 v = threadIdx.x; v < wide; v += blockDim.x) {
        float p = v < items ? expf(row[v] - largest) / total : 0.0f;
        bf16* to = d_scores + (u64)blockIdx.x * wide + v;
        *to = to_bf16(scale * (v == target ? p - 1.0f : p));
    }
    if (threadIdx.x == 0) losses[blockIdx.x] = logf(total) + largest - row[target];
}
