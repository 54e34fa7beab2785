// What attention and its gradient share: tiles of rows in shared memory, and products with them.
#pragma once
#include "common.cuh"

constexpr int ATTENTION_TILE = 64; // pairs of a block; keys of a step
constexpr int ATTENTION_THREADS = 128;
constexpr float LOG2_E = 1.4426950408889634f;
constexpr float LN_2 = 0.6931471805599453f;

// Rows of WIDTH numbers, 64 columns after the other: rows of 128 bytes, whose pieces of 16 lie
// where the lowest three bits of row and piece differ, so that no two rows of a matrix load share
// banks. That is what PTX calls the 128-byte swizzle, if a tile begins at a multiple of 1024 bytes.
template <int WIDTH>
struct AttentionTile {
    bf16 at[ATTENTION_TILE * WIDTH];

    // Where a piece of eight numbers of a row is.
    METHOD bf16* piece(int row, int piece) {
        return half(piece / 8) + row * 64 + ((piece % 8 ^ (row & 7)) << 3);
    }

    // Where each row's numbers from 64 · which on are.
    METHOD bf16* half(int which) { return at + which * ATTENTION_TILE * 64; }
};

// The row of a position; `segment`, the path's first or one that does not lie after the position,
// becomes the position's: who asks for one position after the other finds each where it is.
DEVICE u32 row_of(const u32* segments, u32& segment, u32 position) {
    while (position >= segments[2 * segment]) segment++;
    return position + segments[2 * segment + 1];
}

// Queries that follow each other, each with the heads of a group: 64 pairs at most.
struct Asking {
    u32 row, position, queries, out_row; // of the first: its row, its position, its output's row

    METHOD static Asking at(const u32* from) { return {from[0], from[1], from[2], from[3]}; }
};

// The 16 × 16 numbers of a warp's rows from `first` on, as the left operand of `multiply`.
template <int WIDTH>
DEVICE void load_left(u32 (&a)[4], AttentionTile<WIDTH>& tile, int first, int k) {
    int lane = lane_of_thread();
    load_matrices(a, tile.piece(first + lane % 16, k * 2 + lane / 16));
}

// sums (16, 8 · N) = left · rightᵀ, left a warp's rows of WIDTH from `first` on, right the rows
// from `column` on.
template <int WIDTH, int N>
DEVICE void multiply_rows(float (&sums)[N][4], AttentionTile<WIDTH>& left, int first,
                          AttentionTile<WIDTH>& right, int column) {
    int lane = lane_of_thread();
    for (int i = 0; i < 4 * N; i++) sums[i / 4][i % 4] = 0.0f;
#pragma unroll
    for (int k = 0; k < WIDTH / 32; k++) {
        u32 near[4], far[4];
        load_left(near, left, first, 2 * k);
        load_left(far, left, first, 2 * k + 1);
#pragma unroll
        for (int n = 0; n < N; n++) {
            u32 b[4];
            load_matrices(b, right.piece(column + n * 8 + lane % 8, k * 4 + lane / 8));
            multiply(sums[n], near, b[0], b[1]);
            multiply(sums[n], far, b[2], b[3]);
        }
    }
}

// sums (16, WIDTH) += left (16, 8 · N), rounded to bf16, · the rows of the tile from `row` on.
template <int WIDTH, int N>
DEVICE void multiply_columns(float (&sums)[WIDTH / 8][4], const float (&left)[N][4],
                             AttentionTile<WIDTH>& right, int row) {
    int lane = lane_of_thread();
#pragma unroll
    for (int k = 0; k < N / 2; k++) {
        const float(&low)[4] = left[2 * k], (&high)[4] = left[2 * k + 1];
        u32 a[4] = {pack_bf16(low[0], low[1]), pack_bf16(low[2], low[3]),
                    pack_bf16(high[0], high[1]), pack_bf16(high[2], high[3])};
#pragma unroll
        for (int n = 0; n < WIDTH / 16; n++) {
            u32 b[4];
            load_matrices_turned(b, right.piece(row + k * 16 + lane % 16, n * 2 + lane / 16));
            multiply(sums[2 * n], a, b[0], b[1]);
            multiply(sums[2 * n + 1], a, b[2], b[3]);
        }
    }
}
