//! The calls of a text encoder's kernels, as in [`super::calls`]. Rows are row-major f32.

use super::shape::{AttentionShape, PointShape};

/// out[i] = x[i] · Φ(x[i]), with Φ the distribution function of the standard normal.
///
/// Units:   Φ within 1e-7 of its value.
/// Source:  Hendrycks and Gimpel, Gaussian Error Linear Units (2016), eq. 1.
pub struct Gelu<'a> {
    /// Dimensions.
    pub shape: PointShape,
    /// (elements).
    pub x: &'a [f32],
    /// (elements).
    pub out: &'a mut [f32],
}

/// The gradient of [`Gelu`]: d_x[i] = d_out[i] · (Φ(x[i]) + x[i] · φ(x[i])), with φ the density of
/// the standard normal.
pub struct GeluBackward<'a> {
    /// Dimensions.
    pub shape: PointShape,
    /// As forward.
    pub x: &'a [f32],
    /// (elements): the gradient by `out`, replaced by that by `x`.
    pub d: &'a mut [f32],
}

/// Attention within each sequence in both directions, for each head h and token i:
///
/// p[i, j] = softmax over all j of ⟨q[i], k[j]⟩ / √width, out[i] = Σ_j p[i, j] v[j].
///
/// Source: Vaswani et al., Attention Is All You Need (2017), §3.2.1.
pub struct MutualAttention<'a> {
    /// Dimensions.
    pub shape: AttentionShape<'a>,
    /// (tokens, 3 · hidden): queries, keys, values, each head by head.
    pub qkv: &'a [f32],
    /// (tokens, heads): ln Σ_j exp(⟨q[i], k[j]⟩ / √width), for the backward kernel.
    pub statistics: &'a mut [f32],
    /// (tokens, hidden).
    pub out: &'a mut [f32],
}

/// The gradient of [`MutualAttention`]: p is made again from the statistics, block by block.
pub struct MutualAttentionBackward<'a> {
    /// Dimensions.
    pub shape: AttentionShape<'a>,
    /// As forward.
    pub qkv: &'a [f32],
    /// From the forward kernel.
    pub statistics: &'a [f32],
    /// From the forward kernel.
    pub out: &'a [f32],
    /// (tokens, hidden).
    pub d_out: &'a [f32],
    /// (tokens, 3 · hidden).
    pub d_qkv: &'a mut [f32],
}
