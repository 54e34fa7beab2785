// The gradient of grouped_attention.cu. With p made again from the statistics, a = ⟨d_out, v⟩ and
// along = ⟨d_out, out⟩, the gradient of a score is d = scale · p · (a − along), and
//
//   d_q[i] = Σ_j d[i, j] k[j], d_k[j] = Σ_i d[i, j] q[i], d_v[j] = Σ_i p[i, j] d_out[i],
//
// where a head's keys and values sum over the queries of its group, of all sequences that see them.
// Where forward dropped weights, and multiplied the others with m, a and the p of d_v are
// multiplied with 0 or m, too: ⟨d_out, out⟩ is Σ_j of the dropped p times a.
//
// Shapes:  qkv, segments, tiles, statistics as forward; out and d_out (rows, heads, width) bf16;
//          alongs (rows, heads) f32; d_qkv (tokens, heads + 2 · shared, width) bf16. keys
//          (tiles + 1, 4) u32: the row of the first key of up to 64, its position, how many, the
//          first visit; visits (visits, 4) u32, of a tile until the next one's first: the row of
//          the first query, its position, how many, the output's row of the first; `further` as
//          forward: a query's position is the last that it sees.
// Blocks:  attention_alongs: (rows, heads), a warp. …_queries: (tiles, shared), as forward.
//          …_keys: (tiles of keys, shared); it also clears the gradients of its rows' queries, of
//          which not all ask, so it goes before …_queries. A warp has 16 pairs, or 16 keys.
// Order:   a query's sum goes over the keys it sees, a key's over its visits, each in tiles of 64.
//          p and d are rounded to bf16 before they are multiplied.
// Limits:  as forward; keys are those of qkv.
// Source:  Dao, FlashAttention-2 (2023), algorithm 2.
#include "attention.cuh"
#include "dropout.cuh"

KERNEL(WARP)
attention_alongs(const bf16* __restrict__ out, const bf16* __restrict__ d_out,
                 float* __restrict__ alongs, u32 width) {
    u64 head = (u64)blockIdx.x * gridDim.y + blockIdx.y;
    float sum = 0.0f;
    for (u32 i = lane_of_thread() * 2; i < width; i += WARP * 2) {
        u32 x = *reinterpret_cast<const u32*>(out + head * width + i);
        u32 y = *reinterpret_cast<const u32*>(d_out + head * width + i);
        sum += low_half(x) * low_half(y) + high_half(x) * high_half(y);
    }
    sum = warp_sum(sum);
    if (lane_of_thread() == 0) alongs[head] = sum;
}

struct AttentionGradient {
    const bf16 *qkv, *d_out;
    const float *statistics, *alongs;
    bf16* d_qkv;
    u32 heads, shared, further;
    float scale;
    Dropout dropout; // of a query's row; the column is head · 2¹⁶ + position
};

template <int WIDTH>
struct PairTiles {
    AttentionTile<WIDTH> queries, d_outs;
    float statistics[ATTENTION_TILE], alongs[ATTENTION_TILE];
    RowMask masks[ATTENTION_TILE];
};

template <int WIDTH>
struct KeyTiles {
    AttentionTile<WIDTH> keys, values;
};

template <bool DROPS, int WIDTH>
DEVICE void copy_pairs(PairTiles<WIDTH>& to, const AttentionGradient& with, const Asking& asking) {
    constexpr int PIECES = WIDTH / 8;
    u32 group = with.heads / with.shared;
    for (int i = threadIdx.x; i < ATTENTION_TILE * PIECES; i += ATTENTION_THREADS) {
        int pair = i / PIECES, piece = i % PIECES;
        bool there = pair / group < asking.queries;
        u32 query = there ? pair / group : 0;
        u64 head = blockIdx.y * group + pair % group;
        u64 row = (u64)(asking.row + query) * (with.heads + 2 * with.shared) + head;
        u64 out_row = (u64)(asking.out_row + query) * with.heads + head;
        async_copy(to.queries.piece(pair, piece), with.qkv + row * WIDTH + piece * 8, there);
        async_copy(to.d_outs.piece(pair, piece), with.d_out + out_row * WIDTH + piece * 8, there);
        if (piece > 0) continue;
        to.statistics[pair] = there ? with.statistics[out_row] * LOG2_E : 0.0f;
        to.alongs[pair] = there ? with.alongs[out_row] : 0.0f;
        if (DROPS) to.masks[pair] = mask_of(with.dropout, asking.row + query);
    }
}

