//! The gradient of attention with heads in groups, causal or both ways.

use super::super::launch::{
    ATTENTION_ALONGS, ATTENTION_KEYS_64, ATTENTION_KEYS_128, ATTENTION_QUERIES_64,
    ATTENTION_QUERIES_128, DROPPED_KEYS_64, DROPPED_KEYS_128, DROPPED_QUERIES_64,
    DROPPED_QUERIES_128, Launch, arguments,
};
use super::super::{Bf16, Buffer, Driver};
use super::grouped_attention::{Paths, THREADS, TILE};
use super::{Dropout, WARP, fits, u32_of};
use crate::device::Queries;
use crate::device::shape::GroupedShape;
use crate::error::Result;
use std::ops::Range;

const NAME: &str = "grouped_attention_backward";

/// Which queries each tile of keys is seen by: made once for a batch, used in every layer.
#[derive(Clone, Debug)]
pub struct Visits {
    paths: Paths,
    tiles: usize,
    keys: Buffer<u32>,
    visits: Buffer<u32>,
}

impl Visits {
    /// Lays out a batch and copies that to the device.
    ///
    /// # Errors
    /// Those of [`Paths::of`].
    pub fn of(driver: &dyn Driver, shape: &GroupedShape<'_>, queries: Queries) -> Result<Self> {
        Self::laid(driver, shape, queries, Paths::of(driver, shape, queries)?)
    }

    /// Of sequences in which every query sees all of its sequence.
    ///
    /// # Errors
    /// Those of [`Paths::of`].
    pub fn mutual(driver: &dyn Driver, shape: &GroupedShape<'_>) -> Result<Self> {
        Self::laid(driver, shape, Queries::All, Paths::mutual(driver, shape)?)
    }

    fn laid(
        driver: &dyn Driver,
        shape: &GroupedShape<'_>,
        queries: Queries,
        paths: Paths,
    ) -> Result<Self> {
        let block = TILE / (shape.heads / shape.shared);
        let (mut keys, mut visits) = (Vec::new(), Vec::new());
        let further = paths.further as usize;
        for (s, asking) in askers(shape, queries, further).iter().enumerate() {
            let path = shape.path(s);
            let own = path[path.len() - 1].clone();
            let before: usize = path[..path.len() - 1].iter().map(Range::len).sum();
            for first in (0..own.len()).step_by(TILE) {
                let count = TILE.min(own.len() - first);
                let tile = [own.start + first, before + first, count, visits.len()];
                keys.push(tile.map(|number| number as u32));
                for asker in asking {
                    visits.extend(asker.visits(before + first, block));
                }
            }
        }
        let tiles = keys.len();
        keys.push([0, 0, 0, u32_of(NAME, visits.len())?]);
        let keys = Buffer::of(driver, keys.as_flattened())?;
        let visits = Buffer::of(driver, visits.as_flattened())?;
        Ok(Self { paths, tiles, keys, visits })
    }

    /// Those of the forward kernel.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }
}

/// Queries that follow each other.
#[derive(Clone, Copy)]
struct Asker {
    row: usize,
    /// The last that the first of them sees, and how many more each sees than the one before.
    position: usize,
    further: usize,
    count: usize,
    out_row: usize,
}

impl Asker {
    /// Its queries, in blocks, less the blocks that see no key from `first` on.
    fn visits(&self, first: usize, block: usize) -> impl Iterator<Item = [u32; 4]> {
        let Self { row, position, further, count, out_row } = *self;
        let blocks = (0..count).step_by(block).map(move |at| (at, block.min(count - at)));
        let sees = move |query: usize| position + further * query;
        blocks.filter(move |(at, some)| sees(at + some - 1) >= first).map(move |(at, some)| {
            [row + at, sees(at), some, out_row + at].map(|number| number as u32)
        })
    }
}

