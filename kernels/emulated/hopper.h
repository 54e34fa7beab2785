// What hopper.cuh has, on the processor. A product is computed, and a bulk copy comes, when it is
// waited for, or at once: as an asynchronous copy. Neither may touch what a thread has copied to
// shared memory, or use an mbarrier that it has set up, before that thread's fence. What it cannot
// see: a fence that ordinary writes or a product's registers need.
#pragma once

#include "../descriptor.cuh"
#include "instructions.h"

#define GROUP_WAIT(sets) emulated::group_wait(EMULATED_SITE(), sets)
#define SHARED_FENCE() emulated::shared_fence(EMULATED_SITE())
#define MBARRIER_EXPECT(barrier, bytes) \
    emulated::mbarrier_expect(EMULATED_SITE(), barrier, bytes)
#define MBARRIER_WAIT(barrier, parity) emulated::mbarrier_wait(EMULATED_SITE(), barrier, parity)

// What the tests write in the place of what the driver encodes.
struct TensorMap {
    const bf16* numbers;
    u64 columns, rows, apart;
};
#define TENSOR_MAP(name) const TensorMap name

namespace emulated {

constexpr u32 BOX = 64;

inline void shared_fence(Site& site) {
    if (left_out(site)) return;
    u16 mine = (u16)(1 + (current - block->threads.data()));
    std::replace(block->unfenced.begin(), block->unfenced.end(), mine, (u16)0);
}

// That other units may touch these 16 bytes.
inline void expect_fenced(const void* shared, const char* who) {
    u16* writer = unfenced(shared);
    if (writer && *writer) fail("%s: no fence since thread %d wrote there", who, *writer - 1);
}

inline Mbarrier& mbarrier_at(const u64* barrier) {
    auto found = block->mbarriers.find(barrier);
    if (found == block->mbarriers.end()) fail("an mbarrier is used before it is set up");
    return found->second;
}

inline void end_phase(Mbarrier& barrier) {
    if (!barrier.arrived || barrier.bytes != 0) return;
    barrier.arrived = false;
    barrier.ended++;
}

inline void mbarrier_expect(Site& site, const u64* barrier, u32 bytes) {
    if (left_out(site)) return;
    Mbarrier& to = mbarrier_at(barrier);
    if (to.arrived) fail("a second thread arrives at an mbarrier in a phase");
    to.arrived = true;
    to.bytes += bytes;
    end_phase(to);
}

inline void mbarrier_wait(Site& site, const u64* barrier, u32 parity) {
    if (left_out(site)) return;
    Mbarrier& of = mbarrier_at(barrier);
    while (of.ended % 2 == parity) {
        auto copies = std::move(of.copies);
        of.copies.clear();
        for (const auto& copy : copies) copy();
        if (of.ended % 2 == parity) let_others();
    }
    block->moved = true;
}

inline void group_wait(Site& site, size_t sets) {
    auto& waiting = current->sets;
    meet_in_group("group_wait");
    if (left_out(site)) return;
    while (waiting.size() > sets) {
        for (const auto& product : waiting.front()) product();
        waiting.erase(waiting.begin());
    }
    meet_in_group("group_wait, done");
}

// Where the 128-byte swizzle puts what would lie at an address.
inline u64 swizzled_address(u64 address) { return address ^ (address >> 7 & 7) << 4; }

// An operand of a product, as its descriptor says: bits 0 to 13 where it begins, 32 to 45 how far
// eight rows lie after the eight before, both in 16 bytes, 49 to 51 where a tile begins that is not
// at a multiple of 1024 bytes, 62 and 63 the layout (PTX ISA 9.0, 9.7.15.5.1).
struct GroupOperand {
    u64 first, stride;

    explicit GroupOperand(u64 descriptor) {
        if (descriptor >> 62 != 1) fail("a product's operand is not in the 128-byte swizzle");
        if (descriptor >> 49 & 7) fail("a product's operand is in a tile with an offset");
        first = (descriptor & 0x3fff) << 4;
        stride = (descriptor >> 32 & 0x3fff) << 4;
    }

    const bf16* at(u32 row, u32 column) const {
        u64 address = first + row / 8 * stride + row % 8 * 128 + column * 2;
        return (const bf16*)shared_at(swizzled_address(address));
    }

    float number(u32 row, u32 column) const { return part(at(row, column)->bits, 0); }

