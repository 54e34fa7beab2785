// Items that a user is not to be shown.
#pragma once
#include "common.cuh"

// Whether an id is among some, which ascend.
DEVICE bool is_excluded(const u32* ids, u32 count, u32 id) {
    u32 low = 0;
    while (low < count) {
        u32 middle = low + (count - low) / 2;
        if (ids[middle] == id) return true;
        if (ids[middle] < id) {
            low = middle + 1;
        } else {
            count = middle;
        }
    }
    return false;
}
