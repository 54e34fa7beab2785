//! The CPU: the definition of each kernel and its fast path, in one body.
//!
//! A kernel is plain Rust over slices, compiled twice: for the processor every build must run on,
//! and for AVX2 with fused multiply-add, chosen at run time. Every multiply-add is written as
//! `mul_add` and no sum is left to the compiler to reorder, so both give the same bits.
#![allow(unsafe_code)]

mod adam_w;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx;
mod attention;
mod cross_entropy;
mod embed;
mod fp8;
mod fp8_linear;
mod gated;
mod gelu;
mod grouped_attention;
mod grouped_attention_backward;
mod kept;
mod kept_attention;
mod layer_norm;
mod linear;
mod lines;
mod lookup;
mod lora_linear;
mod matmul;
mod matrix;
mod mutual_attention;
mod path;
pub mod peak;
mod rms_norm;
mod rotary;
mod sampled_loss;
mod tiles;
pub mod top_k;
mod vector;
mod weight_backward;

pub use fp8::quantise;
pub use kept::Kept;
pub use lines::has_bf16;
pub use lora_linear::Lora;
pub use matrix::{Matrix, Precision};

use super::Backend;

/// A kernel's body. `run` must be `#[inline(always)]`, like what it calls in its loops, so that it
/// takes on the processor features of the function it is inlined into.
pub trait Kernel {
    /// What the kernel returns.
    type Output;
    /// Computes.
    fn run(self) -> Self::Output;
}

/// Whether the processor has AVX2 and fused multiply-add.
#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

/// Whether the processor has these and the parts of AVX-512 that every server's has.
#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    has_avx2()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
}

/// Runs a kernel with the widest instructions this processor has. Outside of `device` for loops
/// that are no model's and yet want vectors.
pub fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,fma")]
        fn avx2<K: Kernel>(kernel: K) -> K::Output {
            kernel.run()
        }
        /// The same sums in the same order: what gets wider is what is done to each element alone.
        #[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")]
        fn avx512<K: Kernel>(kernel: K) -> K::Output {
            kernel.run()
        }
        if has_avx512() {
            // SAFETY: the processor has what the function is compiled for, as just detected.
            return unsafe { avx512(kernel) };
        }
        if has_avx2() {
            // SAFETY: as above.
            return unsafe { avx2(kernel) };
        }
    }
    kernel.run()
}

/// The processor the program runs on; one kernel runs on one thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu;

impl Backend for Cpu {
    fn embed(&self, call: super::Embed<'_>) {
        dispatch(call);
    }
    fn embed_backward(&self, call: super::EmbedBackward<'_>) {
        dispatch(call);
    }
    fn layer_norm(&self, call: super::LayerNorm<'_>) {
        dispatch(call);
    }
    fn layer_norm_backward(&self, call: super::LayerNormBackward<'_>) {
        dispatch(call);
    }
    fn linear(&self, call: super::Linear<'_>) {
        dispatch(call);
    }
    fn linear_backward(&self, call: super::LinearBackward<'_>) {
        dispatch(call);
    }
    fn attention(&self, call: super::Attention<'_>) {
        dispatch(call);
    }
    fn attention_backward(&self, call: super::AttentionBackward<'_>) {
        dispatch(call);
    }
    fn cross_entropy(&self, call: super::CrossEntropy<'_>) -> f64 {
        dispatch(call)
    }
    fn sampled_loss(&self, call: super::SampledLoss<'_>) -> f64 {
        dispatch(call)
    }
    fn adam_w(&self, call: super::AdamW<'_>) {
        dispatch(call);
    }
    fn lookup(&self, call: super::Lookup<'_>) {
        dispatch(call);
    }
    fn rms_norm(&self, call: super::RmsNorm<'_>) {
        dispatch(call);
    }
    fn lora_linear(&self, call: super::LoraLinear<'_>) {
        dispatch(call);
    }
    fn rotary(&self, call: super::Rotary<'_>) {
        dispatch(call);
    }
    fn grouped_attention(&self, call: super::GroupedAttention<'_>) {
        dispatch(call);
    }
    fn kept_attention(&self, call: super::KeptAttention<'_>) {
        dispatch(call);
    }
    fn gated(&self, call: super::Gated<'_>) {
        dispatch(call);
    }
    fn lookup_backward(&self, call: super::LookupBackward<'_>) {
        dispatch(call);
    }
    fn rms_norm_backward(&self, call: super::RmsNormBackward<'_>) {
        dispatch(call);
    }
    fn weight_backward(&self, call: super::WeightBackward<'_>) {
        dispatch(call);
    }
    fn lora_backward(&self, call: super::LoraBackward<'_>) {
        dispatch(call);
    }
    fn rotary_backward(&self, call: super::RotaryBackward<'_>) {
        dispatch(call);
    }
    fn grouped_attention_backward(&self, call: super::GroupedAttentionBackward<'_>) {
        dispatch(call);
    }
    fn gated_backward(&self, call: super::GatedBackward<'_>) {
        dispatch(call);
    }
    fn gelu(&self, call: super::Gelu<'_>) {
        dispatch(call);
    }
    fn gelu_backward(&self, call: super::GeluBackward<'_>) {
        dispatch(call);
    }
    fn mutual_attention(&self, call: super::MutualAttention<'_>) {
        dispatch(call);
    }
    fn mutual_attention_backward(&self, call: super::MutualAttentionBackward<'_>) {
        dispatch(call);
    }
}
