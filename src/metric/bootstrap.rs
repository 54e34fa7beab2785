//! The Poisson bootstrap: every user counts Poisson(1) times in every replicate, and a figure's 95
//! % interval runs between the 2.5th and 97.5th percentiles of its replicates.
//!
//! A weight comes from a hash of (seed, user, replicate) alone, so replicates are sums like any
//! other: they do not depend on workers, batches or order, and the difference of two arms is taken
//! replicate by replicate over the same weights (paired).
//!
//! Weights: 16 bits of hash against seven thresholds, the rounded distribution function of
//! Poisson(1) in 2⁻¹⁶ with the tail above 7 put on 7. Their mean is exactly 1, their variance
//! 131068/65536 − 1 = 0.99994.
//!
//! Sums: replicates × columns multiply-adds a user are much of the metric stage's work. They are
//! done in 16-bit integers, which every target multiplies in vectors: a value is cut into bytes,
//! and a byte times a weight, summed over a block of [`BLOCK_USERS`] users, stays below 2¹⁶. Most
//! bytes are 0 (small values, whole ones, users without a hit) and are left out.
//!
//! Source: Chamandy et al. 2012, "Estimating uncertainty for massive data streams".

use super::sum::VALUE_MAX;
use crate::types::mix64;

/// Users that are summed in one go.
pub(super) const BLOCK_USERS: usize = 32;
/// The largest weight.
const WEIGHT_MAX: u32 = 7;
/// Bytes of a value.
const BYTES: usize = 3;

const _: () = assert!(BLOCK_USERS as u32 * WEIGHT_MAX * 0xff <= u16::MAX as u32);
const _: () = assert!(VALUE_MAX < 1 << (8 * BYTES));
const _: () = assert!(BLOCK_USERS as u64 * WEIGHT_MAX as u64 * VALUE_MAX as u64 <= u32::MAX as u64);

/// P(X ≤ w) in 2⁻¹⁶ for w = 0..6; the last is a unit lower than the nearest, for a mean of exactly
/// 1.
const THRESHOLDS: [u32; 7] = [24_109, 48_219, 60_273, 64_292, 65_296, 65_497, 65_530];
/// The same, less 2¹⁵ and one: what a signed 16-bit draw must exceed (SSE2 compares signed).
const EXCEEDED: [i16; 7] = {
    let mut signed = [0; 7];
    let mut i = 0;
    while i < 7 {
        signed[i] = (THRESHOLDS[i] as i32 - (1 << 15) - 1) as i16;
        i += 1;
    }
    signed
};

/// Replicates that one inner loop holds in registers, and those of a shorter one for the rest.
const LANES: usize = 64;
const LANES_LEAST: usize = 8;

/// The replicates that are summed for a plan that wants `replicates`: whole registers.
pub(super) fn stride(replicates: u32) -> usize {
    (replicates as usize).next_multiple_of(LANES_LEAST)
}

/// The weights of one user, by replicate.
pub fn poisson_weights(seed: u64, user: u64, replicates: u32) -> Vec<u16> {
    let mut weights = vec![0; (replicates as usize).next_multiple_of(4)];
    draw(seed, user, &mut weights);
    weights.truncate(replicates as usize);
    weights
}

/// Replicate r is decided by bits 16·(r mod 4) of the user's word r / 4. The length is a multiple
/// of 4.
fn draw(seed: u64, user: u64, weights: &mut [u16]) {
    let base = mix64(seed ^ user);
    for (i, four) in weights.chunks_exact_mut(4).enumerate() {
        let word = mix64(base ^ i as u64);
        four.copy_from_slice(&[0, 16, 32, 48].map(|shift| (word >> shift) as u16));
    }
    for weight in weights {
        let drawn = *weight as i16;
        *weight = EXCEEDED.iter().map(|&bound| u16::from(drawn > bound)).sum();
    }
}

/// The weights of a block of users.
pub(super) struct Weights {
    seed: u64,
    /// Users × [`stride`].
    drawn: Vec<u16>,
    stride: usize,
}

/// The bytes of a column that are not 0, by their place in the value.
struct Column {
    bytes: [[Byte; BLOCK_USERS]; BYTES],
    counts: [usize; BYTES],
}

/// One byte, and whose it is.
#[derive(Clone, Copy, Default)]
struct Byte {
    slot: u16,
    value: u16,
}

