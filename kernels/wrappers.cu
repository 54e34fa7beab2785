// The wrappers of instructions.cuh by themselves: what they move is where instructions.cuh says.
//
// Shapes:  wrapped_multiply: left (16, 16), right (8, 16) bf16, out (16, 8) f32 = left · rightᵀ;
//          wrapped_matrices: rows (32, 8) bf16: four matrices, copied to shared memory, where
//          they lie so many times 16 bytes apart; out (2, 32, 4) u32: each lane's parts, straight,
//          then turned; wrapped_group: left (64, 64)
//          and right (64, 64) bf16, out (2, 64, 64) f32: left · rightᵀ, then left · right;
//          wrapped_bulk: out (boxes, 64, 64) bf16: the boxes of `map` that begin at a column and
//          at row 0, 64, 128 …, one after the other through the same memory.
// Blocks:  one, of one warp; of four warps for wrapped_group and wrapped_bulk.
#include "attention.cuh"
#include "hopper.cuh"

KERNEL(WARP)
wrapped_multiply(const bf16* __restrict__ left, const bf16* __restrict__ right,
                 float* __restrict__ out) {
    int g = lane_of_thread() / 4, t = lane_of_thread() % 4;
    auto two = [](const bf16* from) { return from[0].bits | (u32)from[1].bits << 16; };
    u32 a[4];
    for (int i = 0; i < 4; i++) a[i] = two(left + (g + i % 2 * 8) * 16 + 2 * t + i / 2 * 8);
    float sums[4] = {};
    multiply(sums, a, two(right + g * 16 + 2 * t), two(right + g * 16 + 2 * t + 8));
    for (int i = 0; i < 4; i++) out[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = sums[i];
}

KERNEL(WARP)
wrapped_matrices(const bf16* __restrict__ rows, u32* __restrict__ out, u32 apart) {
    LAUNCH_MEMORY(bytes);
    bf16* row = reinterpret_cast<bf16*>(bytes) + lane_of_thread() * apart * 8;
    async_copy(row, rows + lane_of_thread() * 8, lane_of_thread() != 31); // the last one is zeros
    async_commit();
    ASYNC_WAIT(0);
    WARP_BARRIER();
    u32 straight[4], turned[4];
    load_matrices(straight, row);
    load_matrices_turned(turned, row);
    for (int i = 0; i < 4; i++) {
        out[lane_of_thread() * 4 + i] = straight[i];
        out[(WARP + lane_of_thread()) * 4 + i] = turned[i];
    }
}

// A lane's numbers of a group's product, to where they belong.
DEVICE void put_group(float* out, const float (&sums)[8][4]) {
    int g = lane_of_thread() / 4, t = lane_of_thread() % 4;
    for (int i = 0; i < 32; i++) {
        int row = warp_of_thread() * 16 + g + i % 4 / 2 * 8;
        out[row * 64 + i / 4 * 8 + 2 * t + i % 2] = sums[i / 4][i % 4];
    }
}

KERNEL(ATTENTION_THREADS)
wrapped_group(const bf16* __restrict__ left, const bf16* __restrict__ right,
              float* __restrict__ out) {
    LAUNCH_MEMORY(bytes);
    auto* tiles = reinterpret_cast<AttentionTile<64>*>(bytes);
    for (int i = threadIdx.x; i < 64 * 8; i += ATTENTION_THREADS) {
        async_copy(tiles[0].piece(i / 8, i % 8), left + i * 8, true);
        async_copy(tiles[1].piece(i / 8, i % 8), right + i * 8, true);
    }
    async_commit();
    ASYNC_WAIT(0);
    SHARED_FENCE();
    BLOCK_BARRIER();
    float rows[8][4] = {}, columns[8][4] = {};
    u32 parts[4][4];
#pragma unroll
    for (int k = 0; k < 4; k++) load_left(parts[k], tiles[0], warp_of_thread() * 16, k);
    group_hold(rows);
    group_hold(columns);
    group_fence();
    u64 a = swizzled(tiles[0].half(0)), b = swizzled(tiles[1].half(0));
#pragma unroll
    for (int k = 0; k < 4; k++) {
        group_multiply(rows, further(a, k * 16), further(b, k * 16));
        group_multiply_columns(columns, parts[k], further(b, k * 16 * 64));
    }
    group_commit();
    GROUP_WAIT(0);
    group_hold(parts);
    group_hold(rows);
    group_hold(columns);
    put_group(out, rows);
    put_group(out + 64 * 64, columns);
}

KERNEL(ATTENTION_THREADS)
wrapped_bulk(TENSOR_MAP(map), bf16* __restrict__ out, u32 column, u32 boxes) {
    LAUNCH_MEMORY(bytes);
    auto& tile = *reinterpret_cast<AttentionTile<64>*>(bytes);
    u64* come = reinterpret_cast<u64*>(bytes + sizeof(tile));
    if (threadIdx.x == 0) {
        mbarrier_init(come);
        SHARED_FENCE();
    }
    for (u32 box = 0; box < boxes; box++) {
        // Nobody is still at the box before; and the mbarrier is there.
        BLOCK_BARRIER();
        if (threadIdx.x == 0) {
            MBARRIER_EXPECT(come, (u32)sizeof(tile));
            bulk_copy(tile.half(0), map, column, box * 64, come);
        }
        MBARRIER_WAIT(come, box % 2);
        for (int i = threadIdx.x; i < 64 * 8; i += ATTENTION_THREADS) {
            write<8>(out + box * 64 * 64 + i * 8, read<8>(tile.piece(i / 8, i % 8)));
        }
    }
}
