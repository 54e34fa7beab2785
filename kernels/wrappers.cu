// The wrappers of instructions.cuh by themselves: what they move is where instructions.cuh says.
//
// Shapes:  wrapped_multiply: left (16, 16), right (8, 16) bf16, out (16, 8) f32 = left · rightᵀ;
//          wrapped_matrices: rows (32, 8) bf16: four matrices, copied to shared memory; out
//          (2, 32, 4) u32: each lane's parts, straight, then turned.
// Blocks:  one, of one warp.
#include "common.cuh"

KERNEL(WARP)
wrapped_multiply(const bf16* __restrict__ left, const bf16* __restrict__ right,
                 float* __restrict__ out) {
    int g = lane_of_thread() / 4, t = lane_of_thread() % 4;
    auto two = [](const bf16* from) { return from[0].bits | (u32)from[1].bits << 16; };
    u32 a[4];
    for (int i = 0; i < 4; i++) a[i] = two(left + (g + i % 2 * 8) * 16 + 2 * t + i / 2 * 8);
    float sums[4] = {};
    multiply(sums, a, two(right + g * 16 + 2 * t), two(right + g * 16 + 2 * t + 8));
    for (int i = 0; i < 4; i++) out[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = sums[i];
}

KERNEL(WARP)
wrapped_matrices(const bf16* __restrict__ rows, u32* __restrict__ out) {
    LAUNCH_MEMORY(bytes);
    bf16* row = reinterpret_cast<bf16*>(bytes) + lane_of_thread() * 8;
    async_copy(row, rows + lane_of_thread() * 8, lane_of_thread() != 31); // the last one is zeros
    async_commit();
    ASYNC_WAIT(0);
    WARP_BARRIER();
    u32 straight[4], turned[4];
    load_matrices(straight, row);
    load_matrices_turned(turned, row);
    for (int i = 0; i < 4; i++) {
        out[lane_of_thread() * 4 + i] = straight[i];
        out[(WARP + lane_of_thread()) * 4 + i] = turned[i];
    }
}
