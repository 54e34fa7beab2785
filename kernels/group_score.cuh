// Products of two tiles' rows by a group of four warps: attention's scores, and a search's.
#pragma once
#include "attention.cuh"
#include "hopper.cuh"

// scores (64, 64) = left · rightᵀ, in the layout of `multiply`: a warp has 16 of the rows.
template <int WIDTH>
DEVICE void group_score(float (&scores)[8][4], AttentionTile<WIDTH>& left,
                        AttentionTile<WIDTH>& right) {
    for (int i = 0; i < 32; i++) scores[i / 4][i % 4] = 0.0f;
    group_fence();
#pragma unroll
    for (int k = 0; k < WIDTH / 16; k++) {
        group_multiply(scores, left.half(k / 4) + k % 4 * 16, right.half(k / 4) + k % 4 * 16);
    }
    group_commit();
    GROUP_WAIT(0);
}
