//! The exact sums of any number of rows: what crosses workers and is stored in each commit.

use super::layout::{Columns, Layout, PANELS};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Integer sums over users, in the fixed point of each column. [`Tally::merge`] is associative and
/// commutative, with the default as its zero: any grouping of the same rows gives the same bits.
/// The bytes are those of the plan's columns × replicates, whatever the number of rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// How many rows there were.
    pub(super) rows: u64,
    /// The candidates' own sums, then each arm's.
    pub(super) subjects: Vec<[PanelSums; PANELS]>,
    /// By part (see [`super::slices`]), then as `subjects`; empty where no user was.
    pub(super) slices: Vec<Vec<[SliceSums; PANELS]>>,
}

/// One panel's sums.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PanelSums {
    /// By column; column 0 counts the users. Empty where there are none.
    #[serde(rename = "s")]
    pub(super) sums: Vec<u64>,
    /// Columns × [`super::bootstrap::stride`].
    #[serde(rename = "r", with = "deltas")]
    pub(super) replicates: Vec<u64>,
}

/// One panel's sums within a part of the users.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SliceSums {
    /// As in [`PanelSums`].
    #[serde(rename = "s")]
    pub(super) sums: Vec<u64>,
    /// Of the values without the bits that [`super::sum::square_shift`] drops.
    #[serde(rename = "q")]
    pub(super) squares: Vec<u64>,
}

impl Tally {
    /// Whether no row was added.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// How many rows were added.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Adds another tally of the same plan.
    pub fn merge(&mut self, other: &Tally) {
        self.rows += other.rows;
        lengthen(&mut self.subjects, other.subjects.len());
        for (ours, theirs) in self.subjects.iter_mut().zip(&other.subjects) {
            for (a, b) in ours.iter_mut().zip(theirs) {
                add(&mut a.sums, &b.sums);
                add(&mut a.replicates, &b.replicates);
            }
        }
        lengthen(&mut self.slices, other.slices.len());
        for (ours, theirs) in self.slices.iter_mut().zip(&other.slices) {
            lengthen(ours, theirs.len());
            for (a, b) in ours.iter_mut().flatten().zip(theirs.iter().flatten()) {
                add(&mut a.sums, &b.sums);
                add(&mut a.squares, &b.squares);
            }
        }
    }

    /// Makes room for the plan's subjects and parts.
    pub(super) fn lengthen(&mut self, subjects: usize, slices: usize) {
        lengthen(&mut self.subjects, subjects);
        lengthen(&mut self.slices, slices);
    }
}

impl SliceSums {
    /// Adds one user's values and their squares.
    pub(super) fn add(&mut self, values: &[u32], squares: &[u64]) {
        self.sums.resize(values.len(), 0);
        self.squares.resize(values.len(), 0);
        self.sums.iter_mut().zip(values).for_each(|(sum, &value)| *sum += u64::from(value));
        self.squares.iter_mut().zip(squares).for_each(|(sum, square)| *sum += square);
    }
}

/// The columns of a subject: the candidates' own, or an arm's.
pub(super) fn columns_of(layout: &Layout, subject: usize) -> &Columns {
    if subject == 0 { &layout.pool } else { &layout.arm }
}

fn lengthen<T: Default>(vector: &mut Vec<T>, len: usize) {
    if vector.len() < len {
        vector.resize_with(len, T::default);
    }
}

fn add(ours: &mut Vec<u64>, theirs: &[u64]) {
    lengthen(ours, theirs.len());
    ours.iter_mut().zip(theirs).for_each(|(a, b)| *a += b);
}

/// Each number as its difference from the one before: a column's replicates are close together.
mod deltas {
    use super::*;

    pub(super) fn serialize<S: Serializer>(numbers: &[u64], to: S) -> Result<S::Ok, S::Error> {
        let mut before = 0;
        to.collect_seq(numbers.iter().map(|&number| {
            let delta = number.wrapping_sub(std::mem::replace(&mut before, number));
            delta as i64
        }))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u64>, D::Error> {
        let mut deltas = Vec::<i64>::deserialize(from)?;
        let mut number = 0u64;
        Ok(deltas
            .drain(..)
            .map(|delta| {
                number = number.wrapping_add(delta as u64);
                number
            })
            .collect())
    }
}
