//! The calls of a decoder's backward kernels, as in [`super::calls`]. Rows are row-major f32.
//!
//! The gradient of a product by its rows needs no kernel of its own: it is the product with the
//! transposed weight and the transposed adapter ([`super::Matrix::transposed`],
//! [`super::Lora::transposed`]).

use super::decoder_calls::Queries;
use super::shape::{GatedShape, GroupedShape, LinearShape, NormShape};

/// Adds each token's gradient to that of its row of the table, token by token.
pub struct LookupBackward<'a> {
    /// (tokens) rows of `d_rows`; none for tokens whose row is not trained.
    pub rows: &'a [Option<u32>],
    /// Width of a row.
    pub hidden: usize,
    /// (tokens, hidden).
    pub d_out: &'a [f32],
    /// (trained rows, hidden), added to.
    pub d_rows: &'a mut [f32],
}

/// The gradient of [`super::RmsNorm`]. `d_x` is added to, since x also flows past the norm.
pub struct RmsNormBackward<'a> {
    /// Dimensions.
    pub shape: NormShape,
    /// As forward.
    pub x: &'a [f32],
    /// As forward.
    pub weight: &'a [f32],
    /// From the forward kernel.
    pub statistics: &'a [f32],
    /// (rows, hidden).
    pub d_out: &'a [f32],
    /// (rows, hidden), added to.
    pub d_x: &'a mut [f32],
    /// (hidden), added to; or empty when the weight is not trained.
    pub d_weight: &'a mut [f32],
}

/// The gradient of a product by its weight: d_weight += Σ_r d_out[r] · x[r]ᵀ and
/// d_bias += Σ_r d_out[r].
pub struct WeightBackward<'a> {
    /// Dimensions.
    pub shape: LinearShape,
    /// (rows, inputs).
    pub x: &'a [f32],
    /// From the weight's first output on; rows lie `d_out_row` apart.
    pub d_out: &'a [f32],
    /// Distance of two rows of `d_out`: more than the outputs where weights are kept as one.
    pub d_out_row: usize,
    /// (outputs, inputs), added to.
    pub d_weight: &'a mut [f32],
    /// (outputs), added to; or empty for a weight without one.
    pub d_bias: &'a mut [f32],
}

/// The gradient of scale · up · (down · x[r]) by its factors: with v[r] = scale · upᵀ · d_out[r],
/// d_down += Σ_r v[r] · x[r]ᵀ and d_up += scale · Σ_r d_out[r] · (down · x[r])ᵀ.
pub struct LoraBackward<'a> {
    /// Dimensions.
    pub shape: LinearShape,
    /// How many rows `down` has.
    pub rank: usize,
    /// What the product is multiplied by.
    pub scale: f32,
    /// (rows, inputs).
    pub x: &'a [f32],
    /// (rank, inputs).
    pub down: &'a [f32],
    /// (outputs, rank).
    pub up: &'a [f32],
    /// As in [`WeightBackward`].
    pub d_out: &'a [f32],
    /// As in [`WeightBackward`].
    pub d_out_row: usize,
    /// (rank, inputs), added to.
    pub d_down: &'a mut [f32],
    /// (outputs, rank), added to.
    pub d_up: &'a mut [f32],
}

/// The gradient of [`super::Rotary`]: turns each pair of the queries' and keys' gradients back.
pub struct RotaryBackward<'a> {
    /// Dimensions.
    pub shape: GroupedShape<'a>,
    /// As forward.
    pub positions: &'a [u32],
    /// As forward.
    pub table: &'a [f32],
    /// (tokens, [`GroupedShape::row`]), turned where it lies.
    pub d_qkv: &'a mut [f32],
}

/// The gradient of [`super::GroupedAttention`]: p is made again from the statistics, block by
/// block.
pub struct GroupedAttentionBackward<'a> {
    /// Dimensions.
    pub shape: GroupedShape<'a>,
    /// As forward.
    pub qkv: &'a [f32],
    /// As forward.
    pub queries: Queries,
    /// From the forward kernel.
    pub statistics: &'a [f32],
    /// From the forward kernel.
    pub out: &'a [f32],
    /// (rows, heads · width).
    pub d_out: &'a [f32],
    /// (tokens, [`GroupedShape::row`]).
    pub d_qkv: &'a mut [f32],
}

/// The gradient of [`super::Gated`].
pub struct GatedBackward<'a> {
    /// Dimensions.
    pub shape: GatedShape,
    /// As forward.
    pub x: &'a [f32],
    /// (rows, hidden).
    pub d_out: &'a [f32],
    /// (rows, 2 · hidden): of gates, then of values.
    pub d_x: &'a mut [f32],
}
