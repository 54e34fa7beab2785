//! The screen in registers of 32 bytes: pairs of products, summed in 16 bits.
#![allow(unsafe_code)]

use super::{Hit, Lane, TILE, Users};
use std::arch::x86_64::*;

/// Registers of sixteen items for a tile.
const REGISTERS: usize = TILE / 16;

/// Lanes with a pair of coordinates.
const LANES: usize = 2;

/// Two users at a time: an item's bytes are loaded once for both; all sums stay in registers.
#[target_feature(enable = "avx2")]
pub(super) fn screen(tile: &[Lane], users: &Users<'_>, hits: &mut Vec<Hit>) {
    let (pairs, rest) = users.live.as_chunks::<2>();
    for &[first, second] in pairs {
        let [a, b] = products(tile, [first, second], users);
        keep(first, a, users, hits);
        keep(second, b, users, hits);
    }
    for &user in rest {
        let [sums] = products(tile, [user], users);
        keep(user, sums, users, hits);
    }
}

/// The products of 64 items with a few users.
#[target_feature(enable = "avx2")]
#[inline]
fn products<const N: usize>(
    tile: &[Lane],
    chosen: [u32; N],
    users: &Users<'_>,
) -> [[__m256i; REGISTERS]; N] {
    let lanes = tile.as_chunks::<LANES>().0;
    let mut sums = [[_mm256_setzero_si256(); REGISTERS]; N];
    let mut words: [&[u32]; N] = [&[]; N];
    // Not `map`: it has not the features of this function, and would not be inlined.
    for (at, user) in chosen.into_iter().enumerate() {
        // Cut to 16 bits, like all sums: see the page of `top_k`.
        sums[at] = [_mm256_set1_epi16(users.starts[user as usize] as i16); REGISTERS];
        words[at] = &users.words(user)[..lanes.len()];
    }
    for (at, lanes) in lanes.iter().enumerate() {
        let ([a, b], [c, d]) = (load(&lanes[0]), load(&lanes[1]));
        for (sums, words) in sums.iter_mut().zip(words) {
            let user = _mm256_set1_epi32(words[at] as i32);
            for (sum, items) in sums.iter_mut().zip([a, b, c, d]) {
                *sum = _mm256_add_epi16(*sum, _mm256_maddubs_epi16(items, user));
            }
        }
    }
    sums
}

/// Notes which products are above a user's threshold.
#[target_feature(enable = "avx2")]
#[inline]
fn keep(user: u32, sums: [__m256i; REGISTERS], users: &Users<'_>, hits: &mut Vec<Hit>) {
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
fn load(lane: &Lane) -> [__m256i; 2] {
    let halves = std::ptr::from_ref(lane).cast::<__m256i>();
    // SAFETY: a lane is 64 bytes, aligned to 64.
    unsafe { [_mm256_load_si256(halves), _mm256_load_si256(halves.add(1))] }
}

#[target_feature(enable = "avx2")]
pub(super) fn score(user: &[f32], rows: &[f32], items: u64) -> [f32; TILE] {
    super::score(user, rows, items)
}
