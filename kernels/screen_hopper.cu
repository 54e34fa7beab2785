// The screen of screen.cuh by the products of Hopper's groups of warps. Tiles come by bulk copies,
// which one thread begins, so that hardly an instruction of the loop is not about scores. Other
// products add in another order, so others may pass near the margin; lists are the same.
//
// Issue:   of width 64 a tile is some 140 instructions of a warp (NVRTC 13.0.88), of which a
//          scheduler has four: about as many cycles as the 512 that their products take. With 64
//          registers a thread there are two blocks, so that one multiplies while the other looks.
// Memory:  as there, and then an mbarrier for each place.
// Limits:  `map` is of the items.
#include "group_score.cuh"
#include "screen.cuh"

template <int WIDTH>
struct ScreenByGroups {
    const TensorMap& map;
    u64* come;    // where the copies to each place tell that they have come
    u32 parities; // bit i: of the phase in which the mbarrier i is

    METHOD void begin(u64* mbarriers) {
        come = mbarriers;
        if (threadIdx.x == 0) {
            for (int i = 0; i < SCREEN_STAGES; i++) mbarrier_init(&come[i]);
        }
        async_commit();
        ASYNC_WAIT(0);
        SHARED_FENCE(); // products will read the users, and copies tell the mbarriers
        BLOCK_BARRIER();
    }
    METHOD void bring(AttentionTile<WIDTH>& to, const Screen&, const Visit& visit, u32 place) {
        if (!visit.there() || threadIdx.x != 0) return;
        MBARRIER_EXPECT(&come[place], (u32)sizeof(to));
#pragma unroll
        for (int half = 0; half < WIDTH / 64; half++) {
            bulk_copy(to.half(half), map, half * 64, visit.tile * ATTENTION_TILE, &come[place]);
        }
    }
    METHOD void wait(u32 place) {
        MBARRIER_WAIT(&come[place], parities >> place & 1);
        parities ^= 1u << place;
    }
    METHOD void score(float (&scores)[8][4], AttentionTile<WIDTH>& users,
                      AttentionTile<WIDTH>& items) {
        group_score(scores, users, items);
    }
};

KERNEL(SCREEN_GROUPS * ATTENTION_THREADS)
hopper_screen_64(TENSOR_MAP(map), SCREEN_PARAMETERS) {
    screen<64>(SCREEN_OF_PARAMETERS, ScreenByGroups<64>{map, nullptr, 0});
}

KERNEL(SCREEN_GROUPS * ATTENTION_THREADS)
hopper_screen_128(TENSOR_MAP(map), SCREEN_PARAMETERS) {
    screen<128>(SCREEN_OF_PARAMETERS, ScreenByGroups<128>{map, nullptr, 0});
}
