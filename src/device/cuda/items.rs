//! The items on a device, where users' best ones are found: the lists and scores that
//! [`crate::device::cpu::top_k::ItemIndex`] finds, bit for bit.

use super::Buffer;
use super::driver::{Driver, SharedDriver};
use super::kernels::{
    Coarse, CoarseUsers, Exclusions, SCREENED_FIRST, ScreenRoom, Screened, TopK, check_limits,
    found_length,
};
use crate::device::cpu::top_k::{self, BitSet, ItemIndex, TopKShape};
use crate::error::{Error, Result};

/// Items that are worth a screen: of fewer, much would be scored exactly in its first round.
const SCREENED_MIN: usize = 4 * SCREENED_FIRST;

/// Items for searching, copied to a device once.
pub struct Items {
    driver: SharedDriver,
    table: Buffer<f32>,
    /// For the screen, if there is one.
    coarse: Option<Coarse>,
    barred: Buffer<u32>,
    count: usize,
    width: usize,
    /// The largest norm.
    norm_max: f64,
}

/// What is asked of a search.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// (users, width).
    pub users: &'a [f32],
    /// For each user the ids that must not be in its list, ascending.
    pub excluded: &'a [&'a [u32]],
    /// The length of the lists; shorter where fewer items are allowed.
    pub k: usize,
}

impl Items {
    /// Copies items (V, D), and which of them are in no list. Lists will have at most `k` items.
    ///
    /// Errors: those of [`ItemIndex::new`]; rows or lists that are longer than the kernel takes; a
    /// device that has too little memory or fails.
    pub fn new(
        driver: SharedDriver,
        items: &[f32],
        width: usize,
        barred: &BitSet,
        k: usize,
    ) -> Result<Self> {
        let table = Buffer::of(&*driver, items)?;
        Self::over(driver, (items, table), width, barred, k)
    }

    /// As [`Items::new`], of items that the device has.
    ///
    /// Errors: those of [`Items::new`].
    pub fn over(
        driver: SharedDriver,
        (items, table): (&[f32], Buffer<f32>),
        width: usize,
        barred: &BitSet,
        k: usize,
    ) -> Result<Self> {
        let count = top_k::checked(items, width)?;
        check_limits(width, k)?;
        let mut bits = barred.halves();
        bits.resize(count.div_ceil(32), 0);
        let barred = Buffer::of(&*driver, &bits)?;
        let norm_max = top_k::norm_max(items, width);
        let coarse = screened(count, width).then(|| Coarse::of(&*driver, items, width));
        let coarse = coarse.transpose()?;
        Ok(Self { driver, table, coarse, barred, count, width, norm_max })
    }

    /// What stays on a device, and what a search takes there, in bytes.
    pub fn bytes(shape: &TopKShape) -> [usize; 2] {
        let TopKShape { users, items, width, k } = *shape;
        let lists = users * k * (size_of::<u32>() + size_of::<f32>());
        let kept = items * width * size_of::<f32>() + items.div_ceil(32) * size_of::<u32>();
        let found = found_length(shape) * size_of::<u64>();
        let screen = ScreenRoom::bytes(users, k) + CoarseUsers::bytes(users, width);
        let [seen, room] = match screened(items, width) {
            // One after the other, if too much passes for some.
            true => [Coarse::bytes(items, width), screen.max(found)],
            false => [0, found],
        };
        [kept + seen, lists + room + users * width * size_of::<f32>()]
    }

    /// The best allowed items of each user.
    ///
    /// Errors: [`Error::Device`] if lengths disagree, or the device fails.
    pub fn search(&self, asked: &Asked<'_>) -> Result<top_k::TopK> {
        let Asked { users, excluded, k } = *asked;
        let count = users.len() / self.width;
        if users.len() != count * self.width || excluded.len() != count {
            let (found, lists) = (users.len(), excluded.len());
            return Err(Error::Device(format!(
                "top_k: expected rows of {} numbers and a list for each, found {found} numbers and \
                 {lists} lists",
                self.width
            )));
        }
        let scorable = |row: &[f32]| ItemIndex::can_score(row, self.norm_max);
        let scored: Vec<bool> = users.chunks_exact(self.width).map(scorable).collect();
        let mut rows = users.to_vec();
        for (row, scored) in rows.chunks_exact_mut(self.width).zip(&scored) {
            if !scored {
                row.fill(0.0);
            }
        }
        let shape = TopKShape { users: count, items: self.count, width: self.width, k };
        let (lists, scores) = match &self.coarse {
            Some(coarse) => self.screen(coarse, (shape, &rows, excluded), &scored)?,
            None => self.launch(shape, &rows, excluded)?,
        };
        let mut found = top_k::TopK::new();
        found.scored = (scored.iter().filter(|scored| **scored).count() * self.count) as u64;
        let lists = lists.chunks_exact(k).zip(scores.chunks_exact(k));
        for ((ids, scores), scored) in lists.zip(scored) {
            let there = ids.iter().take_while(|id| **id != u32::MAX).count();
            let list = scores[..there].iter().copied().zip(ids[..there].iter().copied());
            found.push(scored.then_some(list));
        }
        Ok(found)
    }

