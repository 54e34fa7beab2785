// Attention of packed sequences whose heads are in groups, causal unless said otherwise: for each
// query i of head h, and the keys k and values v of head h · shared / heads,
//
//   p[i, j] = softmax over j ≤ i of scale · ⟨q[i], k[j]⟩, out[i] = Σ_j p[i, j] v[j].
//
// The scale is given: a head that is filled up with zeros keeps that of its own width.
//
// Where `further` is 0 instead of 1, as between the words of a text, every query of a sequence sees
// all of it. A sequence sees what it goes on from, too: a *path* of segments, rows that follow each
// other, from the first position on. What several sequences begin with is computed and kept once.
//
// Shapes:  qkv (tokens, heads + 2 · shared, width) bf16: queries, keys, values; keys: rows of
//          stride · width numbers that begin with the shared keys, then values: those of qkv
//          (stride = heads + 2 · shared), or rows that keep.cu has kept (stride = 2 · shared);
//          segments (segments, 2) u32: the position after the segment's last one, and the row in
//          keys of the segment's first position less that position (modulo 2³²); tiles (tiles, 5)
//          u32: the path's first segment, the row in qkv of the first query, the last position
//          that it sees, how many queries, the output's row of the first; out (rows, heads,
//          width) bf16; statistics (rows, heads) f32: ln Σ_j exp(scale · ⟨q[i], k[j]⟩).
// Blocks:  (tiles, shared). A block takes 64 pairs of a query and a head of its group: the pair m
//          is query m / group, head m % group, so that keys and values are read once for a group.
//          A tile has at most 64 / group queries. A warp has 16 pairs.
// Memory:  queries, and two tiles of 64 keys and values: one is computed with while the other
//          comes.
// Order:   keys go in tiles of 64 from the path's first position on, so a query's sums depend on
//          what it sees alone. Sums are f32; p is rounded to bf16 before it meets the values.
// Limits:  group at most 64; width 64 or 128.
// Bound:   arithmetic for long sequences: 4 · heads · width operations for each pair of a query
//          and a key it sees.
// Source:  Dao, FlashAttention-2 (2023), algorithm 1; Ainslie et al., GQA (2023), §2.2.
#include "attention_forward.cuh"
#include "dropout.cuh"

// scores (16, 64) = queries · keysᵀ.
template <int WIDTH>
DEVICE void score(float (&scores)[8][4], const u32 (&queries)[WIDTH / 16][4],
                  AttentionTile<WIDTH>& keys) {
    int lane = lane_of_thread();
#pragma unroll
    for (int n = 0; n < 8; n++) {
        for (int i = 0; i < 4; i++) scores[n][i] = 0.0f;
#pragma unroll
        for (int k = 0; k < WIDTH / 32; k++) {
            u32 b[4];
            load_matrices(b, keys.piece(n * 8 + lane % 8, k * 4 + lane / 8));
            multiply(scores[n], queries[2 * k], b[0], b[1]);
            multiply(scores[n], queries[2 * k + 1], b[2], b[3]);
        }
    }
}

// `weigh(scores, first_key)` is what becomes of a step's weights before they are multiplied.
template <int WIDTH, class Weigh>
DEVICE void attend(AttentionMemory<WIDTH>& memory, const Attention& with, u32 segment,
                   AttentionSums<WIDTH>& sums, u32 group, float scale, Weigh weigh) {
    int warp = warp_of_thread(), sees[2];
    begin(sums, sees, with, group);
    copy_queries(memory.queries, with, group);
    copy_seen(memory, with, 0, segment);
    async_commit();
    u32 queries[WIDTH / 16][4];
    int steps = (with.seen + ATTENTION_TILE - 1) / ATTENTION_TILE;
    for (int step = 0; step < steps; step++) {
        // This step's have come, for everybody; and nobody is still at those of the one before.
        ASYNC_WAIT(0);
        BLOCK_BARRIER();
        if (step + 1 < steps) copy_seen(memory, with, step + 1, segment);
        async_commit();
        if (step == 0) {
#pragma unroll
            for (int k = 0; k < WIDTH / 16; k++) {
                load_left(queries[k], memory.queries, warp * 16, k);
            }
        }
        float scores[8][4];
        score(scores, queries, memory.keys[step % 2]);
        soften(sums, scores, sees, step * ATTENTION_TILE, scale);
        weigh(scores, step * ATTENTION_TILE);
        multiply_columns(sums.out, scores, memory.values[step % 2], 0);
    }
}

template <int WIDTH>
DEVICE void grouped_attention(const bf16* qkv, const bf16* keys, const u32* segments,
                              const u32* tiles, bf16* out, float* statistics, u32 heads,
                              u32 shared, u32 stride, u32 further, float scale) {
    LAUNCH_MEMORY(bytes);
    auto& memory = *reinterpret_cast<AttentionMemory<WIDTH>*>(bytes);
    u32 group = heads / shared, segment;
    Attention with =
        attention_of(qkv, keys, segments, tiles, heads, shared, stride, further, segment);
    AttentionSums<WIDTH> sums;
    attend(memory, with, segment, sums, group, scale * LOG2_E, [](float (&)[8][4], int) {});
    put(sums, with, group, out, statistics);
}

KERNEL(ATTENTION_THREADS)
grouped_attention_64(ATTENTION_PARAMETERS) { grouped_attention<64>(ATTENTION_ARGUMENTS); }

KERNEL(ATTENTION_THREADS)
grouped_attention_128(ATTENTION_PARAMETERS) { grouped_attention<128>(ATTENTION_ARGUMENTS); }

// The same, where weights are dropped: of a query's row and, as a column, of head · 2¹⁶ + position.
template <int WIDTH>
DEVICE void dropped_attention(const bf16* qkv, const bf16* keys, const u32* segments,
                              const u32* tiles, bf16* out, float* statistics, u32 heads,
                              u32 shared, u32 stride, u32 further, float scale,
                              const Dropout& dropout) {
    LAUNCH_MEMORY(bytes);
    auto& memory = *reinterpret_cast<AttentionMemory<WIDTH>*>(bytes);
    u32 group = heads / shared, segment, columns[2];
    Attention with =
        attention_of(qkv, keys, segments, tiles, heads, shared, stride, further, segment);
    RowMask masks[2];
    for (int r = 0; r < 2; r++) {
        u32 pair = warp_of_thread() * 16 + lane_of_thread() / 4 + 8 * r;
        masks[r] = mask_of(dropout, with.asking.row + min(pair / group, with.asking.queries - 1));
        columns[r] = (blockIdx.y * group + pair % group) << 16;
    }
    AttentionSums<WIDTH> sums;
    attend(memory, with, segment, sums, group, scale * LOG2_E,
           [&](float (&weights)[8][4], int first_key) {
               int t = lane_of_thread() % 4;
#pragma unroll
               for (int i = 0; i < 32; i++) {
                   int r = i % 4 / 2, key = first_key + i / 4 * 8 + 2 * t + i % 2;
                   weights[i / 4][i % 4] *= kept(dropout, masks[r], columns[r] + key);
               }
           });
    put(sums, with, group, out, statistics);
}

KERNEL(ATTENTION_THREADS)
dropped_attention_64(ATTENTION_PARAMETERS, DROPOUT_PARAMETERS) {
    dropped_attention<64>(ATTENTION_ARGUMENTS, DROPOUT);
}

KERNEL(ATTENTION_THREADS)
dropped_attention_128(ATTENTION_PARAMETERS, DROPOUT_PARAMETERS) {
    dropped_attention<128>(ATTENTION_ARGUMENTS, DROPOUT);
}
