// Which numbers of which rows are dropped: a pure function of the row's key, the site and the
// column, as on the processor bit for bit, so that no gradient needs a mask.
#pragma once
#include "common.cuh"

// A launch's: a key for each row, or null for none.
struct Dropout {
    const u64* keys;
    u64 site;
    u32 threshold; // the rate, of 2³² − 1
    float scale;   // 1 / (1 − rate)
};

// The finaliser of SplitMix64, with its increment.
DEVICE u64 mix64(u64 x) {
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

// What a row's mask is drawn from.
struct RowMask {
    u32 low, high;
};

DEVICE RowMask mask_of(const Dropout& dropout, u32 row) {
    u64 key = mix64(dropout.keys[row] ^ dropout.site);
    return {(u32)key, (u32)(key >> 32)};
}

// What a column's number is multiplied by: 0, or what makes up for those that are dropped.
DEVICE float kept(const Dropout& dropout, RowMask mask, u32 column) {
    u32 h = mask.low + column;
    h = (h ^ h >> 16) * 0x7feb352du;
    h = (h ^ h >> 15) * 0x846ca68bu;
    return (h ^ h >> 16 ^ mask.high) >= dropout.threshold ? dropout.scale : 0.0f;
}

// A number after its row's mask.
DEVICE float drop(const Dropout& dropout, u32 row, u32 column, float x) {
    if (!dropout.keys) return x;
    float by = kept(dropout, mask_of(dropout, row), column);
    return by > 0.0f ? x * by : 0.0f;
}

DEVICE u64 site_of(u32 low, u32 high) { return (u64)high << 32 | low; }

// The last parameters of a kernel that drops, and what they say.
#define DROPOUT_PARAMETERS \
    const u64* __restrict__ row_keys, u32 site_low, u32 site_high, u32 threshold, float kept_scale
#define DROPOUT \
    Dropout { row_keys, site_of(site_low, site_high), threshold, kept_scale }
