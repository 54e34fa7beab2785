//! Texts as tokens, packed one after the other without padding.

use std::borrow::Borrow;
use std::cmp::Reverse;

/// A text as tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// Its tokens, special ones too.
    pub tokens: Vec<u32>,
    /// Where its second part begins; the number of tokens if it has none.
    pub second: usize,
}

/// Texts that are encoded together.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Text after text.
    pub(super) tokens: Vec<u32>,
    /// Each token's place in its text.
    pub(super) positions: Vec<u32>,
    /// Each token's part of its text: 0 or 1.
    pub(super) kinds: Vec<u32>,
    /// Text t is tokens `offsets[t]..offsets[t + 1]`.
    pub(super) offsets: Vec<u32>,
}

impl Batch {
    /// Packs texts, none of which may be empty.
    pub fn of<'a>(pieces: impl Iterator<Item = &'a Piece>) -> Self {
        let mut batch = Self { offsets: vec![0], ..Self::default() };
        for piece in pieces {
            let length = piece.tokens.len();
            batch.tokens.extend(&piece.tokens);
            batch.positions.extend(0..length as u32);
            batch.kinds.extend((0..length).map(|at| u32::from(at >= piece.second)));
            batch.offsets.push(batch.tokens.len() as u32);
        }
        batch
    }

    /// How many tokens.
    pub fn tokens(&self) -> usize {
        self.tokens.len()
    }

    /// The tokens of each text.
    pub fn texts_tokens(&self) -> impl Iterator<Item = &[u32]> {
        let ends = self.offsets.windows(2).map(|ends| ends[0] as usize..ends[1] as usize);
        ends.map(|range| &self.tokens[range])
    }

    /// How many texts.
    pub fn texts(&self) -> usize {
        self.offsets.len() - 1
    }
}

/// Places of texts that are encoded together, with so many tokens at most, or one text. The longest
/// come first, so that no thread is left with them at the end.
pub(super) fn by_length<P: Borrow<Piece>>(pieces: &[P], tokens_max: usize) -> Vec<Vec<usize>> {
    let length = |at: usize| pieces[at].borrow().tokens.len();
    let mut order: Vec<usize> = (0..pieces.len()).collect();
    order.sort_by_key(|at| Reverse(length(*at)));
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut tokens = 0;
    for at in order {
        tokens += length(at);
        match batches.last_mut().filter(|_| tokens <= tokens_max) {
            Some(batch) => batch.push(at),
            None => {
                tokens = length(at);
                batches.push(vec![at]);
            }
        }
    }
    batches
}
