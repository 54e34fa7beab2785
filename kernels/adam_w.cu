// One step of the optimiser, number by number: with g = gradient · scale,
//
//   m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g²,
//   w ← w · keep − rate · m · m_correction / (√(v · v_correction) + epsilon),
//
// where the corrections are 1 / (1 − βᵗ) and keep = 1 − rate · decay. Optionally leaves the weight
// rounded to bf16, too.
//
// Shapes:  gradient, w, m, v (length) f32; rounded (length) bf16, or null.
// Blocks:  one for each 256 numbers.
// Bound:   memory: 28 bytes a number.
// Source:  Loshchilov and Hutter, Decoupled Weight Decay Regularization (2019), algorithm 2.
#include "common.cuh"

KERNEL(256)
adam_w(const float* __restrict__ gradient, float* __restrict__ w, float* __restrict__ m,
       float* __restrict__ v, bf16* __restrict__ rounded, u32 length, float scale, float beta_m,
       float beta_v, float m_correction, float v_correction, float rate, float keep,
       float epsilon) {
    u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= length) return;
    float g = gradient[i] * scale;
    float first = beta_m * m[i] + (1.0f - beta_m) * g;
    float second = beta_v * v[i] + (1.0f - beta_v) * (g * g);
    float step = first * m_correction / (sqrtf(second * v_correction) + epsilon);
    float weight = w[i] * keep - rate * step;
    m[i] = first;
    v[i] = second;
    w[i] = weight;
    if (rounded) rounded[i] = to_bf16(weight);
}
