// What instructions.cuh has, on the processor: the same names, the same meaning. Memory that nobody
// wrote is NaN, and a copy that nobody waited for has not happened.
#pragma once

#include <cmath>

#include "threads.h"

#define DEVICE static inline __attribute__((unused))
#define METHOD inline
#define KERNEL(threads) extern "C" void
#define KERNEL_ALONE(threads) extern "C" void
#define __restrict__ __restrict
#define threadIdx (emulated::current->index)
#define blockIdx (emulated::block->index)
#define blockDim (emulated::block->size)
#define gridDim (emulated::block->grid)
#define LAUNCH_MEMORY(name) u8* name = emulated::block->memory
#define BLOCK_MEMORY(T, name, count) T* name = emulated::block_memory<T, count>([] {})
#define EMULATED_TEXT(x) #x
#define EMULATED_LINE(x) EMULATED_TEXT(x)
#define EMULATED_SITE() \
    ([]() -> emulated::Site& { \
        static emulated::Site site(__FILE__ ":" EMULATED_LINE(__LINE__)); \
        return site; \
    }())
#define BLOCK_BARRIER() emulated::block_barrier(EMULATED_SITE())
#define WARP_BARRIER() emulated::warp_barrier(EMULATED_SITE())
#define ASYNC_WAIT(groups) emulated::async_wait(EMULATED_SITE(), groups)

