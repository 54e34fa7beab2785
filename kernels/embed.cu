// out[t] = drop(scale · item_table[items[t]] + position_table[positions[t]]
//               + kind_table[kinds[t]]),
//
// without kinds and with a scale of √hidden in a retriever, with a scale of 1 in a text encoder.
//
// Shapes:  items, positions and kinds (tokens) u32; item_table (items, hidden), position_table
//          (positions, hidden) and kind_table (kinds, hidden) f32; out (tokens, hidden) f32. Kinds
//          and their table may be null: 0.
// Blocks:  (tokens, hidden / 256), narrower ones for fewer columns; a thread has a number.
// Bound:   memory: 12 · hidden bytes a token, 16 with kinds.
// Source:  Kang and McAuley, Self-Attentive Sequential Recommendation (2018), §III-A.
#include "dropout.cuh"

KERNEL(256)
embed(const u32* __restrict__ items, const u32* __restrict__ positions,
      const u32* __restrict__ kinds, const float* __restrict__ item_table,
      const float* __restrict__ position_table, const float* __restrict__ kind_table,
      float* __restrict__ out, u32 hidden, float item_scale, DROPOUT_PARAMETERS) {
    u32 token = blockIdx.x, column = blockIdx.y * blockDim.x + threadIdx.x;
    if (column >= hidden) return;
    float x = position_table[(u64)positions[token] * hidden + column];
    x += item_scale * item_table[(u64)items[token] * hidden + column];
    if (kinds) x += kind_table[(u64)kinds[token] * hidden + column];
    out[(u64)token * hidden + column] = drop(DROPOUT, token, column, x);
}
