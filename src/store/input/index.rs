//! From external item keys to [`ItemId`]s, fast: the inner loop of reading given candidates.

use crate::types::{ItemId, Key, mix64};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Finds items by key. Integer keys that lie close together, as most do, are found by their value.
#[derive(Clone, Debug)]
pub struct ItemIndex {
    /// `dense[key - least]`, [`NO_ITEM`] where there is no item.
    dense: Vec<ItemId>,
    least: i64,
    ints: HashMap<i64, ItemId, BuildHasherDefault<Mix>>,
    texts: HashMap<Box<str>, ItemId>,
}

/// No item: a catalogue has fewer.
pub(super) const NO_ITEM: ItemId = ItemId::MAX;

/// A dense table may be this many times as long as there are items.
const DENSE_SLACK: u64 = 8;

impl ItemIndex {
    /// An index of a catalogue's keys: the item at position i has id i.
    pub fn new(keys: &[Key]) -> ItemIndex {
        let mut ints = HashMap::default();
        let mut texts = HashMap::new();
        for (id, key) in keys.iter().enumerate() {
            match key {
                Key::Int(value) => drop(ints.insert(*value, id as ItemId)),
                Key::Text(text) => drop(texts.insert(text.clone(), id as ItemId)),
            }
        }
        let mut index = ItemIndex { dense: Vec::new(), least: 0, ints, texts };
        let range = index.ints.keys().min().copied().zip(index.ints.keys().max().copied());
        if let Some((least, greatest)) = range
            && greatest.abs_diff(least) < DENSE_SLACK * index.ints.len() as u64
        {
            index.least = least;
            index.dense = vec![NO_ITEM; greatest.abs_diff(least) as usize + 1];
            for (&key, &id) in &index.ints {
                index.dense[key.abs_diff(least) as usize] = id;
            }
            index.ints.clear();
        }
        index
    }

    /// The item with an integer key.
    #[inline]
    pub fn int(&self, key: i64) -> Option<ItemId> {
        let id = if self.ints.is_empty() { self.place(key) } else { *self.ints.get(&key)? };
        (id != NO_ITEM).then_some(id)
    }

    /// The items with these keys, [`NO_ITEM`] where there is none.
    pub(super) fn ints(&self, keys: &[i64]) -> Vec<ItemId> {
        if self.ints.is_empty() {
            return keys.iter().map(|&key| self.place(key)).collect();
        }
        keys.iter().map(|key| self.ints.get(key).copied().unwrap_or(NO_ITEM)).collect()
    }

    #[inline]
    fn place(&self, key: i64) -> ItemId {
        // Below the least key the difference wraps to a place far beyond the table.
        let place = key.wrapping_sub(self.least) as u64 as usize;
        self.dense.get(place).copied().unwrap_or(NO_ITEM)
    }

    /// The item with a string key.
    #[inline]
    pub fn text(&self, key: &str) -> Option<ItemId> {
        self.texts.get(key).copied()
    }

    /// The item with a key.
    pub fn find(&self, key: &Key) -> Option<ItemId> {
        match key {
            Key::Int(value) => self.int(*value),
            Key::Text(text) => self.text(text),
        }
    }
}

/// Hashes one integer: several times faster than the default, which guards against an adversary
/// that a run's own catalogue is not.
#[derive(Clone, Copy, Debug, Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.0 = mix64(self.0 ^ u64::from(byte)));
    }

    fn write_i64(&mut self, value: i64) {
        self.0 = mix64(self.0 ^ value as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_whether_they_lie_close_together_or_not() {
        let ends = [i64::MIN, -5, 0, 7, i64::MAX];
        for keys in [&ends[..], &ends[1..4], &ends[2..3], &[]] {
            let index = ItemIndex::new(&keys.iter().copied().map(Key::Int).collect::<Vec<_>>());
            for key in ends.iter().flat_map(|key| [*key, key.wrapping_add(1), key.wrapping_sub(1)])
            {
                let expected = keys.iter().position(|k| *k == key).map(|at| at as ItemId);
                assert_eq!(index.int(key), expected, "{key} in {keys:?}");
                assert_eq!(index.ints(&[key]), [expected.unwrap_or(NO_ITEM)]);
                assert_eq!(index.find(&Key::from(key.to_string().as_str())), None);
            }
        }
    }
}