/// For each sequence the queries that see it, in the order of the output's rows.
fn askers(shape: &GroupedShape<'_>, queries: Queries, further: usize) -> Vec<Vec<Asker>> {
    let mut askers = vec![Vec::new(); shape.sequences()];
    let (ends, mut out_row) = (shape.ends(), 0);
    for s in (0..shape.sequences()).filter(|s| queries == Queries::All || ends[*s]) {
        let seen: usize = shape.path(s).iter().map(Range::len).sum();
        let end = shape.offsets[s + 1] as usize;
        let count = match queries {
            Queries::All => end - shape.offsets[s] as usize,
            Queries::Last => 1,
        };
        let position = seen - 1 - further * (count - 1);
        let asker = Asker { row: end - count, position, further, count, out_row };
        out_row += count;
        let mut at = Some(s);
        while let Some(sequence) = at {
            askers[sequence].push(asker);
            at = shape.parents.get(sequence).copied().flatten().map(|parent| parent as usize);
        }
    }
    askers
}

/// The gradient of [`super::GroupedAttention`].
#[derive(Clone, Copy, Debug)]
pub struct GroupedAttentionBackward<'a> {
    /// Dimensions, and who sees what.
    pub visits: &'a Visits,
    /// As forward.
    pub scale: f32,
    /// As forward.
    pub qkv: &'a Buffer<Bf16>,
    /// As forward.
    pub dropout: Dropout<'a>,
    /// From the forward kernel.
    pub statistics: &'a Buffer<f32>,
    /// From the forward kernel.
    pub out: &'a Buffer<Bf16>,
    /// (rows, heads · width).
    pub d_out: &'a Buffer<Bf16>,
    /// (rows, heads): scratch.
    pub alongs: &'a Buffer<f32>,
    /// (tokens, (heads + 2 · shared) · width).
    pub d_qkv: &'a Buffer<Bf16>,
}

impl GroupedAttentionBackward<'_> {
    /// Checks the call: what queries have along their outputs, the keys' and values' gradients, the
    /// queries' gradients.
    ///
    /// # Errors
    /// If a buffer's length disagrees with the shape.
    pub fn launches(&self) -> Result<[Launch; 3]> {
        let Visits { paths, tiles: key_tiles, keys, visits } = self.visits;
        let Paths { heads, shared, width, tokens, rows, further, segments, tiles, .. } = paths;
        let Self { scale, qkv, statistics, out, d_out, alongs, d_qkv, .. } = *self;
        for (name, buffer) in [("qkv", qkv), ("d_qkv", d_qkv)] {
            fits(NAME, name, buffer, &[*tokens, heads + 2 * shared, *width])?;
        }
        for (name, buffer) in [("out", out), ("d_out", d_out)] {
            fits(NAME, name, buffer, &[*rows, *heads, *width])?;
        }
        for (name, buffer) in [("statistics", statistics), ("alongs", alongs)] {
            fits(NAME, name, buffer, &[*rows, *heads])?;
        }
        let (all, groups) = (u32_of(NAME, *heads)?, u32_of(NAME, *shared)?);
        let drops = self.dropout.drops();
        let (by_query, by_key) = match (drops, width) {
            (false, 64) => (ATTENTION_QUERIES_64, ATTENTION_KEYS_64),
            (false, _) => (ATTENTION_QUERIES_128, ATTENTION_KEYS_128),
            (true, 64) => (DROPPED_QUERIES_64, DROPPED_KEYS_64),
            (true, _) => (DROPPED_QUERIES_128, DROPPED_KEYS_128),
        };
        let dropout = self.dropout.arguments(NAME, *tokens)?;
        let tile = TILE * width * size_of::<Bf16>();
        // Of each pair its statistic, what it has along its output, and its mask.
        let pairs = 2 * tile + 2 * TILE * size_of::<f32>() + TILE * size_of::<u64>();
        let first = arguments![out, d_out, alongs, *width as u32];
        let of = |[from, to]: [&Buffer<u32>; 2]| {
            let mut arguments = arguments![qkv, d_out, statistics, alongs, d_qkv, from, to];
            arguments.extend(arguments![all, groups, *further, scale]);
            arguments.extend(dropout.iter().take(if drops { dropout.len() } else { 0 }).cloned());
            arguments
        };
        let (of_keys, of_queries) = (of([keys, visits]), of([segments, tiles]));
        Ok([
            Launch::new(ATTENTION_ALONGS, first).over([*rows, *heads], WARP as u32)?,
            Launch::new(by_key, of_keys)
                .sharing(2 * tile + 2 * pairs)
                .over([*key_tiles, *shared], THREADS)?,
            Launch::new(by_query, of_queries)
                .sharing(pairs + 4 * tile)
                .over([paths.blocks(), *shared], THREADS)?,
        ])
    }
}
