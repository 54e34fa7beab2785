//! Exact maximum-inner-product search.

use super::super::launch::{
    Argument, Kernel, Launch, TOP_K_BF16, TOP_K_F32, TOP_K_MERGE, arguments,
};
use super::super::{Bf16, Buffer, Driver, Element};
use super::{WARP, fits, u32_of, wide};
use crate::device::cpu::top_k::TopKShape;
use crate::error::{Error, Result};

/// Users of a block, a warp each.
const USERS: usize = 8;
const THREADS: u32 = (USERS * WARP) as u32;
/// Numbers of a row, at most.
pub const SEARCHED_WIDTH_MAX: usize = 512;
const K_MAX: usize = 1024;
/// Blocks that keep a large device busy.
const BLOCKS: usize = 1024;
/// Items of a part at least: fewer are not worth a list.
const PART: usize = 512;

/// What tables can hold.
pub trait TopKNumber: Element {
    /// Searches tables of it.
    const KERNEL: Kernel;
}
impl TopKNumber for f32 {
    const KERNEL: Kernel = TOP_K_F32;
}
impl TopKNumber for Bf16 {
    const KERNEL: Kernel = TOP_K_BF16;
}

/// For each user the items that must not be in its list.
#[derive(Clone, Debug)]
pub struct Exclusions {
    starts: Buffer<u32>,
    ids: Buffer<u32>,
}

impl Exclusions {
    /// Copies each user's ids, ascending, to the device.
    ///
    /// # Errors
    /// If ids do not ascend; and those of [`Buffer::of`].
    pub fn of(driver: &dyn Driver, users: &[&[u32]]) -> Result<Self> {
        if !users.iter().all(|ids| ids.is_sorted()) {
            return Err(Error::Device("top_k: excluded: ids must ascend".into()));
        }
        let (mut starts, mut ids) = (vec![0], Vec::new());
        for user in users {
            ids.extend_from_slice(user);
            starts.push(u32_of("top_k", ids.len())?);
        }
        Ok(Self { starts: Buffer::of(driver, &starts)?, ids: Buffer::of(driver, &ids)? })
    }

    /// That it is for so many users.
    pub(super) fn fits(&self, name: &str, users: usize) -> Result<()> {
        fits(name, "excluded", &self.starts, &[users + 1])
    }

    /// As kernels take it.
    pub(super) fn arguments(&self) -> Vec<Argument> {
        arguments![&self.starts, &self.ids]
    }
}

/// Keys as lists and scores.
pub(super) struct Lists<'a> {
    /// (users, candidates).
    pub found: &'a Buffer<u64>,
    pub candidates: usize,
    /// (users, k).
    pub lists: &'a Buffer<u32>,
    /// (users, k).
    pub scores: &'a Buffer<f32>,
}

impl Lists<'_> {
    /// The best k of each user's, in their order.
    pub fn launch(&self, [users, k]: [usize; 2]) -> Result<Launch> {
        let (name, room) = (TOP_K_MERGE.name, list_room(k));
        let Self { found, candidates, lists, scores } = *self;
        fits(name, "found", found, &[users, candidates])?;
        fits(name, "lists", lists, &[users, k])?;
        fits(name, "scores", scores, &[users, k])?;
        let mut with = arguments![found, lists, scores];
        for number in [users, candidates, k, room] {
            with.push(u32_of(name, number)?.into());
        }
        let (blocks, bytes) = of_users(users, room);
        Launch::new(TOP_K_MERGE, with).sharing(bytes).over(blocks, THREADS)
    }
}

/// How many keys a list has room for while it is made.
pub(super) fn list_room(k: usize) -> usize {
    (2 * k).max(k + WARP).next_power_of_two()
}

/// Blocks of users, a warp each, and the bytes of their lists.
fn of_users(users: usize, room: usize) -> ([usize; 2], usize) {
    ([users.div_ceil(USERS), 1], USERS * room * size_of::<u64>())
}

/// The K items with the largest inner products, for each user.
#[derive(Clone, Copy, Debug)]
pub struct TopK<'a, T> {
    /// Dimensions: `width` at most 512, `k` at most 1024.
    pub shape: TopKShape,
    /// (users, width), of numbers whose products with the items' are finite.
    pub users: &'a Buffer<T>,
    /// (items, width).
    pub items: &'a Buffer<T>,
    /// For as many users.
    pub excluded: &'a Exclusions,
    /// A bit for each item, the first one the lowest of the first word: those in no list.
    pub barred: Option<&'a Buffer<u32>>,
    /// ([`found_length`]): scratch.
    pub found: &'a Buffer<u64>,
    /// (users, k): the items, best first; `u32::MAX` where there are fewer.
    pub lists: &'a Buffer<u32>,
    /// (users, k): their scores.
    pub scores: &'a Buffer<f32>,
}

/// How long [`TopK::found`] is.
pub fn found_length(shape: &TopKShape) -> usize {
    shape.users.saturating_mul(shape.k).saturating_mul(parts(shape))
}

/// That rows are not too wide, and lists not too long.
///
/// # Errors
/// If they are.
pub fn check_limits(width: usize, k: usize) -> Result<()> {
    wide("top_k", "width", width, [1, SEARCHED_WIDTH_MAX])?;
    wide("top_k", "k", k, [1, K_MAX])
}

/// In how many parts the items are searched beside each other: the lists do not depend on it.
fn parts(shape: &TopKShape) -> usize {
    let blocks = shape.users.div_ceil(USERS).max(1);
    BLOCKS.div_ceil(blocks).min(shape.items.div_ceil(PART)).max(1)
}

impl<T: TopKNumber> TopK<'_, T> {
    /// Checks the call: the search, and then the merging of what its parts found.
    ///
    /// # Errors
    /// If a buffer's length disagrees with the shape, or a dimension is too large.
    pub fn launches(&self) -> Result<[Launch; 2]> {
        let (name, TopKShape { users, items, width, k }) = ("top_k", self.shape);
        check_limits(width, k)?;
        self.shape.check(self.users.len(), self.items.len())?;
        let parts = parts(&self.shape);
        self.excluded.fits(name, users)?;
        fits(name, "found", self.found, &[users, k, parts])?;
        self.barred.map_or(Ok(()), |barred| fits(name, "barred", barred, &[items.div_ceil(32)]))?;
        let room = list_room(k);
        let ([blocks, _], lists) = of_users(users, room);
        let rows = (USERS + WARP) * (width + 1) * size_of::<f32>();
        let mut search = arguments![self.users, self.items];
        search.extend(self.excluded.arguments());
        search.extend(arguments![self.barred, self.found]);
        for number in [users, items, width, k, room] {
            search.push(u32_of(name, number)?.into());
        }
        let search = Launch::new(T::KERNEL, search);
        let Self { found, lists: out, scores, .. } = *self;
        let merge = Lists { found, candidates: parts * k, lists: out, scores };
        Ok([
            search.sharing(lists + rows).over([blocks, parts], THREADS)?,
            merge.launch([users, k])?,
        ])
    }
}
