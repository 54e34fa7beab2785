// logits[p, j] = ⟨h[p], table[r]⟩ or ⟨h[p], own[−1 − r]⟩, r = rows[lists[p], j]: the logits of a
// prompt's candidates, at its last position, some of whose rows are an adapter's own.
//
// Shapes:  h (prompts, hidden), table (vocabulary, hidden), own (trained rows, hidden) bf16;
//          rows (lists, candidates) i32; lists (prompts) u32; logits (prompts, candidates) f32.
// Blocks:  one for each prompt; its warps take the candidates in turn, a lane eight numbers of a
//          row at a time.
// Order:   a lane's products in the row's order, then the lanes': by `hidden` alone.
// Limits:  hidden a multiple of 8.
// Bound:   memory: 2 · hidden bytes a candidate, which other prompts' blocks read, too.
#include "common.cuh"

KERNEL(256)
candidate_logits(const bf16* __restrict__ h, const bf16* __restrict__ table,
                 const bf16* __restrict__ own, const int* __restrict__ rows,
                 const u32* __restrict__ lists, float* __restrict__ logits, u32 hidden,
                 u32 candidates) {
    u32 prompt = blockIdx.x, lane = lane_of_thread();
    const bf16* left = h + (u64)prompt * hidden;
    const int* list = rows + (u64)lists[prompt] * candidates;
    for (u32 j = warp_of_thread(); j < candidates; j += blockDim.x / WARP) {
        int row = list[j];
        const bf16* right = row >= 0 ? table + (u64)row * hidden : own + (u64)(-1 - row) * hidden;
        float sum = 0.0f;
        for (u32 i = lane * 8; i < hidden; i += WARP * 8) {
            float x[8], y[8];
            read_eight(x, left + i);
            read_eight(y, right + i);
            for (int k = 0; k < 8; k++) sum += x[k] * y[k];
        }
        sum = warp_sum(sum);
        if (lane == 0) logits[(u64)prompt * candidates + j] = sum;
    }
}
