// Products of two tiles' rows by a group of four warps: attention's scores, and a search's.
#pragma once
#include "attention.cuh"
#include "hopper.cuh"

// scores (64, 64) = left · rightᵀ, in the layout of `multiply`: a warp has 16 of the rows.
template <int WIDTH>
DEVICE void group_score(float (&scores)[8][4], AttentionTile<WIDTH>& left,
                        AttentionTile<WIDTH>& right) {
    for (int i = 0; i < 32; i++) scores[i / 4][i % 4] = 0.0f;
    group_hold(scores);
    group_fence();
    u64 rows = swizzled(left.half(0)), columns = swizzled(right.half(0));
#pragma unroll
    for (int k = 0; k < WIDTH / 16; k++) {
        u32 from = k / 4 * 64 * 64 + k % 4 * 16; // halves lie one after the other
        group_multiply(scores, further(rows, from), further(columns, from));
    }
    group_commit();
    GROUP_WAIT(0);
    group_hold(scores);
}
