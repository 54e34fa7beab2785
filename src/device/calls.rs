//! One struct for each kernel: what it computes, over which buffers. All matrices are row-major
//! f32.
//!
//! Kernels panic when a buffer's length disagrees with the shape: that is a bug of the caller.

use super::shape::{AttentionShape, EmbedShape, LinearShape, LossShape, NormShape};

/// Which elements of which rows are dropped: a pure function of the row's key, the site and the
/// column, so that the backward kernel needs no mask and no thread or batch changes it.
#[derive(Clone, Copy, Debug)]
pub struct Dropout<'a> {
    /// The share that is dropped, in [0, 1); what stays is scaled by 1 / (1 − rate).
    pub rate: f32,
    /// Where in the network: two sites of one row draw different masks.
    pub site: u64,
    /// One key for each row; not read when the rate is 0.
    pub keys: &'a [u64],
}

impl Dropout<'_> {
    /// Drops nothing.
    pub const NONE: Dropout<'static> = Dropout { rate: 0.0, site: 0, keys: &[] };
}

/// What follows a product element by element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    Identity,
    /// max(0, x); its derivative at 0 is 0.
    Relu,
}

/// out[t] = drop(√hidden · item_table[items[t]] + position_table[positions[t]]).
///
/// Source: Kang and McAuley, Self-Attentive Sequential Recommendation (2018), §III-A.
pub struct Embed<'a> {
    /// Dimensions.
    pub shape: EmbedShape,
    /// (tokens) rows of the item table.
    pub items: &'a [u32],
    /// (tokens) rows of the position table.
    pub positions: &'a [u32],
    /// (items, hidden).
    pub item_table: &'a [f32],
    /// (positions, hidden).
    pub position_table: &'a [f32],
    /// By token.
    pub dropout: Dropout<'a>,
    /// (tokens, hidden).
    pub out: &'a mut [f32],
}

/// Adds the gradient of [`Embed`] to both tables' gradients, token by token.
pub struct EmbedBackward<'a> {
    /// Dimensions.
    pub shape: EmbedShape,
    /// As forward.
    pub items: &'a [u32],
    /// As forward.
    pub positions: &'a [u32],
    /// As forward.
    pub dropout: Dropout<'a>,
    /// (tokens, hidden).
    pub d_out: &'a [f32],
    /// (items, hidden), added to.
    pub d_item_table: &'a mut [f32],
    /// (positions, hidden), added to.
    pub d_position_table: &'a mut [f32],
}

/// out[r] = weight ⊙ (x[r] − mean) / √(variance + epsilon) + bias.
///
/// Source: Ba et al., Layer Normalization (2016), eq. 4.
pub struct LayerNorm<'a> {
    /// Dimensions.
    pub shape: NormShape,
    /// (rows, hidden).
    pub x: &'a [f32],
    /// (hidden) weight, then (hidden) bias.
    pub affine: &'a [f32],
    /// Keeps a row of equal numbers finite.
    pub epsilon: f32,
    /// (rows, hidden).
    pub out: &'a mut [f32],
    /// (rows, 2): mean and 1 / √(variance + epsilon), for the backward kernel.
    pub statistics: &'a mut [f32],
}

/// The gradient of [`LayerNorm`]. `d_x` is added to, since x also flows past the norm.
pub struct LayerNormBackward<'a> {
    /// Dimensions.
    pub shape: NormShape,
    /// As forward.
    pub x: &'a [f32],
    /// As forward.
    pub affine: &'a [f32],
    /// From the forward kernel.
    pub statistics: &'a [f32],
    /// (rows, hidden).
    pub d_out: &'a [f32],
    /// (rows, hidden), added to.
    pub d_x: &'a mut [f32],
    /// (hidden) weight, then (hidden) bias, added to.
    pub d_affine: &'a mut [f32],
}

/// out[r] = drop(activation(weight · x[r] + bias)) + residual[r].
pub struct Linear<'a> {
    /// Dimensions.
    pub shape: LinearShape,
    /// (rows, inputs).
    pub x: &'a [f32],
    /// (outputs, inputs) weight, then (outputs) bias; without the latter the bias is 0.
    pub affine: &'a [f32],
    /// After the sum.
    pub activation: Activation,
    /// By row, after the activation.
    pub dropout: Dropout<'a>,
    /// (rows, outputs), or empty for 0.
    pub residual: &'a [f32],
    /// (rows, outputs).
    pub out: &'a mut [f32],
}

/// The gradient of [`Linear`]. The residual's gradient is `d_out` itself.
pub struct LinearBackward<'a> {
    /// Dimensions.
    pub shape: LinearShape,
    /// As forward.
    pub x: &'a [f32],
    /// As forward, with a bias.
    pub affine: &'a [f32],
    /// As forward.
    pub activation: Activation,
    /// As forward.
    pub dropout: Dropout<'a>,
    /// (rows, outputs) from the forward kernel (which then had no residual); read for `Relu` only.
    pub out: &'a [f32],
    /// (rows, outputs).
    pub d_out: &'a [f32],
    /// (rows, inputs).
    pub d_x: &'a mut [f32],
    /// (outputs, inputs) weight, then (outputs) bias, added to.
    pub d_affine: &'a mut [f32],
}

