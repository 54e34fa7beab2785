//! The screen in registers of 64 bytes: four products at a time, summed in 32 bits.
#![allow(unsafe_code)]

use super::{Hit, Lane, TILE, Users};
use std::arch::x86_64::*;

/// Lanes with a group of four coordinates: each has sixteen items.
const LANES: usize = TILE / 16;

/// Users at a time: 16 sums, so that no product waits for the one before it, and the loads of four
/// lanes and four users for 16 products.
const USERS: usize = 4;

/// A few users at a time: an item's bytes are loaded once for all; all sums stay in registers.
#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) fn screen(tile: &[Lane], users: &Users<'_>, hits: &mut Vec<Hit>) {
    let (groups, rest) = users.live.as_chunks::<USERS>();
    for &group in groups {
        for (user, sums) in group.into_iter().zip(products(tile, group, users)) {
            keep(user, sums, users, hits);
        }
    }
    for &user in rest {
        let [sums] = products(tile, [user], users);
        keep(user, sums, users, hits);
    }
}

/// The products of 64 items with a few users.
#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
fn products<const N: usize>(
    tile: &[Lane],
    chosen: [u32; N],
    users: &Users<'_>,
) -> [[__m512i; LANES]; N] {
    let lanes = tile.as_chunks::<LANES>().0;
    let mut sums = [[_mm512_setzero_si512(); LANES]; N];
    let mut words: [&[u32]; N] = [&[]; N];
    // Not `map`: it has not the features of this function, and would not be inlined.
    for (at, user) in chosen.into_iter().enumerate() {
        sums[at] = [_mm512_set1_epi32(users.starts[user as usize]); LANES];
        words[at] = &users.words(user)[..lanes.len()];
    }
    for (at, lanes) in lanes.iter().enumerate() {
        let items = [load(&lanes[0]), load(&lanes[1]), load(&lanes[2]), load(&lanes[3])];
        for (sums, words) in sums.iter_mut().zip(words) {
            let user = _mm512_set1_epi32(words[at] as i32);
            for (sum, items) in sums.iter_mut().zip(items) {
                *sum = _mm512_dpbusd_epi32(*sum, items, user);
            }
        }
    }
    sums
}

/// Notes which products are above a user's threshold.
#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
fn keep(user: u32, sums: [__m512i; LANES], users: &Users<'_>, hits: &mut Vec<Hit>) {
    let threshold = _mm512_set1_epi32(i32::from(users.thresholds[user as usize]));
    let mut items = 0;
    for (lane, sums) in sums.into_iter().enumerate() {
        items |= u64::from(_mm512_cmpgt_epi32_mask(sums, threshold)) << (16 * lane);
    }
    if items != 0 {
        hits.push(Hit { user, items });
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load(lane: &Lane) -> __m512i {
    // SAFETY: a lane is 64 bytes, aligned to 64.
    unsafe { _mm512_load_si512(std::ptr::from_ref(lane).cast()) }
}

#[target_feature(enable = "avx512f")]
pub(super) fn score(user: &[f32], rows: &[f32], items: u64) -> [f32; TILE] {
    super::score(user, rows, items)
}
