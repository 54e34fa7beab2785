// out[t] = table[rows[t]] where rows[t] ≥ 0, else own[−1 − rows[t]]: a decoder's embeddings, some
// of them an adapter's own.
//
// Shapes:  table (vocabulary, hidden) and own (trained rows, hidden) bf16; rows (tokens) i32;
//          out (tokens, hidden) f32, the residual stream.
// Blocks:  one for each token; a thread copies eight numbers at a time.
// Limits:  hidden a multiple of 8.
// Bound:   memory: 6 · hidden bytes a token.
#include "common.cuh"

KERNEL(256)
lookup(const bf16* __restrict__ table, const bf16* __restrict__ own, const int* __restrict__ rows,
       float* __restrict__ out, u32 hidden) {
    int row = rows[blockIdx.x];
    const bf16* from = row >= 0 ? table + (u64)row * hidden : own + (u64)(-1 - row) * hidden;
    float* to = out + (u64)blockIdx.x * hidden;
    for (u32 i = threadIdx.x * 8; i < hidden; i += blockDim.x * 8) {
        float values[8];
        read_eight(values, from + i);
        write_eight(to + i, values);
    }
}
