//! Where is it computed? The fused kernels as a trait, and the machines that implement it.
//!
//! A kernel is a *call*: a struct that names its buffers and its dimensions ([`shape`]), so that a
//! call reads like the formula it computes and every implementation checks the same lengths.

mod calls;
pub mod cpu;
pub mod cuda;
mod decoder_calls;
mod decoder_gradients;
pub mod doctor;
mod encoder_calls;
mod machine;
mod mapped;
pub mod parallel;
pub mod shape;
mod turns;

pub use calls::{
    Activation, AdamW, Attention, AttentionBackward, CrossEntropy, Dropout, Embed, EmbedBackward,
    LayerNorm, LayerNormBackward, Linear, LinearBackward, SampledLoss, SampledRule,
};
pub use cpu::{Cpu, Kept, Lora, Matrix, Precision};
pub use decoder_calls::{
    Gated, GroupedAttention, KeptAttention, Lookup, LoraLinear, Queries, RmsNorm, Rotary,
};
pub use decoder_gradients::{
    GatedBackward, GroupedAttentionBackward, LookupBackward, LoraBackward, RmsNormBackward,
    RotaryBackward, WeightBackward,
};
pub use encoder_calls::{Gelu, GeluBackward, MutualAttention, MutualAttentionBackward};
pub use machine::{machine, processor};
pub use mapped::Mapped;
pub use turns::Turns;

/// The fused kernels a model is written in; each method computes what its call's documentation
/// says.
///
/// Every implementation is batch-invariant: a row's reduction order depends on that row alone. A
/// gradient that several rows add to is summed in the order of the rows.
pub trait Backend: Sync {
    /// Looks up items and positions.
    fn embed(&self, call: Embed<'_>);
    /// The gradient of [`Backend::embed`].
    fn embed_backward(&self, call: EmbedBackward<'_>);
    /// Normalises rows.
    fn layer_norm(&self, call: LayerNorm<'_>);
    /// The gradient of [`Backend::layer_norm`].
    fn layer_norm_backward(&self, call: LayerNormBackward<'_>);
    /// Multiplies rows by a weight matrix, with whatever follows it element by element.
    fn linear(&self, call: Linear<'_>);
    /// The gradient of [`Backend::linear`].
    fn linear_backward(&self, call: LinearBackward<'_>);
    /// Mixes each sequence's values causally.
    fn attention(&self, call: Attention<'_>);
    /// The gradient of [`Backend::attention`].
    fn attention_backward(&self, call: AttentionBackward<'_>);
    /// The softmax loss over all items, with its gradients; returns the sum over rows, in nats.
    fn cross_entropy(&self, call: CrossEntropy<'_>) -> f64;
    /// A loss over a few items of each row, with its gradients; returns the sum over rows, in nats.
    fn sampled_loss(&self, call: SampledLoss<'_>) -> f64;
    /// One step of the optimiser.
    fn adam_w(&self, call: AdamW<'_>);
    /// Looks up a decoder's tokens.
    fn lookup(&self, call: Lookup<'_>);
    /// Normalises rows by their root mean square.
    fn rms_norm(&self, call: RmsNorm<'_>);
    /// Multiplies rows by a packed weight, with each row's adapter and what follows.
    fn lora_linear(&self, call: LoraLinear<'_>);
    /// Turns queries and keys by their positions.
    fn rotary(&self, call: Rotary<'_>);
    /// Mixes each sequence's values causally, heads in groups.
    fn grouped_attention(&self, call: GroupedAttention<'_>);
    /// Mixes the values of what is kept and of each sequence causally, heads in groups.
    fn kept_attention(&self, call: KeptAttention<'_>);
    /// Multiplies values by their gates.
    fn gated(&self, call: Gated<'_>);
    /// The gradient of [`Backend::lookup`].
    fn lookup_backward(&self, call: LookupBackward<'_>);
    /// The gradient of [`Backend::rms_norm`].
    fn rms_norm_backward(&self, call: RmsNormBackward<'_>);
    /// The gradient of a product by its weight.
    fn weight_backward(&self, call: WeightBackward<'_>);
    /// The gradient of [`Backend::lora_linear`] by an adapter's factors.
    fn lora_backward(&self, call: LoraBackward<'_>);
    /// The gradient of [`Backend::rotary`].
    fn rotary_backward(&self, call: RotaryBackward<'_>);
    /// The gradient of [`Backend::grouped_attention`].
    fn grouped_attention_backward(&self, call: GroupedAttentionBackward<'_>);
    /// The gradient of [`Backend::gated`].
    fn gated_backward(&self, call: GatedBackward<'_>);
    /// Applies an encoder's activation.
    fn gelu(&self, call: Gelu<'_>);
    /// The gradient of [`Backend::gelu`].
    fn gelu_backward(&self, call: GeluBackward<'_>);
    /// Mixes each sequence's values in both directions.
    fn mutual_attention(&self, call: MutualAttention<'_>);
    /// The gradient of [`Backend::mutual_attention`].
    fn mutual_attention_backward(&self, call: MutualAttentionBackward<'_>);
}
