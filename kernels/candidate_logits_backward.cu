// The gradient of candidate_logits.cu:
//
//   d_h[p] = Σ_j d_logits[p, j] · row(p, j).
//
// That of an adapter's own rows is what lookup_backward.cu computes; the table's rows are not
// trained.
//
// Shapes:  as forward; d_logits (prompts, candidates) f32; d_h (prompts, hidden) bf16.
// Blocks:  (prompts, hidden / 256); a thread has a column.
// Order:   candidates in theirs.
// Bound:   memory: 2 · hidden bytes a candidate.
#include "common.cuh"

KERNEL(256)
candidates_backward(const float* __restrict__ d_logits, const bf16* __restrict__ table,
                    const bf16* __restrict__ own, const int* __restrict__ rows,
                    const u32* __restrict__ lists, bf16* __restrict__ d_h, u32 hidden,
                    u32 candidates) {
    u32 prompt = blockIdx.x, i = blockIdx.y * blockDim.x + threadIdx.x;
    if (i >= hidden) return;
    const int* list = rows + (u64)lists[prompt] * candidates;
    float sum = 0.0f;
    for (u32 j = 0; j < candidates; j++) {
        int row = list[j];
        bf16 x = row >= 0 ? table[(u64)row * hidden + i] : own[(u64)(-1 - row) * hidden + i];
        sum += d_logits[(u64)prompt * candidates + j] * to_float(x);
    }
    d_h[(u64)prompt * hidden + i] = to_bf16(sum);
}
