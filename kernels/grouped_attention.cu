// Causal attention of packed sequences whose heads are in groups: for each query i of head h, and
// the keys k and values v of head h · shared / heads,
//
//   p[i, j] = softmax over j ≤ i of ⟨q[i], k[j]⟩ / √width, out[i] = Σ_j p[i, j] v[j].
//
// A sequence sees what it goes on from, too: a *path* of segments, rows that follow each other,
// from the first position on. What several sequences begin with is computed and kept once.
//
// Shapes:  qkv (tokens, heads + 2 · shared, width) bf16: queries, keys, values; segments
//          (segments, 2) u32: the position after the segment's last one, and the row of the
//          segment's first position less that position (modulo 2³²); tiles (tiles, 4) u32: the
//          path's first segment, the position of the first query, how many queries, the output's
//          row of the first; out (rows, heads, width) bf16; statistics (rows, heads) f32:
//          ln Σ_j exp(⟨q[i], k[j]⟩ / √width).
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
#include "attention.cuh"

constexpr float UNSEEN = -1e30f; // finite: the difference of two is a number

struct Attention {
    const bf16* qkv;
    const u32* segments;
    u32 heads, shared;
    // Of this block: its path, and how many of its positions the last query sees.
    u32 segment, first, queries, seen;
};

template <int WIDTH>
struct AttentionMemory {
    AttentionTile<WIDTH> queries, keys[2], values[2];
};

template <int WIDTH>
DEVICE void copy_queries(AttentionTile<WIDTH>& tile, const Attention& with, u32 group) {
    constexpr int PIECES = WIDTH / 8;
    for (int i = threadIdx.x; i < ATTENTION_TILE * PIECES; i += ATTENTION_THREADS) {
        int pair = i / PIECES, piece = i % PIECES;
        bool there = pair / group < with.queries;
        u32 position = with.first + (there ? pair / group : 0);
        u64 row = row_of(with.segments, with.segment, position);
        u32 head = blockIdx.y * group + pair % group;
        const bf16* from = with.qkv + (row * (with.heads + 2 * with.shared) + head) * WIDTH;
        async_copy(tile.piece(pair, piece), from + piece * 8, there);
    }
}

// Keys and values of the step's 64 positions; zeros for those that nobody sees.
template <int WIDTH>
DEVICE void copy_seen(AttentionMemory<WIDTH>& memory, const Attention& with, int step) {
    constexpr int PIECES = WIDTH / 8;
    for (int i = threadIdx.x; i < ATTENTION_TILE * PIECES; i += ATTENTION_THREADS) {
        int key = i / PIECES, piece = i % PIECES;
        u32 position = step * ATTENTION_TILE + key;
        bool there = position < with.seen;
        u64 row = row_of(with.segments, with.segment, there ? position : 0);
        u64 head = row * (with.heads + 2 * with.shared) + with.heads + blockIdx.y;
        const bf16* from = with.qkv + head * WIDTH + piece * 8;
        async_copy(memory.keys[step % 2].piece(key, piece), from, there);
        async_copy(memory.values[step % 2].piece(key, piece), from + with.shared * WIDTH, there);
    }
}

// What a lane keeps of its two pairs, g and g + 8 of its warp's: in the layout of `multiply`.
template <int WIDTH>
struct AttentionSums {
    float out[WIDTH / 8][4];
    float largest[2], total[2];
};

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

// Takes a step's scores, scaled so that p = 2^score, into the running softmax; leaves
// 2^(score − largest) in their place. `sees[r]` is the last position that pair r sees.
template <int WIDTH>
DEVICE void soften(AttentionSums<WIDTH>& sums, float (&scores)[8][4], const int (&sees)[2],
                   int first_key, float scale) {
    int t = lane_of_thread() % 4;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        float largest = sums.largest[r], total = 0.0f;
#pragma unroll
        for (int i = 0; i < 16; i++) {
            float& x = scores[i / 2][2 * r + i % 2];
            int key = first_key + i / 2 * 8 + 2 * t + i % 2;
            x = key <= sees[r] ? x * scale : UNSEEN;
            largest = fmaxf(largest, x);
        }
        largest = fmaxf(largest, shuffle_xor(largest, 1));
        largest = fmaxf(largest, shuffle_xor(largest, 2));
#pragma unroll
        for (int i = 0; i < 16; i++) {
            float& x = scores[i / 2][2 * r + i % 2];
            x = exp2_fast(x - largest);
            total += x;
        }
        total += shuffle_xor(total, 1);
        total += shuffle_xor(total, 2);
        float shrink = exp2_fast(sums.largest[r] - largest);
        sums.total[r] = sums.total[r] * shrink + total;
        sums.largest[r] = largest;
#pragma unroll
        for (int n = 0; n < WIDTH / 8; n++) {
            sums.out[n][2 * r] *= shrink;
            sums.out[n][2 * r + 1] *= shrink;
        }
    }
}

