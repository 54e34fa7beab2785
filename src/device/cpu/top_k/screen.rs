//! The integer screen: which of a tile's 64 items may be in a user's list.
#![allow(unsafe_code)]

/// Items that are screened together: one bit of a mask each.
pub(super) const TILE: usize = 64;

/// The registers' worth of items of a tile.
pub(super) const LANES: usize = TILE / 16;

/// Pairs of coordinates that are added before the loop turns.
const STEP: usize = 2;

/// The pairs of coordinates of a packed row: its columns, and zeros up to a whole step.
pub(super) fn pairs(width: usize) -> usize {
    width.div_ceil(2).next_multiple_of(STEP)
}

/// Thirty-two bytes: sixteen items by two coordinates, or sixteen 16-bit sums.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub(super) struct Lane(pub [u8; 32]);

/// A tile of items.
pub(super) struct Tile<'a> {
    /// The sums the items start from.
    pub starts: &'a [Lane; LANES],
    /// Four lanes for each pair of coordinates.
    pub packed: &'a [Lane],
}

/// The users that are screened.
pub(super) struct Users<'a> {
    /// For each user and each pair of coordinates, the two bytes twice.
    pub packed: &'a [u32],
    /// How many pairs a user has.
    pub pairs: usize,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

impl Path {
    /// The ways this processor has, slowest first.
    pub fn all() -> Vec<Path> {
        let mut all = vec![Path(Way::Portable)];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            all.push(Path(Way::Avx2));
        }
        all
    }

    /// The fastest way this processor has.
    pub fn fastest() -> Path {
        Path::all().pop().unwrap_or(Path(Way::Portable))
    }

    /// Appends the hits of a tile, in the order of `users.live`.
    pub(super) fn screen(self, tile: &Tile<'_>, users: &Users<'_>, hits: &mut Vec<Hit>) {
        assert_eq!(tile.packed.len(), LANES * users.pairs);
        match self.0 {
            Way::Portable => portable(tile, users, hits),
            // SAFETY: a `Path` of this way is made by `all` only, after asking the processor.
            #[cfg(target_arch = "x86_64")]
            Way::Avx2 => unsafe { avx2::screen(tile, users, hits) },
        }
    }

    /// [`super::reference::score`] of the items of a tile that passed, each in its place.
    pub(super) fn score(self, user: &[f32], rows: &[f32], items: u64) -> [f32; TILE] {
        match self.0 {
            Way::Portable => score(user, rows, items),
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Way::Avx2 => unsafe { avx2::score(user, rows, items) },
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
    fn packed(&self, user: u32) -> &[u32] {
        &self.packed[user as usize * self.pairs..][..self.pairs]
    }
}

fn portable(tile: &Tile<'_>, users: &Users<'_>, hits: &mut Vec<Hit>) {
    for &user in users.live {
        let threshold = users.thresholds[user as usize];
        let mut items = 0;
        for lane in 0..LANES {
            let mut sums: [i16; 16] = std::array::from_fn(|at| {
                let start = &tile.starts[lane].0;
                i16::from_ne_bytes([start[2 * at], start[2 * at + 1]])
            });
            let lanes = tile.packed[lane..].iter().step_by(LANES);
            for (bytes, word) in lanes.zip(users.packed(user)) {
                let [even, odd, ..] = word.to_le_bytes().map(i16::from);
                for (at, sum) in sums.iter_mut().enumerate() {
                    let first = even * i16::from(bytes.0[2 * at] as i8);
                    let second = odd * i16::from(bytes.0[2 * at + 1] as i8);
                    *sum = sum.wrapping_add(first + second);
                }
            }
            for (at, &sum) in sums.iter().enumerate() {
                items |= u64::from(sum > threshold) << (16 * lane + at);
            }
        }
        if items != 0 {
            hits.push(Hit { user, items });
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{Hit, LANES, Lane, STEP, TILE, Tile, Users};
    use std::arch::x86_64::*;

    /// Two users at a time: an item's bytes are loaded once for both; all sums stay in registers.
    #[target_feature(enable = "avx2")]
    pub(super) fn screen(tile: &Tile<'_>, users: &Users<'_>, hits: &mut Vec<Hit>) {
        let (pairs, rest) = users.live.as_chunks::<2>();
        for &[first, second] in pairs {
            let [a, b] = products(tile, users.packed(first), users.packed(second));
            keep(first, a, users, hits);
            keep(second, b, users, hits);
        }
        for &user in rest {
            let [sums, _] = products(tile, users.packed(user), users.packed(user));
            keep(user, sums, users, hits);
        }
    }

    /// The products of 64 items with two users.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn products(tile: &Tile<'_>, first: &[u32], second: &[u32]) -> [[__m256i; LANES]; 2] {
        let [s0, s1, s2, s3] = tile.starts;
        let starts = [load(s0), load(s1), load(s2), load(s3)];
        let (mut a, mut b) = (starts, starts);
        let (steps, _) = tile.packed.as_chunks::<{ STEP * LANES }>();
        let (first, _) = first.as_chunks::<STEP>();
        let (second, _) = second.as_chunks::<STEP>();
        for ((bytes, first), second) in steps.iter().zip(first).zip(second) {
            for pair in 0..STEP {
                let x = _mm256_set1_epi32(first[pair] as i32);
                let y = _mm256_set1_epi32(second[pair] as i32);
                for lane in 0..LANES {
                    let items = load(&bytes[pair * LANES + lane]);
                    a[lane] = _mm256_add_epi16(a[lane], _mm256_maddubs_epi16(x, items));
                    b[lane] = _mm256_add_epi16(b[lane], _mm256_maddubs_epi16(y, items));
                }
            }
        }
        [a, b]
    }

    /// Notes which products are above a user's threshold.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn keep(user: u32, sums: [__m256i; LANES], users: &Users<'_>, hits: &mut Vec<Hit>) {
        let threshold = _mm256_set1_epi16(users.thresholds[user as usize]);
        let low = bits(sums[0], sums[1], threshold);
        let high = bits(sums[2], sums[3], threshold);
        let items = u64::from(high) << 32 | u64::from(low);
        if items != 0 {
            hits.push(Hit { user, items });
        }
    }

    /// One bit for each of 32 products. Packing works within halves of a register, hence the
    /// permutation.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn bits(low: __m256i, high: __m256i, threshold: __m256i) -> u32 {
        let low = _mm256_cmpgt_epi16(low, threshold);
        let high = _mm256_cmpgt_epi16(high, threshold);
        let packed = _mm256_packs_epi16(low, high);
        _mm256_movemask_epi8(_mm256_permute4x64_epi64::<0b11_01_10_00>(packed)) as u32
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn load(lane: &Lane) -> __m256i {
        // SAFETY: a lane is 32 bytes, aligned to 32.
        unsafe { _mm256_load_si256(std::ptr::from_ref(lane).cast()) }
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn score(user: &[f32], rows: &[f32], items: u64) -> [f32; TILE] {
        super::score(user, rows, items)
    }
}
