// A product with each row's adapter, as lora.cuh says, added to the stream, and the stream's norm:
//
//   lora_rms_norm    x[r] = residual[from[r]] + value[r], from[r] = r if there is no from,
//                    out[r] = weight ⊙ x[r] · s[r],  s[r] = 1 / √(mean(x[r]²) + epsilon)
//   lora_layer_norm  x[r] = residual[r] + value[r],  out[r] = stream[r],
//                    stream[r] = weight ⊙ (x[r] − mean(x[r])) · s[r] + bias,
//                    s[r] = 1 / √(variance(x[r]) + epsilon).
//
// Shapes:  hidden = outputs; residual (…, hidden) and x (rows, hidden) f32; from (rows) u32, or
//          null; out (rows, hidden) bf16: what the next product reads. Of lora_rms_norm: x may be
//          residual if there is no from; weight (hidden) f32; statistics (rows) f32: s, or null.
//          Of lora_layer_norm: out may be null; affine (2, hidden) f32: weight, then bias; stream
//          (rows, hidden) f32, which may be residual; statistics (rows, 2) f32: mean, then s.
// Blocks:  one for each 16 rows, of at most 16 warps; a warp's steps lie as far apart as there are
//          warps. A thread reads its own x again, which by then is in the L2 cache: at most some
//          34 MB are on their way at once, a block of each multiprocessor.
// Order:   a row's sums are added by threads, then by warps: by `hidden` alone.
// Bound:   memory: 12 · hidden bytes a row, and 16 · hidden of lora_layer_norm.
// Source:  as in rms_norm.cu and layer_norm.cu.
#include "lora.cuh"

constexpr int LORA_NORM_WARPS = 16;
constexpr int LORA_NORM_THREADS = LORA_NORM_WARPS * WARP;

// The first column of a warp's first step, and how far apart its steps are.
DEVICE u32 norm_first() { return warp_of_thread() * LORA_COLUMNS; }
DEVICE u32 norm_apart() { return blockDim.x / WARP * LORA_COLUMNS; }

// Every thread gets the sums of its two rows over the block. `parts` holds a number for each row
// and warp.
DEVICE void norm_sums(float (&sums)[2], float* parts) {
    int lane = lane_of_thread(), warps = blockDim.x / WARP;
    for (int which = 0; which < 2; which++) {
        for (int flip = 1; flip < 4; flip *= 2) sums[which] += shuffle_xor(sums[which], flip);
        float* row = parts + (lane / 4 + 8 * which) * LORA_NORM_WARPS;
        if (lane % 4 == 0) row[warp_of_thread()] = sums[which];
    }
    BLOCK_BARRIER();
    for (int which = 0; which < 2; which++) {
        const float* row = parts + (lane / 4 + 8 * which) * LORA_NORM_WARPS;
        sums[which] = 0.0f;
        for (int warp = 0; warp < warps; warp++) sums[which] += row[warp];
    }
}

// `each(values, which, row, column)` for what a thread has written of x.
template <class Each>
DEVICE void norm_again(const Lora& lora, const float* x, Each each) {
    for (u32 first = norm_first(); first < lora.outputs; first += norm_apart()) {
        u32 column = lora_column(first);
        for (int which = 0; which < 2; which++) {
            u32 row = lora_row(lora, which);
            if (row >= lora.rows || column >= lora.outputs) continue;
            float values[8];
            read_eight(values, x + (u64)row * lora.outputs + column);
            each(values, which, row, column);
        }
    }
}

// Whether a thread is the one that writes its rows' statistics.
DEVICE bool norm_tells(const Lora& lora, int which) {
    return threadIdx.x < WARP && threadIdx.x % 4 == 0 && lora_row(lora, which) < lora.rows;
}

KERNEL(LORA_NORM_THREADS)
lora_rms_norm(LORA_PARAMETERS, const float* residual, const u32* from, float* x,
              const float* __restrict__ weight, float epsilon, bf16* __restrict__ out,
              float* __restrict__ statistics) {
    BLOCK_MEMORY(float, parts, LORA_ROWS * LORA_NORM_WARPS);
    Lora lora = LORA_OF_PARAMETERS(blockIdx.x * LORA_ROWS);
    float inverses[2] = {};
    lora_put(lora, norm_first(), norm_apart(), x,
             [&](float (&values)[8], int which, u32 row, u32 column) {
                 lora_follow(values, residual, from, row, column, outputs);
                 for (int i = 0; i < 8; i++) inverses[which] += values[i] * values[i];
             });
    norm_sums(inverses, parts);
    for (int which = 0; which < 2; which++) {
        inverses[which] = 1.0f / sqrtf(inverses[which] / (float)outputs + epsilon);
        if (statistics && norm_tells(lora, which)) {
            statistics[lora_row(lora, which)] = inverses[which];
        }
    }
    norm_again(lora, x, [&](float (&values)[8], int which, u32 row, u32 column) {
        float weights[8];
        read_eight(weights, weight + column);
        for (int i = 0; i < 8; i++) values[i] *= inverses[which] * weights[i];
        write_eight(out + (u64)row * outputs + column, values);
    });
}

KERNEL(LORA_NORM_THREADS)
lora_layer_norm(LORA_PARAMETERS, const float* residual, float* __restrict__ x,
                const float* __restrict__ affine, float epsilon, float* stream,
                bf16* __restrict__ out, float* __restrict__ statistics) {
    BLOCK_MEMORY(float, parts, 2 * LORA_ROWS * LORA_NORM_WARPS);
    Lora lora = LORA_OF_PARAMETERS(blockIdx.x * LORA_ROWS);
    float means[2] = {}, inverses[2] = {};
    lora_put(lora, norm_first(), norm_apart(), x,
             [&](float (&values)[8], int which, u32 row, u32 column) {
                 lora_follow(values, residual, nullptr, row, column, outputs);
                 for (int i = 0; i < 8; i++) means[which] += values[i];
             });
    norm_sums(means, parts);
    for (int which = 0; which < 2; which++) means[which] /= (float)outputs;
    norm_again(lora, x, [&](float (&values)[8], int which, u32, u32) {
        for (int i = 0; i < 8; i++) {
            float centred = values[i] - means[which];
            inverses[which] += centred * centred;
        }
    });
    norm_sums(inverses, parts + LORA_ROWS * LORA_NORM_WARPS);
    for (int which = 0; which < 2; which++) {
        inverses[which] = 1.0f / sqrtf(inverses[which] / (float)outputs + epsilon);
        if (!norm_tells(lora, which)) continue;
        statistics[2 * lora_row(lora, which)] = means[which];
        statistics[2 * lora_row(lora, which) + 1] = inverses[which];
    }
    norm_again(lora, x, [&](float (&values)[8], int which, u32 row, u32 column) {
        float weights[8], bias[8];
        read_eight(weights, affine + column);
        read_eight(bias, affine + outputs + column);
        for (int i = 0; i < 8; i++) {
            values[i] = (values[i] - means[which]) * inverses[which] * weights[i] + bias[i];
        }
        write_eight(stream + (u64)row * outputs + column, values);
        if (out) write_eight(out + (u64)row * outputs + column, values);
    });
}