    // That a product may read it; each lane looks at some of its rows.
    void expect(u32 rows, u32 columns) const {
        for (u32 row = current->lane; row < rows; row += WARP) {
            for (u32 column = 0; column < columns; column += 8) {
                expect_fenced(at(row, column), "a product's operand");
            }
        }
    }
};

inline void multiply_later(std::function<void()> product) {
    if (block->order.eager) {
        product();
    } else {
        current->products.push_back(std::move(product));
    }
}

} // namespace emulated

DEVICE void group_fence() { emulated::meet_in_group("group_fence"); }
DEVICE void group_commit() {
    emulated::meet_in_group("group_commit");
    emulated::current->sets.push_back(std::move(emulated::current->products));
    emulated::current->products.clear();
}

DEVICE void mbarrier_init(u64* barrier) {
    emulated::wrote(barrier);
    emulated::block->mbarriers[barrier] = {};
}
DEVICE void bulk_copy(void* shared, const TensorMap& map, u32 column, u32 row, u64* barrier) {
    using namespace emulated;
    if ((uintptr_t)shared % 1024) fail("bulk_copy: an address is not a multiple of 1024");
    expect_fenced(barrier, "bulk_copy: its mbarrier");
    for (u32 i = 0; i < BOX * BOX; i += 8) expect_fenced((bf16*)shared + i, "bulk_copy");
    Mbarrier& tells = mbarrier_at(barrier);
    auto copy = [=, &tells] {
        for (u32 i = 0; i < BOX * BOX; i++) {
            u64 x = column + i % BOX, y = row + i / BOX;
            bool there = x < map.columns && y < map.rows;
            auto to = (bf16*)swizzled_address((uintptr_t)((bf16*)shared + i));
            *to = there ? map.numbers[y * map.apart + x] : bf16{0};
        }
        tells.bytes -= BOX * BOX * sizeof(bf16);
        end_phase(tells);
    };
    if (block->order.eager) {
        copy();
    } else {
        tells.copies.push_back(copy);
    }
}

DEVICE void group_hold(float (&)[8][4]) {}
DEVICE void group_hold(u32 (&)[4][4]) {}

DEVICE void group_multiply(float (&sums)[8][4], u64 left, u64 right) {
    emulated::meet_in_group("group_multiply");
    emulated::GroupOperand a(left), b(right);
    a.expect(64, 16);
    b.expect(64, 16);
    u32 g = emulated::current->lane / 4, t = emulated::current->lane % 4;
    u32 first = emulated::current->warp % 4 * 16;
    emulated::multiply_later([=, &sums] {
        for (u32 i = 0; i < 32; i++) {
            u32 row = first + g + i % 4 / 2 * 8, column = i / 4 * 8 + 2 * t + i % 2;
            float sum = 0.0f;
            for (u32 k = 0; k < 16; k++) {
                sum += a.number(row, k) * b.number(column, k);
            }
            sums[i / 4][i % 4] += sum;
        }
    });
    emulated::meet_in_group("group_multiply, begun");
}

DEVICE void group_multiply_columns(float (&sums)[8][4], const u32 (&left)[4], u64 right) {
    struct Operand {
        u32 a[4];
    } mine{{left[0], left[1], left[2], left[3]}};
    auto slots = emulated::exchange(mine, "group_multiply_columns");
    emulated::meet_in_group("group_multiply_columns");
    emulated::GroupOperand b(right);
    b.expect(16, 64);
    u32 g = emulated::current->lane / 4, t = emulated::current->lane % 4;
    float rows[2][16]; // of what the lanes of this row hold
    for (u32 i = 0; i < 32; i++) {
        u32 row = i / 16, k = i % 16;
        const auto& of = emulated::shown<Operand>(slots, g * 4 + k % 8 / 2);
        rows[row][k] = emulated::part(of.a[row + k / 8 * 2], k % 2);
    }
    emulated::multiply_later([=, &sums] {
        for (u32 i = 0; i < 32; i++) {
            u32 column = i / 4 * 8 + 2 * t + i % 2;
            float sum = 0.0f;
            for (u32 k = 0; k < 16; k++) {
                sum += rows[i % 4 / 2][k] * b.number(k, column);
            }
            sums[i / 4][i % 4] += sum;
        }
    });
    emulated::meet_in_group("group_multiply_columns, begun");
}
