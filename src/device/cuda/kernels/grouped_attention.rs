//! Attention with heads in groups, causal or both ways.

use super::super::launch::{
    DROPPED_ATTENTION_64, DROPPED_ATTENTION_128, GROUPED_ATTENTION_64, GROUPED_ATTENTION_128,
    HOPPER_ATTENTION_64, HOPPER_ATTENTION_128, Launch, arguments,
};
use super::super::{Argument, Bf16, Buffer, Driver, TensorMap};
use super::{Dropout, fits, indices, u32_of};
use crate::device::Queries;
use crate::device::shape::GroupedShape;
use crate::error::{Error, Result};
use std::cmp::Reverse;
use std::ops::Range;

const NAME: &str = "grouped_attention";
/// Pairs of a query and a head that a block takes; keys that it takes in a step.
pub(super) const TILE: usize = 64;
pub(super) const THREADS: u32 = 128;
/// Of `tiles`, for each.
const TILE_NUMBERS: usize = 5;

/// What a batch's sequences see, and how their queries are shared out among blocks: made once, used
/// in every layer.
#[derive(Clone, Debug)]
pub struct Paths {
    pub(super) heads: usize,
    pub(super) shared: usize,
    pub(super) width: usize,
    pub(super) tokens: usize,
    pub(super) rows: usize,
    /// Rows of the keys, if they are kept elsewhere.
    kept_rows: Option<usize>,
    /// How many more positions each query sees than the one before.
    pub(super) further: u32,
    group_products: bool,
    pub(super) segments: Buffer<u32>,
    pub(super) tiles: Buffer<u32>,
}

impl Paths {
    /// Lays out a batch and copies that to the device.
    ///
    /// # Errors
    /// If the shape is none, a sequence is empty, the width is neither 64 nor 128, or more than 64
    /// heads share their keys.
    pub fn of(driver: &dyn Driver, shape: &GroupedShape<'_>, queries: Queries) -> Result<Self> {
        Self::laid(driver, shape, queries, None, 1)
    }

    /// Of sequences in which every query sees all of its sequence: the words of a text.
    ///
    /// # Errors
    /// Those of [`Paths::of`].
    pub fn mutual(driver: &dyn Driver, shape: &GroupedShape<'_>) -> Result<Self> {
        Self::laid(driver, shape, Queries::All, None, 0)
    }

    /// Of sequences whose keys and values are kept: `rows` are where those of a sequence are, from
    /// its first position on, to the end of its own tokens. None goes on from another.
    ///
    /// # Errors
    /// Those of [`Paths::of`]; if a sequence goes on from another, or has fewer rows than tokens.
    pub fn kept(
        driver: &dyn Driver,
        shape: &GroupedShape<'_>,
        queries: Queries,
        rows: &[Vec<Range<usize>>],
    ) -> Result<Self> {
        let own = shape.offsets.windows(2).map(|pair| (pair[1] - pair[0]) as usize);
        let seen = rows.iter().map(|rows| rows.iter().map(Range::len).sum::<usize>());
        if rows.len() != shape.sequences()
            || !own.zip(seen).all(|(own, seen)| own <= seen)
            || shape.parents.iter().any(Option::is_some)
        {
            return Err(Error::Device(format!(
                "{NAME}: expected rows for all tokens of each sequence, and none to go on from \
                 another"
            )));
        }
        Self::laid(driver, shape, queries, Some(rows), 1)
    }

    fn laid(
        driver: &dyn Driver,
        shape: &GroupedShape<'_>,
        queries: Queries,
        kept: Option<&[Vec<Range<usize>>]>,
        further: u32,
    ) -> Result<Self> {
        shape.check()?;
        let GroupedShape { heads, shared, width, .. } = *shape;
        let group = heads / shared;
        if ![64, 128].contains(&width) || group > TILE {
            return Err(Error::Device(format!(
                "{NAME}: expected heads of 64 or 128, at most {TILE} to a group, found heads of \
                 {width}, {group} to a group"
            )));
        }
        u32_of(NAME, shape.tokens())?;
        if shape.offsets.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Error::Device(format!("{NAME}: a sequence is empty")));
        }
        let (mut segments, mut tiles, mut rows) = (Vec::new(), Vec::new(), 0);
        let ends = shape.ends();
        for s in (0..shape.sequences()).filter(|s| queries == Queries::All || ends[*s]) {
            let first = segments.len() as u32 / 2;
            let seen = match kept {
                Some(rows) => lay(&rows[s], &mut segments),
                None => lay(&shape.path(s), &mut segments),
            };
            let (start, end) = (shape.offsets[s], shape.offsets[s + 1]);
            let asking = if queries == Queries::All { end - start } else { 1 };
            let block = (TILE / group) as u32;
            for query in (0..asking).step_by(block as usize) {
                let [row, own] = [end, seen].map(|end| end - asking + query);
                let sees = if further == 0 { seen - 1 } else { own };
                tiles.push([first, row, sees, block.min(asking - query), rows + query]);
            }
            rows += asking;
        }
        // The longest first: what is left for the end is short.
        tiles.sort_by_key(|[_, _, position, queries, _]| Reverse(position + queries));
        let segments = Buffer::of(driver, &segments)?;
        let tiles = Buffer::of(driver, tiles.as_flattened())?;
        let (tokens, rows) = (shape.tokens(), rows as usize);
        let ends = |rows: &[Vec<Range<usize>>]| rows.iter().flatten().map(|rows| rows.end).max();
        let kept_rows = kept.map(|rows| ends(rows).unwrap_or(0));
        let group_products = driver.has_group_products();
        Ok(Self {
            heads,
            shared,
            width,
            tokens,
            rows,
            kept_rows,
            further,
            group_products,
            segments,
            tiles,
        })
    }

    /// How many tiles of queries there are.
    pub(super) fn blocks(&self) -> usize {
        self.tiles.len() / TILE_NUMBERS
    }

    /// How many rows the output has.
    pub fn rows(&self) -> usize {
        self.rows
    }
}

