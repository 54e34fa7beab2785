//! The dimensions of each kernel, with what it must move and compute, so that a bench knows the
//! bound.
//!
//! `bytes` counts each operand once, as if caches were unbounded; `flops` counts a fused
//! multiply-add as two. Both are of the forward kernel unless the type says otherwise.

use crate::error::{Error, Result};
use std::ops::Range;

const F32_BYTES: u64 = size_of::<f32>() as u64;

fn positive(kernel: &str, dimensions: &[(&str, usize)]) -> Result<()> {
    match dimensions.iter().find(|(_, value)| *value == 0) {
        None => Ok(()),
        Some((name, _)) => {
            Err(Error::Device(format!("{kernel}: {name} is 0: expected at least 1")))
        }
    }
}

/// Tables (items, hidden) and (positions, hidden); out (tokens, hidden).
#[derive(Clone, Copy, Debug)]
pub struct EmbedShape {
    /// Rows of the output.
    pub tokens: usize,
    /// Width of a row.
    pub hidden: usize,
    /// Rows of the item table.
    pub items: usize,
    /// Rows of the position table.
    pub positions: usize,
}

impl EmbedShape {
    /// Refuses a dimension of 0.
    pub fn check(&self) -> Result<()> {
        let Self { hidden, items, positions, .. } = *self;
        positive("embed", &[("hidden", hidden), ("items", items), ("positions", positions)])
    }
    /// Two rows read and one written for each token, and its two indices.
    pub fn bytes(&self) -> u64 {
        self.tokens as u64 * (3 * self.hidden as u64 * F32_BYTES + 8)
    }
    /// A multiply-add for each element.
    pub fn flops(&self) -> u64 {
        2 * (self.tokens * self.hidden) as u64
    }
}

/// Rows (rows, hidden), each normalised by itself.
#[derive(Clone, Copy, Debug)]
pub struct NormShape {
    /// How many rows.
    pub rows: usize,
    /// Width of a row.
    pub hidden: usize,
}

impl NormShape {
    /// Refuses a dimension of 0.
    pub fn check(&self) -> Result<()> {
        positive("layer_norm", &[("hidden", self.hidden)])
    }
    /// A row read and a row written.
    pub fn bytes(&self) -> u64 {
        2 * (self.rows * self.hidden) as u64 * F32_BYTES
    }
    /// Mean, variance, and the affine map.
    pub fn flops(&self) -> u64 {
        7 * (self.rows * self.hidden) as u64
    }
}

/// Rows (rows, inputs) times a weight (outputs, inputs), transposed.
#[derive(Clone, Copy, Debug)]
pub struct LinearShape {
    /// How many rows.
    pub rows: usize,
    /// Width of a row that goes in.
    pub inputs: usize,
    /// Width of a row that comes out.
    pub outputs: usize,
}

impl LinearShape {
    /// Refuses a dimension of 0.
    pub fn check(&self) -> Result<()> {
        positive("linear", &[("inputs", self.inputs), ("outputs", self.outputs)])
    }
    /// Input, weight and output.
    pub fn bytes(&self) -> u64 {
        let Self { rows, inputs, outputs } = *self;
        (rows * inputs + inputs * outputs + rows * outputs) as u64 * F32_BYTES
    }
    /// The product's; the backward kernel's are twice these.
    pub fn flops(&self) -> u64 {
        2 * self.rows as u64 * (self.inputs * self.outputs) as u64
    }
}

/// Sequences packed one after the other: sequence s is rows `offsets[s]..offsets[s + 1]`.
#[derive(Clone, Copy, Debug)]
pub struct AttentionShape<'a> {
    /// Ascending, from 0; one more than there are sequences.
    pub offsets: &'a [u32],
    /// How many heads.
    pub heads: usize,
    /// Width of a head.
    pub width: usize,
}

impl AttentionShape<'_> {
    /// Refuses a dimension of 0 and offsets that do not ascend from 0.
    pub fn check(&self) -> Result<()> {
        positive("attention", &[("heads", self.heads), ("width", self.width)])?;
        if self.offsets.first() != Some(&0) || !self.offsets.is_sorted() {
            return Err(Error::Device("attention: offsets must ascend from 0".into()));
        }
        Ok(())
    }
    /// All sequences' rows.
    pub fn tokens(&self) -> usize {
        self.offsets.last().map_or(0, |last| *last as usize)
    }
    /// Width of the model: of a row of the output, and a third of a row of the input.
    pub fn hidden(&self) -> usize {
        self.heads * self.width
    }
    /// Σ over sequences of heads · length²: the length of the buffer of probabilities.
    pub fn pairs(&self) -> usize {
        let squares = self.offsets.windows(2).map(|pair| (pair[1] - pair[0]) as usize);
        self.heads * squares.map(|length| length * length).sum::<usize>()
    }
    /// Queries, keys, values and the output.
    pub fn bytes(&self) -> u64 {
        4 * (self.tokens() * self.hidden()) as u64 * F32_BYTES
    }
    /// Both products over the causal half; the backward kernel's are twice these.
    pub fn flops(&self) -> u64 {
        2 * (self.pairs() + self.heads * self.tokens()) as u64 * self.width as u64
    }
    /// Both products in both directions.
    pub fn mutual_flops(&self) -> u64 {
        4 * self.pairs() as u64 * self.width as u64
    }
}

