//! Llama and Qwen2 decoders as Hugging Face folders hold them: a prompt's last-position logits, of
//! the whole vocabulary or of a few tokens. Names of tensors are those of the files.
//!
//! Adapters stay beside the weights: each prompt chooses one or none. A prompt's logits
//! have the same bits whatever prompts are scored with it, and on however many threads.
//!
//! Source: Touvron et al., Llama 2 (2023); Qwen team, Qwen2 Technical Report (2024).

mod backward;
mod batch;
mod config;
mod embed;
mod files;
pub(super) mod layout;
mod learner;
mod load;
mod merge;
mod pass;
mod random;
mod reading;
mod resident;
mod rope;
mod save;
mod source;
mod table;

pub use backward::Tape;
pub use batch::{Batch, Prompt, fitting};
pub use config::DecoderConfig;
pub use files::DecoderFiles;
pub use layout::Projection;
pub use learner::{Learner, Trained};
pub use pass::Activations;
pub use reading::{Ask, KeyValues};
pub use resident::{Drawn, Follow, Memory, Parameters, Resident, ResidentLearner, SharedDriver};
pub use rope::{Rope, Scaling};
pub use table::Table;

use crate::device::parallel::for_each;
use crate::device::{Backend, Lora, Matrix, Precision};
use crate::error::{Error, Result};
use table::Rows;

/// Tokens that are scored together: enough rows to fill the kernels with each weight that is
/// fetched.
const BATCH_TOKENS: usize = 1024;

const DAMAGED: &str = "its logits hold NaN or infinity: the weights or the adapter are damaged";

/// A decoder with its weights and adapters.
#[derive(Clone, Debug)]
pub struct Decoder {
    config: DecoderConfig,
    precision: Precision,
    /// Unless the logits' matrix is that of the embeddings.
    untied: Option<Matrix>,
    head: Table,
    layers: Vec<Layer>,
    last_norm: Vec<f32>,
    /// Of each adapter, the embeddings that it replaces.
    rows: Vec<Option<Rows>>,
}

#[derive(Clone, Debug)]
struct Layer {
    attention_norm: Vec<f32>,
    qkv: Site,
    output: Site,
    forward_norm: Vec<f32>,
    gate_up: Site,
    down: Site,
}

impl Layer {
    /// Its products, in the order of [`layout::SITES`].
    fn sites(&self) -> [&Site; 4] {
        [&self.qkv, &self.output, &self.gate_up, &self.down]
    }
}

/// Weights that are kept as one, and what each adapter does to them.
#[derive(Clone, Debug)]
struct Site {
    weight: Matrix,
    bias: Vec<f32>,
    adapters: Vec<Option<Lora>>,
}

impl Decoder {
    /// The dimensions.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// In what its weights are kept.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The matrix of the logits of the whole vocabulary.
    pub fn head(&self) -> &Table {
        &self.head
    }

    fn embeddings(&self) -> &Matrix {
        self.untied.as_ref().unwrap_or(&self.head.matrix)
    }

    /// How many adapters prompts may choose from.
    pub fn adapters(&self) -> u32 {
        self.rows.len() as u32
    }

    /// The matrix of the logits of a few tokens, such as a prompt's labels.
    ///
    /// Errors: [`Error::Model`] for a token that is not in the vocabulary.
    pub fn labels(&self, tokens: &[u32]) -> Result<Table> {
        self.config.check_tokens(tokens).map(|()| self.head.gather(tokens))
    }

    /// What keeps a prompt from being scored, if anything does.
    pub fn refusal(&self, prompt: &Prompt) -> Option<String> {
        self.config.refusal(prompt, self.adapters())
    }

    /// The last-position logits of each prompt, (prompts, outputs of the table), where the table is
    /// [`Decoder::head`] or made by [`Decoder::labels`].
    ///
    /// Errors: [`Error::Model`] for a prompt that [`Decoder::refusal`] refuses, and for logits that
    /// are not finite, with the prompt's number from 1.
    pub fn logits(
        &self,
        device: &dyn Backend,
        prompts: &[Prompt],
        table: &Table,
        threads: usize,
    ) -> Result<Vec<f32>> {
        let number = |(at, why): (usize, String)| Error::Model(format!("prompt {}: {why}", at + 1));
        let refused = prompts.iter().enumerate().find_map(|(i, p)| Some((i, self.refusal(p)?)));
        if let Some(refused) = refused {
            return Err(number(refused));
        }
        let mut out = vec![0.0; prompts.len() * table.outputs()];
        let mut pieces = Vec::new();
        let (mut prompts_left, mut out_left) = (prompts, &mut out[..]);
        let tokens: usize = prompts.iter().map(|prompt| prompt.tokens.len()).sum();
        let budget = BATCH_TOKENS.min(tokens.div_ceil(threads.max(1)));
        while !prompts_left.is_empty() {
            let count = fitting(prompts_left, budget);
            let (some, prompts_after) = prompts_left.split_at(count);
            let (to, out_after) = out_left.split_at_mut(count * table.outputs());
            pieces.push((some, to));
            (prompts_left, out_left) = (prompts_after, out_after);
        }
        for_each(threads, &mut pieces, |_, (prompts, out)| {
            let batch = Batch::of(prompts);
            self.forward(device, &batch, table, &mut Activations::default(), out);
        });
        match out.iter().position(|logit| !logit.is_finite()) {
            None => Ok(out),
            Some(at) => Err(number((at / table.outputs(), DAMAGED.to_owned()))),
        }
    }
}
