// A device's memory: each buffer ends where a page begins that nobody may touch, so that a kernel
// that runs over its end is stopped at once. What nobody wrote is NaN.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <map>

#include "threads.h"

namespace emulated {

class Memory {
public:
    u64 take(u64 bytes) {
        u64 page = (u64)sysconf(_SC_PAGESIZE);
        u64 inside = (bytes + page - 1) / page * page;
        void* all = mmap(nullptr, inside + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (all == MAP_FAILED) fail("no memory for a buffer of %llu bytes", bytes);
        u8* first = (u8*)all + page;
        if (inside && mprotect(first, inside, PROT_READ | PROT_WRITE)) fail("mprotect failed");
        memset(first, 0xff, inside);
        u64 address = (u64)(first + inside) - (bytes + 15) / 16 * 16;
        taken[address] = {bytes, all, inside + 2 * page};
        return address;
    }

    void give_back(u64 address) {
        auto found = taken.find(address);
        if (found == taken.end()) fail("a buffer is given back that was never taken");
        munmap(found->second.all, found->second.all_bytes);
        taken.erase(found);
    }

    // The address, if so many bytes from it on are of one buffer.
    u8* at(u64 address, u64 bytes) const {
        auto found = taken.upper_bound(address);
        if (found != taken.begin()) {
            --found;
            u64 start = address - found->first;
            if (start <= found->second.bytes && bytes <= found->second.bytes - start) {
                return (u8*)address;
            }
        }
        fail("%llu bytes at %llx are no buffer's", bytes, address);
    }

private:
    struct Taken {
        u64 bytes;
        void* all;
        u64 all_bytes;
    };
    std::map<u64, Taken> taken;
};

} // namespace emulated
