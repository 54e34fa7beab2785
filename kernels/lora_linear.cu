// A product with each row's adapter, as lora.cuh says, and
//
//   lora_linear    out[r] = value[r]
//   lora_gelu      out[r] = gelu(value[r]), gelu(x) = x · (1 + erf(x / √2)) / 2
//   lora_residual  out[r] = residual[from[r]] + value[r], where from[r] = r if there is no from.
//
// Shapes:  out (rows, outputs), bf16, but f32 in lora_residual; residual (…, outputs)
//          f32, which may be out itself if there is no from; from (rows) u32, or null.
// Blocks:  (rows / 64, some); a block's steps lie as far apart as there are blocks along y.
// Bound:   memory: 4 · outputs bytes a row, 10 · outputs for lora_residual.
#include "lora.cuh"

constexpr float HALF_ROOT = 0.7071067811865476f; // √½

// Writes each value after `finish`.
template <class Finish>
DEVICE void put_values(const Lora& lora, bf16* out, Finish finish) {
    for (u32 first = blockIdx.y * LORA_COLUMNS; first < lora.outputs;
         first += gridDim.y * LORA_COLUMNS) {
        LoraTile tile;
        lora_values(tile, lora, first);
        u32 column = lora_column(first);
        for (int which = 0; which < 2; which++) {
            u32 row = lora_row(which);
            if (row >= lora.rows || column >= lora.outputs) continue;
            for (int i = 0; i < 8; i++) tile.values[which][i] = finish(tile.values[which][i]);
            write_eight(out + (u64)row * lora.outputs + column, tile.values[which]);
        }
    }
}

KERNEL(LORA_THREADS)
lora_linear(LORA_PARAMETERS, bf16* __restrict__ out) {
    Lora lora = LORA_OF_PARAMETERS;
    put_values(lora, out, [](float x) { return x; });
}

KERNEL(LORA_THREADS)
lora_gelu(LORA_PARAMETERS, bf16* __restrict__ out) {
    Lora lora = LORA_OF_PARAMETERS;
    put_values(lora, out, [](float x) { return 0.5f * x * (1.0f + erff(x * HALF_ROOT)); });
}

KERNEL(LORA_THREADS)
lora_residual(LORA_PARAMETERS, const float* residual,
              const u32* from, float* out) {
    Lora lora = LORA_OF_PARAMETERS;
    for (u32 first = blockIdx.y * LORA_COLUMNS; first < outputs;
         first += gridDim.y * LORA_COLUMNS) {
        LoraTile tile;
        lora_values(tile, lora, first);
        u32 column = lora_column(first);
        for (int which = 0; which < 2; which++) {
            u32 row = lora_row(which);
            if (row >= rows || column >= outputs) continue;
            float before[8];
            read_eight(before, residual + (u64)(from ? from[row] : row) * outputs + column);
            for (int i = 0; i < 8; i++) before[i] += tile.values[which][i];
            write_eight(out + (u64)row * outputs + column, before);
        }
    }
}
