//! The rows that a sequence's queries see, next to each other: what it goes on from, and its own.

use crate::device::Queries;
use crate::device::shape::GroupedShape;
use std::ops::Range;

/// A sequence that asks.
pub struct Asking {
    /// Rows of what it goes on from, and its own.
    pub path: Vec<Range<usize>>,
    /// How many rows it sees.
    pub length: usize,
    /// The first of those that asks, and the output's row that is its.
    pub first: usize,
    pub out_row: usize,
}

/// The sequences that ask, and how many rows the output has.
pub fn asking(shape: &GroupedShape<'_>, queries: Queries) -> (Vec<Asking>, usize) {
    let ends = shape.ends();
    let mut rows = 0;
    let asks = (0..shape.sequences()).filter(|s| queries == Queries::All || ends[*s]);
    let all = asks.map(|s| {
        let path = shape.path(s);
        let length = path.iter().map(Range::len).sum::<usize>();
        let asking = match queries {
            Queries::All => path[path.len() - 1].len(),
            Queries::Last => 1,
        };
        let out_row = rows;
        rows += asking;
        Asking { path, length, first: length - asking, out_row }
    });
    (all.collect(), rows)
}

impl Asking {
    /// The rows it sees, of `width` numbers each: where they lie, or copied to `buffer`.
    pub fn rows<'a>(&self, all: &'a [f32], width: usize, buffer: &'a mut Vec<f32>) -> &'a [f32] {
        if let [own] = &self.path[..] {
            return &all[own.start * width..own.end * width];
        }
        buffer.clear();
        self.path.iter().for_each(|rows| {
            buffer.extend_from_slice(&all[rows.start * width..rows.end * width]);
        });
        buffer
    }

    /// Adds rows, in the order of [`Asking::rows`], to where they come from.
    pub fn give_back(&self, from: &[f32], width: usize, all: &mut [f32]) {
        let mut rest = from;
        for rows in &self.path {
            let (some, after) = rest.split_at(rows.len() * width);
            rest = after;
            let to = &mut all[rows.start * width..rows.end * width];
            to.iter_mut().zip(some).for_each(|(to, x)| *to += x);
        }
    }
}
