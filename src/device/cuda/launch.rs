//! A launch as data, and the kernels there are.

use super::buffer::{Buffer, View};
use super::element::{Element, Kind};
use super::tensor_map::TensorMap;
use crate::error::{Error, Result};

/// A file of `kernels/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name.
    pub file: &'static str,
    /// What is in it.
    pub text: &'static str,
}

/// A kernel: a function of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The function's name.
    pub name: &'static str,
    /// Where it is.
    pub source: Source,
}

macro_rules! kernels {
    ($($file:literal: $($name:ident $function:literal),+;)*) => {
        $($(
            pub(super) const $name: Kernel = Kernel {
                name: $function,
                source: Source {
                    file: $file,
                    text: include_str!(concat!("../../../kernels/", $file)),
                },
            };
        )+)*
        /// All kernels, those of a source next to each other.
        pub const KERNELS: &[Kernel] = &[$($($name),+),*];
    };
}
kernels! {
    "adam_w.cu": ADAM_W "adam_w";
    "candidate_logits.cu": CANDIDATE_LOGITS "candidate_logits";
    "candidate_logits_backward.cu": CANDIDATES_BACKWARD "candidates_backward";
    "column_sums.cu": COLUMN_SUMS "column_sums";
    "cross_entropy.cu": CROSS_ENTROPY "cross_entropy";
    "draw.cu": DRAW_F32 "draw_f32", DRAW_BF16 "draw_bf16";
    "embed.cu": EMBED "embed";
    "gated_backward.cu": GATED_BACKWARD "gated_backward";
    "grouped_attention.cu": GROUPED_ATTENTION_64 "grouped_attention_64",
        GROUPED_ATTENTION_128 "grouped_attention_128", DROPPED_ATTENTION_64 "dropped_attention_64",
        DROPPED_ATTENTION_128 "dropped_attention_128";
    "grouped_attention_backward.cu": ATTENTION_ALONGS "attention_alongs",
        ATTENTION_QUERIES_64 "attention_queries_64", ATTENTION_KEYS_64 "attention_keys_64",
        ATTENTION_QUERIES_128 "attention_queries_128", ATTENTION_KEYS_128 "attention_keys_128",
        DROPPED_QUERIES_64 "dropped_queries_64", DROPPED_KEYS_64 "dropped_keys_64",
        DROPPED_QUERIES_128 "dropped_queries_128", DROPPED_KEYS_128 "dropped_keys_128";
    "grouped_attention_hopper.cu": HOPPER_ATTENTION_64 "hopper_attention_64",
        HOPPER_ATTENTION_128 "hopper_attention_128";
    "keep.cu": KEEP "keep";
    "layer_norm.cu": LAYER_NORM "layer_norm", LAYER_NORM_BACKWARD "layer_norm_backward";
    "linear.cu": LINEAR "linear", LINEAR_BACKWARD "linear_backward";
    "lookup.cu": LOOKUP "lookup";
    "lookup_backward.cu": LOOKUP_BACKWARD_F32 "lookup_backward_f32",
        LOOKUP_BACKWARD_BF16 "lookup_backward_bf16",
        LOOKUP_BACKWARD_PARTS "lookup_backward_parts";
    "lora_gated.cu": LORA_GATED "lora_gated";
    "lora_linear.cu": LORA_LINEAR "lora_linear", LORA_GELU "lora_gelu",
        LORA_GELU_BACKWARD "lora_gelu_backward", LORA_RESIDUAL "lora_residual";
    "lora_norm.cu": LORA_RMS_NORM "lora_rms_norm", LORA_LAYER_NORM "lora_layer_norm";
    "lora_qkv.cu": LORA_QKV "lora_qkv";
    "pool.cu": POOL_MEAN "pool_mean", POOL_MEAN_BACKWARD "pool_mean_backward",
        POOL_LAST "pool_last";
    "quantise.cu": QUANTISE "quantise";
    "rescore.cu": RESCORE "rescore";
    "rms_norm.cu": RMS_NORM "rms_norm";
    "rms_norm_backward.cu": RMS_NORM_BACKWARD "rms_norm_backward";
    "rotary_backward.cu": ROTARY_BACKWARD "rotary_backward";
    "round.cu": ROUND "round_numbers";
    "sampled_loss.cu": SAMPLED_LOSS "sampled_loss";
    "screen.cu": SCREEN_64 "screen_64", SCREEN_128 "screen_128";
    "screen_hopper.cu": HOPPER_SCREEN_64 "hopper_screen_64",
        HOPPER_SCREEN_128 "hopper_screen_128";
    "sequence_attention.cu": SEQUENCE_ATTENTION_64 "sequence_attention_64",
        SEQUENCE_ATTENTION_128 "sequence_attention_128";
    "spread.cu": SPREAD "spread";
    "square_sums.cu": SQUARE_SUMS "square_sums";
    "top_k.cu": TOP_K_F32 "top_k_f32", TOP_K_BF16 "top_k_bf16", TOP_K_MERGE "top_k_merge";
    "wrappers.cu": WRAPPED_MULTIPLY "wrapped_multiply", WRAPPED_MATRICES "wrapped_matrices",
        WRAPPED_GROUP "wrapped_group", WRAPPED_BULK "wrapped_bulk";
}

