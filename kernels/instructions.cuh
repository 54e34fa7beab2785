// The device's instructions that C++ does not have: one wrapper each, of the same name as its
// emulation in emulated/instructions.h. Source: PTX ISA 9.0, the section named at each.
#pragma once

#include "types.cuh"

#define DEVICE static __device__ __forceinline__
#define METHOD __device__ __forceinline__
// A kernel that is launched with at most this many threads a block.
#define KERNEL(threads) extern "C" __global__ void __launch_bounds__(threads)
// One of which a multiprocessor need not have two blocks: the compiler may take all registers.
#define KERNEL_ALONE(threads) extern "C" __global__ void __launch_bounds__(threads, 1)
// What a launch asks for, shared by a block; there is one of it.
#define LAUNCH_MEMORY(name) extern __shared__ __align__(1024) u8 name[]
// An array shared by a block.
#define BLOCK_MEMORY(T, name, count) __shared__ T name[count]
#define BLOCK_BARRIER() __syncthreads()
#define WARP_BARRIER() __syncwarp()
// Waits for this thread's copies, all groups but the last few. Others see them after a barrier.
#define ASYNC_WAIT(groups) asm volatile("cp.async.wait_group %0;" ::"n"(groups) : "memory")

DEVICE u32 bits_of(float x) { return __float_as_uint(x); }
DEVICE float float_of(u32 bits) { return __uint_as_float(bits); }

// Nearest, ties to even (9.7.9.22, cvt).
DEVICE bf16 to_bf16(float x) {
    bf16 rounded;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(rounded.bits) : "f"(x));
    return rounded;
}

DEVICE u32 pack_bf16(float low, float high) {
    u32 both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}

// 2^x within two units in the last place; 0 for what is too small (9.7.3.21, ex2.approx).
DEVICE float exp2_fast(float x) {
    float power;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
    return power;
}

// Rounded by themselves: never contracted to one multiply-add.
DEVICE float multiply_rounded(float x, float y) { return __fmul_rn(x, y); }
DEVICE float add_rounded(float x, float y) { return __fadd_rn(x, y); }

// All of these need all lanes of a warp.
template <class T>
DEVICE T shuffle(T value, int lane) {
    return __shfl_sync(0xffffffffu, value, lane);
}
template <class T>
DEVICE T shuffle_xor(T value, int flip) {
    return __shfl_xor_sync(0xffffffffu, value, flip);
}
DEVICE u32 ballot(bool x) { return __ballot_sync(0xffffffffu, x); }

DEVICE int lowest_bit(u32 bits) { return __ffs(bits) - 1; }
DEVICE int count_bits(u32 bits) { return __popc(bits); }

// What was there before; others may add to it at the same time.
DEVICE u32 atomic_add(u32* to, u32 more) { return atomicAdd(to, more); }

DEVICE u32 shared_address(const void* shared) {
    return (u32)__cvta_generic_to_shared(shared);
}

// sums (16, 8) += a (16, 16) · b (16, 8), bf16, sums f32 (9.7.14.5.8, mma.m16n8k16).
// Lane l, g = l / 4, t = l % 4, holds of
//   a     rows g, g + 8, g, g + 8 at columns 2t, 2t, 2t + 8, 2t + 8, and each one's right neighbour
//   b     rows 2t, 2t + 8, and each one's lower neighbour, of column g
//   sums  row g at columns 2t, 2t + 1; row g + 8 at the same.
DEVICE void multiply(float (&sums)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Four 8 × 8 matrices of bf16 from shared memory: lane l gives the address of row l % 8 of matrix
// l / 8, 16 bytes, and gets of each matrix row g at columns 2t, 2t + 1 (9.7.14.5.15, ldmatrix).
DEVICE void load_matrices(u32 (&parts)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(parts[0]), "=r"(parts[1]), "=r"(parts[2]), "=r"(parts[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// The same, and it gets of each matrix column g at rows 2t, 2t + 1.
DEVICE void load_matrices_turned(u32 (&parts)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(parts[0]), "=r"(parts[1]), "=r"(parts[2]), "=r"(parts[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// Copies 16 bytes to shared memory later on, or writes zeros there (9.7.9.25.3, cp.async).
DEVICE void async_copy(void* shared, const void* global, bool there) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
                 "l"(global), "r"(there ? 16 : 0)
                 : "memory");
}

// What was copied since the last call is a group.
DEVICE void async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
