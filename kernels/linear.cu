// What follows a product with a weight element by element, and its gradient:
//
//   linear           out[r] = drop(activation(sums[r] + bias)) + residual[r],
//   linear_backward  d_sums[r] = drop(d_out[r]), and 0 where the activation was not above 0.
//
// Shapes:  sums, residual, out, d_out, d_sums (rows, outputs) f32; bias (outputs) f32; active
//          (rows, outputs) f32, what came out before the residual; rounded (rows, outputs) bf16,
//          d_sums as products read them. Bias, residual, active and the keys of dropout may be
//          null: 0, 0, no activation, and nothing dropped. out may be sums or residual.
// Blocks:  (rows, outputs / 256), narrower ones for fewer outputs; a thread has a number.
// Bound:   memory: 12 bytes a number.
#include "dropout.cuh"

KERNEL(256)
linear(const float* sums, const float* __restrict__ bias, const float* residual,
       float* out, u32 outputs, u32 relu, DROPOUT_PARAMETERS) {
    u32 row = blockIdx.x, column = blockIdx.y * blockDim.x + threadIdx.x;
    if (column >= outputs) return;
    u64 at = (u64)row * outputs + column;
    float x = sums[at] + (bias ? bias[column] : 0.0f);
    if (relu && !(x > 0.0f)) x = 0.0f;
    x = drop(DROPOUT, row, column, x);
    out[at] = residual ? x + residual[at] : x;
}

KERNEL(256)
linear_backward(const float* __restrict__ d_out, const float* __restrict__ active,
                float* __restrict__ d_sums, bf16* __restrict__ rounded, u32 outputs,
                DROPOUT_PARAMETERS) {
    u32 row = blockIdx.x, column = blockIdx.y * blockDim.x + threadIdx.x;
    if (column >= outputs) return;
    u64 at = (u64)row * outputs + column;
    float d = drop(DROPOUT, row, column, d_out[at]);
    if (active && !(active[at] > 0.0f)) d = 0.0f;
    d_sums[at] = d;
    rounded[at] = to_bf16(d);
}
