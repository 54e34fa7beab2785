// As grouped_attention.cu, for Hopper: its products are those of a group of four warps, from shared
// memory, where the 64 pairs of a block are the 64 rows of a product.
//
// Shapes, blocks and order: as there. A pair's sums go over the same keys in the same steps; the
// bits differ from those of the other kernel, whose products add in another order.
// Copies:  a tile of keys and values that lies in one segment, with all of its 64 positions seen,
//          comes by bulk copies, which one thread begins: boxes of 64 rows and 64 columns. Any
//          other comes by copies of 16 bytes: a box is 64 rows that follow each other, so what
//          lies in two segments is none; and rows that no query of the block sees must be zeros,
//          since 0 times what is no number is none either. The bytes are the same either way.
//          Queries, of several heads and rows, come by copies of 16 bytes.
// Memory:  as there, and an mbarrier for each of the two tiles; tiles are in the 128-byte swizzle
//          that bulk copies write and products read.
// Limits:  as there; keys begin at a multiple of 16 bytes, and `map` is of the 2 · shared · width
//          columns of keys and values.
// Source:  Shah et al., FlashAttention-3 (2024), §3.1, without the overlap of two groups.
#include "attention_forward.cuh"
#include "group_score.cuh"

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
    auto& out = reinterpret_cast<GroupSums<WIDTH>&>(sums.out).out;
#pragma unroll
    for (int half = 0; half < WIDTH / 64; half++) group_hold(out[half]);
    group_fence();
    u64 rows = swizzled(values.half(0));
#pragma unroll
    for (int half = 0; half < WIDTH / 64; half++) {
#pragma unroll
        for (int k = 0; k < 4; k++) {
            group_multiply_columns(out[half], left[k], further(rows, (half * 64 + k * 16) * 64));
        }
    }
    group_commit();
    GROUP_WAIT(0);
    group_hold(left);
#pragma unroll
    for (int half = 0; half < WIDTH / 64; half++) group_hold(out[half]);
}

// `come` is where bulk copies of a step's keys and values tell that they have come.
template <int WIDTH>
struct HopperMemory {
    AttentionMemory<WIDTH> tiles;
    u64 come[2];
};

// Begins the bulk copies of a step's keys and values, which lie from `row` on.
template <int WIDTH>
DEVICE void copy_boxes(HopperMemory<WIDTH>& memory, const TensorMap& map, const Attention& with,
                       int step, u32 row) {
    auto &keys = memory.tiles.keys[step % 2], &values = memory.tiles.values[step % 2];
    u64* come = &memory.come[step % 2];
    MBARRIER_EXPECT(come, (u32)(sizeof(keys) + sizeof(values)));
#pragma unroll
    for (int half = 0; half < WIDTH / 64; half++) {
        u32 column = blockIdx.y * WIDTH + half * 64;
        bulk_copy(keys.half(half), map, column, row, come);
        bulk_copy(values.half(half), map, with.shared * WIDTH + column, row, come);
    }
}

// Begins to bring a step's keys and values; whether by bulk copies, which all threads find alike.
// `segment` is where the first position of the step before was; the path's first, to begin with.
template <int WIDTH>
DEVICE bool bring(HopperMemory<WIDTH>& memory, const TensorMap& map, const Attention& with,
                  int step, u32& segment) {
    u32 first = step * ATTENTION_TILE, row = row_of(with.segments, segment, first);
    if (first + ATTENTION_TILE <= min(with.seen, with.segments[2 * segment])) {
        if (threadIdx.x == 0) copy_boxes(memory, map, with, step, row);
        return true;
    }
    u32 own = segment;
    copy_seen(memory.tiles, with, step, own);
    return false;
}

template <int WIDTH>
DEVICE void grouped_attention_hopper(const TensorMap& map, const bf16* qkv, const bf16* keys,
                                     const u32* segments, const u32* tiles, bf16* out,
                                     float* statistics, u32 heads, u32 shared, u32 stride,
                                     u32 further, float scale) {
    LAUNCH_MEMORY(bytes);
    auto& memory = *reinterpret_cast<HopperMemory<WIDTH>*>(bytes);
    u32 group = heads / shared, segment;
    Attention with =
        attention_of(qkv, keys, segments, tiles, heads, shared, stride, further, segment);
    if (threadIdx.x == 0) {
        for (int i = 0; i < 2; i++) mbarrier_init(&memory.come[i]);
        SHARED_FENCE(); // the bulk copies will tell them of their bytes
    }
    AttentionSums<WIDTH> sums;
    int sees[2];
    begin(sums, sees, with, group);
    copy_queries(memory.tiles.queries, with, group);
    bool in_bulk = bring(memory, map, with, 0, segment);
    async_commit();
    u32 parities = 0; // bit i: of the phase in which the mbarrier i is
    int steps = (with.seen + ATTENTION_TILE - 1) / ATTENTION_TILE;
    for (int step = 0; step < steps; step++) {
        int at = step % 2;
        bool comes_in_bulk = in_bulk;
        // What came by 16 bytes for this step has come, for everybody; and nobody is still at the
        // tiles of the one before.
        if (step == 0 || !comes_in_bulk) { // to begin with, the queries
            ASYNC_WAIT(0);
            SHARED_FENCE();
        }
        BLOCK_BARRIER();
        if (step + 1 < steps) in_bulk = bring(memory, map, with, step + 1, segment);
        async_commit();
        if (comes_in_bulk) {
            MBARRIER_WAIT(&memory.come[at], parities >> at & 1);
            parities ^= 1u << at;
        }
        float scores[8][4];
        group_score(scores, memory.tiles.queries, memory.tiles.keys[at]);
        soften(sums, scores, sees, step * ATTENTION_TILE, scale * LOG2_E);
        group_mix(sums, scores, memory.tiles.values[at]);
    }
    put(sums, with, group, out, statistics);
}

KERNEL(ATTENTION_THREADS)
hopper_attention_64(TENSOR_MAP(map), ATTENTION_PARAMETERS) {
    grouped_attention_hopper<64>(map, ATTENTION_ARGUMENTS);
}

KERNEL(ATTENTION_THREADS)
hopper_attention_128(TENSOR_MAP(map), ATTENTION_PARAMETERS) {
    grouped_attention_hopper<128>(map, ATTENTION_ARGUMENTS);
}