template <int WIDTH>
DEVICE void put(const AttentionSums<WIDTH>& sums, const Attention& with, u32 group, u32 out_row,
                bf16* out, float* statistics) {
    int lane = lane_of_thread(), t = lane % 4;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        u32 pair = warp_of_thread() * 16 + lane / 4 + 8 * r;
        if (pair / group >= with.queries) continue;
        u32 head = blockIdx.y * group + pair % group;
        u64 at = (u64)(out_row + pair / group) * with.heads + head;
        float inverse = 1.0f / sums.total[r];
        u32* to = reinterpret_cast<u32*>(out + at * WIDTH) + t;
#pragma unroll
        for (int n = 0; n < WIDTH / 8; n++) {
            to[n * 4] = pack_bf16(sums.out[n][2 * r] * inverse, sums.out[n][2 * r + 1] * inverse);
        }
        if (t == 0) statistics[at] = sums.largest[r] * LN_2 + logf(sums.total[r]);
    }
}

template <int WIDTH>
DEVICE void attend(AttentionMemory<WIDTH>& memory, const Attention& with,
                   AttentionSums<WIDTH>& sums, u32 group, float scale) {
    int lane = lane_of_thread(), warp = warp_of_thread(), sees[2];
    for (int r = 0; r < 2; r++) {
        u32 query = (warp * 16 + lane / 4 + 8 * r) / group;
        sees[r] = with.first + min(query, with.queries - 1);
        sums.largest[r] = UNSEEN;
        sums.total[r] = 0.0f;
    }
    for (int i = 0; i < WIDTH / 2; i++) sums.out[i / 4][i % 4] = 0.0f;
    copy_queries(memory.queries, with, group);
    copy_seen(memory, with, 0);
    async_commit();
    u32 queries[WIDTH / 16][4];
    int steps = (with.seen + ATTENTION_TILE - 1) / ATTENTION_TILE;
    for (int step = 0; step < steps; step++) {
        // This step's have come, for everybody; and nobody is still at those of the one before.
        ASYNC_WAIT(0);
        BLOCK_BARRIER();
        if (step + 1 < steps) copy_seen(memory, with, step + 1);
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
        multiply_columns(sums.out, scores, memory.values[step % 2], 0);
    }
}

template <int WIDTH>
DEVICE void grouped_attention(const bf16* qkv, const u32* segments, const u32* tiles, bf16* out,
                              float* statistics, u32 heads, u32 shared) {
    LAUNCH_MEMORY(bytes);
    auto& memory = *reinterpret_cast<AttentionMemory<WIDTH>*>(bytes);
    Vector<u32, 4> tile = read<4>(tiles + 4 * blockIdx.x);
    u32 first = tile.at[1], queries = tile.at[2];
    Attention with{qkv, segments, heads, shared, tile.at[0], first, queries, first + queries};
    AttentionSums<WIDTH> sums;
    u32 group = heads / shared;
    attend(memory, with, sums, group, LOG2_E / sqrtf((float)WIDTH));
    put(sums, with, group, tile.at[3], out, statistics);
}

KERNEL(ATTENTION_THREADS)
grouped_attention_64(const bf16* __restrict__ qkv, const u32* __restrict__ segments,
                     const u32* __restrict__ tiles, bf16* __restrict__ out,
                     float* __restrict__ statistics, u32 heads, u32 shared) {
    grouped_attention<64>(qkv, segments, tiles, out, statistics, heads, shared);
}

KERNEL(ATTENTION_THREADS)
grouped_attention_128(const bf16* __restrict__ qkv, const u32* __restrict__ segments,
                      const u32* __restrict__ tiles, bf16* __restrict__ out,
                      float* __restrict__ statistics, u32 heads, u32 shared) {
    grouped_attention<128>(qkv, segments, tiles, out, statistics, heads, shared);
}
