//! The items as they are searched: sorted by norm, in f32 to score and in bytes to screen.

use super::quantise::{self, Bounds, ITEM_MAX};
use super::reference;
use super::screen::{self, LANES, Lane, TILE};
use super::shape::TopKShape;
use crate::error::{Error, Result};
use rayon::prelude::*;

/// The items of a block share a scale and the bounds of their errors.
pub(super) const BLOCK: usize = 256;

const TILES: usize = BLOCK / TILE;

/// Items made ready for [`ItemIndex::search`]: their own copy, 5 bytes a number.
pub struct ItemIndex {
    pub(super) width: usize,
    /// The ids, by norm (largest first), then by id. All that follows is in this order.
    pub(super) ids: Vec<u32>,
    /// (V, D).
    pub(super) rows: Vec<f32>,
    /// For each tile the sixteen-bit sums its items start from, as four lanes.
    starts: Vec<[Lane; LANES]>,
    /// For each tile and each pair of coordinates, four lanes of sixteen items × two bytes.
    packed: Vec<Lane>,
    pub(super) blocks: Vec<Block>,
}

/// The bounds of a block, in the units the screen compares in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    /// 1/β.
    pub inverse: f64,
    /// (max ‖v − βs‖ + γ·max ‖v‖)/β: what a user's norm is multiplied by.
    pub error: f64,
    /// max ‖s‖: what a user's own error is multiplied by.
    pub reach: f64,
    /// max ‖v‖·(1 + γ): no score is larger than this times the user's norm, but for underflow.
    pub norm: f64,
}

impl ItemIndex {
    /// Packs items for searching.
    ///
    /// Shapes: `items` (V, D) row-major; V may be 0.
    /// Errors: if the length is not a multiple of `width`, or a number is NaN or infinite.
    pub fn new(items: &[f32], width: usize) -> Result<Self> {
        let count = items.len() / width.max(1);
        let shape = TopKShape { users: 0, items: count, width, k: 0 };
        shape.check(0, items.len())?;
        if let Some(at) = items.iter().position(|x| !x.is_finite()) {
            return Err(Error::Model(format!(
                "top-k: item {}, column {}: expected a finite number, found {}",
                at / width,
                at % width,
                items[at]
            )));
        }
        let mut order: Vec<(u64, u32)> = (0..count)
            .into_par_iter()
            // The bits of a number that is not negative order as it does; inverted, largest first.
            .map(|id| (!quantise::norm(row(items, width, id)).to_bits(), id as u32))
            .collect();
        order.par_sort_unstable();
        let tiles = count.div_ceil(TILE);
        let pairs = screen::pairs(width);
        let mut index = ItemIndex {
            width,
            ids: order.into_iter().map(|(_, id)| id).collect(),
            rows: vec![0.0; items.len()],
            starts: vec![[Lane([0; 32]); LANES]; tiles],
            packed: vec![Lane([0; 32]); tiles * pairs * LANES],
            blocks: Vec::new(),
        };
        index.blocks = index
            .rows
            .par_chunks_mut(BLOCK * width)
            .zip(index.starts.par_chunks_mut(TILES))
            .zip(index.packed.par_chunks_mut(TILES * pairs * LANES))
            .zip(index.ids.par_chunks(BLOCK))
            .map(|(((rows, starts), packed), ids)| {
                for (to, &id) in rows.chunks_mut(width).zip(ids) {
                    to.copy_from_slice(row(items, width, id as usize));
                }
                pack(rows, width, starts, packed)
            })
            .collect();
        Ok(index)
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The columns of an item.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The sums that the items of a tile start from.
    pub(super) fn starts(&self, tile: usize) -> &[Lane; LANES] {
        &self.starts[tile]
    }

    /// The packed bytes of a tile.
    pub(super) fn packed(&self, tile: usize) -> &[Lane] {
        let lanes = screen::pairs(self.width) * LANES;
        &self.packed[tile * lanes..][..lanes]
    }

    /// Whether every score of a user is sure to be a finite number: the user's numbers are finite,
    /// and its norm times the largest norm of the items is at most half of the largest f32.
    pub(super) fn can_score(user: &[f32], norm_max: f64) -> bool {
        quantise::norm(user) * norm_max <= f64::from(f32::MAX) / 2.0
    }
}

fn row(items: &[f32], width: usize, id: usize) -> &[f32] {
    &items[id * width..][..width]
}

/// Quantises a block's rows and lays them out for the screen.
fn pack(rows: &[f32], width: usize, starts: &mut [[Lane; LANES]], packed: &mut [Lane]) -> Block {
    let mut integers = vec![0i8; rows.len()];
    let bounds = quantise::quantise(rows, width, ITEM_MAX, &mut integers);
    let lanes = screen::pairs(width) * LANES;
    for (at, item) in integers.chunks(width).enumerate() {
        let (tile, lane, place) = (at / TILE, at % TILE / 16, at % 16);
        let sum: i16 = item.iter().fold(0, |sum, &s| sum.wrapping_add(i16::from(s)));
        let start = sum.wrapping_mul(-64).to_ne_bytes();
        starts[tile][lane].0[2 * place..][..2].copy_from_slice(&start);
        let tile = &mut packed[tile * lanes..][..lanes];
        for (column, &s) in item.iter().enumerate() {
            tile[column / 2 * LANES + lane].0[2 * place + column % 2] = s as u8;
        }
    }
    Block::new(&bounds, width)
}

impl Block {
    fn new(bounds: &Bounds, width: usize) -> Self {
        let unit = reference::roundings(width) as f64 * 2f64.powi(-24);
        let gamma = unit / (1.0 - unit);
        Block {
            inverse: 1.0 / bounds.scale,
            error: (bounds.residual + gamma * bounds.norm) / bounds.scale,
            reach: bounds.reach,
            norm: bounds.norm * (1.0 + gamma),
        }
    }
}
