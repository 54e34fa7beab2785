//! Every item there is, with its attributes: columns, indexed by [`ItemId`].

use super::{ItemId, Key};

/// The items of a run. Sorted by key, so that the lower id is the lower key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalogue {
    /// External ids, ascending.
    pub keys: Vec<Key>,
    /// Titles; empty where there is none.
    pub titles: Vec<Box<str>>,
    /// Descriptions; empty where there is none, and none at all where the job names no column.
    pub descriptions: Vec<Box<str>>,
    /// Interactions of each item in the training part of the sequences.
    pub popularity: Vec<u32>,
    /// The attributes in the order of the job that prepared them.
    pub attributes: Vec<Attribute>,
}

/// One attribute of every item: any number of labels each (a film has several genres), and the
/// number behind them where there is one (a price).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attribute {
    /// As the job names it.
    pub name: String,
    /// The labels; the bins of a binned attribute ascend. A label's position is its code.
    pub labels: Vec<String>,
    /// `codes[offsets[i]..offsets[i + 1]]` are item i's label codes, ascending. Length: items + 1.
    pub offsets: Vec<u32>,
    /// See `offsets`.
    pub codes: Vec<u32>,
    /// The number a binned attribute was made from; NaN where unknown. Empty for a categorical one.
    pub numbers: Vec<f32>,
}

impl Catalogue {
    /// How many items there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The id of an item, if it is in the catalogue.
    pub fn find(&self, key: &Key) -> Option<ItemId> {
        self.keys.binary_search(key).ok().map(|at| at as ItemId)
    }

    /// The index of an attribute, if the catalogue has it.
    pub fn attribute(&self, name: &str) -> Option<usize> {
        self.attributes.iter().position(|a| a.name == name)
    }
}

impl Attribute {
    /// An item's label codes, ascending; empty when its value is unknown.
    #[inline]
    pub fn codes(&self, item: ItemId) -> &[u32] {
        let at = item as usize;
        &self.codes[self.offsets[at] as usize..self.offsets[at + 1] as usize]
    }

    /// An item's number; NaN when it is unknown or the attribute is categorical.
    #[inline]
    pub fn number(&self, item: ItemId) -> f32 {
        self.numbers.get(item as usize).copied().unwrap_or(f32::NAN)
    }
}
