// The screen of screen.cuh by the matrix units of every device. Tiles come by copies of 16 bytes.
#include "screen.cuh"

template <int WIDTH>
struct ScreenByWarps {
    METHOD void begin(u64*) {} // users come with the first tile
    METHOD void bring(AttentionTile<WIDTH>& to, const Screen& with, const Visit& visit, u32) {
        if (visit.there()) {
            copy_tile(to, with.items, visit.tile * ATTENTION_TILE, with.item_count);
        }
        async_commit();
    }
    METHOD void wait(u32) { ASYNC_WAIT(SCREEN_STAGES - 2); }
    METHOD void score(float (&scores)[8][4], AttentionTile<WIDTH>& users,
                      AttentionTile<WIDTH>& items) {
        multiply_rows<WIDTH, 8>(scores, users, warp_of_thread() % 4 * 16, items, 0);
    }
};

KERNEL_ALONE(SCREEN_GROUPS * ATTENTION_THREADS)
screen_64(SCREEN_PARAMETERS) { screen<64>(SCREEN_OF_PARAMETERS, ScreenByWarps<64>{}); }

KERNEL_ALONE(SCREEN_GROUPS * ATTENTION_THREADS)
screen_128(SCREEN_PARAMETERS) { screen<128>(SCREEN_OF_PARAMETERS, ScreenByWarps<128>{}); }
