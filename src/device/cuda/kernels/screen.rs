//! Exact maximum-inner-product search behind a screen: a product of rounded numbers stops nearly
//! all items, and what passes is scored exactly.
//!
//! Items are looked at in rounds, each several times as large as all before. What passes a round is
//! put into the users' lists, whose last score is the next round's bar. So a round lets little more
//! than (growth − 1) · K items of each user pass, since tiles are visited in an order that has
//! nothing to do with how items are sorted. Users for whom more passes than there is room for, such
//! as those for whom all items are alike, are told: others have to find their lists.

use super::super::launch::{
    Argument, HOPPER_SCREEN_64, HOPPER_SCREEN_128, Launch, RESCORE, SCREEN_64, SCREEN_128,
    arguments,
};
use super::super::{Bf16, Buffer, Driver, TensorMap};
use super::top_k::{Lists, check_limits, list_room};
use super::{Exclusions, WARP, fits, u32_of, wide};
use crate::device::cpu::top_k::{TopKShape, norm};
use crate::error::Result;

/// Items of a tile, and users of a group.
const TILE: usize = 64;
/// Numbers in the rows of a block's groups, at most, for the memory that a block can share.
const GROUP_NUMBERS: usize = 256;
const GROUP_THREADS: u32 = 128;
/// Places for tiles that come.
const STAGES: usize = 3;
/// Tiles of the first round, of which everything passes.
const FIRST_TILES: usize = 64;
/// Items of the first round.
pub const SCREENED_FIRST: usize = FIRST_TILES * TILE;
/// How many times as many have been looked at after each further round.
pub const SCREENED_GROWTH: usize = 4;
/// Tiles of a block, at most, so that its users' numbers are a small part of what it reads.
const BLOCK_TILES: usize = 128;
/// Blocks of each multiprocessor, at least, also in a round of few tiles.
const BLOCKS: usize = 2;
/// Numbers of a row, at most.
const WIDTH_MAX: usize = 128;
/// The relative margin: kernels/screen.cuh.
const MARGIN: f64 = 1.0625 / 128.0;

/// Items that a screen sees: their rows in bf16, filled up with zeros, and the largest norm of each
/// tile.
#[derive(Clone, Debug)]
pub struct Coarse {
    rows: Buffer<Bf16>,
    norms: Buffer<f32>,
    wide: usize,
}

/// The same of users: their rows, and how far a screen's score may be off for an item of norm 1.
#[derive(Clone, Debug)]
pub struct CoarseUsers {
    rows: Buffer<Bf16>,
    margins: Buffer<f32>,
}

/// How many numbers a coarse row has.
fn coarse_width(width: usize) -> usize {
    width.next_multiple_of(TILE)
}

/// At most, or just above, as an f32.
fn at_least(x: f64) -> f32 {
    (x as f32).next_up()
}

/// Rows in bf16, with zeros after each. Numbers that would be rounded to infinity become the
/// largest one, which is no further off.
fn rounded(driver: &dyn Driver, rows: &[f32], width: usize) -> Result<Buffer<Bf16>> {
    let (count, wide) = (rows.len() / width, coarse_width(width));
    let out = Buffer::new(driver, count * wide)?;
    let most = Bf16(0x7f7f).f32();
    let mut row = |at: usize, to: &mut [f32]| {
        to.fill(0.0);
        let row = &rows[at * width..][..width];
        to.iter_mut().zip(row).for_each(|(to, x)| *to = x.clamp(-most, most));
        Ok(())
    };
    out.write_rows(driver, [count, wide], &mut row).map(|()| out)
}

impl Coarse {
    /// Whether there is a screen for rows of so many numbers.
    pub fn takes(width: usize) -> bool {
        (1..=WIDTH_MAX).contains(&width)
    }

    /// Of rows (items, width).
    ///
    /// # Errors
    /// If a row is too wide, or the device has too little memory or fails.
    pub fn of(driver: &dyn Driver, items: &[f32], width: usize) -> Result<Self> {
        wide("screen", "width", width, [1, WIDTH_MAX])?;
        let largest = |tile: &[f32]| tile.chunks_exact(width).map(norm).fold(0.0, f64::max);
        let tiles = items.chunks(TILE * width);
        let norms: Vec<f32> = tiles.map(|tile| at_least(largest(tile))).collect();
        let rows = rounded(driver, items, width)?;
        Ok(Self { rows, norms: Buffer::of(driver, &norms)?, wide: coarse_width(width) })
    }

    /// Bytes of so many items.
    pub fn bytes(items: usize, width: usize) -> usize {
        let rows = items * coarse_width(width) * size_of::<Bf16>();
        rows + items.div_ceil(TILE) * size_of::<f32>()
    }
}