// One of 64 keys and its value: `row_of_key(key)` is its row, if it is there.
template <int WIDTH, class RowOf>
DEVICE void copy_keys(KeyTiles<WIDTH>& to, const AttentionGradient& with, u32 count,
                      RowOf row_of_key) {
    constexpr int PIECES = WIDTH / 8;
    for (int i = threadIdx.x; i < ATTENTION_TILE * PIECES; i += ATTENTION_THREADS) {
        u32 key = i / PIECES, piece = i % PIECES;
        bool there = key < count;
        u64 row = row_of_key(there ? key : count - 1);
        u64 head = row * (with.heads + 2 * with.shared) + with.heads + blockIdx.y;
        const bf16* from = with.qkv + head * WIDTH + piece * 8;
        async_copy(to.keys.piece(key, piece), from, there);
        async_copy(to.values.piece(key, piece), from + with.shared * WIDTH, there);
    }
}

// Makes of a score and of ⟨d_out, v⟩ p and the gradient of the score, where the query sees the key;
// `by` is what forward multiplied p with.
DEVICE void grade(float& score, float& d, bool sees, float statistic, float along, float scale,
                  float by) {
    float p = sees ? exp2_fast(score * scale * LOG2_E - statistic) : 0.0f;
    d = p * (d * by - along) * scale;
    score = p * by;
}

// What forward multiplied the weight of a pair and a position with.
template <bool DROPS, int WIDTH>
DEVICE float weighed(const AttentionGradient& with, const PairTiles<WIDTH>& pairs, int pair,
                     u32 group, u32 position) {
    if (!DROPS) return 1.0f;
    u32 head = blockIdx.y * group + pair % group;
    return kept(with.dropout, pairs.masks[pair], (head << 16) + position);
}

// Writes a lane's row of sums.
template <int WIDTH>
DEVICE void put_row(bf16* head, const float (&sums)[WIDTH / 8][4], int which) {
    u32* to = reinterpret_cast<u32*>(head) + lane_of_thread() % 4;
#pragma unroll
    for (int n = 0; n < WIDTH / 8; n++) {
        to[n * 4] = pack_bf16(sums[n][2 * which], sums[n][2 * which + 1]);
    }
}

template <int WIDTH>
struct QueryMemory {
    PairTiles<WIDTH> pairs;
    KeyTiles<WIDTH> seen[2];
};

// Adds a step's 64 keys to the gradients of a warp's pairs.
template <bool DROPS, int WIDTH>
DEVICE void grade_queries(float (&d_queries)[WIDTH / 8][4], PairTiles<WIDTH>& pairs,
                          KeyTiles<WIDTH>& seen, const AttentionGradient& with,
                          const int (&sees)[2], int first_key) {
    u32 group = with.heads / with.shared;
    int first = warp_of_thread() * 16, g = lane_of_thread() / 4, t = lane_of_thread() % 4;
    float scores[8][4], d[8][4];
    multiply_rows(scores, pairs.queries, first, seen.keys, 0);
    multiply_rows(d, pairs.d_outs, first, seen.values, 0);
#pragma unroll
    for (int i = 0; i < 32; i++) {
        int r = i % 4 / 2, pair = first + g + 8 * r, key = first_key + i / 4 * 8 + 2 * t + i % 2;
        grade(scores[i / 4][i % 4], d[i / 4][i % 4], key <= sees[r], pairs.statistics[pair],
              pairs.alongs[pair], with.scale, weighed<DROPS>(with, pairs, pair, group, key));
    }
    multiply_columns(d_queries, d, seen.keys, 0);
}