/// Appends a path's segments, and returns how many positions it has.
fn lay(path: &[Range<usize>], segments: &mut Vec<u32>) -> u32 {
    let mut position = 0u32;
    for rows in path {
        let shift = (rows.start as u32).wrapping_sub(position);
        position += rows.len() as u32;
        segments.extend([position, shift]);
    }
    position
}

/// out = softmax(scale · queries · keysᵀ) · values, over what each query sees.
#[derive(Clone, Copy, Debug)]
pub struct GroupedAttention<'a> {
    /// Dimensions, and who sees what.
    pub paths: &'a Paths,
    /// What scores are multiplied by: 1 / √width, of the width that heads have without what they
    /// are filled up with.
    pub scale: f32,
    /// (tokens, (heads + 2 · shared) · width).
    pub qkv: &'a Buffer<Bf16>,
    /// (rows, 2 · shared · width), for paths over what is kept: there are the keys and values, also
    /// those of these tokens.
    pub kept: Option<&'a Buffer<Bf16>>,
    /// By a query's token; the column is head · 2¹⁶ + position.
    pub dropout: Dropout<'a>,
    /// (rows, heads): ln Σ exp, for the backward kernel.
    pub statistics: &'a Buffer<f32>,
    /// (rows, heads · width).
    pub out: &'a Buffer<Bf16>,
}

impl GroupedAttention<'_> {
    /// Checks the call.
    ///
    /// # Errors
    /// If a buffer's length disagrees with the shape.
    pub fn launch(&self) -> Result<Launch> {
        let Paths { heads, shared, width, tokens, rows, segments, tiles, .. } = self.paths;
        fits(NAME, "qkv", self.qkv, &[*tokens, heads + 2 * shared, *width])?;
        let (keys, stride) = self.keys()?;
        fits(NAME, "statistics", self.statistics, &[*rows, *heads])?;
        fits(NAME, "out", self.out, &[*rows, *heads, *width])?;
        let drops = self.dropout.drops();
        let kernel = match (drops, self.paths.group_products, width) {
            (true, _, 64) => DROPPED_ATTENTION_64,
            (true, ..) => DROPPED_ATTENTION_128,
            (_, false, 64) => GROUPED_ATTENTION_64,
            (_, false, _) => GROUPED_ATTENTION_128,
            (_, true, 64) => HOPPER_ATTENTION_64,
            (_, true, _) => HOPPER_ATTENTION_128,
        };
        let (heads, groups) = (u32_of(NAME, *heads)?, u32_of(NAME, *shared)?);
        let (Self { qkv, out, statistics, scale, .. }, further) = (*self, self.paths.further);
        let mut arguments = arguments![
            qkv, &keys, segments, tiles, out, statistics, heads, groups, stride, further, scale
        ];
        // Queries, and two tiles of keys and of values.
        let mut shared_bytes = 5 * TILE * width * size_of::<Bf16>();
        if drops {
            arguments.extend(self.dropout.arguments(NAME, *tokens)?);
        } else if self.paths.group_products {
            let map = TensorMap::of(&keys, 2 * shared * width, stride as usize * width)?;
            arguments.insert(0, Argument::from(map));
            shared_bytes += 2 * size_of::<u64>(); // an mbarrier for each of the two
        }
        Launch::new(kernel, arguments)
            .sharing(shared_bytes)
            .over([self.paths.blocks(), *shared], THREADS)
    }

    /// Where keys begin, and how many heads there are from a row to the next.
    fn keys(&self) -> Result<(Buffer<Bf16>, u32)> {
        let Paths { heads, shared, width, kept_rows, .. } = self.paths;
        match (kept_rows, self.kept) {
            (None, None) => {
                let keys = self.qkv.slice(heads * width..self.qkv.len())?;
                Ok((keys, u32_of(NAME, heads + 2 * shared)?))
            }
            (Some(needed), Some(kept)) => {
                let found = kept.len() / (2 * shared * width);
                fits(NAME, "kept", kept, &[found, 2 * shared, *width])?;
                indices::inside(NAME, "kept", *needed, found)?;
                Ok((kept.clone(), u32_of(NAME, 2 * shared)?))
            }
            _ => Err(Error::Device(format!("{NAME}: expected what is kept where paths are of it"))),
        }
    }
}
