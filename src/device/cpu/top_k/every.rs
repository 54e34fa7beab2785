//! Every score of some users: for orders of a whole catalogue, where a list of the best is not
//! enough.

use super::reference::{score, scores_of};
use crate::device::cpu::{Kernel, dispatch};

/// Items that stay in a processor's first cache while the users pass by, in numbers.
const BLOCK_NUMBERS: usize = 4096;
/// Items that are scored at once: each one's sums wait for each other, and not for another's.
const TOGETHER: usize = 4;

/// out[u, i] = `score(users[u], items[i])`, the same bits as [`super::ItemIndex::search`] gives.
///
/// Shapes: `users` (U, D), `items` (V, D), `out` (U, V), row-major.
/// Panics: if the lengths disagree.
pub fn every_score(users: &[f32], items: &[f32], width: usize, out: &mut [f32]) {
    let (rows, count) = (users.len() / width, items.len() / width);
    assert_eq!(out.len(), rows * count, "one score for each user and item");
    dispatch(Every { users, items, width, out });
}

struct Every<'a> {
    users: &'a [f32],
    items: &'a [f32],
    width: usize,
    out: &'a mut [f32],
}

impl Kernel for Every<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let count = self.items.len() / self.width;
        let block = (BLOCK_NUMBERS / self.width).max(1);
        for (b, items) in self.items.chunks(block * self.width).enumerate() {
            for (u, user) in self.users.chunks_exact(self.width).enumerate() {
                let out = &mut self.out[u * count + b * block..];
                let (fours, rest) = out[..items.len() / self.width].as_chunks_mut::<TOGETHER>();
                let several = items.chunks_exact(TOGETHER * self.width);
                let last = several.remainder().chunks_exact(self.width);
                for (out, items) in fours.iter_mut().zip(several) {
                    *out = scores_of(user, items);
                }
                for (out, item) in rest.iter_mut().zip(last) {
                    *out = score(user, item);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{mix64, normal};

    #[test]
    fn every_score_is_the_definitions() {
        for (width, users, items) in [(1, 3, 5), (17, 2, 700), (64, 5, 130), (384, 3, 33)] {
            let draw = |seed: u64, n: usize| -> Vec<f32> {
                (0..n as u64).map(|i| normal(mix64(seed ^ mix64(i))) as f32).collect()
            };
            let (u, v) = (draw(1, users * width), draw(2, items * width));
            let mut out = vec![0.0; users * items];
            every_score(&u, &v, width, &mut out);
            let pairs = u.chunks(width).flat_map(|u| v.chunks(width).map(move |v| score(u, v)));
            assert!(out.iter().zip(pairs).all(|(a, b)| a.to_bits() == b.to_bits()));
        }
    }
}
