// A product with each row's adapter, as lora.cuh says, whose first half are gates:
//
//   out[r, c] = σ(value[r, c]) · value[r, c] · value[r, inner + c], with the logistic function σ.
//
// Shapes:  outputs = 2 · inner; out (rows, inner) bf16. The gates are not rounded on the way.
// Blocks:  as in lora_linear.cu.
// Bound:   memory: 6 · inner bytes a row.
// Source:  Shazeer, GLU Variants Improve Transformer (2020), eq. 6 (SwiGLU).
#include "lora.cuh"

KERNEL(LORA_THREADS)
lora_gated(LORA_PARAMETERS, bf16* __restrict__ out) {
    Lora lora = LORA_OF_PARAMETERS(lora_first_row());
    u32 inner = outputs / 2;
    for (u32 first = blockIdx.y * LORA_COLUMNS; first < inner; first += gridDim.y * LORA_COLUMNS) {
        LoraTile gates, values;
        lora_values(gates, lora, first);
        lora_values(values, lora, inner + first);
        u32 column = lora_column(first);
        for (int which = 0; which < 2; which++) {
            u32 row = lora_row(lora, which);
            if (row >= rows || column >= inner) continue;
            for (int i = 0; i < 8; i++) {
                float gate = gates.values[which][i];
                values.values[which][i] *= gate * logistic(gate);
            }
            write_eight(out + (u64)row * inner + column, values.values[which]);
        }
    }
}