/// Causal attention within each sequence, for each head h and query i:
///
/// p[i, j] = softmax over j ≤ i of ⟨q[i], k[j]⟩ / √width, out[i] = Σ_j drop(p[i, j]) v[j].
///
/// Source: Vaswani et al., Attention Is All You Need (2017), §3.2.1.
pub struct Attention<'a> {
    /// Dimensions.
    pub shape: AttentionShape<'a>,
    /// (tokens, 3 · hidden): queries, keys, values, each head by head.
    pub qkv: &'a [f32],
    /// By query; the column is head · 2¹⁶ + key.
    pub dropout: Dropout<'a>,
    /// ([`AttentionShape::pairs`]): sequence by sequence, head by head, (length, length). Holds p,
    /// negated where it is dropped, for the backward kernel; what is above the diagonal means
    /// nothing.
    pub probabilities: &'a mut [f32],
    /// (tokens, hidden).
    pub out: &'a mut [f32],
}

/// The gradient of [`Attention`].
pub struct AttentionBackward<'a> {
    /// Dimensions.
    pub shape: AttentionShape<'a>,
    /// As forward.
    pub qkv: &'a [f32],
    /// The rate of the forward kernel: the mask is in the probabilities' signs.
    pub dropout_rate: f32,
    /// From the forward kernel.
    pub probabilities: &'a [f32],
    /// From the forward kernel.
    pub out: &'a [f32],
    /// (tokens, hidden).
    pub d_out: &'a [f32],
    /// (tokens, 3 · hidden).
    pub d_qkv: &'a mut [f32],
}

/// loss = Σ over rows of ln Σ_v exp⟨x[r], table[v]⟩ − ⟨x[r], table[targets[r]]⟩, with the gradients
/// of `scale` · loss.
pub struct CrossEntropy<'a> {
    /// Dimensions; `candidates` equals `items`.
    pub shape: LossShape,
    /// (rows, hidden).
    pub x: &'a [f32],
    /// (items, hidden).
    pub table: &'a [f32],
    /// (rows) rows of the table.
    pub targets: &'a [u32],
    /// What the gradients are multiplied by.
    pub scale: f32,
    /// (rows, hidden).
    pub d_x: &'a mut [f32],
    /// (items, hidden), added to.
    pub d_table: &'a mut [f32],
}

/// What a sampled loss makes of the scores s₀ (the target's) and s₁ … sₙ (the negatives').
#[derive(Clone, Copy, Debug)]
pub enum SampledRule<'a> {
    /// −s'₀ + ln Σ_j exp s'_j with s'_j = s_j − log_q[item j]; a negative equal to the target is
    /// left out. Source: Bengio and Senécal, Adaptive importance sampling (2008).
    Softmax {
        /// (items) ln of how often an item is drawn in n draws.
        log_q: &'a [f32],
    },
    /// −(β ln σ(s₀) + Σ_j ln(1 − σ(s_j))) / (n + 1); β = 1 is binary cross-entropy.
    /// Source: Petrov and Macdonald, gSASRec (2023), eq. 8.
    Binary {
        /// The power of the target's probability.
        beta: f32,
    },
}

/// A loss over each row's target and a few negatives, with the gradients of `scale` · loss.
pub struct SampledLoss<'a> {
    /// Dimensions.
    pub shape: LossShape,
    /// The formula.
    pub rule: SampledRule<'a>,
    /// (rows, hidden).
    pub x: &'a [f32],
    /// (items, hidden).
    pub table: &'a [f32],
    /// (rows, candidates) rows of the table, the target first.
    pub candidates: &'a [u32],
    /// What the gradients are multiplied by.
    pub scale: f32,
    /// (rows, hidden).
    pub d_x: &'a mut [f32],
    /// (items, hidden), added to.
    pub d_table: &'a mut [f32],
}

/// m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g², w ← w − rate · (m̂ / (√v̂ + ε) + decay · w), where g
/// is the gradient times `scale`, and m̂ and v̂ are m and v over 1 − βᵗ.
///
/// Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization (2019), algorithm 2.
pub struct AdamW<'a> {
    /// The step t, from 1.
    pub step: u64,
    /// The learning rate.
    pub rate: f32,
    /// β₁ and β₂.
    pub betas: (f32, f32),
    /// Decoupled weight decay.
    pub decay: f32,
    /// What the gradients are multiplied by first.
    pub scale: f32,
    /// g.
    pub gradient: &'a [f32],
    /// w, m and v, all as long as the gradient.
    pub state: (&'a mut [f32], &'a mut [f32], &'a mut [f32]),
}
