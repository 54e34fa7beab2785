// A block of threads on one thread of the processor: each has a stack of its own and runs until it
// waits for others; a warp goes on until all of its threads wait, so that it is as far ahead of the
// others as it can be. Which goes first is up to `Order`: what is right under all needs none.
#pragma once

#include <algorithm>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "../types.cuh"

namespace emulated {

// Ends the process after it has said why; main.cpp says how.
[[noreturn]] void fail(const char* format, ...);

struct Index {
    u32 x, y, z;
};

// Forward, backward, or shuffled by a seed; asynchronous copies come at once or at the last moment.
struct Order {
    u32 seed = 0;
    bool eager = false;
};

// A place in a kernel where threads wait, or do what others wait for; and whether this launch
// leaves that out.
struct Site {
    const char* place;
    bool seen = false, removed = false;
    static std::vector<Site*>& all() {
        static std::vector<Site*> sites;
        return sites;
    }
    explicit Site(const char* place) : place(place), removed(without() == place) {
        all().push_back(this);
    }
    static std::string& without() {
        static std::string place;
        return place;
    }
};

// What an asynchronous copy will do; from nowhere, it writes zeros.
struct Copy {
    void* to;
    const void* from;
};

struct Thread {
    void* stack_pointer = nullptr;
    Index index{};
    u32 lane = 0, warp = 0;
    bool ended = false;
    u32 turn = 0; // which of a warp's two sets of slots is next
    std::vector<Copy> open;
    std::vector<std::vector<Copy>> groups;
    std::vector<std::function<void()>> products; // of a group of warps, as copies
    std::vector<std::vector<std::function<void()>>> sets;
};

constexpr u32 GROUP_WARPS = 4; // of a group that multiplies together
constexpr size_t SLOT = 64; // bytes that a lane can show to the others

// Threads that wait for each other.
struct Meeting {
    u32 arrived = 0, expected = 0;
    u64 round = 0;
    const char* place = nullptr;
};

struct Warp {
    Meeting meeting;
    u64 grouped = 0; // a hash of what it has done with its group, in order
    alignas(16) u8 slots[2][WARP][SLOT];
};

// What an mbarrier counts, for one thread to arrive; and the bulk copies that have not come.
struct Mbarrier {
    u64 ended = 0; // phases
    bool arrived = false;
    long long bytes = 0; // said less come
    std::vector<std::function<void()>> copies;
};

struct Block {
    u64 number = 0; // of all that this process has run, from 1
    Index index{}, grid{}, size{};
    std::vector<Thread> threads;
    std::vector<Warp> warps;
    Meeting meeting;
    u32 left = 0;
    bool moved = false; // whether any thread got further since the scheduler last asked
    void* scheduler = nullptr;
    u8* memory = nullptr;
    // Of each 16 bytes of it: 0, or 1 + the thread that has written them since its last fence.
    std::vector<u16> unfenced;
    std::map<const void*, Mbarrier> mbarriers;
    const std::function<void()>* body = nullptr;
    Order order;
};

inline Block* block = nullptr;
inline Thread* current = nullptr;

// Saves this stack's registers and goes on with those that another one saved.
extern "C" void emulated_switch(void** from, void* to);

inline void let_others() { emulated_switch(&current->stack_pointer, block->scheduler); }

// Returns when as many have come as are expected.
inline void meet(Meeting& meeting, const char* place) {
    if (meeting.arrived == 0) meeting.place = place;
    if (meeting.place != place) {
        fail("threads wait at %s and at %s for each other", meeting.place, place);
    }
    if (++meeting.arrived == meeting.expected) {
        meeting.arrived = 0;
        meeting.round++;
    } else {
        for (u64 round = meeting.round; meeting.round == round;) let_others();
    }
    block->moved = true;
}

inline void meet_warp(const char* place) { meet(block->warps[current->warp].meeting, place); }

// A warp does what its whole group does. Warps do not wait for each other there; each has to do the
// same in the end.
inline void meet_in_group(const char* place) {
    u64& grouped = block->warps[current->warp].grouped;
    if (current->lane == 0) grouped = grouped * 31 + std::hash<std::string>{}(place) + 1;
    meet_warp(place);
}

// Shows a value to the other lanes, and returns what each of them shows.
template <class T>
const u8 (*exchange(const T& value, const char* place))[SLOT] {
    static_assert(sizeof(T) <= SLOT, "a slot is too small");
    auto& slots = block->warps[current->warp].slots[current->turn ^= 1];
    memcpy(slots[current->lane], &value, sizeof(T));
    meet_warp(place);
    return slots;
}

template <class T>
const T& shown(const u8 (*slots)[SLOT], u32 lane) {
    return *reinterpret_cast<const T*>(slots[lane % WARP]);
}

void run_block(Block& now, size_t memory_bytes);

} // namespace emulated
