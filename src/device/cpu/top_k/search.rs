//! The search: blocks of users over all tiles of items, screened, scored and kept.

use super::best::Best;
use super::bits::BitSet;
use super::index::{BLOCK, Block, ItemIndex};
use super::quantise::{self, Bounds, USER_MAX};
use super::screen::{self, Hit, OFFSET, TILE, Users};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Users of one batch at most: with 64 columns their words take at most 32 KiB, and with 256 a
/// quarter of a 512 KiB cache, while the items pass by.
const BATCH_MAX: usize = 256;

/// What is asked of a search.
#[derive(Clone, Copy, Debug)]
pub struct TopKQuery<'a> {
    /// The length of the lists; shorter where fewer items are allowed.
    pub k: usize,
    /// For each user the ids that must not be in its list, ascending; or empty for no such ids.
    pub excluded: &'a [&'a [u32]],
    /// Ids that must not be in any list.
    pub barred: Option<&'a BitSet>,
    /// Threads to work on; the result does not depend on it.
    pub threads: usize,
}

/// A list for each user.
#[derive(Clone, Debug, PartialEq)]
pub struct TopK {
    /// `items[offsets[u]..offsets[u + 1]]` is user u's list, best first.
    pub items: Vec<u32>,
    /// The score of each item of `items`.
    pub scores: Vec<f32>,
    /// See `items`. Length: users + 1.
    pub offsets: Vec<usize>,
    /// The users, ascending, that have no list because their scores are not sure to be finite
    /// numbers: one of their numbers is NaN or infinite, or a product with an item might be.
    pub unscored: Vec<u32>,
    /// How many pairs of a user and an item were scored in f32.
    pub scored: u64,
}

impl TopK {
    pub(in crate::device) fn new() -> Self {
        let (items, scores, unscored) = Default::default();
        TopK { items, scores, offsets: vec![0], unscored, scored: 0 }
    }

    /// Appends the next user's list, or that it has none.
    pub(in crate::device) fn push(&mut self, list: Option<impl Iterator<Item = (f32, u32)>>) {
        match list {
            Some(list) => {
                for (score, id) in list {
                    self.scores.push(score);
                    self.items.push(id);
                }
            }
            None => self.unscored.push(self.offsets.len() as u32 - 1),
        }
        self.offsets.push(self.items.len());
    }
}

impl ItemIndex {
    /// The `k` best allowed items of each user: exactly those of [`super::reference::top_k`].
    ///
    /// Shapes: `users` (U, D) row-major.
    /// Panics: if `users` is not whole rows, or `excluded` is neither empty nor one list a user.
    pub fn search(&self, users: &[f32], query: &TopKQuery<'_>) -> TopK {
        let count = users.len() / self.width;
        assert_eq!(users.len(), count * self.width, "users: rows of {} numbers", self.width);
        let lists = query.excluded.len();
        assert!(lists == 0 || lists == count, "{lists} lists of exclusions for {count} users");
        let allowed = self.allowed(query.barred);
        let threads = query.threads.clamp(1, count.max(1));
        let batch = count.div_ceil(threads).clamp(1, BATCH_MAX);
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            loop {
                let first = next.fetch_add(batch, Ordering::Relaxed);
                if first >= count {
                    return done;
                }
                let users = &users[first * self.width..];
                let users = &users[..users.len().min(batch * self.width)];
                let excluded = query.excluded.get(first..).unwrap_or_default();
                let batch = Batch::new(self, users, excluded, query.k);
                done.push((first, batch.run(&allowed)));
            }
        };
        let mut parts = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut parts = work();
            for other in others {
                // A panic of a worker is a bug, and goes on here.
                parts.extend(other.join().unwrap_or_else(|bug| std::panic::resume_unwind(bug)));
            }
            parts
        });
        parts.sort_unstable_by_key(|(first, _)| *first);
        let mut found = TopK::new();
        for (scored, lists) in parts.into_iter().map(|(_, part)| part) {
            found.scored += scored;
            for list in lists {
                found.push(list.map(Best::into_sorted));
            }
        }
        found
    }

    /// For each tile the items that may be in a list, one bit each.
    fn allowed(&self, barred: Option<&BitSet>) -> Vec<u64> {
        let allow = |id: &u32| barred.is_none_or(|barred| !barred.contains(*id));
        let mask = |ids: &[u32]| {
            ids.iter().enumerate().fold(0, |mask, (at, id)| mask | u64::from(allow(id)) << at)
        };
        self.ids.chunks(TILE).map(mask).collect()
    }
}

/// A few users on their way through all items.
struct Batch<'a> {
    index: &'a ItemIndex,
    /// (users of the batch, D).
    rows: &'a [f32],
    excluded: &'a [&'a [u32]],
    users: Vec<User>,
    /// As [`Users`] has them, like the next.
    words: Vec<u32>,
    starts: Vec<i32>,
    thresholds: Vec<i16>,
    live: Vec<u32>,
    scored: u64,
}

