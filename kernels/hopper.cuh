// Instructions that Hopper has (sm_90a), wrapped as in instructions.cuh: products of a group of
// four warps, whose operands lie in shared memory and which end when they are waited for; and bulk
// copies of boxes of a matrix. Elsewhere they compile to a trap: nobody launches them there.
// Source: PTX ISA 9.0, §9.7.15 where no section is named.
#pragma once
#include "common.cuh"
#include "descriptor.cuh"

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
// Before products read, and bulk copies fill, shared memory that ordinary writes and copies of 16
// bytes have filled; each writer calls it, before the barrier (9.7.13.4, fence.proxy.async).
#define SHARED_FENCE() HOPPER("fence.proxy.async.shared::cta;" ::: "memory")

// A matrix that bulk copies bring boxes of: 64 rows of 64 numbers. The driver encodes it; it is a
// kernel's argument, and stays where arguments are.
struct alignas(128) TensorMap {
    u64 encoded[16];
};
#define TENSOR_MAP(name) const __grid_constant__ TensorMap name

// An mbarrier, 8 bytes of shared memory, is in a phase until one thread has arrived at it and as
// many bytes have come as that thread has said; phases are even and odd in turn, the first one
// even (9.7.13.15.9, mbarrier.init).
DEVICE void mbarrier_init(u64* barrier) {
    HOPPER("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address(barrier)) : "memory");
}
// Arrives, and says how many bytes will come (9.7.13.15.13, mbarrier.arrive.expect_tx).
#define MBARRIER_EXPECT(barrier, bytes) \
    HOPPER("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" \
           ::"r"(shared_address(barrier)), "r"(bytes) \
           : "memory")
// Whether the phase of that parity has ended; may sleep a while before it says no (9.7.13.15.16,
// mbarrier.try_wait).
DEVICE bool mbarrier_ended(const u64* barrier, u32 parity) {
    u32 ended = 1;
    HOPPER("{\n.reg .pred ended;\n"
           "mbarrier.try_wait.parity.shared::cta.b64 ended, [%1], %2;\n"
           "selp.u32 %0, 1, 0, ended;\n}"
           : "=r"(ended)
           : "r"(shared_address(barrier)), "r"(parity)
           : "memory");
    return ended;
}
// Waits until the phase of that parity has ended; this thread then sees what has come.
#define MBARRIER_WAIT(barrier, parity) \
    while (!mbarrier_ended(barrier, parity)) {}

// Copies the box that begins at a column and a row to shared memory later on, and tells the
// mbarrier of its bytes: rows of 128 bytes in the 128-byte swizzle, zeros outside of the matrix;
// `shared` is a multiple of 1024. One thread calls it (9.7.9.27.1.2, cp.async.bulk.tensor).
DEVICE void bulk_copy(void* shared, const TensorMap& map, u32 column, u32 row, u64* barrier) {
    HOPPER("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
           "[%0], [%1, {%2, %3}], [%4];" ::"r"(shared_address(shared)),
           "l"(&map), "r"(column), "r"(row), "r"(shared_address(barrier))
           : "memory");
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
// To the compiler, sums are there when the product is told. Before the fence, and after the wait,
// this keeps what uses the registers on its side.
DEVICE void group_hold(float (&sums)[8][4]) { asm volatile("" : GROUP_SUMS(sums)::"memory"); }
DEVICE void group_hold(u32 (&left)[4][4]) {
#pragma unroll
    for (int i = 0; i < 16; i++) asm volatile("" : "+r"(left[i / 4][i % 4])::"memory");
}

#define GROUP_PRODUCT \
    "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 " \
    "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15," \
    "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, "

// sums (64, 64) += left (64, 16) · right (64, 16)ᵀ, rows of both in shared memory where
// descriptor.cuh says. A warp has 16 of the rows, of which lane l, g = l / 4, t = l % 4, holds row
// g at columns 8n + 2t, 8n + 2t + 1 in sums[n][0], sums[n][1], and row g + 8 in the next two.
DEVICE void group_multiply(float (&sums)[8][4], u64 left, u64 right) {
    HOPPER(GROUP_PRODUCT "%32, %33, 1, 1, 1, 0, 0;" : GROUP_SUMS(sums) : "l"(left), "l"(right));
}

// sums (64, 64) += left (64, 16) · right (16, 64), left as in `multiply`, right's rows in shared
// memory.
DEVICE void group_multiply_columns(float (&sums)[8][4], const u32 (&left)[4], u64 right) {
    HOPPER(GROUP_PRODUCT "{%32, %33, %34, %35}, %36, 1, 1, 1, 1;"
           : GROUP_SUMS(sums)
           : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "l"(right));
}

#else
#include "emulated/hopper.h"
#endif
