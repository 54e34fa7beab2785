// Instructions that Hopper has (sm_90a), wrapped as in instructions.cuh: products of a group of
// four warps, whose operands lie in shared memory and which end when they are waited for. Elsewhere
// they compile to a trap: nobody launches them there. Source: PTX ISA 9.0, §9.7.15.
#pragma once
#include "common.cuh"

#ifdef __CUDACC_RTC__

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define HOPPER(...) asm volatile(__VA_ARGS__)
#else
#define HOPPER(...) asm volatile("trap;")
#endif

// Waits for this group's products, all sets but the last few.
#define GROUP_WAIT(sets) HOPPER("wgmma.wait_group.sync.aligned %0;" ::"n"(sets) : "memory")

// Before the first product after registers that it uses were written.
DEVICE void group_fence() { HOPPER("wgmma.fence.sync.aligned;" ::: "memory"); }
// What was multiplied since the last call is a set.
DEVICE void group_commit() { HOPPER("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Before products read shared memory that ordinary writes and copies have filled; each writer calls
// it, before the barrier.
DEVICE void shared_fence() { HOPPER("fence.proxy.async.shared::cta;" ::: "memory"); }

// Rows of 128 bytes in the 128-byte swizzle, from an address on whose tile begins at a multiple of
// 1024 bytes: eight rows lie 1024 bytes after the eight before (9.7.15.5.1, matrix descriptor).
DEVICE u64 swizzled(const void* from) {
    u64 address = (shared_address(from) & 0x3ffff) >> 4;
    return address | 1ull << 16 | (u64)(1024 >> 4) << 32 | 1ull << 62;
}

#define GROUP_SUMS(sums) \
    "+f"(sums[0][0]), "+f"(sums[0][1]), "+f"(sums[0][2]), "+f"(sums[0][3]), "+f"(sums[1][0]), \
        "+f"(sums[1][1]), "+f"(sums[1][2]), "+f"(sums[1][3]), "+f"(sums[2][0]), \
        "+f"(sums[2][1]), "+f"(sums[2][2]), "+f"(sums[2][3]), "+f"(sums[3][0]), \
        "+f"(sums[3][1]), "+f"(sums[3][2]), "+f"(sums[3][3]), "+f"(sums[4][0]), \
        "+f"(sums[4][1]), "+f"(sums[4][2]), "+f"(sums[4][3]), "+f"(sums[5][0]), \
        "+f"(sums[5][1]), "+f"(sums[5][2]), "+f"(sums[5][3]), "+f"(sums[6][0]), \
        "+f"(sums[6][1]), "+f"(sums[6][2]), "+f"(sums[6][3]), "+f"(sums[7][0]), \
        "+f"(sums[7][1]), "+f"(sums[7][2]), "+f"(sums[7][3])
#define GROUP_PRODUCT \
    "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 " \
    "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15," \
    "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, "

// sums (64, 64) += left (64, 16) · right (64, 16)ᵀ, rows of both in shared memory. A warp has 16 of
// the rows, of which lane l, g = l / 4, t = l % 4, holds row g at columns 8n + 2t, 8n + 2t + 1 in
// sums[n][0], sums[n][1], and row g + 8 in the next two.
DEVICE void group_multiply(float (&sums)[8][4], const bf16* left, const bf16* right) {
    HOPPER(GROUP_PRODUCT "%32, %33, 1, 1, 1, 0, 0;"
           : GROUP_SUMS(sums)
           : "l"(swizzled(left)), "l"(swizzled(right)));
}

// sums (64, 64) += left (64, 16) · right (16, 64), left as in `multiply`, right's rows in shared
// memory.
DEVICE void group_multiply_columns(float (&sums)[8][4], const u32 (&left)[4], const bf16* right) {
    HOPPER(GROUP_PRODUCT "{%32, %33, %34, %35}, %36, 1, 1, 1, 1;"
           : GROUP_SUMS(sums)
           : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "l"(swizzled(right)));
}

#else
#include "emulated/hopper.h"
#endif
