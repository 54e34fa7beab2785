// What the two kernels of attention share: how a block's rows come in copies of 16 bytes, the
// running softmax, and how its sums leave. See grouped_attention.cu.
#pragma once
#include "attention.cuh"

constexpr float UNSEEN = -1e30f; // finite: the difference of two is a number

struct Attention {
    const bf16 *qkv, *keys;
    const u32* segments;
    u32 heads, shared, stride;
    // Of this block: its queries, how many more positions each sees than the one before, and how
    // many the last of them sees.
    Asking asking;
    u32 further, seen;
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
        bool there = pair / group < with.asking.queries;
        u64 row = with.asking.row + (there ? pair / group : 0);
        u32 head = blockIdx.y * group + pair % group;
        const bf16* from = with.qkv + (row * (with.heads + 2 * with.shared) + head) * WIDTH;
        async_copy(tile.piece(pair, piece), from + piece * 8, there);
    }
}

// Keys and values of the step's 64 positions; zeros for those that nobody sees. `segment` is where
// the thread's positions were in the step before: in the path's first one, to begin with.
template <int WIDTH>
DEVICE void copy_seen(AttentionMemory<WIDTH>& memory, const Attention& with, int step,
                      u32& segment) {
    constexpr int PIECES = WIDTH / 8;
    for (int i = threadIdx.x; i < ATTENTION_TILE * PIECES; i += ATTENTION_THREADS) {
        int key = i / PIECES, piece = i % PIECES;
        u32 position = step * ATTENTION_TILE + key;
        bool there = position < with.seen;
        u64 row = row_of(with.segments, segment, there ? position : with.seen - 1);
        const bf16* from = with.keys + (row * with.stride + blockIdx.y) * WIDTH + piece * 8;
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
DEVICE void put(const AttentionSums<WIDTH>& sums, const Attention& with, u32 group, bf16* out,
                float* statistics) {
    int lane = lane_of_thread(), t = lane % 4;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        u32 pair = warp_of_thread() * 16 + lane / 4 + 8 * r;
        if (pair / group >= with.asking.queries) continue;
        u32 head = blockIdx.y * group + pair % group;
        u64 at = (u64)(with.asking.out_row + pair / group) * with.heads + head;
        float inverse = 1.0f / sums.total[r];
        u32* to = reinterpret_cast<u32*>(out + at * WIDTH) + t;
#pragma unroll
        for (int n = 0; n < WIDTH / 8; n++) {
            to[n * 4] = pack_bf16(sums.out[n][2 * r] * inverse, sums.out[n][2 * r + 1] * inverse);
        }
        if (t == 0) statistics[at] = sums.largest[r] * LN_2 + logf(sums.total[r]);
    }
}

// What a lane begins with: `sees[r]` is the last position that its pair r sees.
template <int WIDTH>
DEVICE void begin(AttentionSums<WIDTH>& sums, int (&sees)[2], const Attention& with, u32 group) {
    for (int r = 0; r < 2; r++) {
        u32 query = (warp_of_thread() * 16 + lane_of_thread() / 4 + 8 * r) / group;
        sees[r] = with.asking.position + with.further * min(query, with.asking.queries - 1);
        sums.largest[r] = UNSEEN;
        sums.total[r] = 0.0f;
    }
    for (int i = 0; i < WIDTH / 2; i++) sums.out[i / 4][i % 4] = 0.0f;
}

// The block's tile of `tiles`, and the first segment of its path.
DEVICE Attention attention_of(const bf16* qkv, const bf16* keys, const u32* segments,
                              const u32* tiles, u32 heads, u32 shared, u32 stride,
                              u32 further, u32& segment) {
    const u32* tile = tiles + 5 * blockIdx.x;
    segment = tile[0];
    Asking asking = Asking::at(tile + 1);
    u32 seen = asking.position + 1 + further * (asking.queries - 1);
    return {qkv, keys, segments, heads, shared, stride, asking, further, seen};
}

// What the kernels of every width take.
#define ATTENTION_PARAMETERS \
    const bf16* __restrict__ qkv, const bf16* __restrict__ keys, \
        const u32* __restrict__ segments, const u32* __restrict__ tiles, bf16* __restrict__ out, \
        float* __restrict__ statistics, u32 heads, u32 shared, u32 stride, u32 further, float scale
#define ATTENTION_ARGUMENTS \
    qkv, keys, segments, tiles, out, statistics, heads, shared, stride, further, scale
