//! The calls of a decoder's kernels, as in [`super::calls`]. Rows are row-major f32; weights are
//! packed matrices.

use super::cpu::{Kept, Lora, Matrix};
use super::shape::{GatedShape, GroupedShape, LinearShape, NormShape};

/// out[t] = table[tokens[t]].
pub struct Lookup<'a> {
    /// (vocabulary, hidden).
    pub table: &'a Matrix,
    /// Rows of the table.
    pub tokens: &'a [u32],
    /// (tokens, hidden).
    pub out: &'a mut [f32],
}

/// out[r] = weight ⊙ x[r] / √(mean(x[r]²) + epsilon).
///
/// Source: Zhang and Sennrich, Root Mean Square Layer Normalization (2019), eq. 4.
pub struct RmsNorm<'a> {
    /// Dimensions.
    pub shape: NormShape,
    /// (rows, hidden).
    pub x: &'a [f32],
    /// (hidden).
    pub weight: &'a [f32],
    /// Keeps a row of zeros finite.
    pub epsilon: f32,
    /// (rows, hidden).
    pub out: &'a mut [f32],
    /// (rows): 1 / √(mean(x²) + epsilon), for the backward kernel.
    pub statistics: &'a mut [f32],
}

/// out[r] = weight · x[r] + scale · up · (down · x[r]) + bias + residual[r], where up, down and
/// scale are those of the adapter that row r chooses, if it does.
///
/// In bf16, x and down · x are rounded to it before they are multiplied; sums are f32.
///
/// Source: Hu et al., LoRA (2021), eq. 3.
pub struct LoraLinear<'a> {
    /// Dimensions.
    pub shape: LinearShape,
    /// (rows, inputs).
    pub x: &'a [f32],
    /// (outputs, inputs).
    pub weight: &'a Matrix,
    /// (outputs), or empty for 0.
    pub bias: &'a [f32],
    /// Those that can be chosen; none for an adapter that leaves this weight as it is.
    pub adapters: &'a [Option<Lora>],
    /// (rows) each row's adapter, or empty for none.
    pub chosen: &'a [Option<u32>],
    /// (rows, outputs), or empty for 0.
    pub residual: &'a [f32],
    /// (rows, outputs).
    pub out: &'a mut [f32],
}

/// Turns each pair (x[i], x[i + width / 2]) of every query's and key's head by the angle
/// position · frequency[i].
///
/// Source: Su et al., RoFormer (2021), eq. 34, with the halves of a head as pairs.
pub struct Rotary<'a> {
    /// Dimensions.
    pub shape: GroupedShape<'a>,
    /// (tokens) rows of the table.
    pub positions: &'a [u32],
    /// (positions, width): the cosines of the angles, then their sines.
    pub table: &'a [f32],
    /// (tokens, [`GroupedShape::row`]), turned where it lies.
    pub qkv: &'a mut [f32],
}

/// Which rows of a sequence ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queries {
    /// Every one: the output has a row for each token.
    All,
    /// Its last one, if nothing goes on from the sequence: the output has a row for each of those.
    Last,
}

/// Causal attention within each sequence and what it goes on from, for each query i of head h, with
/// the keys k and values v of head h · shared / heads:
///
/// p[i, j] = softmax over j ≤ i of ⟨q[i], k[j]⟩ / √width, out[i] = Σ_j p[i, j] v[j].
///
/// Source: Ainslie et al., GQA (2023), §2.2.
pub struct GroupedAttention<'a> {
    /// Dimensions. No sequence is empty.
    pub shape: GroupedShape<'a>,
    /// (tokens, [`GroupedShape::row`]).
    pub qkv: &'a [f32],
    /// The rows of the output.
    pub queries: Queries,
    /// (rows, heads): ln Σ_j exp(⟨q[i], k[j]⟩ / √width), for the backward kernel.
    pub statistics: &'a mut [f32],
    /// (rows, heads · width).
    pub out: &'a mut [f32],
}

/// As [`GroupedAttention`], of sequences that each go on from rows that are kept: what is kept for
/// a sequence ends with its own rows.
pub struct KeptAttention<'a> {
    /// Dimensions. No sequence is empty, and none goes on from another one of them.
    pub shape: GroupedShape<'a>,
    /// (tokens, [`GroupedShape::row`]), of which the queries are read.
    pub qkv: &'a [f32],
    /// The rows of the output.
    pub queries: Queries,
    /// The keys and values that each sequence sees.
    pub kept: &'a [&'a Kept],
    /// (rows, heads · width).
    pub out: &'a mut [f32],
}

/// out[r, i] = σ(x[r, i]) · x[r, i] · x[r, hidden + i], with the logistic function σ.
///
/// Source: Shazeer, GLU Variants Improve Transformer (2020), eq. 6 (SwiGLU).
pub struct Gated<'a> {
    /// Dimensions.
    pub shape: GatedShape,
    /// (rows, 2 · hidden): gates, then values.
    pub x: &'a [f32],
    /// (rows, hidden).
    pub out: &'a mut [f32],
}
