//! A retriever's dimensions.

use crate::error::{Error, Result};
use crate::types::ItemId;
use serde::{Deserialize, Serialize};

/// A retriever's dimensions; everything its file needs to be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetrieverConfig {
    /// How many items the catalogue holds.
    pub items: usize,
    /// Width of the model.
    pub hidden: usize,
    /// Attention and feed-forward pairs.
    pub blocks: usize,
    /// Attention heads; they divide `hidden`.
    pub heads: usize,
    /// The latest items of a history that count.
    pub length_max: usize,
}

impl RetrieverConfig {
    /// Errors: [`Error::Model`] for an item that there is no embedding of.
    pub(super) fn check_histories(&self, histories: &[&[ItemId]]) -> Result<()> {
        let items = self.items;
        match histories.iter().copied().flatten().find(|item| **item as usize >= items) {
            None => Ok(()),
            Some(item) => Err(Error::Model(format!(
                "history: item {item} is not in the retriever, which knows {items} items: train it \
                 on the same catalogue"
            ))),
        }
    }

    /// Errors: [`Error::Model`] that names every dimension that is 0 or too large, and heads that
    /// do not divide the width.
    pub fn check(&self) -> Result<()> {
        let dimensions = [
            ("items", self.items, u32::MAX as usize),
            ("hidden", self.hidden, 1 << 14),
            ("blocks", self.blocks, 1 << 10),
            ("heads", self.heads, 1 << 10),
            ("length_max", self.length_max, 1 << 16),
        ];
        let mut problems: Vec<String> = dimensions
            .iter()
            .filter(|(_, value, max)| *value == 0 || value > max)
            .map(|(name, value, max)| format!("{name} = {value}: expected 1 to {max}"))
            .collect();
        if self.heads > 0 && !self.hidden.is_multiple_of(self.heads) {
            problems.push(format!("heads = {}: expected a divisor of {}", self.heads, self.hidden));
        }
        match problems.is_empty() {
            true => Ok(()),
            false => Err(Error::Model(format!("retriever: {}", problems.join("; ")))),
        }
    }
}
