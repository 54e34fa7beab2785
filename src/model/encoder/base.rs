//! What reads the texts of an encoder: a BERT, pooled by the mean, or a decoder, by its last token.

use super::batch::{Batch, Piece, by_length};
use super::bert::Bert;
use super::pass::Activations;
use crate::device::parallel::for_each;
use crate::device::{Cpu, Precision};
use crate::model::decoder::{self, Decoder, Prompt};
use std::sync::Mutex;

/// Tokens that are encoded together: enough rows to fill the kernels with each weight that is
/// fetched, few enough for what they become to stay in the caches.
const BATCH_TOKENS: usize = 512;

/// What reads the texts.
#[derive(Clone, Debug)]
pub enum Base {
    /// The mean of its last rows.
    Bert(Bert),
    /// The last token's row, after the last norm.
    Decoder(Decoder),
    /// The same, of a decoder that learns.
    Learning(Box<decoder::Learner>),
}

/// What reads the texts now.
pub enum Reader<'a> {
    /// See [`Base::Bert`].
    Bert(&'a Bert),
    /// A decoder, and the adapter that texts choose.
    Decoder(&'a Decoder, Option<u32>),
}

/// A thread's buffers.
#[derive(Default)]
struct Buffers {
    bert: Activations,
    decoder: decoder::Activations,
}

impl Base {
    /// What reads the texts.
    pub fn reader(&self) -> Reader<'_> {
        match self {
            Base::Bert(bert) => Reader::Bert(bert),
            Base::Decoder(decoder) => Reader::Decoder(decoder, None),
            Base::Learning(learner) => Reader::Decoder(learner.decoder(), learner.choice()),
        }
    }

    /// Width of what it gives.
    pub fn hidden(&self) -> usize {
        match self.reader() {
            Reader::Bert(bert) => bert.config().hidden,
            Reader::Decoder(decoder, _) => decoder.config().hidden,
        }
    }

    /// Tokens of the longest text.
    pub fn context_max(&self) -> usize {
        match self.reader() {
            Reader::Bert(bert) => bert.config().context_max,
            Reader::Decoder(decoder, _) => decoder.config().context_max,
        }
    }

    /// How many tokens it knows.
    pub fn vocabulary(&self) -> usize {
        match self.reader() {
            Reader::Bert(bert) => bert.config().vocabulary,
            Reader::Decoder(decoder, _) => decoder.config().vocabulary,
        }
    }

    /// In what its weights are kept.
    pub fn precision(&self) -> Precision {
        match self.reader() {
            Reader::Bert(bert) => bert.precision(),
            Reader::Decoder(decoder, _) => decoder.precision(),
        }
    }

    /// The row of each text, (texts, hidden). Texts of like length are taken together; a row has
    /// the same bits whatever texts it is encoded with, and on however many threads.
    pub fn pool(&self, pieces: &[Piece], threads: usize) -> Vec<f32> {
        let hidden = self.hidden();
        let tokens: usize = pieces.iter().map(|piece| piece.tokens.len()).sum();
        let budget = BATCH_TOKENS.min(tokens.div_ceil(threads.max(1)));
        let room = |some: Vec<usize>| (vec![0.0; some.len() * hidden], some);
        let mut parts: Vec<(Vec<f32>, Vec<usize>)> =
            by_length(pieces, budget).into_iter().map(room).collect();
        let buffers: Mutex<Vec<Buffers>> = Mutex::default();
        for_each(threads, &mut parts, |_, (out, chosen)| {
            let mut with =
                buffers.lock().ok().and_then(|mut buffers| buffers.pop()).unwrap_or_default();
            self.pool_some(chosen.iter().map(|at| &pieces[*at]), &mut with, out);
            if let Ok(mut buffers) = buffers.lock() {
                buffers.push(with);
            }
        });
        let mut all = vec![0.0; pieces.len() * hidden];
        for (rows, chosen) in parts {
            for (at, row) in chosen.iter().zip(rows.chunks_exact(hidden)) {
                all[at * hidden..(at + 1) * hidden].copy_from_slice(row);
            }
        }
        all
    }

    fn pool_some<'a>(
        &self,
        pieces: impl Iterator<Item = &'a Piece>,
        with: &mut Buffers,
        out: &mut [f32],
    ) {
        match self.reader() {
            Reader::Bert(bert) => bert.pool(&Cpu, &Batch::of(pieces), &mut with.bert, out),
            Reader::Decoder(decoder, adapter) => {
                let prompt = |piece: &Piece| Prompt { tokens: piece.tokens.clone(), adapter };
                let prompts: Vec<Prompt> = pieces.map(prompt).collect();
                let batch = decoder::Batch::of(&prompts);
                decoder.embed(&Cpu, &batch, &mut with.decoder, out);
            }
        }
    }
}
