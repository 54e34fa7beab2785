//! Heads as a device's kernels take them: 64 or 128 wide.
//!
//! A narrower head is filled up with zeros, each half of it apart, since rotary positions turn the
//! pairs (i, i + width / 2). Scores keep the scale of its own width.

use crate::error::{Error, Result};
use crate::model::decoder::Rope;

/// Widths of the kernels.
const WIDTHS: [usize; 2] = [64, 128];

/// How wide heads are, and how wide they are on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// In files.
    pub width: usize,
    /// On the device.
    pub wide: usize,
}

impl Heads {
    /// Errors: [`Error::Device`] for heads that are too wide.
    pub fn new(width: usize) -> Result<Self> {
        match WIDTHS.iter().find(|wide| width <= **wide) {
            Some(wide) => Ok(Self { width, wide: *wide }),
            None => Err(Error::Device(format!(
                "expected heads of at most {} numbers, found {width}: use device = \"cpu\"",
                WIDTHS[1]
            ))),
        }
    }

    /// What scores are multiplied by: 1 / √width.
    pub fn scale(self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }

    /// Where a head's number is on the device.
    fn place(self, i: usize) -> usize {
        let half = self.width / 2;
        if i < half { i } else { self.wide / 2 + i - half }
    }

    /// Rows (heads · width, columns) to (heads · wide, columns).
    pub fn rows<T: Copy + Default>(self, from: &[T], columns: usize) -> Vec<T> {
        let heads = from.len() / columns / self.width;
        let mut to = vec![T::default(); heads * self.wide * columns];
        for (row, from) in from.chunks_exact(columns).enumerate() {
            let (head, i) = (row / self.width, row % self.width);
            let to = &mut to[(head * self.wide + self.place(i)) * columns..][..columns];
            to.copy_from_slice(from);
        }
        to
    }

    /// Which row (heads · width) a row (heads · wide) is; none where it is filled up.
    pub fn row(self, wide: usize) -> Option<usize> {
        let (head, at) = (wide / self.wide, wide % self.wide);
        let half = self.width / 2;
        let place = match at.checked_sub(self.wide / 2) {
            None => Some(at).filter(|at| *at < half),
            Some(at) => Some(half + at).filter(|at| *at < self.width),
        };
        place.map(|at| head * self.width + at)
    }

    /// Columns (rows, heads · width) to (rows, heads · wide).
    pub fn columns<T: Copy + Default>(self, from: &[T]) -> Vec<T> {
        let mut to = vec![T::default(); from.len() / self.width * self.wide];
        self.spread(from, &mut to);
        to
    }

    /// As [`Heads::columns`].
    pub fn spread<T: Copy + Default>(self, from: &[T], to: &mut [T]) {
        to.fill(T::default());
        let heads = from.chunks_exact(self.width).zip(to.chunks_exact_mut(self.wide));
        for (from, to) in heads {
            let (first, second) = from.split_at(self.width / 2);
            to[..first.len()].copy_from_slice(first);
            to[self.wide / 2..][..second.len()].copy_from_slice(second);
        }
    }

    /// (positions, wide): cosines, then sines.
    pub fn angles(self, rope: &Rope, positions: usize) -> Vec<f32> {
        let mut table = Vec::new();
        rope.extend(self.width, positions, &mut table);
        self.columns(&table)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn halves_lie_apart_in_the_narrowest_heads_there_are() {
        let heads = Heads::new(4).unwrap();
        let wide = [4, 8, 16, 24, 32, 64, 65].map(|width| Heads::new(width).unwrap().wide);
        assert_eq!(wide, [64, 64, 64, 64, 64, 64, 128]);
        assert!(Heads::new(129).is_err());
        assert_eq!(Heads::new(16).unwrap().scale(), 0.25);
        let rows = heads.rows(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], 1);
        let set: Vec<(usize, f32)> =
            rows.iter().copied().enumerate().filter(|x| x.1 != 0.0).collect();
        let expected = [(0, 1.0), (1, 2.0), (32, 3.0), (33, 4.0)];
        assert_eq!(set[..4], expected);
        assert_eq!(set[4..], [(64, 5.0), (65, 6.0), (96, 7.0), (97, 8.0)]);
        assert_eq!(heads.columns(&[1.0, 2.0, 3.0, 4.0])[30..35], [0.0, 0.0, 3.0, 4.0, 0.0]);
        let from: Vec<Option<usize>> = (0..128).map(|row| heads.row(row)).collect();
        let found = (0..).zip(&rows).filter_map(|(at, x)| (*x != 0.0).then_some(at));
        let found: Vec<usize> = found.collect();
        let known: Vec<usize> = (0..128).filter(|row| from[*row].is_some()).collect();
        assert_eq!(known, found);
        assert_eq!(from.into_iter().flatten().collect::<Vec<usize>>(), [0, 1, 2, 3, 4, 5, 6, 7]);
        let same: Vec<f32> = (0..128).map(|x| x as f32).collect();
        assert_eq!(Heads::new(64).unwrap().rows(&same, 1), same);
    }
}
