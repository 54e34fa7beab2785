// The K best of what was offered: a warp's list in shared memory, with room for as many again,
// which is cut down to the best when it is full. What is kept is a key that orders as its pair
// does: the larger score first, and of equal scores the lower id; 0 is no pair.
#pragma once
#include "common.cuh"

DEVICE u64 key_of(float score, u32 id) {
    u32 bits = bits_of(score);
    u32 ordered = bits ^ (bits >> 31 ? 0xffffffffu : 0x80000000u);
    return (u64)ordered << 32 | (u32)~id;
}
DEVICE float score_of(u64 key) {
    u32 ordered = key >> 32;
    return float_of(ordered ^ (ordered >> 31 ? 0x80000000u : 0xffffffffu));
}
DEVICE u32 id_of(u64 key) { return ~(u32)key; }

struct Best {
    u64* keys;     // (room)
    u32 room;      // a power of two, at least k + 32
    u32 k, count;  // the list's length, and how many keys it holds
    u64 bar;       // the K-th best at the last cut
};

// Sorts a list, largest first: a bitonic network, whose comparisons the lanes share.
DEVICE void sort_keys(u64* keys, u32 room) {
    for (u32 size = 2; size <= room; size *= 2) {
        for (u32 apart = size / 2; apart > 0; apart /= 2) {
            WARP_BARRIER();
            for (u32 i = lane_of_thread(); i < room / 2; i += WARP) {
                u32 low = 2 * i - i % apart, high = low + apart;
                bool falling = (low & size) == 0;
                u64 x = keys[low], y = keys[high];
                if ((x < y) == falling) {
                    keys[low] = y;
                    keys[high] = x;
                }
            }
        }
    }
    WARP_BARRIER();
}

// Drops what is not among the K best; they are sorted afterwards.
DEVICE void cut(Best& best) {
    for (u32 i = best.count + lane_of_thread(); i < best.room; i += WARP) best.keys[i] = 0;
    sort_keys(best.keys, best.room);
    best.count = min(best.count, best.k);
    best.bar = best.count == best.k ? best.keys[best.k - 1] : 0;
}

// Each lane offers a key, or 0.
DEVICE void offer(Best& best, u64 key) {
    u32 votes = ballot(key > best.bar);
    if (votes >> lane_of_thread() & 1) {
        u32 before = count_bits(votes & ((1u << lane_of_thread()) - 1));
        best.keys[best.count + before] = key;
    }
    best.count += count_bits(votes);
    if (best.count + WARP > best.room) cut(best);
}