/// A user's side of the bound.
struct User {
    /// What was found; nothing for a user that cannot be scored.
    best: Option<Best>,
    /// ‖u‖.
    norm: f64,
    /// 1/α.
    inverse: f64,
    /// ‖u‖/α.
    length: f64,
    /// ‖u − αq‖/α.
    error: f64,
    /// c: how much a score may lack by underflow.
    underflow: f64,
    /// A score that K items reach, or −∞: see [`Best::bar`].
    bar: f64,
}

impl User {
    fn new(bounds: &Bounds, width: usize, best: Option<Best>) -> Self {
        let inverse = 1.0 / bounds.scale;
        User {
            best,
            norm: bounds.norm,
            inverse,
            length: bounds.norm * inverse,
            error: bounds.residual * inverse,
            underflow: width as f64 * 2f64.powi(-149),
            bar: f64::NEG_INFINITY,
        }
    }

    /// The screen's threshold for the items of a block: the bound of the module's page, less one
    /// for its own rounding (the cast rounds towards zero, hence two).
    fn threshold(&self, block: &Block) -> i16 {
        let bound = (self.bar - self.underflow) * self.inverse * block.inverse
            - self.length * block.error
            - self.error * block.reach;
        (bound - 2.0).clamp(f64::from(i16::MIN), f64::from(i16::MAX)) as i16
    }

    /// Whether an item of a block may still be good enough, by its norm alone.
    fn reaches(&self, block: &Block) -> bool {
        self.norm * block.norm + self.underflow >= self.bar
    }
}

impl<'a> Batch<'a> {
    fn new(index: &'a ItemIndex, rows: &'a [f32], excluded: &'a [&'a [u32]], k: usize) -> Self {
        let width = index.width;
        let norm_max = index.rows.chunks(width).next().map_or(0.0, quantise::norm);
        let mut users = Vec::with_capacity(rows.len() / width);
        let (mut words, mut starts) = (Vec::new(), Vec::new());
        let mut integers = vec![0i8; screen::columns(width)];
        let nobody = vec![0.0; width];
        for row in rows.chunks(width) {
            let scorable = ItemIndex::can_score(row, norm_max);
            let row = if scorable { row } else { &nobody };
            let bounds = quantise::quantise(row, width, USER_MAX, &mut integers[..width]);
            let best = scorable.then(|| Best::new(k.min(index.len())));
            users.push(User::new(&bounds, width, best));
            words.extend(index.path.words(&integers));
            starts.push(-i32::from(OFFSET) * integers.iter().map(|&q| i32::from(q)).sum::<i32>());
        }
        let wanted = |at: &u32| k > 0 && users[*at as usize].best.is_some();
        let live = (0..users.len() as u32).filter(wanted).collect();
        let thresholds = vec![0; users.len()];
        Batch { index, rows, excluded, users, words, starts, thresholds, live, scored: 0 }
    }

    /// How many pairs were scored, and the list of each user.
    fn run(mut self, allowed: &[u64]) -> (u64, Vec<Option<Best>>) {
        let mut hits = Vec::with_capacity(self.live.len());
        for (number, block) in self.index.blocks.iter().enumerate() {
            self.live.retain(|&at| self.users[at as usize].reaches(block));
            if self.live.is_empty() {
                break;
            }
            for &at in &self.live {
                self.thresholds[at as usize] = self.users[at as usize].threshold(block);
            }
            let first = number * BLOCK / TILE;
            for (tile, &mask) in (first..).zip(allowed[first..].iter().take(BLOCK / TILE)) {
                if mask == 0 {
                    continue;
                }
                self.screen(tile, &mut hits);
                for hit in hits.drain(..) {
                    self.score(tile, hit.user as usize, hit.items & mask, block);
                }
            }
        }
        (self.scored, self.users.into_iter().map(|user| user.best).collect())
    }

    fn screen(&self, tile: usize, hits: &mut Vec<Hit>) {
        let users = Users {
            words: &self.words,
            stride: self.words.len() / self.users.len(),
            starts: &self.starts,
            thresholds: &self.thresholds,
            live: &self.live,
        };
        self.index.path.screen(self.index.tile(tile), &users, hits);
    }

    /// Scores the items of a tile that passed, and keeps the best.
    fn score(&mut self, tile: usize, at: usize, items: u64, block: &Block) {
        let width = self.index.width;
        let user = &mut self.users[at];
        let Some(best) = &mut user.best else { return };
        let excluded = self.excluded.get(at).copied().unwrap_or_default();
        let rows = &self.index.rows[tile * TILE * width..];
        let scores = self.index.path.score(&self.rows[at * width..][..width], rows, items);
        let ids = &self.index.ids[tile * TILE..];
        self.scored += u64::from(items.count_ones());
        for place in screen::places(items) {
            let (score, id) = (scores[place], ids[place]);
            if score >= best.bar() && excluded.binary_search(&id).is_err() {
                best.offer(score, id);
            }
        }
        let bar = f64::from(best.bar());
        if bar > user.bar {
            user.bar = bar;
            self.thresholds[at] = user.threshold(block);
        }
    }
}
