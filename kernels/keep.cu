// Keeps keys and values where a later pass finds them: kept[places[t]] = those of qkv[t].
//
// Shapes:  qkv (tokens, before + numbers) bf16: a token's queries, then its keys and values; places
//          (tokens) u32, each once; kept (rows, numbers) bf16.
// Blocks:  one for each token; a thread copies eight numbers at a time.
// Limits:  before and numbers multiples of 8.
// Bound:   memory: 4 · numbers bytes a token.
#include "common.cuh"

KERNEL(256)
keep(const bf16* __restrict__ qkv, const u32* __restrict__ places, bf16* __restrict__ kept,
     u32 before, u32 numbers) {
    const bf16* from = qkv + (u64)blockIdx.x * (before + numbers) + before;
    bf16* to = kept + (u64)places[blockIdx.x] * numbers;
    for (u32 i = threadIdx.x * 8; i < numbers; i += blockDim.x * 8) {
        write<4>(reinterpret_cast<u32*>(to + i), read<4>(reinterpret_cast<const u32*>(from + i)));
    }
}
