//! A set of item ids as one bit each.

/// A set of the ids below its length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BitSet {
    words: Vec<u64>,
    len: usize,
}

impl BitSet {
    /// The empty subset of `0..len`.
    pub fn new(len: usize) -> Self {
        BitSet { words: vec![0; len.div_ceil(64)], len }
    }

    /// Adds an id.
    ///
    /// Panics: if it is not below the length.
    pub fn insert(&mut self, id: u32) {
        assert!((id as usize) < self.len, "id {id} is not below {}", self.len);
        self.words[id as usize / 64] |= 1 << (id % 64);
    }

    /// As words of 32 ids, the first one the lowest bit.
    pub fn halves(&self) -> Vec<u32> {
        let halves = self.words.iter().flat_map(|word| [*word as u32, (word >> 32) as u32]);
        halves.take(self.len.div_ceil(32)).collect()
    }

    /// Whether an id is in the set; what is beyond the length is not.
    #[inline]
    pub fn contains(&self, id: u32) -> bool {
        self.words.get(id as usize / 64).is_some_and(|word| word >> (id % 64) & 1 == 1)
    }
}
