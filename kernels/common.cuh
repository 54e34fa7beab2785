// What every kernel uses: conversions, and sums over a warp and over a block.
//
// On a device NVRTC compiles the kernels with instructions.cuh; in the tests the system's C++
// compiler compiles them with emulated/instructions.h. No kernel names what only one of them has.
#pragma once

#ifdef __CUDACC_RTC__
#include "instructions.cuh"
#else
#include "emulated/instructions.h"
#endif

DEVICE float to_float(bf16 x) { return float_of((u32)x.bits << 16); }
DEVICE float to_float(float x) { return x; }
DEVICE float low_half(u32 both) { return float_of(both << 16); }
DEVICE float high_half(u32 both) { return float_of(both & 0xffff0000u); }

DEVICE int lane_of_thread() { return threadIdx.x % WARP; }
DEVICE int warp_of_thread() { return threadIdx.x / WARP; }

template <int N, class T>
DEVICE Vector<T, N> read(const T* from) {
    return *reinterpret_cast<const Vector<T, N>*>(from);
}

template <int N, class T>
DEVICE void write(T* to, const Vector<T, N>& values) {
    *reinterpret_cast<Vector<T, N>*>(to) = values;
}

// Eight f32, which are two accesses.
DEVICE void read_eight(float (&to)[8], const float* from) {
    for (int half = 0; half < 2; half++) {
        Vector<float, 4> values = read<4>(from + 4 * half);
        for (int i = 0; i < 4; i++) to[4 * half + i] = values.at[i];
    }
}
DEVICE void read_eight(float (&to)[8], const bf16* from) {
    Vector<bf16, 8> values = read<8>(from);
    for (int i = 0; i < 8; i++) to[i] = to_float(values.at[i]);
}
DEVICE void write_eight(float* to, const float (&from)[8]) {
    for (int half = 0; half < 2; half++) {
        Vector<float, 4> values;
        for (int i = 0; i < 4; i++) values.at[i] = from[4 * half + i];
        write<4>(to + 4 * half, values);
    }
}
DEVICE void write_eight(bf16* to, const float (&from)[8]) {
    Vector<u32, 4> values;
    for (int i = 0; i < 4; i++) values.at[i] = pack_bf16(from[2 * i], from[2 * i + 1]);
    write<4>(reinterpret_cast<u32*>(to), values);
}

// Every lane gets the sum, added in an order that is the same for each of them.
DEVICE float warp_sum(float x) {
    for (int flip = WARP / 2; flip > 0; flip /= 2) x += shuffle_xor(x, flip);
    return x;
}

DEVICE float warp_max(float x) {
    for (int flip = WARP / 2; flip > 0; flip /= 2) x = fmaxf(x, shuffle_xor(x, flip));
    return x;
}

// Every thread of a block of whole warps gets the sum. `parts` holds a number for each warp and
// must not be in use by an earlier call that a thread may still be in.
DEVICE float block_sum(float x, float* parts) {
    x = warp_sum(x);
    if (lane_of_thread() == 0) parts[warp_of_thread()] = x;
    BLOCK_BARRIER();
    int warps = blockDim.x / WARP;
    return warp_sum(lane_of_thread() < warps ? parts[lane_of_thread()] : 0.0f);
}

// As block_sum: the largest.
DEVICE float block_max(float x, float* parts) {
    x = warp_max(x);
    if (lane_of_thread() == 0) parts[warp_of_thread()] = x;
    BLOCK_BARRIER();
    int warps = blockDim.x / WARP;
    return warp_max(lane_of_thread() < warps ? parts[lane_of_thread()] : parts[0]);
}

// 1 / (1 + exp(−x)).
DEVICE float logistic(float x) {
    float e = expf(-fabsf(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}
