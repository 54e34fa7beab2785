// The gradient of out = σ(g) · g · v, with gates g and values v, the halves of a row of x:
//
//   d_g = d_out · v · σ(g) · (1 + g · (1 − σ(g))), d_v = d_out · g · σ(g).
//
// Shapes:  x and d_x (rows, 2 · inner), d_out (rows, inner), all bf16.
// Blocks:  (rows, inner / 2048); a thread has eight gates and their values.
// Limits:  inner a multiple of 8.
// Bound:   memory: 10 · inner bytes a row.
#include "common.cuh"

KERNEL(256)
gated_backward(const bf16* __restrict__ x, const bf16* __restrict__ d_out, bf16* __restrict__ d_x,
               u32 inner) {
    u32 i = (blockIdx.y * blockDim.x + threadIdx.x) * 8;
    if (i >= inner) return;
    u64 row = (u64)blockIdx.x * inner;
    float gates[8], values[8], d[8];
    read_eight(gates, x + 2 * row + i);
    read_eight(values, x + 2 * row + inner + i);
    read_eight(d, d_out + row + i);
    for (int j = 0; j < 8; j++) {
        float open = logistic(gates[j]), opened = gates[j] * open;
        float d_gate = d[j] * values[j] * open * (1.0f + gates[j] * (1.0f - open));
        values[j] = d[j] * opened;
        gates[j] = d_gate;
    }
    write_eight(d_x + 2 * row + i, gates);
    write_eight(d_x + 2 * row + inner + i, values);
}