impl CoarseUsers {
    /// Of rows (users, width).
    ///
    /// # Errors
    /// If the device has too little memory or fails.
    pub fn of(driver: &dyn Driver, users: &[f32], width: usize) -> Result<Self> {
        let margin = |row: &[f32]| at_least(MARGIN * (norm(row) + 2f64.powi(-100)));
        let margins: Vec<f32> = users.chunks_exact(width).map(margin).collect();
        let margins = Buffer::of(driver, &margins)?;
        Ok(Self { rows: rounded(driver, users, width)?, margins })
    }

    /// Bytes of so many users.
    pub fn bytes(users: usize, width: usize) -> usize {
        users * (coarse_width(width) * size_of::<Bf16>() + size_of::<f32>())
    }
}

/// What a search computes in, one after the other.
#[derive(Clone, Debug)]
pub struct ScreenRoom {
    /// Zeros before and after a search.
    counts: Buffer<u32>,
    passed: Buffer<u32>,
    keys: Buffer<u64>,
    bars: Buffer<f32>,
    /// (users): 1 for those whose list may be wrong.
    pub overflowed: Buffer<u32>,
    capacity: usize,
}

impl ScreenRoom {
    /// How many items of a user may pass in a round: several times as many as would without a
    /// margin, for users whose scores differ little for the length of the rows.
    fn capacity(k: usize) -> usize {
        (4 * SCREENED_GROWTH * k).max(SCREENED_FIRST)
    }

    /// For lists of so many items.
    ///
    /// # Errors
    /// If the device has too little memory or fails.
    pub fn new(driver: &dyn Driver, users: usize, k: usize) -> Result<Self> {
        let capacity = Self::capacity(k);
        Ok(Self {
            counts: Buffer::of(driver, &vec![0; users])?,
            passed: Buffer::new(driver, users.saturating_mul(capacity))?,
            keys: Buffer::new(driver, users.saturating_mul(k))?,
            bars: Buffer::new(driver, users)?,
            overflowed: Buffer::new(driver, users)?,
            capacity,
        })
    }

    /// Bytes of it.
    pub fn bytes(users: usize, k: usize) -> usize {
        let numbers = 3 + Self::capacity(k);
        users * (numbers * size_of::<u32>() + k * size_of::<u64>())
    }
}

/// The K items with the largest inner products, for each user, as [`super::TopK`] finds them.
#[derive(Clone, Copy, Debug)]
pub struct Screened<'a> {
    /// Dimensions: `width` at most 128, `k` at most 1024.
    pub shape: TopKShape,
    /// (users, width), of numbers whose products with the items' are finite.
    pub users: &'a Buffer<f32>,
    /// The same users.
    pub coarse_users: &'a CoarseUsers,
    /// (items, width).
    pub items: &'a Buffer<f32>,
    /// The same items.
    pub coarse: &'a Coarse,
    /// For as many users.
    pub excluded: &'a Exclusions,
    /// A bit for each item, the first one the lowest of the first word: those in no list.
    pub barred: Option<&'a Buffer<u32>>,
    /// For as many users, as it is made.
    pub room: &'a ScreenRoom,
    /// (users, k): the items, best first; `u32::MAX` where there are fewer.
    pub lists: &'a Buffer<u32>,
    /// (users, k): their scores.
    pub scores: &'a Buffer<f32>,
}