/// Packed sequences of a decoder: a row holds `heads` queries, then `shared` keys, then `shared`
/// values, each `width` wide; queries h · heads / shared … share the keys and values of head h.
#[derive(Clone, Copy, Debug)]
pub struct GroupedShape<'a> {
    /// As in [`AttentionShape`].
    pub offsets: &'a [u32],
    /// For each sequence the earlier one that it goes on from, if any; empty for none at all. What
    /// several sequences begin with is there once, as a sequence that they go on from.
    pub parents: &'a [Option<u32>],
    /// Heads of the queries.
    pub heads: usize,
    /// Heads of the keys and of the values; they divide `heads`.
    pub shared: usize,
    /// Width of a head; even.
    pub width: usize,
}

impl GroupedShape<'_> {
    /// Refuses a dimension of 0, heads that cannot be shared out, an odd width, offsets that do
    /// not ascend from 0, and parents that are not earlier.
    pub fn check(&self) -> Result<()> {
        let Self { offsets, parents, heads, shared, width } = *self;
        AttentionShape { offsets, heads, width }.check()?;
        positive("grouped_attention", &[("shared", shared)])?;
        if !heads.is_multiple_of(shared) || !width.is_multiple_of(2) {
            return Err(Error::Device(format!(
                "grouped_attention: expected heads that {shared} divides and an even width, found \
                 {heads} heads of {width}"
            )));
        }
        let earlier = |(s, parent): (u32, &Option<u32>)| parent.is_none_or(|parent| parent < s);
        if !(parents.is_empty() || parents.len() == self.sequences())
            || !(0..).zip(parents).all(earlier)
        {
            return Err(Error::Device(
                "grouped_attention: expected one parent, an earlier sequence, or none, for each"
                    .into(),
            ));
        }
        Ok(())
    }
    /// How many sequences.
    pub fn sequences(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }
    /// The rows that a sequence's last token sees: those of the sequences it goes on from, from the
    /// first one on, and its own.
    pub fn path(&self, sequence: usize) -> Vec<Range<usize>> {
        let rows = |s: usize| self.offsets[s] as usize..self.offsets[s + 1] as usize;
        let mut path = vec![rows(sequence)];
        let mut at = sequence;
        while let Some(parent) = self.parents.get(at).copied().flatten() {
            at = parent as usize;
            path.push(rows(at));
        }
        path.reverse();
        path
    }
    /// Whether nothing goes on from a sequence, for each of them.
    pub fn ends(&self) -> Vec<bool> {
        let mut ends = vec![true; self.sequences()];
        self.parents.iter().flatten().for_each(|parent| ends[*parent as usize] = false);
        ends
    }
    /// All sequences' rows.
    pub fn tokens(&self) -> usize {
        self.offsets.last().map_or(0, |last| *last as usize)
    }
    /// Width of the queries of a row, and of a row of the output.
    pub fn queries(&self) -> usize {
        self.heads * self.width
    }
    /// Width of a row.
    pub fn row(&self) -> usize {
        (self.heads + 2 * self.shared) * self.width
    }
    /// A row read, and its output written.
    pub fn bytes(&self) -> u64 {
        (self.tokens() * (self.row() + self.queries())) as u64 * F32_BYTES
    }
    /// Both products over what each query sees, for all queries.
    pub fn flops(&self) -> u64 {
        let seen = |s| {
            let path = self.path(s);
            let (all, own) =
                (path.iter().map(Range::len).sum::<usize>(), path[path.len() - 1].len());
            own * (2 * all - own + 1)
        };
        2 * ((0..self.sequences()).map(seen).sum::<usize>() * self.heads * self.width) as u64
    }
}

/// Rows (rows, 2 · hidden), gates before values; out (rows, hidden).
#[derive(Clone, Copy, Debug)]
pub struct GatedShape {
    /// How many rows.
    pub rows: usize,
    /// Width of a row that comes out.
    pub hidden: usize,
}

impl GatedShape {
    /// Refuses a dimension of 0.
    pub fn check(&self) -> Result<()> {
        positive("gated", &[("hidden", self.hidden)])
    }
    /// A row read, and half a row written.
    pub fn bytes(&self) -> u64 {
        3 * (self.rows * self.hidden) as u64 * F32_BYTES
    }
    /// The exponential, by its polynomial, and what is around it.
    pub fn flops(&self) -> u64 {
        24 * (self.rows * self.hidden) as u64
    }
}

/// Elements, each by itself.
#[derive(Clone, Copy, Debug)]
pub struct PointShape {
    /// How many.
    pub elements: usize,
}

impl PointShape {
    /// Read and written.
    pub fn bytes(&self) -> u64 {
        2 * self.elements as u64 * F32_BYTES
    }
    /// An activation's polynomial, and what is around it.
    pub fn flops(&self) -> u64 {
        35 * self.elements as u64
    }
}

/// Rows (rows, hidden) scored against a table (items, hidden).
#[derive(Clone, Copy, Debug)]
pub struct LossShape {
    /// How many rows.
    pub rows: usize,
    /// Width of a row.
    pub hidden: usize,
    /// Rows of the table.
    pub items: usize,
    /// How many items each row is scored against.
    pub candidates: usize,
}

impl LossShape {
    /// Refuses a dimension of 0.
    pub fn check(&self) -> Result<()> {
        let Self { hidden, items, candidates, .. } = *self;
        positive("loss", &[("hidden", hidden), ("items", items), ("candidates", candidates)])
    }
    /// Rows and the scored part of the table, read, and their gradients, written.
    pub fn bytes(&self) -> u64 {
        let table = self.items.min(self.rows * self.candidates);
        2 * ((self.rows + table) * self.hidden) as u64 * F32_BYTES
    }
    /// The scores and both gradients.
    pub fn flops(&self) -> u64 {
        6 * self.rows as u64 * (self.candidates * self.hidden) as u64
    }
}