impl Weights {
    /// For that many replicates.
    pub(super) fn new(seed: u64, replicates: u32) -> Self {
        let stride = stride(replicates);
        Weights { seed, drawn: vec![0; BLOCK_USERS * stride], stride }
    }

    /// Draws the weights of the user at a slot of the block.
    pub(super) fn draw(&mut self, slot: usize, user: u64) {
        draw(self.seed, user, &mut self.drawn[slot * self.stride..(slot + 1) * self.stride]);
    }

    /// `totals[c][r] += Σ_m weight[members[m]][r] · values[m][c]`, for at most a block of members;
    /// `totals` has [`stride`] numbers a column.
    pub(super) fn add(&self, members: &[u8], values: &[u32], totals: &mut [u64]) {
        if self.stride == 0 || members.is_empty() {
            return;
        }
        assert!(members.len() <= BLOCK_USERS);
        let columns = values.len() / members.len();
        for (c, totals) in totals.chunks_exact_mut(self.stride).enumerate() {
            let column = Column::new(members, &values[c..].iter().step_by(columns));
            let (wide, rest) = totals.as_chunks_mut::<LANES>();
            let narrow = wide.len() * LANES;
            for (at, totals) in (0..).step_by(LANES).zip(wide) {
                self.add_lanes(at, &column, totals);
            }
            let (rest, _) = rest.as_chunks_mut::<LANES_LEAST>();
            for (at, totals) in (narrow..).step_by(LANES_LEAST).zip(rest) {
                self.add_lanes(at, &column, totals);
            }
        }
    }

    /// The replicates from `at` on.
    fn add_lanes<const N: usize>(&self, at: usize, column: &Column, totals: &mut [u64; N]) {
        let mut whole = [0u32; N];
        for (place, bytes) in column.bytes.iter().enumerate() {
            let bytes = &bytes[..column.counts[place]];
            if bytes.is_empty() {
                continue;
            }
            let mut sums = [0u16; N];
            weighted(bytes, &self.drawn[at..], self.stride, &mut sums);
            for x in 0..N {
                whole[x] += u32::from(sums[x]) << (8 * place);
            }
        }
        for x in 0..N {
            totals[x] += u64::from(whole[x]);
        }
    }
}

/// `sums[x] = Σ_b weights[slot(b)][x] · value(b)`, in as many registers as `N` needs.
///
/// Apart from its caller, whose wider numbers would decide how many lanes the compiler puts into a
/// register here.
#[inline(never)]
fn weighted<const N: usize>(bytes: &[Byte], weights: &[u16], stride: usize, sums: &mut [u16; N]) {
    let mut lanes = [0u16; N];
    for byte in bytes {
        let weights = &weights[usize::from(byte.slot) * stride..][..N];
        for x in 0..N {
            lanes[x] = lanes[x].wrapping_add(byte.value.wrapping_mul(weights[x]));
        }
    }
    *sums = lanes;
}

impl Column {
    /// Cuts the members' values.
    fn new<'a>(members: &[u8], values: &(impl Iterator<Item = &'a u32> + Clone)) -> Self {
        let mut column =
            Column { bytes: [[Byte::default(); BLOCK_USERS]; BYTES], counts: [0; BYTES] };
        let any = values.clone().fold(0, |any, value| any | value);
        for (place, bytes) in column.bytes.iter_mut().enumerate() {
            if any >> (8 * place) == 0 {
                break;
            }
            let mut count = 0;
            for (&slot, value) in members.iter().zip(values.clone()) {
                let value = (value >> (8 * place) & 0xff) as u16;
                bytes[count % BLOCK_USERS] = Byte { slot: slot.into(), value };
                // Without a branch: whether a byte is 0 is hard to guess.
                count += usize::from(value != 0);
            }
            column.counts[place] = count;
        }
        column
    }
}

/// The 2.5th and 97.5th percentiles, between order statistics by linear interpolation; none of
/// none.
pub(super) fn interval(mut values: Vec<f64>) -> Option<(f64, f64)> {
    values.sort_unstable_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let percentile = |share: f64| {
        let at = share * last as f64;
        let below = at as usize;
        let above = (below + 1).min(last);
        values[below] + (at - below as f64) * (values[above] - values[below])
    };
    Some((percentile(0.025), percentile(0.975)))
}
