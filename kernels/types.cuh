// Numbers as kernels hold them.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

// The upper half of an f32.
struct bf16 {
    u16 bits;
};

// Numbers that are read and written together: up to 16 bytes an instruction.
template <class T, int N>
struct alignas(sizeof(T) * N) Vector {
    T at[N];
};

// "Nothing": no adapter, no row.
constexpr u32 NONE = 0xffffffffu;

constexpr int WARP = 32;
