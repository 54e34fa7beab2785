// What hopper.cuh has, on the processor. A product is computed when it is waited for, or at once:
// as an asynchronous copy. What it cannot see: a missing fence, and a wrong descriptor.
#pragma once

#include "instructions.h"

#define GROUP_WAIT(sets) emulated::group_wait(EMULATED_SITE(), sets)

namespace emulated {

inline void group_wait(Site& site, size_t sets) {
    auto& waiting = current->sets;
    meet_warp("group_wait");
    if (left_out(site)) return;
    while (waiting.size() > sets) {
        for (const auto& product : waiting.front()) product();
        waiting.erase(waiting.begin());
    }
    meet_warp("group_wait, done");
}

// What the 128-byte swizzle makes of the address of a number, row by row of 128 bytes.
inline float swizzled_number(const bf16* from, u32 row, u32 column) {
    auto address = (uintptr_t)from + row * 128 + column * 2;
    address ^= (address >> 7 & 7) << 4;
    return part(((const bf16*)address)->bits, 0);
}

inline void multiply_later(std::function<void()> product) {
    if (block->order.eager) {
        product();
    } else {
        current->products.push_back(std::move(product));
    }
}

} // namespace emulated

DEVICE void group_fence() { emulated::meet_warp("group_fence"); }
DEVICE void group_commit() {
    emulated::meet_warp("group_commit");
    emulated::current->sets.push_back(std::move(emulated::current->products));
    emulated::current->products.clear();
}
DEVICE void shared_fence() {}

DEVICE void group_multiply(float (&sums)[8][4], const bf16* left, const bf16* right) {
    emulated::meet_warp("group_multiply");
    u32 g = emulated::current->lane / 4, t = emulated::current->lane % 4;
    u32 first = emulated::current->warp % 4 * 16;
    emulated::multiply_later([=, &sums] {
        for (u32 i = 0; i < 32; i++) {
            u32 row = first + g + i % 4 / 2 * 8, column = i / 4 * 8 + 2 * t + i % 2;
            float sum = 0.0f;
            for (u32 k = 0; k < 16; k++) {
                sum += emulated::swizzled_number(left, row, k) *
                       emulated::swizzled_number(right, column, k);
            }
            sums[i / 4][i % 4] += sum;
        }
    });
    emulated::meet_warp("group_multiply, begun");
}

DEVICE void group_multiply_columns(float (&sums)[8][4], const u32 (&left)[4], const bf16* right) {
    struct Operand {
        u32 a[4];
    } mine{{left[0], left[1], left[2], left[3]}};
    auto slots = emulated::exchange(mine, "group_multiply_columns");
    u32 g = emulated::current->lane / 4, t = emulated::current->lane % 4;
    float rows[2][16]; // of what the lanes of this row hold
    for (u32 i = 0; i < 32; i++) {
        u32 row = i / 16, k = i % 16;
        const auto& of = emulated::shown<Operand>(slots, g * 4 + k % 8 / 2);
        rows[row][k] = emulated::part(of.a[row + k / 8 * 2], k % 2);
    }
    emulated::multiply_later([=, &sums] {
        for (u32 i = 0; i < 32; i++) {
            u32 column = i / 4 * 8 + 2 * t + i % 2;
            float sum = 0.0f;
            for (u32 k = 0; k < 16; k++) {
                sum += rows[i % 4 / 2][k] * emulated::swizzled_number(right, k, column);
            }
            sums[i / 4][i % 4] += sum;
        }
    });
    emulated::meet_warp("group_multiply_columns, begun");
}
