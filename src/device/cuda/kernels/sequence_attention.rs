//! Causal attention in f32 over short sequences.

use super::super::launch::{Launch, SEQUENCE_ATTENTION_64, SEQUENCE_ATTENTION_128, arguments};
use super::super::{Buffer, Driver};
use super::{WARP, fits, u32_of};
use crate::error::{Error, Result};

const NAME: &str = "sequence_attention";
/// Queries of a block, a warp each.
const WARPS: usize = 4;

/// Where each token's sequence begins.
#[derive(Clone, Debug)]
pub struct Starts(Buffer<u32>);

impl Starts {
    /// Copies, for sequences that follow each other, where they begin: ascending from 0, one more
    /// than there are sequences.
    ///
    /// # Errors
    /// If they do not ascend; and those of [`Buffer::of`].
    pub fn of(driver: &dyn Driver, offsets: &[u32]) -> Result<Self> {
        if offsets.first() != Some(&0) || !offsets.is_sorted() {
            return Err(Error::Device(format!("{NAME}: offsets must ascend from 0")));
        }
        let tokens = offsets.windows(2).flat_map(|pair| (pair[0]..pair[1]).map(move |_| pair[0]));
        Ok(Self(Buffer::of(driver, &tokens.collect::<Vec<u32>>())?))
    }
}

/// out = softmax(scale · queries · keysᵀ) · values, over what comes before in the sequence.
#[derive(Clone, Copy, Debug)]
pub struct SequenceAttention<'a> {
    /// Heads, and how wide they are: 64 or 128.
    pub size: [usize; 2],
    /// What scores are multiplied by.
    pub scale: f32,
    /// Of all tokens.
    pub starts: &'a Starts,
    /// (tokens, 3 · heads · width).
    pub qkv: &'a Buffer<f32>,
    /// (tokens, heads · width).
    pub out: &'a Buffer<f32>,
}

impl SequenceAttention<'_> {
    /// Checks the call.
    ///
    /// # Errors
    /// If a buffer's length disagrees with the shape, or heads are of another width.
    pub fn launch(&self) -> Result<Launch> {
        let Self { size: [heads, width], scale, starts: Starts(starts), qkv, out } = *self;
        let kernel = match width {
            64 => SEQUENCE_ATTENTION_64,
            128 => SEQUENCE_ATTENTION_128,
            _ => {
                let found = format!("{NAME}: expected heads of 64 or 128, found {width}");
                return Err(Error::Device(found));
            }
        };
        fits(NAME, "qkv", qkv, &[starts.len(), 3, heads, width])?;
        fits(NAME, "out", out, &[starts.len(), heads, width])?;
        let (tokens, count) = (u32_of(NAME, starts.len())?, u32_of(NAME, heads)?);
        let arguments = arguments![qkv, starts, out, tokens, count, scale];
        let blocks = [starts.len().div_ceil(WARPS), heads];
        Launch::new(kernel, arguments).over(blocks, (WARPS * WARP) as u32)
    }
}