template <int WIDTH, bool DROPS>
DEVICE void queries_backward(const AttentionGradient& with, const u32* segments,
                             const u32* tiles) {
    LAUNCH_MEMORY(bytes);
    auto& memory = *reinterpret_cast<QueryMemory<WIDTH>*>(bytes);
    u32 segment = tiles[5 * blockIdx.x];
    Asking asking = Asking::at(tiles + 5 * blockIdx.x + 1);
    u32 group = with.heads / with.shared;
    u32 seen = asking.position + 1 + with.further * (asking.queries - 1);
    u32 pairs[2];
    int sees[2];
    for (int r = 0; r < 2; r++) {
        pairs[r] = warp_of_thread() * 16 + lane_of_thread() / 4 + 8 * r;
        u32 query = pairs[r] / group;
        sees[r] = query < asking.queries ? (int)(asking.position + with.further * query) : -1;
    }
    auto copy = [&](u32 step) {
        u32 first = step * ATTENTION_TILE;
        copy_keys(memory.seen[step % 2], with, seen - first,
                  [&](u32 key) { return row_of(segments, segment, first + key); });
    };
    copy_pairs<DROPS>(memory.pairs, with, asking);
    copy(0);
    async_commit();
    float d_queries[WIDTH / 8][4] = {};
    u32 steps = (seen + ATTENTION_TILE - 1) / ATTENTION_TILE;
    for (u32 step = 0; step < steps; step++) {
        // This step's have come, for everybody; and nobody is still at those of the one before.
        ASYNC_WAIT(0);
        BLOCK_BARRIER();
        if (step + 1 < steps) copy(step + 1);
        async_commit();
        grade_queries<DROPS>(d_queries, memory.pairs, memory.seen[step % 2], with, sees,
                             step * ATTENTION_TILE);
    }
    for (int r = 0; r < 2; r++) {
        if (sees[r] < 0) continue;
        u64 head = blockIdx.y * group + pairs[r] % group;
        u64 row = (u64)(asking.row + pairs[r] / group) * (with.heads + 2 * with.shared) + head;
        put_row<WIDTH>(with.d_qkv + row * WIDTH, d_queries, r);
    }
}

template <int WIDTH>
struct KeyMemory {
    KeyTiles<WIDTH> seen;
    PairTiles<WIDTH> pairs[2];
};

// The gradients of a warp's keys and of their values.
template <int WIDTH>
struct KeySums {
    float keys[WIDTH / 8][4], values[WIDTH / 8][4];
};

// Adds half a visit, 32 pairs from `column` on; `positions` are those of a lane's two keys.
template <bool DROPS, int WIDTH>
DEVICE void grade_keys(KeySums<WIDTH>& sums, KeyTiles<WIDTH>& seen, PairTiles<WIDTH>& pairs,
                       const AttentionGradient& with, const Asking& asking,
                       const u32 (&positions)[2], int column) {
    u32 group = with.heads / with.shared;
    int first = warp_of_thread() * 16, t = lane_of_thread() % 4;
    float p[4][4], d[4][4];
    multiply_rows(p, seen.keys, first, pairs.queries, column);
    multiply_rows(d, seen.values, first, pairs.d_outs, column);
#pragma unroll
    for (int i = 0; i < 16; i++) {
        int pair = column + i / 4 * 8 + 2 * t + i % 2;
        u32 query = pair / group;
        u32 position = positions[i % 4 / 2];
        bool sees = query < asking.queries && position <= asking.position + with.further * query;
        grade(p[i / 4][i % 4], d[i / 4][i % 4], sees, pairs.statistics[pair], pairs.alongs[pair],
              with.scale, weighed<DROPS>(with, pairs, pair, group, position));
    }
    multiply_columns(sums.values, p, pairs.d_outs, column);
    multiply_columns(sums.keys, d, pairs.queries, column);
}

