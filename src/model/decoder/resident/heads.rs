//! Heads as a device's kernels take them: 64 or 128 wide.
//!
//! A narrower head is filled up with zeros, each half of it apart, since rotary positions turn the
//! pairs (i, i + width / 2). Its scores would be divided by the root of the wider width; queries
//! are multiplied by what that is too much.

use crate::error::{Error, Result};
use crate::model::decoder::Rope;

/// Widths of the kernels.
const WIDTHS: [usize; 2] = [64, 128];

/// How wide heads are, and how wide they are on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    width: usize,
    /// On the device.
    pub wide: usize,
}

impl Heads {
    /// Errors: [`Error::Device`] for heads that are too wide.
    pub fn new(width: usize) -> Result<Self> {
        // A scale that is a power of two changes no bit of a query but its exponent.
        let exact = |wide: &&usize| wide.is_multiple_of(width) && is_power_of_4(*wide / width);
        let found = WIDTHS.iter().find(exact).or(WIDTHS.iter().find(|wide| width <= **wide));
        match found {
            Some(wide) => Ok(Self { width, wide: *wide }),
            None => Err(Error::Device(format!(
                "expected heads of at most {} numbers, found {width}: use device = \"cpu\"",
                WIDTHS[1]
            ))),
        }
    }

    /// What queries are multiplied by.
    fn scale(self) -> f32 {
        (self.wide as f32 / self.width as f32).sqrt()
    }

    /// Where a head's number is on the device.
    fn place(self, i: usize) -> usize {
        let half = self.width / 2;
        if i < half { i } else { self.wide / 2 + i - half }
    }

    /// Rows (heads · width, columns) to (heads · wide, columns), of which the first heads are
    /// queries.
    pub fn rows(self, from: &[f32], columns: usize, queries: usize) -> Vec<f32> {
        let heads = from.len() / columns / self.width;
        let mut to = vec![0.0; heads * self.wide * columns];
        for (row, from) in from.chunks_exact(columns).enumerate() {
            let (head, i) = (row / self.width, row % self.width);
            let to = &mut to[(head * self.wide + self.place(i)) * columns..][..columns];
            let scale = if head < queries { self.scale() } else { 1.0 };
            to.iter_mut().zip(from).for_each(|(to, x)| *to = x * scale);
        }
        to
    }

    /// Columns (rows, heads · width) to (rows, heads · wide).
    pub fn columns(self, from: &[f32]) -> Vec<f32> {
        let mut to = vec![0.0; from.len() / self.width * self.wide];
        for (head, from) in from.chunks_exact(self.width).enumerate() {
            for (i, x) in from.iter().enumerate() {
                to[head * self.wide + self.place(i)] = *x;
            }
        }
        to
    }

    /// (positions, wide): cosines, then sines.
    pub fn angles(self, rope: &Rope, positions: usize) -> Vec<f32> {
        let mut table = Vec::new();
        rope.extend(self.width, positions, &mut table);
        self.columns(&table)
    }
}

fn is_power_of_4(x: usize) -> bool {
    x.is_power_of_two() && x.trailing_zeros().is_multiple_of(2)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn halves_lie_apart_and_queries_make_up_for_the_width() {
        let heads = Heads::new(4).unwrap();
        let wide = [4, 8, 16, 24, 32, 64, 65].map(|width| Heads::new(width).unwrap().wide);
        assert_eq!(wide, [64, 128, 64, 64, 128, 64, 128]);
        assert!(Heads::new(129).is_err());
        let rows = heads.rows(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], 1, 1);
        let set: Vec<(usize, f32)> =
            rows.iter().copied().enumerate().filter(|x| x.1 != 0.0).collect();
        let expected = [(0, 4.0), (1, 8.0), (32, 12.0), (33, 16.0)];
        assert_eq!(set[..4], expected);
        assert_eq!(set[4..], [(64, 5.0), (65, 6.0), (96, 7.0), (97, 8.0)]);
        assert_eq!(heads.columns(&[1.0, 2.0, 3.0, 4.0])[30..35], [0.0, 0.0, 3.0, 4.0, 0.0]);
        let same: Vec<f32> = (0..128).map(|x| x as f32).collect();
        assert_eq!(Heads::new(64).unwrap().rows(&same, 1, 2), same);
    }
}
