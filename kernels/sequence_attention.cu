// out[t] = Σ_j softmax_j(scale · ⟨q[t], k[j]⟩) v[j], for each head, over the positions j of t's
// sequence up to t: causal attention in f32, for short sequences that nothing is learned from.
//
// Shapes:  qkv (tokens, 3, heads, WIDTH) f32; starts (tokens) u32: the row of the first token of
//          each token's sequence; out (tokens, heads, WIDTH) f32.
// Blocks:  (tokens / 4, heads); a warp has a query, a lane every 32nd column. Of 32 keys at a time
//          a lane has one's score.
// Order:   a query's keys in theirs, 32 at a time.
// Bound:   arithmetic: 4 · WIDTH operations a pair, and as many exchanges between lanes as numbers.
// Source:  Vaswani et al., Attention Is All You Need (2017), eq. 1.
#include "common.cuh"

constexpr int SEQUENCE_WARPS = 4;

template <int WIDTH>
DEVICE void sequence_attention(const float* qkv, const u32* starts, float* out, u32 tokens,
                               u32 heads, float scale) {
    constexpr int COLUMNS = WIDTH / WARP;
    u32 token = blockIdx.x * SEQUENCE_WARPS + warp_of_thread(), head = blockIdx.y;
    if (token >= tokens) return; // a warp as a whole
    int lane = lane_of_thread();
    auto row = [&](u32 t, u32 which) {
        return qkv + (((u64)t * 3 + which) * heads + head) * WIDTH + lane;
    };
    float query[COLUMNS], sums[COLUMNS] = {}, largest = -1e30f, total = 0.0f;
    for (int c = 0; c < COLUMNS; c++) query[c] = scale * row(token, 0)[c * WARP];
    for (u32 first = starts[token]; first <= token; first += WARP) {
        int count = min((u32)WARP, token + 1 - first);
        float mine = -1e30f;
        for (int j = 0; j < count; j++) {
            const float* key = row(first + j, 1);
            float score = 0.0f;
            for (int c = 0; c < COLUMNS; c++) score += query[c] * key[c * WARP];
            score = warp_sum(score);
            mine = lane == j ? score : mine;
        }
        float above = fmaxf(largest, warp_max(mine)), shrink = expf(largest - above);
        float p = lane < count ? expf(mine - above) : 0.0f;
        total = total * shrink + warp_sum(p);
        largest = above;
        for (int c = 0; c < COLUMNS; c++) sums[c] *= shrink;
        for (int j = 0; j < count; j++) {
            const float* value = row(first + j, 2);
            float weight = shuffle(p, j);
            for (int c = 0; c < COLUMNS; c++) sums[c] += weight * value[c * WARP];
        }
    }
    float* to = out + ((u64)token * heads + head) * WIDTH + lane;
    for (int c = 0; c < COLUMNS; c++) to[c * WARP] = sums[c] / total;
}

KERNEL(SEQUENCE_WARPS * WARP)
sequence_attention_64(const float* __restrict__ qkv, const u32* __restrict__ starts,
                      float* __restrict__ out, u32 tokens, u32 heads, float scale) {
    sequence_attention<64>(qkv, starts, out, tokens, heads, scale);
}

KERNEL(SEQUENCE_WARPS * WARP)
sequence_attention_128(const float* __restrict__ qkv, const u32* __restrict__ starts,
                       float* __restrict__ out, u32 tokens, u32 heads, float scale) {
    sequence_attention<128>(qkv, starts, out, tokens, heads, scale);
}
