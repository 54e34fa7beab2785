// A product with each row's adapter, as lora.cuh says, and
//
//   lora_linear         out[r] = value[r]
//   lora_gelu           out[r] = gelu(value[r]), gelu(x) = x · Φ(x), Φ(x) = (1 + erf(x / √2)) / 2
//   lora_gelu_backward  d[r] = d[r] · (Φ(x) + x · φ(x)), x = value[r], φ(x) = exp(−x² / 2) / √(2π)
//   lora_residual       out[r] = residual[from[r]] + value[r], from[r] = r if there is no from.
//
// Shapes:  out and d (rows, outputs), bf16, but f32 in lora_residual; residual (…, outputs)
//          f32, which may be out itself if there is no from; from (rows) u32, or null.
// Blocks:  (rows / 64, some); a block's steps lie as far apart as there are blocks along y.
// Bound:   memory: 4 · outputs bytes a row, 6 · outputs for lora_gelu_backward, 10 · outputs for
//          lora_residual.
#include "lora.cuh"

constexpr float HALF_ROOT = 0.7071067811865476f; // √½
constexpr float PEAK = 0.3989422804014327f;      // 1 / √(2π)

// Φ: the standard normal distribution.
DEVICE float distribution(float x) { return 0.5f * (1.0f + erff(x * HALF_ROOT)); }

// As lora_put, by all blocks along y.
template <class Out, class Finish>
DEVICE void put_values(const Lora& lora, Out* out, Finish finish) {
    lora_put(lora, blockIdx.y * LORA_COLUMNS, gridDim.y * LORA_COLUMNS, out, finish);
}

KERNEL(LORA_THREADS)
lora_linear(LORA_PARAMETERS, bf16* __restrict__ out) {
    Lora lora = LORA_OF_PARAMETERS(lora_first_row());
    put_values(lora, out, [](float (&)[8], int, u32, u32) {});
}

KERNEL(LORA_THREADS)
lora_gelu(LORA_PARAMETERS, bf16* __restrict__ out) {
    Lora lora = LORA_OF_PARAMETERS(lora_first_row());
    put_values(lora, out, [](float (&x)[8], int, u32, u32) {
        for (int i = 0; i < 8; i++) x[i] *= distribution(x[i]);
    });
}

KERNEL(LORA_THREADS)
lora_gelu_backward(LORA_PARAMETERS, bf16* d) {
    Lora lora = LORA_OF_PARAMETERS(lora_first_row());
    put_values(lora, d, [=](float (&x)[8], int, u32 row, u32 column) {
        float before[8];
        read_eight(before, d + (u64)row * outputs + column);
        for (int i = 0; i < 8; i++) {
            float density = PEAK * expf(-0.5f * x[i] * x[i]);
            x[i] = before[i] * (distribution(x[i]) + x[i] * density);
        }
    });
}

KERNEL(LORA_THREADS)
lora_residual(LORA_PARAMETERS, const float* residual, const u32* from, float* out) {
    Lora lora = LORA_OF_PARAMETERS(lora_first_row());
    put_values(lora, out, [=](float (&x)[8], int, u32 row, u32 column) {
        lora_follow(x, residual, from, row, column, outputs);
    });
}
