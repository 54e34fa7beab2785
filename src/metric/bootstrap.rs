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
//! Sums: replicates × columns multiply-adds a user are most of the metric stage's work. They are
//! done in f64, which every target multiplies in vectors, and which is exact for integers below
//! 2⁵³: two replicates share a number, [`FIELD_BITS`] apart, a block of [`BLOCK_USERS`] users
//! cannot overflow a field, and each block is taken apart into integer totals.
//!
//! Source: Chamandy et al. 2012, "Estimating uncertainty for massive data streams".

use crate::types::mix64;

/// Users whose weighted sum stays within one field of a packed number.
pub(super) const BLOCK_USERS: usize = 8;
/// The distance between the two replicates of a packed number; two of them are below 2⁵².
pub(super) const FIELD_BITS: u32 = 26;
/// The largest weight.
pub(super) const WEIGHT_MAX: u32 = 7;

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

/// Packed numbers and columns that one inner loop holds in registers.
const WORDS: usize = 4;
const COLUMNS: usize = 6;
/// 2⁵²: above it the low bits of an f64 are an integer's own.
const INTEGER: f64 = (1u64 << 52) as f64;

/// The replicates that are summed for a plan that wants `replicates`: whole registers of both
/// fields.
pub(super) fn stride(replicates: u32) -> usize {
    (replicates as usize).next_multiple_of(2 * WORDS)
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

/// The packed weights of a block of users.
pub(super) struct Weights {
    seed: u64,
    /// Replicates r and r + half share a number.
    half: usize,
    /// Users × half.
    packed: Vec<f64>,
    drawn: Vec<u16>,
    /// A group of columns, user by user.
    group: Vec<[f64; COLUMNS]>,
}

impl Weights {
    /// For that many replicates.
    pub(super) fn new(seed: u64, replicates: u32) -> Self {
        let half = stride(replicates) / 2;
        Weights {
            seed,
            half,
            packed: vec![0.0; BLOCK_USERS * half],
            drawn: vec![0; 2 * half],
            group: Vec::with_capacity(BLOCK_USERS),
        }
    }

    /// Draws the weights of the user at a slot of the block.
    pub(super) fn draw(&mut self, slot: usize, user: u64) {
        draw(self.seed, user, &mut self.drawn);
        let (low, high) = self.drawn.split_at(self.half);
        let packed = &mut self.packed[slot * self.half..(slot + 1) * self.half];
        for ((word, &a), &b) in packed.iter_mut().zip(low).zip(high) {
            *word = f64::from(i32::from(a) | i32::from(b) << FIELD_BITS);
        }
    }

    /// `totals[c][r] += Σ_m weight[members[m]][r] · values[m][c]`, for at most a block of members;
    /// `totals` has [`stride`] numbers a column.
    pub(super) fn add(&mut self, members: &[u8], values: &[u32], totals: &mut [u64]) {
        if self.half == 0 || members.is_empty() {
            return;
        }
        debug_assert!(members.len() <= BLOCK_USERS);
        let columns = values.len() / members.len();
        for (g, totals) in totals.chunks_mut(COLUMNS * 2 * self.half).enumerate() {
            let first = g * COLUMNS;
            let width = (columns - first).min(COLUMNS);
            self.group.clear();
            self.group.extend(values.chunks_exact(columns).map(|row| {
                let mut group = [0.0; COLUMNS];
                let from = &row[first..first + width];
                group.iter_mut().zip(from).for_each(|(to, &value)| *to = f64::from(value));
                group
            }));
            match width {
                1 => self.add_group::<1>(members, totals),
                2 => self.add_group::<2>(members, totals),
                3 => self.add_group::<3>(members, totals),
                4 => self.add_group::<4>(members, totals),
                5 => self.add_group::<5>(members, totals),
                _ => self.add_group::<COLUMNS>(members, totals),
            }
        }
    }

    /// The first `C` columns of the group.
    fn add_group<const C: usize>(&self, members: &[u8], totals: &mut [u64]) {
        const FIELD: u64 = (1 << FIELD_BITS) - 1;
        for at in (0..self.half).step_by(WORDS) {
            let mut sums = [[INTEGER; WORDS]; C];
            for (&member, values) in members.iter().zip(&self.group) {
                let from = usize::from(member) * self.half + at;
                let words = &self.packed[from..from + WORDS];
                for c in 0..C {
                    for x in 0..WORDS {
                        sums[c][x] += words[x] * values[c];
                    }
                }
            }
            for (sums, totals) in sums.iter().zip(totals.chunks_exact_mut(2 * self.half)) {
                let (low, high) = totals.split_at_mut(self.half);
                let (low, high) = (&mut low[at..at + WORDS], &mut high[at..at + WORDS]);
                for x in 0..WORDS {
                    let bits = sums[x].to_bits();
                    low[x] += bits & FIELD;
                    high[x] += bits >> FIELD_BITS & FIELD;
                }
            }
        }
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
