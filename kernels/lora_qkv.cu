// Queries, keys and values of a decoder's layer: a product with each row's adapter, as lora.cuh
// says, whose queries and keys are turned by their positions. With x = value[r, head, i] and
// y = value[r, head, i + width / 2], i < width / 2,
//
//   out[r, head, i]             = x · cosine[p, i] − y · sine[p, i]
//   out[r, head, i + width / 2] = y · cosine[p, i] + x · sine[p, i],   p = positions[r].
//
// Shapes:  outputs = heads · width: those that are turned (queries, then keys), then values;
//          positions (rows) u32; table (positions, width) f32: cosines, then sines;
//          out (rows, outputs) bf16.
// Blocks:  as in lora_linear.cu; a step is 32 columns of each half of a head.
// Limits:  width a multiple of 64.
// Bound:   memory: 4 · outputs bytes a row.
// Source:  Su et al., RoFormer (2021), eq. 34, with the halves of a head as pairs.
#include "lora.cuh"

// Turns the pairs of two tiles by the angles of one position.
DEVICE void turn(float (&left)[8], float (&right)[8], const float* cosines, const float* sines) {
    float cosine[8], sine[8];
    read_eight(cosine, cosines);
    read_eight(sine, sines);
    for (int i = 0; i < 8; i++) {
        float x = left[i], y = right[i];
        left[i] = x * cosine[i] - y * sine[i];
        right[i] = y * cosine[i] + x * sine[i];
    }
}

KERNEL(LORA_THREADS)
lora_qkv(LORA_PARAMETERS, const u32* __restrict__ positions,
         const float* __restrict__ table, u32 turned, u32 width, bf16* __restrict__ out) {
    Lora lora = LORA_OF_PARAMETERS(lora_first_row());
    u32 half = width / 2;
    for (u32 pair = blockIdx.y * LORA_COLUMNS; pair < outputs / 2;
         pair += gridDim.y * LORA_COLUMNS) {
        u32 first = pair / half * width + pair % half;
        LoraTile left, right;
        lora_values(left, lora, first);
        lora_values(right, lora, first + half);
        u32 column = lora_column(first);
        for (int which = 0; which < 2; which++) {
            u32 row = lora_row(lora, which);
            if (row >= rows) continue;
            if (first < turned) {
                const float* angles = table + (u64)positions[row] * width + column % width;
                turn(left.values[which], right.values[which], angles, angles + half);
            }
            bf16* to = out + (u64)row * outputs + column;
            write_eight(to, left.values[which]);
            write_eight(to + half, right.values[which]);
        }
    }
}
