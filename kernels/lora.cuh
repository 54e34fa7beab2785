// What follows a product with a weight and all adapters' down-projections: each row adds its own
// adapter's up-projection, and the bias.
//
//   value[r, c] = sums[r, c] + scale · ⟨sums[r, outputs + first …], up[c]⟩ + bias[c]
//
// The weight of the product before is (outputs + Σ ranks, inputs): an adapter's down-projection is
// as many further outputs as it has ranks, rounded to bf16 like all of them. Ranks are filled up
// with zeros to multiples of 16, the depth of a product of matrix units.
//
// Where the product was one of FP8 numbers, they stand for row_scales[r] and scales[c] times as
// much, and the ups have their ranks' scales in them:
//
//   value[r, c] = row_scales[r] · (scales[c] · sums[r, c] + scale · ⟨…⟩) + bias[c]
//
// Shapes:  sums (rows, stride) bf16; ups bf16, each adapter's (outputs, ranks) after the other;
//          adapters (adapters, 4) u32: first of its columns after the outputs, ranks, where its
//          matrix begins in ups, bits of its scale; chosen (rows) u32, the row's adapter or NONE;
//          bias (outputs) f32, or null for 0; row_scales (rows), scales (outputs) f32, or null
//          for 1, both.
// Warps:   16 rows by 32 columns at a time. Lane l, g = l / 4, t = l % 4, has rows g and g + 8 at
//          columns 8t … 8t + 7, so that it reads and writes 16 bytes: the columns of the matrix
//          units' four products are spread over the 32 to that end.
// Order:   a row's sums depend on its own numbers alone: other rows' adapters are computed beside
//          it and not taken.
// Limits:  outputs and stride multiples of 8, ranks of 16.
// Source:  Hu et al., LoRA (2021), eq. 3.
#pragma once
#include "common.cuh"

constexpr int LORA_ROWS = 16;    // of a warp
constexpr int LORA_COLUMNS = 32; // of a warp's step
constexpr int LORA_THREADS = 128;

struct Lora {
    const bf16* sums;
    const bf16* ups;
    const u32* adapters;
    const u32* chosen;
    const float* bias;
    const float* row_scales;
    const float* scales;
    u32 rows, outputs, stride;
    u32 first_row; // of a warp's
};

// What a kernel of this kind takes first, and what it makes of that.
#define LORA_PARAMETERS \
    const bf16 *sums, const bf16 *ups, const u32 *adapters, const u32 *chosen, const float *bias, \
        const float *row_scales, const float *scales, u32 rows, u32 outputs, u32 stride
#define LORA_OF_PARAMETERS(first_row) \
    Lora { sums, ups, adapters, chosen, bias, row_scales, scales, rows, outputs, stride, first_row }

// What a lane has of a step.
struct LoraTile {
    float values[2][8];
};

// Where a warp's rows begin: a block's warps have rows one after the other.
DEVICE u32 lora_first_row() {
    return (blockIdx.x * (LORA_THREADS / WARP) + warp_of_thread()) * LORA_ROWS;
}

// A lane's two rows.
DEVICE u32 lora_row(const Lora& lora, int which) {
    return lora.first_row + lane_of_thread() / 4 + 8 * which;
}

// The first of a lane's eight columns.
DEVICE u32 lora_column(u32 first) { return first + lane_of_thread() % 4 * 8; }

DEVICE u32 two_at(const bf16* from) { return *reinterpret_cast<const u32*>(from); }

// (16, 32) = the rows' numbers in an adapter's columns · up[first …]ᵀ, in the layout of `multiply`.
DEVICE void lora_product(float (&products)[4][4], const Lora& lora, Vector<u32, 4> adapter,
                         u32 first) {
    int g = lane_of_thread() / 4, t = lane_of_thread() % 4;
    u32 ranks = adapter.at[1];
    const bf16* down = lora.sums + lora.outputs + adapter.at[0] + 2 * t;
    const bf16* upper = down + (u64)min(lora_row(lora, 0), lora.rows - 1) * lora.stride;
    const bf16* lower = down + (u64)min(lora_row(lora, 1), lora.rows - 1) * lora.stride;
    const bf16* up = lora.ups + adapter.at[2] + 2 * t;
    for (int j = 0; j < 4; j++) {
        for (int i = 0; i < 4; i++) products[j][i] = 0.0f;
    }
    for (u32 k = 0; k < ranks; k += 16) {
        u32 a[4] = {two_at(upper + k), two_at(lower + k), two_at(upper + k + 8),
                    two_at(lower + k + 8)};
#pragma unroll
        for (int j = 0; j < 4; j++) {
            u32 column = min(first + g / 2 * 8 + 2 * j + g % 2, lora.outputs - 1);
            const bf16* b = up + (u64)column * ranks + k;
            multiply(products[j], a, two_at(b), two_at(b + 8));
        }
    }
}

