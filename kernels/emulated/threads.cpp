// How a block's threads take turns. See threads.h.
#include "threads.h"

#if defined(__x86_64__)
// The registers that a function must keep, and the stack.
asm(R"(
.text
.globl emulated_switch
emulated_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");
#else
#error "the emulator knows how to switch stacks on x86-64 alone"
#endif

namespace emulated {

constexpr size_t STACK = 128 << 10;
constexpr size_t THREADS_MAX = 1024;
constexpr size_t ALIGNMENT = 1024;
constexpr u8 POISON = 0xff; // NaN as f32 and as bf16

static void thread_main() {
    (*block->body)();
    current->ended = true;
    block->left--;
    block->moved = true;
    let_others();
    abort(); // nobody goes on with a thread that has ended
}

// A stack as if its thread had been about to enter `thread_main`.
static void* fresh_stack(u8* end) {
    constexpr int SAVED = 6;
    auto top = (void**)((uintptr_t)end & ~(uintptr_t)63);
    void** bottom = top - (SAVED + 2); // the address to go to, and one that is never returned to
    std::fill(bottom, top, nullptr);
    bottom[SAVED] = (void*)thread_main;
    return bottom;
}

static void make_threads(Block& now, u8* stacks) {
    u32 count = now.size.x * now.size.y * now.size.z;
    now.threads.resize(count);
    now.warps.resize((count + WARP - 1) / WARP);
    now.left = now.meeting.expected = count;
    for (u32 i = 0; i < count; i++) {
        Thread& thread = now.threads[i];
        thread.index = {i % now.size.x, i / now.size.x % now.size.y, i / now.size.x / now.size.y};
        thread.lane = i % WARP;
        thread.warp = i / WARP;
        now.warps[thread.warp].meeting.expected++;
        thread.stack_pointer = fresh_stack(stacks + STACK * (i + 1));
    }
}

template <class T>
static void arrange(std::vector<T>& items, u32 seed, std::mt19937& random) {
    if (seed == 1) std::reverse(items.begin(), items.end());
    if (seed > 1) std::shuffle(items.begin(), items.end(), random);
}

// Warps in their turn, each as its threads in theirs.
static std::vector<std::vector<u32>> turns(const Block& now) {
    std::mt19937 random(now.order.seed);
    std::vector<std::vector<u32>> warps(now.warps.size());
    for (u32 i = 0; i < now.threads.size(); i++) warps[i / WARP].push_back(i);
    for (auto& threads : warps) arrange(threads, now.order.seed, random);
    arrange(warps, now.order.seed, random);
    return warps;
}

// Lets a warp's threads go on until all of them wait for others; whether any of them moved.
static bool run_warp(Block& now, const std::vector<u32>& threads) {
    bool ever = false;
    do {
        now.moved = false;
        for (u32 i : threads) {
            if (now.threads[i].ended) continue;
            current = &now.threads[i];
            emulated_switch(&now.scheduler, current->stack_pointer);
        }
        ever |= now.moved;
    } while (now.moved);
    return ever;
}

void run_block(Block& now, size_t memory_bytes) {
    static std::vector<u8> memory;
    // Not a vector: it would write to all of it, and a thread needs little.
    static const std::unique_ptr<u8[]> stacks(new u8[STACK * THREADS_MAX]);
    u32 threads = now.size.x * now.size.y * now.size.z;
    if (threads > THREADS_MAX) fail("a block of %u threads is too large", threads);
    make_threads(now, stacks.get());
    memory.assign(memory_bytes + ALIGNMENT, POISON);
    now.memory = memory.data() + (-(uintptr_t)memory.data() & (ALIGNMENT - 1));
    now.unfenced.assign((memory_bytes + 15) / 16, 0);
    block = &now;
    auto warps = turns(now);
    while (now.left > 0) {
        bool moved = false;
        for (const auto& threads : warps) moved |= run_warp(now, threads);
        if (!moved) fail("threads wait for others that never come");
    }
    for (const Thread& thread : now.threads) {
        bool under_way = !thread.open.empty() || !thread.products.empty();
        if (under_way) fail("a thread ends with copies or products that are in no group");
    }
    for (size_t warp = 0; warp < now.warps.size(); warp++) {
        size_t group = warp / GROUP_WARPS * GROUP_WARPS;
        bool whole = group + GROUP_WARPS <= now.warps.size();
        u64 alike = whole ? now.warps[group].grouped : 0;
        if (now.warps[warp].grouped != alike) fail("the warps of a group do not do the same");
    }
    for (const auto& [place, barrier] : now.mbarriers) {
        if (!barrier.copies.empty()) fail("a block ends before its bulk copies have come");
    }
    block = nullptr;
    current = nullptr;
}

} // namespace emulated
