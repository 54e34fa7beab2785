// The gradient of candidate_logits.cu:
//
//   d_h[p] = Σ_j d_logits[p, j] · row(p, j), d_own[r] += Σ over uses of d_logits[p, j] · h[p],
//
// where a use of an adapter's own row r is a prompt p and a candidate j whose row it is. The
// table's gradient is not computed: its rows are not trained.
//
// Shapes:  as forward; d_logits (prompts, candidates) f32; d_h (prompts, hidden) bf16; starts
//          (trained rows + 1) and uses u32: those of row r are uses[starts[r] … starts[r + 1]], as
//          p · candidates + j; d_own (trained rows, hidden) f32.
// Blocks:  (prompts, hidden / 256), and (trained rows, hidden / 256); a thread has a column.
// Order:   candidates, and uses, in theirs.
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

KERNEL(256)
own_rows_backward(const float* __restrict__ d_logits, const bf16* __restrict__ h,
                  const u32* __restrict__ starts, const u32* __restrict__ uses,
                  float* __restrict__ d_own, u32 hidden, u32 candidates) {
    u32 row = blockIdx.x, i = blockIdx.y * blockDim.x + threadIdx.x;
    if (i >= hidden) return;
    float sum = 0.0f;
    for (u32 at = starts[row]; at < starts[row + 1]; at++) {
        sum += d_logits[uses[at]] * to_float(h[(u64)(uses[at] / candidates) * hidden + i]);
    }
    d_own[(u64)row * hidden + i] += sum;
}
