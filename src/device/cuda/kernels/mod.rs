//! The calls: each becomes a launch once its buffers fit its shape. What a kernel computes is said
//! in its file of `kernels/`, which has the call's name.

mod adam_w;
mod candidate_logits;
mod candidate_logits_backward;
mod cross_entropy;
mod draw;
mod dropout;
mod embed;
mod gated_backward;
mod grouped_attention;
mod grouped_attention_backward;
mod indices;
mod keep;
mod layer_norm;
mod linear;
mod lookup;
mod lookup_backward;
mod lora;
mod lora_linear;
mod lora_norm;
mod pool;
mod quantise;
mod rms_norm;
mod rms_norm_backward;
mod rotary_backward;
mod round;
mod sampled_loss;
mod screen;
mod sequence_attention;
mod spread;
mod square_sums;
mod top_k;
pub mod wrappers;

pub use adam_w::AdamW;
pub use candidate_logits::CandidateLogits;
pub use candidate_logits_backward::{CandidateLogitsBackward, OwnRows};
pub use cross_entropy::CrossEntropy;
pub use draw::{Draw, DrawNumber};
pub use dropout::Dropout;
pub use embed::Embed;
pub use gated_backward::GatedBackward;
pub use grouped_attention::{GroupedAttention, Paths};
pub use grouped_attention_backward::{GroupedAttentionBackward, Visits};
pub use indices::{Indices, Rows};
pub use keep::Keep;
pub use layer_norm::{LayerNorm, LayerNormBackward};
pub use linear::{Linear, LinearBackward};
pub use lookup::Lookup;
pub use lookup_backward::{GradientNumber, LookupBackward, USES, Uses};
pub use lora::{Adapter, Adapters, Fp8Rows, LoraSums, check_fp8, filled};
pub use lora_linear::{LoraGated, LoraGelu, LoraGeluBackward, LoraLinear, LoraQkv, LoraResidual};
pub use lora_norm::{LoraLayerNorm, LoraRmsNorm};
pub use pool::{Offsets, Pool, PoolBackward, Pooling};
pub use quantise::Quantise;
pub use rms_norm::RmsNorm;
pub use rms_norm_backward::{NORM_ROWS, NormWeight, RmsNormBackward};
pub use rotary_backward::RotaryBackward;
pub use round::Round;
pub use sampled_loss::{SAMPLED_WIDTH_MAX, SampledLoss, SampledLossRule};
pub use screen::{Coarse, CoarseUsers, SCREENED_FIRST, SCREENED_GROWTH, ScreenRoom, Screened};
pub use sequence_attention::{SequenceAttention, Starts};
pub use spread::Spread;
pub use square_sums::SquareSums;
pub use top_k::{Exclusions, SEARCHED_WIDTH_MAX, TopK, TopKNumber, check_limits, found_length};

use super::buffer::Buffer;
use super::element::Element;
use crate::error::{Error, Result};

/// Threads of a warp.
const WARP: usize = 32;
/// Numbers that a thread reads together.
const EIGHT: usize = 8;

/// Blocks and threads for a row of so many columns, a thread for each: narrow rows have small
/// blocks, so that no warp is there for nothing.
fn by_columns(columns: usize) -> (usize, u32) {
    let threads = columns.next_multiple_of(WARP).clamp(WARP, 256);
    (columns.div_ceil(threads), threads as u32)
}

/// That a buffer is as long as its shape says.
fn fits<T: Element>(kernel: &str, name: &str, buffer: &Buffer<T>, size: &[usize]) -> Result<()> {
    let expected = size.iter().try_fold(1usize, |all, size| all.checked_mul(*size));
    if expected != Some(buffer.len()) {
        return Err(Error::Device(format!(
            "{kernel}: {name}: expected {size:?} numbers, found {}",
            buffer.len()
        )));
    }
    Ok(())
}

/// That a dimension is a multiple of what its kernel reads together, and not too large for it.
fn wide(kernel: &str, name: &str, found: usize, [multiple, most]: [usize; 2]) -> Result<()> {
    if found == 0 || !found.is_multiple_of(multiple) || found > most {
        return Err(Error::Device(format!(
            "{kernel}: {name}: expected a multiple of {multiple}, at most {most}, found {found}"
        )));
    }
    Ok(())
}

/// As a kernel's argument.
fn u32_of(kernel: &str, number: usize) -> Result<u32> {
    let most = i32::MAX; // kernels add to them
    if number > most as usize {
        return Err(Error::Device(format!("{kernel}: expected at most {most}, found {number}")));
    }
    Ok(number as u32)
}
