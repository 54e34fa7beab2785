// How a product of a group of warps finds an operand in shared memory.
#pragma once
#include "common.cuh"

// Rows of 128 bytes in the 128-byte swizzle, from an address on whose tile begins at a multiple of
// 1024 bytes; eight rows lie 1024 bytes after the eight before (PTX ISA 9.0, 9.7.15.5.1, matrix
// descriptor).
DEVICE u64 swizzled(const void* from) {
    u64 address = (shared_address(from) & 0x3ffff) >> 4;
    return address | 1ull << 16 | (u64)(1024 >> 4) << 32 | 1ull << 62;
}

// The same from so many numbers on, a multiple of eight. Addresses of shared memory
// have fewer bits than the descriptor has for them: one addition, no more.
DEVICE u64 further(u64 operand, u32 numbers) { return operand + numbers * sizeof(bf16) / 16; }