// Adds each row's adapter to the tile.
DEVICE void lora_add(LoraTile& tile, const Lora& lora, u32 first) {
    int lane = lane_of_thread(), g = lane / 4;
    u32 row = lora.first_row + lane;
    u32 mine = lane < LORA_ROWS && row < lora.rows ? lora.chosen[row] : NONE;
    for (u32 left = ballot(mine != NONE); left != 0;) {
        u32 chosen = shuffle(mine, lowest_bit(left));
        u32 same = ballot(mine == chosen);
        left &= ~same;
        Vector<u32, 4> adapter = read<4>(lora.adapters + 4 * chosen);
        float scale = float_of(adapter.at[3]), products[4][4];
        lora_product(products, lora, adapter, first);
#pragma unroll
        for (int which = 0; which < 2; which++) {
            if ((same >> (g + 8 * which) & 1) == 0) continue;
            for (int i = 0; i < 8; i++) {
                tile.values[which][i] += scale * products[i / 2][2 * which + i % 2];
            }
        }
    }
}

// The values of a step, from column `first` on. What lies outside rows or outputs means nothing.
DEVICE void lora_values(LoraTile& tile, const Lora& lora, u32 first) {
    u32 column = lora_column(first);
    bool inside = column < lora.outputs;
#pragma unroll
    for (int which = 0; which < 2; which++) {
        u32 row = lora_row(lora, which);
        if (inside && row < lora.rows) {
            read_eight(tile.values[which], lora.sums + (u64)row * lora.stride + column);
        } else {
            for (int i = 0; i < 8; i++) tile.values[which][i] = 0.0f;
        }
    }
    if (lora.scales && inside) {
        float scales[8];
        read_eight(scales, lora.scales + column);
        for (int i = 0; i < 16; i++) tile.values[i / 8][i % 8] *= scales[i % 8];
    }
    lora_add(tile, lora, first);
    if (lora.row_scales) {
#pragma unroll
        for (int which = 0; which < 2; which++) {
            float scale = lora.row_scales[min(lora_row(lora, which), lora.rows - 1)];
            for (int i = 0; i < 8; i++) tile.values[which][i] *= scale;
        }
    }
    if (lora.bias && inside) {
        float bias[8];
        read_eight(bias, lora.bias + column);
        for (int i = 0; i < 16; i++) tile.values[i / 8][i % 8] += bias[i % 8];
    }
}

// Every step from column `first` on, so far apart: writes a lane's eight values of a row after
// `finish(values, which, row, column)`.
template <class Out, class Finish>
DEVICE void lora_put(const Lora& lora, u32 first, u32 apart, Out* out, Finish finish) {
    for (; first < lora.outputs; first += apart) {
        LoraTile tile;
        lora_values(tile, lora, first);
        u32 column = lora_column(first);
#pragma unroll
        for (int which = 0; which < 2; which++) {
            u32 row = lora_row(lora, which);
            if (row >= lora.rows || column >= lora.outputs) continue;
            finish(tile.values[which], which, row, column);
            write_eight(out + (u64)row * lora.outputs + column, tile.values[which]);
        }
    }
}

// Adds a row of the stream to values: that of `from[row]`, or its own.
DEVICE void lora_follow(float (&values)[8], const float* residual, const u32* from, u32 row,
                        u32 column, u32 outputs) {
    float before[8];
    read_eight(before, residual + (u64)(from ? from[row] : row) * outputs + column);
    for (int i = 0; i < 8; i++) values[i] += before[i];
}
