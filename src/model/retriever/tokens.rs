//! What a pass reads: packed sequences, and the keys of their dropout masks.

use crate::device::Dropout;
use crate::types::{ItemId, mix64};

/// Sites of dropout within a block; the embedding's is that of block 0.
pub(super) const EMBEDDING: u64 = 0;
pub(super) const ATTENTION: u64 = 1;
pub(super) const FIRST: u64 = 2;
pub(super) const SECOND: u64 = 3;

/// Sequences packed one after the other, without padding.
#[derive(Clone, Debug)]
pub struct Tokens {
    pub(super) items: Vec<u32>,
    pub(super) positions: Vec<u32>,
    pub(super) offsets: Vec<u32>,
    /// One key for each token that its dropout masks are drawn from; read when `dropout` is not 0.
    pub keys: Vec<u64>,
    /// The share of activations that is dropped: 0 but in training.
    pub dropout: f32,
}

impl Default for Tokens {
    fn default() -> Self {
        let (items, positions, keys) = (Vec::new(), Vec::new(), Vec::new());
        Self { items, positions, offsets: vec![0], keys, dropout: 0.0 }
    }
}

impl Tokens {
    /// Forgets the sequences.
    pub fn clear(&mut self) {
        self.items.clear();
        self.positions.clear();
        self.offsets.truncate(1);
        self.keys.clear();
    }

    /// Adds the latest `length_max` items of a history as a sequence that ends at the last
    /// position.
    pub fn push(&mut self, history: &[ItemId], length_max: usize) {
        let latest = &history[history.len().saturating_sub(length_max)..];
        self.items.extend(latest);
        self.positions.extend((length_max - latest.len()) as u32..length_max as u32);
        self.offsets.push(self.items.len() as u32);
    }

    /// How many tokens all sequences hold.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Sequence s is tokens `offsets[s]..offsets[s + 1]`.
    pub fn offsets(&self) -> &[u32] {
        &self.offsets
    }

    pub(super) fn dropout(&self, block: usize, of: u64) -> Dropout<'_> {
        Dropout { rate: self.dropout, site: site(block, of), keys: &self.keys }
    }
}

/// A site of a block, as masks are drawn by it.
pub(super) fn site(block: usize, of: u64) -> u64 {
    mix64(block as u64 * 4 + of)
}
