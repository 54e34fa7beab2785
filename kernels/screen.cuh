// Which items might be among a user's best: a screen in front of exact scores. A product of bf16
// numbers tells what an item's score is to within a margin; an item that does not come near the
// user's bar is looked at no further.
//
//   passed[u] += every allowed item i of the tiles from `first` to `end` with
//                ⟨u', i'⟩ ≥ bar[u] − margin[u] · (norm[tile] + 2⁻¹⁰⁰) − 2⁻¹¹⁸, or no number,
//
// u' and i' rounded to bf16, sums f32. With margin[u] = c · (‖u‖ + 2⁻¹⁰⁰) and norm[tile] at least
// that of each of its items, the exact score of an item that is stopped is below the bar:
//   - a number rounded to eight bits is off by at most 2⁻⁸ of itself, so by Cauchy and Schwarz a
//     sum of products is by at most (2⁻⁷ + 2⁻¹⁶) ‖u‖ ‖i‖;
//   - the matrix units, which cut off bits below the largest product's, and the exact score's own
//     roundings make it no more than 2⁻¹³ ‖u‖ ‖i‖ worse, and c is 2⁻⁷ · 1.0625;
//   - the small numbers cover products that underflow: 128 of them, each less than 2⁻¹²⁶.
//
// Shapes:  users (users, WIDTH), items (items, WIDTH) bf16; norms (tiles) f32, of 64 items each;
//          margins, bars (users) f32, where bars are −∞ if `first` is 0; barred: a bit for each
//          item, or null; counts (users) u32: how many have passed; passed (users, capacity) u32:
//          which, in any order, as many as there is room for.
// Order:   tile n of those that are visited is tile n · stride modulo tiles: a bar that is found
//          for the first ones is then a bar for all, however items are sorted.
// Blocks:  (users / (64 · groups), parts of the tiles), four warps for each group of 64 users, who
//          share the tiles that a block brings: what it reads for a pair is 1 / (64 · groups) of
//          an item. Tiles come ahead, in three places.
// Memory:  tiles of the three places and of the groups' users.
// Limits:  256 / WIDTH groups, for the shared memory that the smallest devices have.
// Bound:   the matrix units: 2 · WIDTH operations a pair.
#pragma once
#include "attention.cuh"

constexpr int SCREEN_GROUPS = 4; // at most
constexpr int SCREEN_STAGES = 3;
constexpr float SCREEN_TINY = 0x1p-100f, SCREEN_LEAST = 0x1p-118f;

template <int WIDTH>
struct ScreenMemory {
    AttentionTile<WIDTH> items[SCREEN_STAGES];
    AttentionTile<WIDTH> users[SCREEN_GROUPS]; // as many as there are groups
};

struct Screen {
    const bf16 *users, *items;
    const float *norms, *margins, *bars;
    const u32* barred;
    u32 *counts, *passed;
    u32 user_count, item_count, first, end, stride, capacity;
};

// The tiles that a block visits, one after the other.
struct Visit {
    u32 n, tile;         // the tile that is visited as the n-th
    u32 end, step, tiles; // how far the next one lies, around the end

    METHOD static Visit first(const Screen& with) {
        u32 tiles = (with.item_count + ATTENTION_TILE - 1) / ATTENTION_TILE;
        u32 n = with.first + blockIdx.y;
        auto at = [&](u64 n) { return (u32)(n * with.stride % tiles); };
        return {n, at(n), with.end, at(gridDim.y), tiles};
    }
    METHOD bool there() const { return n < end; }
    METHOD void next() {
        n += gridDim.y;
        tile += step; // no division, and no overflow: fewer than 2^26 tiles
        if (tile >= tiles) tile -= tiles;
    }
};

// Rows from `first` on, zeros beyond `count`.
template <int WIDTH>
DEVICE void copy_tile(AttentionTile<WIDTH>& to, const bf16* from, u32 first, u32 count) {
    constexpr u32 PIECES = WIDTH / 8;
    for (u32 i = threadIdx.x; i < ATTENTION_TILE * PIECES; i += blockDim.x) {
        u32 row = first + i / PIECES, piece = i % PIECES;
        bool there = row < count;
        const bf16* at = from + (u64)(there ? row : 0) * WIDTH + piece * 8;
        async_copy(to.piece(i / PIECES, piece), at, there);
    }
}

// The item of a tile's score of a lane, in the layout of `multiply`.
DEVICE u32 item_of(u32 tile, int i) {
    return tile * ATTENTION_TILE + i / 2 * 8 + lane_of_thread() % 4 * 2 + i % 2;
}

