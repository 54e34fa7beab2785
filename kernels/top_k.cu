// The K items with the largest inner products, for each user, exactly: best first, equal scores by
// the lower id.
//
//   score = Σ over lanes l < 16 of (Σ over coordinates c ≡ l modulo 16, ascending, of u[c] · v[c]),
//
// each product and each sum rounded by itself; the lanes are added in halves: l and l + 8, then
// l and l + 4, and so on. So scores have the bits that they have on every device, and equal lists.
//
// Shapes:  users (users, width) and items (items, width), both f32 or both bf16; excluded ids of
//          user u: excluded[starts[u] … starts[u + 1]], ascending; barred: a bit for each item, or
//          null; found (users, parts, k) u64 keys (best.cuh); lists (users, k) and scores
//          (users, k): NONE and NaN where there are fewer items.
// Blocks:  top_k: (users / 8, parts of the items), a warp for each user, a lane for each of 32
//          items, which a block reads once for its users. top_k_merge: (users / 8).
// Memory:  the block's users, a tile of items, each padded by one number against bank conflicts;
//          then a list of 2 K keys, at least 64, for each warp.
// Limits:  width at most 512, k at most 1024. A score that is not a number is in no list.
// Bound:   shared memory: two numbers for each product, which takes some four times as long as its
//          arithmetic. Large catalogues have a screen before this (screen.cuh): this is for rows
//          that are wider than the screen's, and for users of whom too much passes it.
#include "best.cuh"
#include "excluded.cuh"

constexpr int TOP_K_USERS = 8; // a warp each
constexpr int TOP_K_THREADS = TOP_K_USERS * WARP;

// Adds lanes `lane`, `lane` + STRIDE, `lane` + 2 · STRIDE … below 16 in halves.
template <int LANE, int STRIDE>
DEVICE float lanes_sum(const float* user, const float* item, u32 width) {
    if constexpr (STRIDE == 16) {
        float sum = 0.0f;
        for (u32 c = LANE; c < width; c += 16) {
            sum = add_rounded(sum, multiply_rounded(user[c], item[c]));
        }
        return sum;
    } else {
        float low = lanes_sum<LANE, 2 * STRIDE>(user, item, width);
        return add_rounded(low, lanes_sum<LANE + STRIDE, 2 * STRIDE>(user, item, width));
    }
}

struct TopK {
    const u32 *starts, *excluded, *barred;
    u32 users, items, width, k, room;
};

// Where a block's rows and lists are in its memory.
struct TopKMemory {
    float *users, *items;
    u64* lists;
};

DEVICE TopKMemory top_k_memory(u8* bytes, const TopK& with) {
    u64* lists = reinterpret_cast<u64*>(bytes);
    float* users = reinterpret_cast<float*>(lists + TOP_K_USERS * with.room);
    return {users, users + TOP_K_USERS * (with.width + 1), lists};
}

// Rows from `first` on, padded; none beyond `count`.
template <class T>
DEVICE void copy_rows(float* to, const T* from, u32 first, u32 rows, u32 count, u32 width) {
    for (u32 i = threadIdx.x; i < rows * width; i += TOP_K_THREADS) {
        u32 row = first + i / width;
        if (row < count) {
            to[i / width * (width + 1) + i % width] = to_float(from[(u64)row * width + i % width]);
        }
    }
}

// The key of an item for this warp's user, or 0 if it cannot be in the list.
DEVICE u64 key_for(const TopK& with, const TopKMemory& memory, u32 user, u32 item, u64 bar) {
    if (user >= with.users || item >= with.items) return 0;
    if (with.barred && with.barred[item / 32] >> item % 32 & 1) return 0;
    u32 stride = with.width + 1;
    const float* left = memory.users + warp_of_thread() * stride;
    const float* right = memory.items + lane_of_thread() * stride;
    float score = add_rounded(lanes_sum<0, 1>(left, right, with.width), 0.0f); // −0 becomes 0
    u64 key = key_of(score, item);
    if (key <= bar || score != score) return 0;
    u32 start = with.starts[user];
    return is_excluded(with.excluded + start, with.starts[user + 1] - start, item) ? 0 : key;
}

template <class T>
DEVICE void top_k(const T* users, const T* items, const TopK& with, u64* found) {
    LAUNCH_MEMORY(bytes);
    TopKMemory memory = top_k_memory(bytes, with);
    u32 first_user = blockIdx.x * TOP_K_USERS, user = first_user + warp_of_thread();
    Best best{memory.lists + warp_of_thread() * with.room, with.room, with.k, 0, 0};
    copy_rows(memory.users, users, first_user, TOP_K_USERS, with.users, with.width);
    for (u32 first = blockIdx.y * WARP; first < with.items; first += gridDim.y * WARP) {
        BLOCK_BARRIER(); // nobody is still at the tile before
        copy_rows(memory.items, items, first, WARP, with.items, with.width);
        BLOCK_BARRIER();
        offer(best, key_for(with, memory, user, first + lane_of_thread(), best.bar));
    }
    cut(best);
    if (user >= with.users) return;
    u64* to = found + ((u64)user * gridDim.y + blockIdx.y) * with.k;
    for (u32 i = lane_of_thread(); i < with.k; i += WARP) to[i] = best.keys[i];
}

KERNEL(TOP_K_THREADS)
top_k_f32(const float* __restrict__ users, const float* __restrict__ items,
          const u32* __restrict__ starts, const u32* __restrict__ excluded,
          const u32* __restrict__ barred, u64* __restrict__ found, u32 user_count, u32 item_count,
          u32 width, u32 k, u32 room) {
    TopK with{starts, excluded, barred, user_count, item_count, width, k, room};
    top_k(users, items, with, found);
}

KERNEL(TOP_K_THREADS)
top_k_bf16(const bf16* __restrict__ users, const bf16* __restrict__ items,
           const u32* __restrict__ starts, const u32* __restrict__ excluded,
           const u32* __restrict__ barred, u64* __restrict__ found, u32 user_count, u32 item_count,
           u32 width, u32 k, u32 room) {
    TopK with{starts, excluded, barred, user_count, item_count, width, k, room};
    top_k(users, items, with, found);
}

DEVICE void merge(const u64* found, u32* lists, float* scores, u32 users, u32 candidates, u32 k,
                  u32 room) {
    LAUNCH_MEMORY(bytes);
    u32 user = blockIdx.x * TOP_K_USERS + warp_of_thread();
    if (user >= users) return;
    Best best{reinterpret_cast<u64*>(bytes) + warp_of_thread() * room, room, k, 0, 0};
    for (u32 first = 0; first < candidates; first += WARP) {
        u32 i = first + lane_of_thread();
        offer(best, i < candidates ? found[(u64)user * candidates + i] : 0);
    }
    cut(best);
    for (u32 i = lane_of_thread(); i < k; i += WARP) {
        bool there = i < best.count;
        lists[(u64)user * k + i] = there ? id_of(best.keys[i]) : NONE;
        scores[(u64)user * k + i] = there ? score_of(best.keys[i]) : float_of(0x7fc00000);
    }
}

KERNEL(TOP_K_THREADS)
top_k_merge(const u64* __restrict__ found, u32* __restrict__ lists, float* __restrict__ scores,
            u32 users, u32 candidates, u32 k, u32 room) {
    merge(found, lists, scores, users, candidates, k, room);
}
