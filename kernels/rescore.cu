// Users' lists with what has passed the screen (screen.cuh), by exact scores: those of top_k.cu,
// bit for bit.
//
// Shapes:  users (users, width), items (items, width) f32; excluded ids of user u:
//          excluded[starts[u] … starts[u + 1]], ascending; counts (users) u32, which become 0, and
//          passed (users, capacity) u32; keys (users, k) u64 (best.cuh): the lists so far, 0 where
//          there is no item, which become the new ones; bars (users) f32: the score that an item
//          needs at least, −∞ for a list that is not full; overflowed (users) u32: becomes 1 where
//          more has passed than there was room for: the list may be wrong, and the bar is +∞. What
//          keys and overflowed were does not matter if it `begins`.
// Blocks:  one for each user, of one warp, so that all of it goes the same way for certain; half a
//          warp has four items at a time.
// Memory:  a list of 2 K keys, at least 64.
// Limits:  k at most 1024. A score that is not a number is in no list.
// Bound:   memory: 4 · width bytes for each item that has passed.
#include "best.cuh"
#include "excluded.cuh"

constexpr int HALF_WARP = 16;
constexpr int RESCORE_ITEMS = 8; // of half a warp, side by side: what it waits for is memory
constexpr int RESCORE_STEPS = 4; // coordinates of each that a lane asks for before it adds any

// The scores of this half of a warp's items: each lane adds the coordinates of its number, and the
// lanes are added in halves.
DEVICE void exact_scores(float (&scores)[RESCORE_ITEMS], const float* user,
                         const float* const (&items)[RESCORE_ITEMS], u32 width) {
    for (int i = 0; i < RESCORE_ITEMS; i++) scores[i] = 0.0f;
    u32 lane = lane_of_thread() % HALF_WARP;
    for (u32 first = lane; first < width; first += RESCORE_STEPS * HALF_WARP) {
        float x[RESCORE_STEPS], y[RESCORE_STEPS][RESCORE_ITEMS];
#pragma unroll
        for (int step = 0; step < RESCORE_STEPS; step++) {
            u32 c = first + step * HALF_WARP;
            bool there = c < width; // a sum stays what it is when zeros are added
            x[step] = there ? user[c] : 0.0f;
#pragma unroll
            for (int i = 0; i < RESCORE_ITEMS; i++) y[step][i] = there ? items[i][c] : 0.0f;
        }
#pragma unroll
        for (int i = 0; i < RESCORE_STEPS * RESCORE_ITEMS; i++) {
            int step = i / RESCORE_ITEMS, of = i % RESCORE_ITEMS;
            scores[of] = add_rounded(scores[of], multiply_rounded(x[step], y[step][of]));
        }
    }
    for (int flip = HALF_WARP / 2; flip > 0; flip /= 2) {
#pragma unroll
        for (int i = 0; i < RESCORE_ITEMS; i++) {
            scores[i] = add_rounded(scores[i], shuffle_xor(scores[i], flip));
        }
    }
}

// Each lane gets the score of its item.
DEVICE float score_each(const float* user, const float* items, u32 width, u32 id) {
    float mine = 0.0f;
    for (int first = 0; first < WARP; first += 2 * RESCORE_ITEMS) {
        const float* rows[RESCORE_ITEMS];
        float scores[RESCORE_ITEMS];
#pragma unroll
        for (int i = 0; i < RESCORE_ITEMS; i++) {
            u32 of = shuffle(id, first + 2 * i + lane_of_thread() / HALF_WARP);
            rows[i] = items + (u64)of * width;
        }
        exact_scores(scores, user, rows, width);
#pragma unroll
        for (int i = 0; i < RESCORE_ITEMS; i++) {
            float score = shuffle(scores[i], lane_of_thread() % 2 * HALF_WARP);
            if (lane_of_thread() / 2 == first / 2 + i) mine = score;
        }
    }
    return add_rounded(mine, 0.0f); // −0 becomes 0
}

KERNEL(WARP)
rescore(const float* __restrict__ users, const float* __restrict__ items,
        const u32* __restrict__ starts, const u32* __restrict__ excluded, u32* __restrict__ counts,
        const u32* __restrict__ passed, u64* __restrict__ keys, float* __restrict__ bars,
        u32* __restrict__ overflowed, u32 begins, u32 width, u32 k, u32 room,
        u32 capacity) {
    LAUNCH_MEMORY(bytes);
    u32 user = blockIdx.x, lane = threadIdx.x;
    Best best{reinterpret_cast<u64*>(bytes), room, k, 0, 0};
    u64* list = keys + (u64)user * k;
    for (u32 first = begins ? k : 0; first < k; first += WARP) {
        offer(best, first + lane < k ? list[first + lane] : 0);
    }
    u32 count = min(counts[user], capacity);
    bool overflows = count < counts[user] || (!begins && overflowed[user] != 0);
    u32 start = starts[user], own = starts[user + 1] - start;
    for (u32 first = 0; first < count; first += WARP) {
        bool there = first + lane < count;
        u32 id = there ? passed[(u64)user * capacity + first + lane] : 0; // any that is there
        float score = score_each(users + (u64)user * width, items, width, id);
        there = there && score == score && !is_excluded(excluded + start, own, id);
        offer(best, there ? key_of(score, id) : 0);
    }
    cut(best);
    for (u32 i = lane; i < k; i += WARP) list[i] = i < best.count ? best.keys[i] : 0;
    if (lane == 0) { // everybody has read the count: sorting has waited for all
        u32 infinity = overflows ? 0x7f800000 : 0xff800000; // nothing may pass, or all
        bool open = overflows || best.count < k;
        bars[user] = open ? float_of(infinity) : score_of(best.keys[k - 1]);
        overflowed[user] = overflows;
        counts[user] = 0;
    }
}