impl Screened<'_> {
    /// Checks the call: rounds of a screen and of exact scores, and the lists.
    ///
    /// # Errors
    /// If a buffer's length disagrees with the shape, or a dimension is too large.
    pub fn launches(&self, driver: &dyn Driver) -> Result<Vec<Launch>> {
        let (name, TopKShape { users, items, width, k }) = ("screen", self.shape);
        check_limits(width, k)?;
        wide(name, "items", items, [1, i32::MAX as usize])?;
        self.shape.check(self.users.len(), self.items.len())?;
        let (Coarse { rows, norms, wide }, room) = (self.coarse, self.room);
        let tiles = items.div_ceil(TILE);
        fits(name, "coarse items", rows, &[items, coarse_width(width)])?;
        fits(name, "norms", norms, &[tiles])?;
        fits(name, "coarse users", &self.coarse_users.rows, &[users, *wide])?;
        fits(name, "margins", &self.coarse_users.margins, &[users])?;
        fits(name, "overflowed", &room.overflowed, &[users])?;
        fits(name, "keys", &room.keys, &[users, k])?;
        self.excluded.fits(name, users)?;
        self.barred.map_or(Ok(()), |barred| fits(name, "barred", barred, &[items.div_ceil(32)]))?;
        let mut launches = Vec::new();
        for [first, end] in rounds(tiles) {
            launches.push(self.screen(driver, [first, end], tiles)?);
            launches.push(self.rescore(first == 0)?);
        }
        let Self { lists, scores, .. } = *self;
        let lists = Lists { found: &room.keys, candidates: k, lists, scores };
        launches.push(lists.launch([users, k])?);
        Ok(launches)
    }

    fn screen(
        &self,
        driver: &dyn Driver,
        [first, end]: [usize; 2],
        tiles: usize,
    ) -> Result<Launch> {
        let by_groups = driver.has_group_products();
        let (name, TopKShape { users, items, .. }) = ("screen", self.shape);
        let (Coarse { rows, norms, wide }, room) = (self.coarse, self.room);
        let groups = users.div_ceil(TILE).clamp(1, GROUP_NUMBERS / wide);
        let columns = users.div_ceil(groups * TILE);
        let fewest = (BLOCKS * driver.processors()).div_ceil(columns.max(1)).min(end - first);
        let parts = (end - first).div_ceil(BLOCK_TILES).max(fewest);
        let mut with = arguments![
            &self.coarse_users.rows,
            rows,
            norms,
            &self.coarse_users.margins,
            &room.bars,
            self.barred,
            &room.counts,
            &room.passed,
        ];
        for number in [users, items, first, end, stride(tiles), room.capacity] {
            with.push(u32_of(name, number)?.into());
        }
        let mut shared = (STAGES + groups) * TILE * wide * size_of::<Bf16>();
        if by_groups {
            with.insert(0, Argument::from(TensorMap::of(rows, *wide, *wide)?));
            shared += STAGES * size_of::<u64>(); // an mbarrier for each place
        }
        let kernel = match (by_groups, *wide > TILE) {
            (false, false) => SCREEN_64,
            (false, true) => SCREEN_128,
            (true, false) => HOPPER_SCREEN_64,
            (true, true) => HOPPER_SCREEN_128,
        };
        let threads = groups as u32 * GROUP_THREADS;
        Launch::new(kernel, with).sharing(shared).over([columns, parts], threads)
    }

    fn rescore(&self, begins: bool) -> Result<Launch> {
        let (name, TopKShape { users, width, k, .. }) = (RESCORE.name, self.shape);
        let ScreenRoom { counts, passed, keys, bars, overflowed, capacity } = self.room;
        let list = list_room(k);
        let mut with = arguments![self.users, self.items];
        with.extend(self.excluded.arguments());
        with.extend(arguments![counts, passed, keys, bars, overflowed]);
        for number in [usize::from(begins), width, k, list, *capacity] {
            with.push(u32_of(name, number)?.into());
        }
        Launch::new(RESCORE, with).sharing(list * size_of::<u64>()).over([users, 1], WARP as u32)
    }
}

/// From which to which of the tiles, in the order of visits, each round goes.
fn rounds(tiles: usize) -> Vec<[usize; 2]> {
    let (mut rounds, mut seen) = (Vec::new(), 0);
    while seen < tiles {
        let end = if seen == 0 { FIRST_TILES } else { seen.saturating_mul(SCREENED_GROWTH) };
        rounds.push([seen, end.min(tiles)]);
        seen = end;
    }
    rounds
}

/// How far apart visits are: near the golden ratio of the tiles, and so that each has its turn.
fn stride(tiles: usize) -> usize {
    let common_divisor = |mut a: usize, mut b: usize| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let near = (tiles as f64 * 0.618_033_988_75) as usize;
    (near.max(1)..).find(|stride| common_divisor(*stride, tiles) == 1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1 + 2⁻⁸ is as far from what it is rounded to as a number can be, for its size.
    #[test]
    fn the_margin_is_more_than_what_rounding_makes_of_a_product() {
        for width in [1u32, 64, 128] {
            let x = 1.0 + 2f64.powi(-8);
            let (exact, rounded) = (f64::from(width) * x * x, f64::from(width));
            assert_eq!(Bf16::of(x as f32).f32(), 1.0);
            assert!(exact - rounded < MARGIN * f64::from(width) * x * x, "{width}");
        }
    }

    #[test]
    fn each_tile_is_visited_once() {
        for tiles in [1, 2, 63, 64, 65, 600, 156_250] {
            let mut seen = vec![false; tiles];
            let rounds = rounds(tiles);
            assert!(rounds.windows(2).all(|pair| pair[0][1] == pair[1][0]));
            assert_eq!((rounds[0][0], rounds[rounds.len() - 1][1]), (0, tiles));
            (0..tiles).for_each(|n| seen[n * stride(tiles) % tiles] = true);
            assert!(seen.iter().all(|seen| *seen), "{tiles}");
        }
    }
}
