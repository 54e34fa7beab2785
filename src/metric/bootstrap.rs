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
//! bytes are 0 (small values, whole ones, users without a hit) and are left out. Integers give the
//! same sums in registers of any width, so the widest are taken, which is what needs `device`.
//!
//! Source: Chamandy et al. 2012, "Estimating uncertainty for massive data streams".

use super::sum::VALUE_MAX;
use crate::device::cpu::{Kernel, dispatch};
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

/// Replicates that one inner loop holds in registers: seven of AVX2, fourteen of SSE2.
const LANES: usize = 112;
/// Replicates of which one word of hash decides.
const WORD: usize = 4;

/// The replicates that are stored for a plan that wants `replicates`.
pub(super) fn stride(replicates: u32) -> usize {
    (replicates as usize).next_multiple_of(8)
}

/// The weights of one user, by replicate.
pub fn poisson_weights(seed: u64, user: u64, replicates: u32) -> Vec<u16> {
    let parts = (replicates as usize).div_ceil(LANES);
    let mut weights: Vec<u16> = (0..parts).flat_map(|part| draw(seed, user, part).0).collect();
    weights.truncate(replicates as usize);
    weights
}

/// The weights of [`LANES`] replicates. Replicate r is decided by bits 16·(r mod 4) of the user's
/// word r / 4.
#[inline(always)]
fn draw(seed: u64, user: u64, part: usize) -> Lanes {
    let base = mix64(seed ^ user);
    let mut weights = [0; LANES];
    let (words, _) = weights.as_chunks_mut::<WORD>();
    for (i, four) in (part * (LANES / WORD)..).zip(words) {
        let word = mix64(base ^ i as u64);
        *four = [0, 16, 32, 48].map(|shift| (word >> shift) as u16);
    }
    Lanes(weights.map(|drawn| EXCEEDED.iter().map(|&bound| u16::from(drawn as i16 > bound)).sum()))
}

/// The weights of [`LANES`] replicates. Aligned, since a register that lies across two cache lines
/// takes two reads: 0.3 of the time of all sums.
#[derive(Clone, Copy)]
#[repr(align(32))]
struct Lanes([u16; LANES]);

/// The weights of a block of users.
#[derive(Clone)]
pub(super) struct Weights {
    seed: u64,
    stride: usize,
    /// [`LANES`] replicates after [`LANES`] replicates, by slot.
    drawn: Vec<[Lanes; BLOCK_USERS]>,
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
        Weights {
            seed,
            stride,
            drawn: vec![[Lanes([0; LANES]); BLOCK_USERS]; stride.div_ceil(LANES)],
        }
    }

    /// Draws the weights of the user at a slot of the block.
    pub(super) fn draw(&mut self, slot: usize, user: u64) {
        dispatch(Draw { weights: self, slot, user });
    }

    /// `totals[c][r] += Σ_m weight[members[m]][r] · values[m][c]`, for at most a block of members;
    /// `totals` has [`stride`] numbers a column.
    pub(super) fn add(&self, members: &[u8], values: &[u32], totals: &mut [u64]) {
        if self.stride > 0 && !members.is_empty() {
            dispatch(Add { weights: self, members, values, totals });
        }
    }
}

/// [`Weights::draw`].
struct Draw<'a> {
    weights: &'a mut Weights,
    slot: usize,
    user: u64,
}

impl Kernel for Draw<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Draw { weights, slot, user } = self;
        for (part, drawn) in weights.drawn.iter_mut().enumerate() {
            drawn[slot] = draw(weights.seed, user, part);
        }
    }
}

/// [`Weights::add`].
struct Add<'a> {
    weights: &'a Weights,
    members: &'a [u8],
    values: &'a [u32],
    totals: &'a mut [u64],
}

impl Kernel for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Add { weights, members, values, totals } = self;
        assert!(members.len() <= BLOCK_USERS);
        let columns = values.len() / members.len();
        for (c, totals) in totals.chunks_exact_mut(weights.stride).enumerate() {
            let column = Column::new(members, values[c..].iter().step_by(columns));
            for (drawn, totals) in weights.drawn.iter().zip(totals.chunks_mut(LANES)) {
                let sums = column.sums(drawn);
                totals.iter_mut().zip(sums).for_each(|(total, sum)| *total += u64::from(sum));
            }
        }
    }
}

impl Column {
    /// Cuts the members' values.
    #[inline(always)]
    fn new<'a>(members: &[u8], from: impl Iterator<Item = &'a u32>) -> Self {
        let mut values = [0; BLOCK_USERS];
        values.iter_mut().zip(from).for_each(|(value, from)| *value = *from);
        let mut column =
            Column { bytes: [[Byte::default(); BLOCK_USERS]; BYTES], counts: [0; BYTES] };
        let any = values.iter().fold(0, |any, value| any | value);
        for (place, bytes) in column.bytes.iter_mut().enumerate() {
            if any >> (8 * place) == 0 {
                break;
            }
            let mut count = 0;
            for (&slot, value) in members.iter().zip(&values) {
                let value = (value >> (8 * place) & 0xff) as u16;
                bytes[count % BLOCK_USERS] = Byte { slot: slot.into(), value };
                // Without a branch: whether a byte is 0 is hard to guess.
                count += usize::from(value != 0);
            }
            column.counts[place] = count;
        }
        column
    }

    /// Σ_m weight[m][x] · value[m].
    #[inline(always)]
    fn sums(&self, weights: &[Lanes; BLOCK_USERS]) -> [u32; LANES] {
        let mut whole = [0; LANES];
        for (place, bytes) in self.bytes.iter().enumerate() {
            let mut sums = [0u16; LANES];
            for byte in &bytes[..self.counts[place]] {
                let weights = &weights[usize::from(byte.slot) % BLOCK_USERS].0;
                for x in 0..LANES {
                    sums[x] = sums[x].wrapping_add(byte.value.wrapping_mul(weights[x]));
                }
            }
            for x in 0..LANES {
                whole[x] += u32::from(sums[x]) << (8 * place);
            }
        }
        whole
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