// Zeros for the queries' gradients of the tile's rows: not all of them ask.
template <int WIDTH>
DEVICE void clear_queries(const AttentionGradient& with, u32 first_row, u32 count) {
    u32 group = with.heads / with.shared, wide = group * WIDTH / 8;
    for (u32 i = threadIdx.x; i < count * wide; i += ATTENTION_THREADS) {
        u64 row = (first_row + i / wide) * (u64)(with.heads + 2 * with.shared);
        bf16* head = with.d_qkv + (row + blockIdx.y * group) * WIDTH;
        write<4>(reinterpret_cast<u32*>(head) + i % wide * 4, Vector<u32, 4>{});
    }
}

template <int WIDTH, bool DROPS>
DEVICE void keys_backward(const AttentionGradient& with, const u32* keys, const u32* visits) {
    LAUNCH_MEMORY(bytes);
    auto& memory = *reinterpret_cast<KeyMemory<WIDTH>*>(bytes);
    Vector<u32, 4> tile = read<4>(keys + 4 * blockIdx.x);
    u32 first_row = tile.at[0], count = tile.at[2], visit = tile.at[3];
    u32 end = keys[4 * blockIdx.x + 7];
    auto asking = [&](u32 visit) { return Asking::at(visits + 4 * visit); };
    clear_queries<WIDTH>(with, first_row, count);
    copy_keys(memory.seen, with, count, [&](u32 key) { return first_row + key; });
    copy_pairs<DROPS>(memory.pairs[visit % 2], with, asking(visit));
    async_commit();
    KeySums<WIDTH> sums = {};
    u32 mine[2], positions[2];
    for (int r = 0; r < 2; r++) {
        mine[r] = warp_of_thread() * 16 + lane_of_thread() / 4 + 8 * r;
        positions[r] = mine[r] < count ? tile.at[1] + mine[r] : NONE;
    }
    for (; visit < end; visit++) {
        ASYNC_WAIT(0);
        BLOCK_BARRIER();
        if (visit + 1 < end) {
            copy_pairs<DROPS>(memory.pairs[(visit + 1) % 2], with, asking(visit + 1));
        }
        async_commit();
        for (int column = 0; column < ATTENTION_TILE; column += 32) {
            grade_keys<DROPS>(sums, memory.seen, memory.pairs[visit % 2], with, asking(visit),
                              positions, column);
        }
    }
    for (int r = 0; r < 2; r++) {
        if (mine[r] >= count) continue;
        u64 row = (u64)(first_row + mine[r]) * (with.heads + 2 * with.shared);
        bf16* head = with.d_qkv + (row + with.heads + blockIdx.y) * WIDTH;
        put_row<WIDTH>(head, sums.keys, r);
        put_row<WIDTH>(head + with.shared * WIDTH, sums.values, r);
    }
}

#define GRADIENT_PARAMETERS \
    const bf16* qkv, const bf16* d_out, const float* statistics, const float* alongs, \
        bf16* d_qkv, const u32* from, const u32* to, u32 heads, u32 shared, u32 further, float scale
// One launch's, with what it drops.
#define GRADIENT(dropout) \
    AttentionGradient { \
        qkv, d_out, statistics, alongs, d_qkv, heads, shared, further, scale, dropout \
    }

#define ATTENTION_BACKWARD(width) \
    KERNEL(ATTENTION_THREADS) \
    attention_queries_##width(GRADIENT_PARAMETERS) { \
        queries_backward<width, false>(GRADIENT({}), from, to); \
    } \
    KERNEL(ATTENTION_THREADS) \
    attention_keys_##width(GRADIENT_PARAMETERS) { \
        keys_backward<width, false>(GRADIENT({}), from, to); \
    } \
    KERNEL(ATTENTION_THREADS) \
    dropped_queries_##width(GRADIENT_PARAMETERS, DROPOUT_PARAMETERS) { \
        queries_backward<width, true>(GRADIENT((DROPOUT)), from, to); \
    } \
    KERNEL(ATTENTION_THREADS) \
    dropped_keys_##width(GRADIENT_PARAMETERS, DROPOUT_PARAMETERS) { \
        keys_backward<width, true>(GRADIENT((DROPOUT)), from, to); \
    }
ATTENTION_BACKWARD(64)
ATTENTION_BACKWARD(128)
