// As grouped_attention.cu, for Hopper: its products are those of a group of four warps, from shared
// memory, where the 64 pairs of a block are the 64 rows of a product.
//
// Shapes, blocks, order and limits: as there. A pair's sums go over the same keys in the same
// steps; the bits differ from those of the other kernel, whose products add in another order.
// Rows come by asynchronous copies of 16 bytes and not by the tensor copy engine: a tile's keys may
// lie in several segments, and that engine copies boxes of a fixed height.
// Memory:  as there; tiles are in the 128-byte swizzle that the products read.
// Source:  Shah et al., FlashAttention-3 (2024), §3.1, without the overlap of two groups.
#include "attention_forward.cuh"
#include "hopper.cuh"

// scores (64, 64) = queries · keysᵀ.
template <int WIDTH>
DEVICE void group_score(float (&scores)[8][4], AttentionTile<WIDTH>& queries,
                        AttentionTile<WIDTH>& keys) {
    for (int i = 0; i < 32; i++) scores[i / 4][i % 4] = 0.0f;
    group_fence();
#pragma unroll
    for (int k = 0; k < WIDTH / 16; k++) {
        group_multiply(scores, queries.half(k / 4) + k % 4 * 16, keys.half(k / 4) + k % 4 * 16);
    }
    group_commit();
    GROUP_WAIT(0);
}

// What a lane has of the outputs, 64 columns after the other.
template <int WIDTH>
struct GroupSums {
    float out[WIDTH / 64][8][4];
};

// out (64, WIDTH) += p (64, 64) · values.
template <int WIDTH>
DEVICE void group_mix(AttentionSums<WIDTH>& sums, const float (&p)[8][4],
                      AttentionTile<WIDTH>& values) {
    u32 left[4][4];
#pragma unroll
    for (int i = 0; i < 16; i++) {
        const float(&of)[4] = p[i / 4 * 2 + i % 4 / 2];
        left[i / 4][i % 4] = pack_bf16(of[i % 2 * 2], of[i % 2 * 2 + 1]);
    }
    group_fence();
#pragma unroll
    for (int half = 0; half < WIDTH / 64; half++) {
        auto& out = reinterpret_cast<GroupSums<WIDTH>&>(sums.out).out[half];
#pragma unroll
        for (int k = 0; k < 4; k++) {
            group_multiply_columns(out, left[k], values.half(half) + k * 16 * 64);
        }
    }
    group_commit();
    GROUP_WAIT(0);
}

template <int WIDTH>
DEVICE void grouped_attention_hopper(const bf16* qkv, const bf16* keys, const u32* segments,
                                     const u32* tiles, bf16* out, float* statistics, u32 heads,
                                     u32 shared, u32 stride, u32 further, float scale) {
    LAUNCH_MEMORY(bytes);
    auto& memory = *reinterpret_cast<AttentionMemory<WIDTH>*>(bytes);
    u32 group = heads / shared, segment;
    Attention with =
        attention_of(qkv, keys, segments, tiles, heads, shared, stride, further, segment);
    AttentionSums<WIDTH> sums;
    int sees[2];
    begin(sums, sees, with, group);
    copy_queries(memory.queries, with, group);
    copy_seen(memory, with, 0, segment);
    async_commit();
    int steps = (with.seen + ATTENTION_TILE - 1) / ATTENTION_TILE;
    for (int step = 0; step < steps; step++) {
        // This step's have come, for everybody; and nobody is still at those of the one before.
        ASYNC_WAIT(0);
        shared_fence();
        BLOCK_BARRIER();
        if (step + 1 < steps) copy_seen(memory, with, step + 1, segment);
        async_commit();
        float scores[8][4];
        group_score(scores, memory.queries, memory.keys[step % 2]);
        soften(sums, scores, sees, step * ATTENTION_TILE, scale * LOG2_E);
        group_mix(sums, scores, memory.values[step % 2]);
    }
    put(sums, with, group, out, statistics);
}

ATTENTION_FORWARD(hopper_attention, grouped_attention_hopper, 64)
ATTENTION_FORWARD(hopper_attention, grouped_attention_hopper, 128)
