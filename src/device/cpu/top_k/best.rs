//! The K best of what was offered: a heap whose root is the worst of them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// At most `k` (score, id) pairs. Pairs are kept as one integer that orders as they do: the larger
/// score first, and of equal scores the lower id.
pub(super) struct Best {
    k: usize,
    heap: BinaryHeap<Reverse<u64>>,
}

impl Best {
    /// Room for `k`.
    pub(super) fn new(k: usize) -> Self {
        Best { k, heap: BinaryHeap::with_capacity(k) }
    }

    /// The score an item must reach to be kept, or −∞ as long as there is room.
    pub(super) fn bar(&self) -> f32 {
        match self.heap.peek() {
            Some(worst) if self.heap.len() == self.k => unpack(worst.0).0,
            _ => f32::NEG_INFINITY,
        }
    }

    /// Keeps a pair if it is among the best.
    pub(super) fn offer(&mut self, score: f32, id: u32) {
        let new = pack(score, id);
        if self.heap.len() < self.k {
            self.heap.push(Reverse(new));
        } else if let Some(mut worst) = self.heap.peek_mut()
            && worst.0 < new
        {
            *worst = Reverse(new);
        }
    }

    /// The pairs, best first.
    pub(super) fn into_sorted(self) -> impl Iterator<Item = (f32, u32)> {
        self.heap.into_sorted_vec().into_iter().map(|key| unpack(key.0))
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
