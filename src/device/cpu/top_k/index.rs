//! The items as they are searched: sorted by norm, in f32 to score and in bytes to screen.

use super::quantise::{self, Bounds, ITEM_MAX};
use super::reference;
use super::screen::{self, LANE, Lane, OFFSET, Path, TILE};
use super::shape::TopKShape;
use crate::error::{Error, Result};
use rayon::prelude::*;

/// The items of a block share a scale and the bounds of their errors.
pub(super) const BLOCK: usize = 256;

/// Items made ready for [`ItemIndex::search`]: their own copy, 5 bytes a number.
pub struct ItemIndex {
    pub(super) width: usize,
    /// Whose layout `packed` has.
    pub(super) path: Path,
    /// The ids, by norm (largest first), then by id. All that follows is in this order.
    pub(super) ids: Vec<u32>,
    /// (V, D).
    pub(super) rows: Vec<f32>,
    /// The tiles, one after the other, in bytes: see [`Path::place`].
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
        Self::new_for(Path::fastest(), items, width)
    }

    /// [`ItemIndex::new`], to be searched with the instructions one chooses.
    pub fn new_for(path: Path, items: &[f32], width: usize) -> Result<Self> {
        let count = checked(items, width)?;
        let mut order: Vec<(u64, u32)> = (0..count)
            .into_par_iter()
            // The bits of a number that is not negative order as it does; inverted, largest first.
            .map(|id| (!quantise::norm(row(items, width, id)).to_bits(), id as u32))
            .collect();
        order.par_sort_unstable();
        let lanes = lanes_of_tile(width);
        let mut index = ItemIndex {
            width,
            path,
            ids: order.into_iter().map(|(_, id)| id).collect(),
            rows: vec![0.0; items.len()],
            packed: vec![Lane([0; LANE]); count.div_ceil(TILE) * lanes],
            blocks: Vec::new(),
        };
        index.blocks = index
            .rows
            .par_chunks_mut(BLOCK * width)
            .zip(index.packed.par_chunks_mut(BLOCK / TILE * lanes))
            .zip(index.ids.par_chunks(BLOCK))
            .map(|((rows, packed), ids)| {
                for (to, &id) in rows.chunks_mut(width).zip(ids) {
                    to.copy_from_slice(row(items, width, id as usize));
                }
                pack(path, rows, width, packed)
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

    /// The packed bytes of a tile.
    pub(super) fn tile(&self, tile: usize) -> &[Lane] {
        let lanes = lanes_of_tile(self.width);
        &self.packed[tile * lanes..][..lanes]
    }

    /// Whether every score of a user is sure to be a finite number: the user's numbers are finite,
    /// and its norm times the largest norm of the items is at most half of the largest f32.
    pub(in crate::device) fn can_score(user: &[f32], norm_max: f64) -> bool {
        quantise::norm(user) * norm_max <= f64::from(f32::MAX) / 2.0
    }
}

/// How many items there are.
///
/// Errors: if the length is not a multiple of `width`, or a number is NaN or infinite.
pub(in crate::device) fn checked(items: &[f32], width: usize) -> Result<usize> {
    let count = items.len() / width.max(1);
    TopKShape { users: 0, items: count, width, k: 0 }.check(0, items.len())?;
    if let Some(at) = items.iter().position(|x| !x.is_finite()) {
        return Err(Error::Model(format!(
            "top-k: item {}, column {}: expected a finite number, found {}",
            at / width,
            at % width,
            items[at]
        )));
    }
    Ok(count)
}

/// The largest norm of the items; 0 of none.
pub(in crate::device) fn norm_max(items: &[f32], width: usize) -> f64 {
    items.chunks(width).map(quantise::norm).fold(0.0, f64::max)
}

fn row(items: &[f32], width: usize, id: usize) -> &[f32] {
    &items[id * width..][..width]
}

fn lanes_of_tile(width: usize) -> usize {
    screen::columns(width) * TILE / LANE
}

/// Quantises a block's rows and lays them out for the screen.
fn pack(path: Path, rows: &[f32], width: usize, packed: &mut [Lane]) -> Block {
    let mut integers = vec![0i8; rows.len()];
    let bounds = quantise::quantise(rows, width, ITEM_MAX, &mut integers);
    let tiles = packed.chunks_mut(lanes_of_tile(width));
    for (tile, items) in tiles.zip(integers.chunks(TILE * width)) {
        for (item, row) in items.chunks(width).enumerate() {
            for (column, &s) in row.iter().enumerate() {
                let (lane, byte) = path.place(item, column);
                tile[lane].0[byte] = (s as u8).wrapping_add(OFFSET);
            }
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