    /// Lists and scores (users, k) by way of a screen; users for whom too much passes it are
    /// searched for without.
    fn screen(
        &self,
        coarse: &Coarse,
        (shape, users, excluded): (TopKShape, &[f32], &[&[u32]]),
        scored: &[bool],
    ) -> Result<(Vec<u32>, Vec<f32>)> {
        let (mut lists, mut scores, overflowed) = self.pass(coarse, (shape, users, excluded))?;
        let TopKShape { users: count, width, k, .. } = shape;
        let again: Vec<usize> =
            (0..count).filter(|user| overflowed[*user] != 0 && scored[*user]).collect();
        if again.is_empty() {
            return Ok((lists, scores));
        }
        let row = |user: &usize| &users[user * width..][..width];
        let rows = again.iter().flat_map(row).copied().collect::<Vec<f32>>();
        let excluded: Vec<&[u32]> = again.iter().map(|user| excluded[*user]).collect();
        let shape = TopKShape { users: again.len(), ..shape };
        let (found, their) = self.launch(shape, &rows, &excluded)?;
        for (at, user) in again.iter().enumerate() {
            lists[user * k..][..k].copy_from_slice(&found[at * k..][..k]);
            scores[user * k..][..k].copy_from_slice(&their[at * k..][..k]);
        }
        Ok((lists, scores))
    }

    /// Lists and scores (users, k) as a screen leaves them, and for whom they may be wrong.
    fn pass(
        &self,
        coarse: &Coarse,
        (shape, users, excluded): (TopKShape, &[f32], &[&[u32]]),
    ) -> Result<(Vec<u32>, Vec<f32>, Vec<u32>)> {
        let (driver, TopKShape { users: count, width, k, .. }) = (&*self.driver, shape);
        let (lists, scores) = (Buffer::new(driver, count * k)?, Buffer::new(driver, count * k)?);
        let room = ScreenRoom::new(driver, count, k)?;
        let call = Screened {
            shape,
            users: &Buffer::of(driver, users)?,
            coarse_users: &CoarseUsers::of(driver, users, width)?,
            items: &self.table,
            coarse,
            excluded: &Exclusions::of(driver, excluded)?,
            barred: Some(&self.barred),
            room: &room,
            lists: &lists,
            scores: &scores,
        };
        driver.launch_all(&call.launches(driver)?)?;
        Ok((lists.read(driver)?, scores.read(driver)?, room.overflowed.read(driver)?))
    }

    /// Lists and scores (users, k), as the kernel leaves them.
    fn launch(
        &self,
        shape: TopKShape,
        users: &[f32],
        excluded: &[&[u32]],
    ) -> Result<(Vec<u32>, Vec<f32>)> {
        let driver: &dyn Driver = &*self.driver;
        let places = shape.users * shape.k;
        let (lists, scores) = (Buffer::new(driver, places)?, Buffer::new(driver, places)?);
        let call = TopK {
            shape,
            users: &Buffer::of(driver, users)?,
            items: &self.table,
            excluded: &Exclusions::of(driver, excluded)?,
            barred: Some(&self.barred),
            found: &Buffer::new(driver, found_length(&shape))?,
            lists: &lists,
            scores: &scores,
        };
        driver.launch_all(&call.launches()?)?;
        Ok((lists.read(driver)?, scores.read(driver)?))
    }
}

/// Whether a search goes by way of a screen.
fn screened(items: usize, width: usize) -> bool {
    items >= SCREENED_MIN && Coarse::takes(width)
}
