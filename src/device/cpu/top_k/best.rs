//! The K best of what was offered: a list with some room, cut down to the best when it is full.

use std::cmp::Reverse;

/// Half again as many are kept before a cut: to look through a list of 1.5·K for every K/2 that
/// enter it costs less than a heap, and the bar, which moves only then, is seldom far behind.
fn room(k: usize) -> usize {
    k + k.div_ceil(2)
}

/// At most `k` (score, id) pairs. Pairs are kept as one integer that orders as they do: the larger
/// score first, and of equal scores the lower id.
pub(super) struct Best {
    k: usize,
    kept: Vec<u64>,
    /// The K-th best at the last cut, or 0, which is below every pair.
    bar: u64,
}

impl Best {
    /// Room for `k`.
    pub(super) fn new(k: usize) -> Self {
        Best { k, kept: Vec::with_capacity(room(k)), bar: 0 }
    }

    /// A score that an item must reach to be among the best, or −∞ as long as there is none.
    pub(super) fn bar(&self) -> f32 {
        if self.bar == 0 { f32::NEG_INFINITY } else { unpack(self.bar).0 }
    }

    /// Keeps a pair if it may be among the best.
    pub(super) fn offer(&mut self, score: f32, id: u32) {
        let new = pack(score, id);
        if new > self.bar {
            self.kept.push(new);
            if self.kept.len() == room(self.k) {
                self.cut();
            }
        }
    }

    /// Drops what is not among the best of what was kept.
    fn cut(&mut self) {
        if self.kept.len() > self.k {
            let (_, worst, _) = self.kept.select_nth_unstable_by_key(self.k - 1, |&x| Reverse(x));
            self.bar = *worst;
            self.kept.truncate(self.k);
        }
    }

    /// The pairs, best first.
    pub(super) fn into_sorted(mut self) -> impl Iterator<Item = (f32, u32)> {
        self.cut();
        self.kept.sort_unstable_by_key(|&x| Reverse(x));
        self.kept.into_iter().map(unpack)
    }
}

/// Flips a float's bits so that unsigned integers order as the floats do: negative numbers by all
/// bits, the others by the sign alone. The score must be neither NaN nor −0.
fn pack(score: f32, id: u32) -> u64 {
    let bits = score.to_bits();
    let ordered = bits ^ if bits >> 31 == 1 { u32::MAX } else { 1 << 31 };
    u64::from(ordered) << 32 | u64::from(!id)
}

fn unpack(key: u64) -> (f32, u32) {
    let ordered = (key >> 32) as u32;
    let bits = ordered ^ if ordered >> 31 == 1 { 1 << 31 } else { u32::MAX };
    (f32::from_bits(bits), !(key as u32))
}