/// A kernel, how many threads run it, and what it is given. Calls make them ([`super::kernels`]),
/// once they have seen that no thread will read or write outside its buffers.
#[derive(Clone, Debug)]
pub struct Launch {
    kernel: Kernel,
    grid: [u32; 3],
    block: [u32; 3],
    shared_bytes: u32,
    arguments: Vec<Argument>,
}

/// What a kernel is given.
#[derive(Clone, Debug)]
pub enum Argument {
    /// Where a buffer begins.
    Buffer(View),
    /// No buffer, where one of this type may be given.
    Null(Kind),
    /// A number.
    U32(u32),
    /// A number.
    F32(f32),
    /// A matrix that bulk copies bring boxes of.
    Map(TensorMap),
}

impl From<u32> for Argument {
    fn from(number: u32) -> Self {
        Self::U32(number)
    }
}

impl From<f32> for Argument {
    fn from(number: f32) -> Self {
        Self::F32(number)
    }
}

impl From<TensorMap> for Argument {
    fn from(map: TensorMap) -> Self {
        Self::Map(map)
    }
}

impl<T: Element> From<&Buffer<T>> for Argument {
    fn from(buffer: &Buffer<T>) -> Self {
        Self::Buffer(buffer.view().clone())
    }
}

impl<T: Element> From<Option<&Buffer<T>>> for Argument {
    fn from(buffer: Option<&Buffer<T>>) -> Self {
        buffer.map_or(Self::Null(T::KIND), Self::from)
    }
}

/// The arguments of a launch, in the kernel's order.
macro_rules! arguments {
    ($($argument:expr),* $(,)?) => {
        vec![$($crate::device::cuda::Argument::from($argument)),*]
    };
}
pub(super) use arguments;

impl Launch {
    pub(super) fn new(kernel: Kernel, arguments: Vec<Argument>) -> Self {
        Self { kernel, grid: [1; 3], block: [1; 3], shared_bytes: 0, arguments }
    }

    /// How many blocks, along x and y, of how many threads.
    ///
    /// # Errors
    /// If there are more than a device can number.
    pub(super) fn over(mut self, blocks: [usize; 2], threads: u32) -> Result<Self> {
        let [x, y] = blocks;
        if x > i32::MAX as usize || y > usize::from(u16::MAX) {
            let name = self.kernel.name;
            return Err(Error::Device(format!("{name}: {x} × {y} blocks are too many")));
        }
        (self.grid, self.block) = ([x as u32, y as u32, 1], [threads, 1, 1]);
        Ok(self)
    }

    /// How much memory a block shares, apart from what its kernel declares.
    pub(super) fn sharing(mut self, bytes: usize) -> Self {
        self.shared_bytes = bytes as u32;
        self
    }

    /// Which kernel.
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// How many blocks. If one of the numbers is 0 there is nothing to do.
    pub fn grid(&self) -> [u32; 3] {
        self.grid
    }

    /// How many threads a block has.
    pub fn block(&self) -> [u32; 3] {
        self.block
    }

    /// How many bytes a block shares, apart from what its kernel declares.
    pub fn shared_bytes(&self) -> u32 {
        self.shared_bytes
    }

    /// What the kernel is given, in order.
    pub fn arguments(&self) -> &[Argument] {
        &self.arguments
    }
}
