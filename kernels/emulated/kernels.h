// All kernels, by name.
#pragma once

#include <map>

#include "../adam_w.cu"
#include "../candidate_logits.cu"
#include "../candidate_logits_backward.cu"
#include "../column_sums.cu"
#include "../cross_entropy.cu"
#include "../draw.cu"
#include "../embed.cu"
#include "../gated_backward.cu"
#include "../grouped_attention.cu"
#include "../grouped_attention_backward.cu"
#include "../grouped_attention_hopper.cu"
#include "../keep.cu"
#include "../layer_norm.cu"
#include "../linear.cu"
#include "../lookup.cu"
#include "../lookup_backward.cu"
#include "../lora_gated.cu"
#include "../lora_linear.cu"
#include "../lora_norm.cu"
#include "../lora_qkv.cu"
#include "../pool.cu"
#include "../quantise.cu"
#include "../rescore.cu"
#include "../rms_norm.cu"
#include "../rms_norm_backward.cu"
#include "../rotary_backward.cu"
#include "../round.cu"
#include "../sampled_loss.cu"
#include "../screen.cu"
#include "../screen_hopper.cu"
#include "../sequence_attention.cu"
#include "../spread.cu"
#include "../square_sums.cu"
#include "../top_k.cu"
#include "../wrappers.cu"
#include "calls.h"

#define KERNEL_NAMED(name) {#name, emulated::binding(name)}

inline const std::map<std::string, emulated::Binding>& kernels() {
    static const std::map<std::string, emulated::Binding> all{
        KERNEL_NAMED(adam_w),
        KERNEL_NAMED(attention_alongs),
        KERNEL_NAMED(attention_keys_128),
        KERNEL_NAMED(attention_keys_64),
        KERNEL_NAMED(attention_queries_128),
        KERNEL_NAMED(attention_queries_64),
        KERNEL_NAMED(candidate_logits),
        KERNEL_NAMED(candidates_backward),
        KERNEL_NAMED(column_sums),
        KERNEL_NAMED(cross_entropy),
        KERNEL_NAMED(draw_bf16),
        KERNEL_NAMED(draw_f32),
        KERNEL_NAMED(dropped_attention_128),
        KERNEL_NAMED(dropped_attention_64),
        KERNEL_NAMED(dropped_keys_128),
        KERNEL_NAMED(dropped_keys_64),
        KERNEL_NAMED(dropped_queries_128),
        KERNEL_NAMED(dropped_queries_64),
        KERNEL_NAMED(embed),
        KERNEL_NAMED(gated_backward),
        KERNEL_NAMED(grouped_attention_128),
        KERNEL_NAMED(grouped_attention_64),
        KERNEL_NAMED(hopper_attention_128),
        KERNEL_NAMED(hopper_attention_64),
        KERNEL_NAMED(hopper_screen_128),
        KERNEL_NAMED(hopper_screen_64),
        KERNEL_NAMED(keep),
        KERNEL_NAMED(layer_norm),
        KERNEL_NAMED(layer_norm_backward),
        KERNEL_NAMED(linear),
        KERNEL_NAMED(linear_backward),
        KERNEL_NAMED(lookup),
        KERNEL_NAMED(lookup_backward_bf16),
        KERNEL_NAMED(lookup_backward_f32),
        KERNEL_NAMED(lookup_backward_parts),
        KERNEL_NAMED(lora_gated),
        KERNEL_NAMED(lora_gelu),
        KERNEL_NAMED(lora_gelu_backward),
        KERNEL_NAMED(lora_linear),
        KERNEL_NAMED(lora_rms_norm),
        KERNEL_NAMED(lora_layer_norm),
        KERNEL_NAMED(lora_qkv),
        KERNEL_NAMED(lora_residual),
        KERNEL_NAMED(pool_last),
        KERNEL_NAMED(pool_mean),
        KERNEL_NAMED(pool_mean_backward),
        KERNEL_NAMED(quantise),
        KERNEL_NAMED(rescore),
        KERNEL_NAMED(rms_norm),
        KERNEL_NAMED(rms_norm_backward),
        KERNEL_NAMED(rotary_backward),
        KERNEL_NAMED(round_numbers),
        KERNEL_NAMED(sampled_loss),
        KERNEL_NAMED(screen_128),
        KERNEL_NAMED(screen_64),
        KERNEL_NAMED(sequence_attention_128),
        KERNEL_NAMED(sequence_attention_64),
        KERNEL_NAMED(spread),
        KERNEL_NAMED(square_sums),
        KERNEL_NAMED(top_k_bf16),
        KERNEL_NAMED(top_k_f32),
        KERNEL_NAMED(top_k_merge),
        KERNEL_NAMED(wrapped_bulk),
        KERNEL_NAMED(wrapped_group),
        KERNEL_NAMED(wrapped_matrices),
        KERNEL_NAMED(wrapped_multiply),
    };
    return all;
}
