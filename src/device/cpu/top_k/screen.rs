//! The integer screen: which of a tile's 64 items may be in a user's list.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod vnni;

use std::fmt;

/// Items that are screened together: one bit of a mask each.
pub(super) const TILE: usize = 64;

/// Coordinates that lie together at most, see [`Path::group`].
const GROUP_MAX: usize = 4;

/// What is added to the bytes of items, to have no sign.
pub(super) const OFFSET: u8 = 128;

/// The coordinates of a packed row: its columns, and zeros up to a whole group of any path.
pub(super) fn columns(width: usize) -> usize {
    width.next_multiple_of(GROUP_MAX)
}

/// A line of bytes: coordinates of one group, of as many items as there is room for.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Lane(pub [u8; LANE]);

/// The bytes of a lane.
pub(super) const LANE: usize = 64;

/// The users that are screened.
pub(super) struct Users<'a> {
    /// For each user its coordinates as [`Path::words`] gives them.
    pub words: &'a [u32],
    /// How many words a user has.
    pub stride: usize,
    /// What each user's sums start from: they take [`OFFSET`] away from every item's bytes.
    pub starts: &'a [i32],
    /// Items pass with a product greater than the user's threshold.
    pub thresholds: &'a [i16],
    /// Which users to look at.
    pub live: &'a [u32],
}

/// Items of a tile that passed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hit {
    /// The user's place in the batch.
    pub user: u32,
    /// One bit an item; not 0.
    pub items: u64,
}

/// How the screen is computed. All ways give the same results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path(Way);

/// The instructions of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::device::cpu) enum Way {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Vnni,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Way::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Way::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Way::Vnni => "vnni",
        })
    }
}

impl Path {
    /// The ways this processor has, slowest first.
    pub fn all() -> Vec<Path> {
        let mut all = vec![Path(Way::Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") {
                all.push(Path(Way::Avx2));
            }
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni") {
                all.push(Path(Way::Vnni));
            }
        }
        all
    }

    /// The fastest way this processor has.
    pub fn fastest() -> Path {
        Path::all().pop().unwrap_or(Path(Way::Portable))
    }

    /// Which instructions they are. This processor has them.
    pub(in crate::device::cpu) fn way(self) -> Way {
        self.0
    }

    /// Neighbouring coordinates that one instruction multiplies and adds up. Of each group of them
    /// a tile has the bytes of its first item, of its second, and so on.
    fn group(self) -> usize {
        match self.0 {
            Way::Portable => 2,
            #[cfg(target_arch = "x86_64")]
            Way::Avx2 => 2,
            #[cfg(target_arch = "x86_64")]
            Way::Vnni => GROUP_MAX,
        }
    }

    /// Where a tile has an item's coordinate: the lane, and the byte in it.
    pub(super) fn place(self, item: usize, column: usize) -> (usize, usize) {
        let group = self.group();
        let byte = (column / group * TILE + item) * group + column % group;
        (byte / LANE, byte % LANE)
    }

    /// A user's coordinates, as many as [`columns`], in groups of 32 bits: a group of two is there
    /// twice, since to spread 32 bits over a register takes one instruction and 16 take two.
    pub(super) fn words(self, integers: &[i8]) -> impl Iterator<Item = u32> {
        let group = self.group();
        integers.chunks_exact(group).map(move |group| {
            u32::from_le_bytes(std::array::from_fn(|at| group[at % group.len()] as u8))
        })
    }

    /// Appends the hits of a tile, in the order of `users.live`.
    ///
    /// `tile` has been packed for this path.
    pub(super) fn screen(self, tile: &[Lane], users: &Users<'_>, hits: &mut Vec<Hit>) {
        assert_eq!(tile.len() * LANE, users.stride * self.group() * TILE);
        match self.0 {
            Way::Portable => portable(tile, users, hits),
            // SAFETY: a `Path` of this way is made by `all` only, after asking the processor.
            #[cfg(target_arch = "x86_64")]
            Way::Avx2 => unsafe { avx2::screen(tile, users, hits) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Way::Vnni => unsafe { vnni::screen(tile, users, hits) },
        }
    }

    /// [`super::reference::score`] of the items of a tile that passed, each in its place.
    pub(super) fn score(self, user: &[f32], rows: &[f32], items: u64) -> [f32; TILE] {
        match self.0 {
            Way::Portable => score(user, rows, items),
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Way::Avx2 => unsafe { avx2::score(user, rows, items) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Way::Vnni => unsafe { vnni::score(user, rows, items) },
        }
    }
}

/// The places of the bits of a mask, ascending.
#[inline]
pub(super) fn places(mut mask: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = mask.trailing_zeros() as usize;
        mask &= mask.wrapping_sub(1);
        (place < TILE).then_some(place)
    })
}

#[inline(always)]
fn score(user: &[f32], rows: &[f32], items: u64) -> [f32; TILE] {
    let width = user.len();
    let mut scores = [0.0; TILE];
    for place in places(items) {
        scores[place] = super::reference::score(user, &rows[place * width..][..width]);
    }
    scores
}

impl Users<'_> {
    fn words(&self, user: u32) -> &[u32] {
        &self.words[user as usize * self.stride..][..self.stride]
    }
}

fn portable(tile: &[Lane], users: &Users<'_>, hits: &mut Vec<Hit>) {
    for &user in users.live {
        let threshold = users.thresholds[user as usize];
        // Cut to 16 bits, like all sums: see the module's page.
        let mut sums = [users.starts[user as usize] as i16; TILE];
        for (lanes, word) in tile.as_chunks::<2>().0.iter().zip(users.words(user)) {
            let [even, odd, ..] = word.to_le_bytes().map(|x| i16::from(x as i8));
            let bytes = lanes.iter().flat_map(|lane| lane.0.as_chunks::<2>().0);
            for (sum, &[first, second]) in sums.iter_mut().zip(bytes) {
                *sum = sum.wrapping_add(even * i16::from(first) + odd * i16::from(second));
            }
        }
        let above = |(at, &sum): (usize, &i16)| u64::from(sum > threshold) << at;
        let items = sums.iter().enumerate().map(above).fold(0, |all, bit| all | bit);
        if items != 0 {
            hits.push(Hit { user, items });
        }
    }
}
