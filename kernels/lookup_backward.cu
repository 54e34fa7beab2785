// The gradient of rows that were looked up, and of what they were multiplied with:
//
//   d_rows[r] += scale · Σ over the uses u of row r, in their order, of weights[u] · x[u / each],
//
// where a token has `each` uses, which without weights count once. Of a row that is used often, 64
// uses at a time are a piece: its sums go to parts, which are added in their order.
//
// Shapes:  x (tokens, hidden) f32 or bf16; weights (tokens · each) f32 or null; uses u32, those of
//          a row next to each other; pieces (pieces, 4) u32: the first of its uses, where they end,
//          its row, its part, or none if it is all of its row; d_rows (rows, hidden) f32; parts
//          (parts, hidden) f32; many (rows with parts, 3) u32: a row, the first of its parts, where
//          they end.
// Blocks:  (pieces, hidden / threads), and (rows with parts, hidden / threads); a thread has a
//          column.
// Bound:   memory: 4 or 2 · hidden bytes a use.
#include "common.cuh"

template <class T>
DEVICE void lookup_backward(const T* x, const float* weights, const u32* pieces, const u32* uses,
                            float* d_rows, float* parts, u32 hidden, u32 each, float scale) {
    u32 i = blockIdx.y * blockDim.x + threadIdx.x;
    if (i >= hidden) return;
    Vector<u32, 4> piece = read<4>(pieces + 4 * blockIdx.x);
    u32 row = piece.at[2], part = piece.at[3];
    float sum = 0.0f;
    for (u32 at = piece.at[0]; at < piece.at[1]; at++) {
        u32 use = uses[at];
        float number = to_float(x[(u64)(use / each) * hidden + i]);
        sum += weights ? weights[use] * number : number;
    }
    if (part == NONE) {
        d_rows[(u64)row * hidden + i] += scale * sum;
    } else {
        parts[(u64)part * hidden + i] = scale * sum;
    }
}

#define LOOKUP_BACKWARD(name, T) \
    KERNEL(256) \
    name(const T* __restrict__ x, const float* __restrict__ weights, \
         const u32* __restrict__ pieces, const u32* __restrict__ uses, \
         float* __restrict__ d_rows, float* __restrict__ parts, u32 hidden, u32 each, \
         float scale) { \
        lookup_backward(x, weights, pieces, uses, d_rows, parts, hidden, each, scale); \
    }
LOOKUP_BACKWARD(lookup_backward_f32, float)
LOOKUP_BACKWARD(lookup_backward_bf16, bf16)

KERNEL(256)
lookup_backward_parts(const float* __restrict__ parts, const u32* __restrict__ many,
                      float* __restrict__ d_rows, u32 hidden) {
    u32 i = blockIdx.y * blockDim.x + threadIdx.x;
    if (i >= hidden) return;
    const u32* row = many + 3 * blockIdx.x;
    float sum = 0.0f;
    for (u32 part = row[1]; part < row[2]; part++) sum += parts[(u64)part * hidden + i];
    d_rows[(u64)row[0] * hidden + i] += sum;
}
