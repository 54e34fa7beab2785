// The loss of rows over a target and some negatives, and scale times its gradient by the rows and
// by the scores s_j = ⟨x, table[item_j]⟩, of which the first is the target's. By rule, over n items
//
//   softmax  loss = ln Σ_j exp(z_j) − z_0, z_j = s_j − log_q[item_j],
//   binary   loss = (β · softplus(−s_0) + Σ_{j > 0} softplus(s_j)) / n,
//
// where the softmax leaves out negatives that are the target.
//
// Shapes:  x, d_x (rows, hidden) f32; table (items, hidden) f32; candidates (rows, n) u32; log_q
//          (items) f32, or null for the binary rule; losses (rows) f32, nats; d_scores (rows, n)
//          f32.
// Blocks:  one for each row; a warp has every eighth candidate, a lane every 32nd column.
// Order:   a row's by n and hidden alone.
// Limits:  hidden at most 512.
// Bound:   memory: 8 · hidden bytes a candidate, of which the second half come from caches.
// Source:  Petrov and Macdonald, gSASRec (2023), eq. 9: β.
#include "common.cuh"

constexpr int LOSS_WARPS = 8;
constexpr int LOSS_COLUMNS = 16; // of a lane

// Calls `each` with a lane's columns of a row, by their number from 0.
template <class Each>
DEVICE void for_columns(u32 hidden, Each each) {
#pragma unroll
    for (int k = 0; k < LOSS_COLUMNS; k++) {
        u32 first = k * WARP, i = first + lane_of_thread();
        if (first >= hidden) break;
        if (i < hidden) each(k, i);
    }
}

// Makes of a row's scores what they are multiplied by for the gradient, which is there for
// everybody when it returns the loss. `parts` are as many as block_sum and block_max take, twice.
DEVICE float softmax_loss(float* scores, const u32* items, const float* log_q, u32 count,
                          float scale, float* parts) {
    auto corrected = [&](u32 j) {
        bool left_out = j > 0 && items[j] == items[0];
        return left_out ? -1e30f : scores[j] - log_q[items[j]];
    };
    float target = corrected(0), largest = target, total = 0.0f;
    for (u32 j = threadIdx.x; j < count; j += blockDim.x) largest = fmaxf(largest, corrected(j));
    largest = block_max(largest, parts);
    for (u32 j = threadIdx.x; j < count; j += blockDim.x) total += expf(corrected(j) - largest);
    // Everybody has read the target's score when the sum is there.
    total = block_sum(total, parts + WARP);
    for (u32 j = threadIdx.x; j < count; j += blockDim.x) {
        float p = expf(corrected(j) - largest) / total;
        scores[j] = scale * (j == 0 ? p - 1.0f : p);
    }
    BLOCK_BARRIER();
    return logf(total) + largest - target;
}

DEVICE float binary_loss(float* scores, u32 count, float beta, float scale, float* parts) {
    float share = 1.0f / (float)count, loss = 0.0f;
    for (u32 j = threadIdx.x; j < count; j += blockDim.x) {
        float s = scores[j], sign = j == 0 ? -s : s, weight = (j == 0 ? beta : 1.0f) * share;
        loss += weight * (fmaxf(sign, 0.0f) + log1pf(expf(-fabsf(sign))));
        float d = weight * logistic(sign);
        scores[j] = scale * (j == 0 ? -d : d);
    }
    return block_sum(loss, parts);
}

KERNEL(LOSS_WARPS * WARP)
sampled_loss(const float* __restrict__ x, const float* __restrict__ table,
             const u32* __restrict__ candidates, const float* __restrict__ log_q,
             float* __restrict__ losses, float* d_scores, float* __restrict__ d_x, u32 hidden,
             u32 count, float beta, float scale) {
    LAUNCH_MEMORY(bytes);
    BLOCK_MEMORY(float, parts, 2 * WARP);
    float* sums = reinterpret_cast<float*>(bytes); // (warps, hidden)
    const u32* items = candidates + (u64)blockIdx.x * count;
    float* scores = d_scores + (u64)blockIdx.x * count;
    int warp = warp_of_thread();
    float mine[LOSS_COLUMNS];
    for_columns(hidden, [&](int k, u32 i) { mine[k] = x[(u64)blockIdx.x * hidden + i]; });
    for (u32 j = warp; j < count; j += LOSS_WARPS) {
        const float* row = table + (u64)items[j] * hidden;
        float score = 0.0f;
        for_columns(hidden, [&](int k, u32 i) { score += mine[k] * row[i]; });
        score = warp_sum(score);
        if (lane_of_thread() == 0) scores[j] = score;
    }
    BLOCK_BARRIER();
    float loss = log_q ? softmax_loss(scores, items, log_q, count, scale, parts)
                       : binary_loss(scores, count, beta, scale, parts);
    if (threadIdx.x == 0) losses[blockIdx.x] = loss;
    for (int k = 0; k < LOSS_COLUMNS; k++) mine[k] = 0.0f;
    for (u32 j = warp; j < count; j += LOSS_WARPS) {
        const float* row = table + (u64)items[j] * hidden;
        float d = scores[j];
        for_columns(hidden, [&](int k, u32 i) { mine[k] += d * row[i]; });
    }
    for_columns(hidden, [&](int k, u32 i) { sums[warp * hidden + i] = mine[k]; });
    BLOCK_BARRIER();
    for (u32 i = threadIdx.x; i < hidden; i += blockDim.x) {
        float sum = 0.0f;
        for (int w = 0; w < LOSS_WARPS; w++) sum += sums[w * hidden + i];
        d_x[(u64)blockIdx.x * hidden + i] = sum;
    }
}