namespace emulated {

// An array for each place that asks for one, poisoned for each block.
template <class T, int N, class Place>
T* block_memory(Place) {
    alignas(16) static T values[N];
    static u64 poisoned_for = 0;
    if (poisoned_for != block->number) {
        memset((void*)values, 0xff, sizeof(values));
        poisoned_for = block->number;
    }
    return values;
}

inline bool left_out(Site& site) {
    site.seen = true;
    return site.removed;
}

inline void block_barrier(Site& site) {
    if (!left_out(site)) meet(block->meeting, site.place);
}

inline void warp_barrier(Site& site) {
    if (!left_out(site)) meet_warp(site.place);
}

// Whose fence is missing before other units may read or write these 16 bytes; none, outside of what
// a launch asks for.
inline u16* unfenced(const void* shared) {
    size_t piece = ((uintptr_t)shared - (uintptr_t)block->memory) / 16;
    return piece < block->unfenced.size() ? &block->unfenced[piece] : nullptr;
}

// The current thread has written there.
inline void wrote(const void* shared) {
    if (u16* writer = unfenced(shared)) *writer = (u16)(1 + (current - block->threads.data()));
}

inline void copy_now(const Copy& copy) {
    wrote(copy.to);
    if (copy.from) {
        memcpy(copy.to, copy.from, 16);
    } else {
        memset(copy.to, 0, 16);
    }
}

inline void async_wait(Site& site, size_t groups) {
    auto& waiting = current->groups;
    if (left_out(site)) return;
    while (waiting.size() > groups) {
        for (const Copy& copy : waiting.front()) copy_now(copy);
        waiting.erase(waiting.begin());
    }
}

inline float part(u32 both, int half) {
    u32 bits = half ? both & 0xffff0000u : both << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

} // namespace emulated

DEVICE u32 bits_of(float x) {
    u32 bits;
    memcpy(&bits, &x, 4);
    return bits;
}
DEVICE float float_of(u32 bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

DEVICE bf16 to_bf16(float x) {
    u32 bits = bits_of(x);
    if (x != x) return {0x7fff};
    return {(u16)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16)};
}
DEVICE u32 pack_bf16(float low, float high) {
    return to_bf16(low).bits | (u32)to_bf16(high).bits << 16;
}

DEVICE float exp2_fast(float x) { return x < -126.0f ? 0.0f : exp2f(x); }
DEVICE float multiply_rounded(float x, float y) { return x * y; }
DEVICE float add_rounded(float x, float y) { return x + y; }

template <class T>
DEVICE T shuffle(T value, int lane) {
    return emulated::shown<T>(emulated::exchange(value, "shuffle"), lane);
}
template <class T>
DEVICE T shuffle_xor(T value, int flip) {
    auto slots = emulated::exchange(value, "shuffle_xor");
    return emulated::shown<T>(slots, emulated::current->lane ^ flip);
}
DEVICE u32 ballot(bool x) {
    auto slots = emulated::exchange(x, "ballot");
    u32 votes = 0;
    for (int lane = 0; lane < WARP; lane++) {
        votes |= (u32)emulated::shown<bool>(slots, lane) << lane;
    }
    return votes;
}
using std::max;
using std::min;

DEVICE int lowest_bit(u32 bits) { return __builtin_ffs((int)bits) - 1; }
DEVICE int count_bits(u32 bits) { return __builtin_popcount(bits); }

DEVICE void multiply(float (&sums)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    struct Operands {
        u32 a[4], b[2];
    } mine{{a[0], a[1], a[2], a[3]}, {b0, b1}};
    auto slots = emulated::exchange(mine, "multiply");
    u32 g = emulated::current->lane / 4, t = emulated::current->lane % 4;
    for (u32 row = 0; row < 2; row++) {
        for (u32 column = 0; column < 2; column++) {
            float sum = 0.0f; // over k = 2q + half, then 8 + 2q + half
            for (u32 q = 0; q < 4; q++) {
                const auto& left = emulated::shown<Operands>(slots, g * 4 + q);
                const auto& right = emulated::shown<Operands>(slots, (2 * t + column) * 4 + q);
                for (int half = 0; half < 2; half++) {
                    sum += emulated::part(left.a[row], half) * emulated::part(right.b[0], half);
                    sum += emulated::part(left.a[2 + row], half) * emulated::part(right.b[1], half);
                }
            }
            sums[2 * row + column] += sum;
        }
    }
}

namespace emulated {

// Shared memory as a device addresses it: what a launch asks for begins somewhere in it.
constexpr u64 WINDOW = 1024;

inline void* shared_at(u64 address) {
    if (address - WINDOW >= block->unfenced.size() * 16) fail("an address outside shared memory");
    return block->memory + (address - WINDOW);
}

// That eight rows of 16 bytes are read at once: no two of them in the same four banks of 32.
inline void expect_other_banks(const u8 (*slots)[SLOT], const char* place) {
    auto mine = (uintptr_t)shown<const u8*>(slots, current->lane);
    for (u32 lane = current->lane & ~7u; lane < current->lane; lane++) {
        auto other = (uintptr_t)shown<const u8*>(slots, lane);
        if (other != mine && other / 16 % 8 == mine / 16 % 8) {
            fail("%s: rows %u and %u of a matrix share banks", place, lane % 8, current->lane % 8);
        }
    }
}

// The element of 8 × 8 matrix `which` at a row whose address a lane gave.
inline u32 element(const u8 (*slots)[SLOT], u32 which, u32 row, u32 column) {
    return shown<const u16*>(slots, which * 8 + row)[column];
}

inline const u8 (*matrix_rows(const void* row, const char* place))[SLOT] {
    if ((uintptr_t)row % 16) fail("%s: a row's address is not a multiple of 16", place);
    auto slots = exchange(row, place);
    expect_other_banks(slots, place);
    return slots;
}

} // namespace emulated

DEVICE u32 atomic_add(u32* to, u32 more) {
    u32 before = *to;
    *to += more;
    return before;
}

DEVICE u32 shared_address(const void* shared) {
    return (u32)((const u8*)shared - emulated::block->memory + emulated::WINDOW);
}

DEVICE void load_matrices(u32 (&parts)[4], const void* row) {
    auto slots = emulated::matrix_rows(row, "load_matrices");
    u32 g = emulated::current->lane / 4, t = emulated::current->lane % 4;
    for (u32 i = 0; i < 4; i++) {
        parts[i] = emulated::element(slots, i, g, 2 * t);
        parts[i] |= emulated::element(slots, i, g, 2 * t + 1) << 16;
    }
    emulated::meet_warp("load_matrices, read");
}
DEVICE void load_matrices_turned(u32 (&parts)[4], const void* row) {
    auto slots = emulated::matrix_rows(row, "load_matrices_turned");
    u32 g = emulated::current->lane / 4, t = emulated::current->lane % 4;
    for (u32 i = 0; i < 4; i++) {
        parts[i] = emulated::element(slots, i, 2 * t, g);
        parts[i] |= emulated::element(slots, i, 2 * t + 1, g) << 16;
    }
    emulated::meet_warp("load_matrices_turned, read");
}

DEVICE void async_copy(void* shared, const void* global, bool there) {
    if (((uintptr_t)shared | (uintptr_t)global) % 16) {
        emulated::fail("async_copy: an address is not a multiple of 16");
    }
    emulated::Copy copy{shared, there ? global : nullptr};
    if (emulated::block->order.eager) {
        emulated::copy_now(copy);
    } else {
        emulated::current->open.push_back(copy);
    }
}
DEVICE void async_commit() {
    emulated::current->groups.push_back(std::move(emulated::current->open));
    emulated::current->open.clear();
}
