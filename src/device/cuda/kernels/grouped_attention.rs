//! Causal attention with heads in groups.

use super::super::launch::{
    GROUPED_ATTENTION_64, GROUPED_ATTENTION_128, HOPPER_ATTENTION_64, HOPPER_ATTENTION_128, Launch,
    arguments,
};
use super::super::{Bf16, Buffer, Driver};
use super::{fits, u32_of};
use crate::device::Queries;
use crate::device::shape::GroupedShape;
use crate::error::{Error, Result};
use std::cmp::Reverse;
use std::ops::Range;

const NAME: &str = "grouped_attention";
/// Pairs of a query and a head that a block takes; keys that it takes in a step.
pub(super) const TILE: usize = 64;
pub(super) const THREADS: u32 = 128;

/// What a batch's sequences see, and how their queries are shared out among blocks: made once, used
/// in every layer.
#[derive(Clone, Debug)]
pub struct Paths {
    pub(super) heads: usize,
    pub(super) shared: usize,
    pub(super) width: usize,
    pub(super) tokens: usize,
    pub(super) rows: usize,
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
            let path = shape.path(s);
            let first = segments.len() as u32 / 2;
            let seen = lay(&path, &mut segments);
            let asking = match queries {
                Queries::All => path[path.len() - 1].len() as u32,
                Queries::Last => 1,
            };
            let block = (TILE / group) as u32;
            for query in (0..asking).step_by(block as usize) {
                let position = seen - asking + query;
                tiles.push([first, position, block.min(asking - query), rows + query]);
            }
            rows += asking;
        }
        // The longest first: what is left for the end is short.
        tiles.sort_by_key(|[_, position, queries, _]| Reverse(position + queries));
        let segments = Buffer::of(driver, &segments)?;
        let tiles = Buffer::of(driver, tiles.as_flattened())?;
        let (tokens, rows) = (shape.tokens(), rows as usize);
        let group_products = driver.has_group_products();
        Ok(Self { heads, shared, width, tokens, rows, group_products, segments, tiles })
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

/// out = softmax(scale · queries · keysᵀ) · values, causal, over what each sequence sees.
#[derive(Clone, Copy, Debug)]
pub struct GroupedAttention<'a> {
    /// Dimensions, and who sees what.
    pub paths: &'a Paths,
    /// What scores are multiplied by: 1 / √width, of the width that heads have without what they
    /// are filled up with.
    pub scale: f32,
    /// (tokens, (heads + 2 · shared) · width).
    pub qkv: &'a Buffer<Bf16>,
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
        fits(NAME, "statistics", self.statistics, &[*rows, *heads])?;
        fits(NAME, "out", self.out, &[*rows, *heads, *width])?;
        let kernel = match (self.paths.group_products, width) {
            (false, 64) => GROUPED_ATTENTION_64,
            (false, _) => GROUPED_ATTENTION_128,
            (true, 64) => HOPPER_ATTENTION_64,
            (true, _) => HOPPER_ATTENTION_128,
        };
        let (heads, groups) = (u32_of(NAME, *heads)?, u32_of(NAME, *shared)?);
        let Self { qkv, out, statistics, scale, .. } = *self;
        let arguments = arguments![qkv, segments, tiles, out, statistics, heads, groups, scale];
        // Queries, and two tiles of keys and of values.
        let shared_bytes = 5 * TILE * width * size_of::<Bf16>();
        Launch::new(kernel, arguments)
            .sharing(shared_bytes)
            .over([tiles.len() / 4, *shared], THREADS)
    }
}