// Items have come near a user's bar: bit i for the item of score i. They are counted together,
// since everybody counts in the same place.
DEVICE void pass(const Screen& with, u32 user, u32 tile, u32 near) {
    if (near == 0 || user >= with.user_count) return;
    for (u32 left = near; left != 0; left &= left - 1) {
        int i = lowest_bit(left);
        u32 item = item_of(tile, i);
        bool there = item < with.item_count;
        if (there && with.barred) there = (with.barred[item / 32] >> item % 32 & 1) == 0;
        if (!there) near &= ~(1u << i);
    }
    if (near == 0) return;
    u32 place = atomic_add(with.counts + user, count_bits(near));
    for (; near != 0 && place < with.capacity; near &= near - 1, place++) {
        with.passed[(u64)user * with.capacity + place] = item_of(tile, lowest_bit(near));
    }
}

// The tile's items that come near the bars of a lane's two users, the second eight after the first,
// in the layout of `multiply`.
DEVICE void pass_all(const Screen& with, const float (&scores)[8][4], u32 user,
                     const float (&least)[2], u32 tile) {
    bool any = false;
#pragma unroll
    for (int i = 0; i < 32; i++) any |= !(scores[i / 4][i % 4] < least[i % 4 / 2]);
    if (!any) return; // nearly always: this is one instruction for a score
    u32 near = 0; // the second user's in the upper half
#pragma unroll
    for (int i = 0; i < 32; i++) {
        int bit = i % 4 / 2 * 16 + i / 4 * 2 + i % 2;
        near |= (u32)!(scores[i / 4][i % 4] < least[i % 4 / 2]) << bit;
    }
#pragma unroll 1
    for (u32 r = 0; r < 2; r++) pass(with, user + 8 * r, tile, near >> 16 * r & 0xffff);
}

// `units.begin` comes after this thread's copies of users; `bring` begins to copy a tile, if it is
// there, to a place; `wait` ends when what this thread has to wait for has come there; `score`
// computes the 64 × 64 products of a group's users and a tile.
template <int WIDTH, class Units>
DEVICE void screen(const Screen& with, Units units) {
    LAUNCH_MEMORY(bytes);
    auto& memory = *reinterpret_cast<ScreenMemory<WIDTH>*>(bytes);
    u32 groups = blockDim.x / ATTENTION_THREADS, group = threadIdx.x / ATTENTION_THREADS;
    u32 first_user = blockIdx.x * groups * ATTENTION_TILE;
    u32 user = first_user + warp_of_thread() * 16 + lane_of_thread() / 4;
    float bar[2], margin[2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
        u32 at = min(user + 8 * r, with.user_count - 1);
        bar[r] = with.first == 0 ? float_of(0xff800000) : with.bars[at] - SCREEN_LEAST;
        if (user + 8 * r >= with.user_count) bar[r] = float_of(0x7f800000); // nobody
        margin[r] = with.margins[at];
    }
    for (u32 g = 0; g < groups; g++) {
        u32 first = first_user + g * ATTENTION_TILE;
        copy_tile(memory.users[g], with.users, first, with.user_count);
    }
    units.begin(reinterpret_cast<u64*>(memory.users + groups));
    Visit now = Visit::first(with), coming = now;
    float norm = with.norms[now.tile];
    for (u32 place = 0; place + 1 < SCREEN_STAGES; place++) {
        units.bring(memory.items[place], with, coming, place);
        coming.next();
    }
    for (u32 place = 0; now.there(); place = (place + 1) % SCREEN_STAGES) {
        // The tile has come for everybody, and nobody is still at the one before, whose place the
        // next one takes.
        units.wait(place);
        BLOCK_BARRIER();
        u32 last = (place + SCREEN_STAGES - 1) % SCREEN_STAGES;
        units.bring(memory.items[last], with, coming, last);
        coming.next();
        Visit after = now;
        after.next();
        float norm_after = with.norms[after.tile]; // comes while this tile is multiplied
        float scores[8][4];
        units.score(scores, memory.users[group], memory.items[place]);
        float reach = norm + SCREEN_TINY;
        float least[2] = {bar[0] - margin[0] * reach, bar[1] - margin[1] * reach};
        pass_all(with, scores, user, least, now.tile);
        now = after;
        norm = norm_after;
    }
}

// What the kernels of every width take.
#define SCREEN_PARAMETERS \
    const bf16 *__restrict__ users, const bf16 *__restrict__ items, \
        const float *__restrict__ norms, const float *__restrict__ margins, \
        const float *__restrict__ bars, const u32 *__restrict__ barred, u32 *__restrict__ counts, \
        u32 *__restrict__ passed, u32 user_count, u32 item_count, u32 first, u32 end, u32 stride, \
        u32 capacity
#define SCREEN_OF_PARAMETERS \
    Screen { \
        users, items, norms, margins, bars, barred, counts, passed, user_count, item_count, first, \
            end, stride, capacity \
    }
