//! What several kernels do to a row: sums in a fixed order, exp, dropout.

use crate::device::Dropout;
use crate::types::mix64;

/// Sums are kept in this many parts, so that the compiler can use vector registers without
/// reordering: element i goes to part i mod 8, and the parts are added pairwise at the end.
const LANES: usize = 8;

#[inline(always)]
fn fold(parts: [f32; LANES]) -> f32 {
    ((parts[0] + parts[4]) + (parts[2] + parts[6]))
        + ((parts[1] + parts[5]) + (parts[3] + parts[7]))
}

/// Σ x.
#[inline(always)]
pub fn sum(x: &[f32]) -> f32 {
    let mut parts = [0.0; LANES];
    let chunks = x.chunks_exact(LANES);
    for (part, x) in parts.iter_mut().zip(chunks.remainder()) {
        *part += x;
    }
    for chunk in chunks {
        for lane in 0..LANES {
            parts[lane] += chunk[lane];
        }
    }
    fold(parts)
}

/// Σ x · y.
#[inline(always)]
pub fn dot(x: &[f32], y: &[f32]) -> f32 {
    let mut parts = [0.0; LANES];
    let (xs, ys) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    for (lane, (x, y)) in xs.remainder().iter().zip(ys.remainder()).enumerate() {
        parts[lane] = x.mul_add(*y, parts[lane]);
    }
    for (x, y) in xs.zip(ys) {
        for lane in 0..LANES {
            parts[lane] = x[lane].mul_add(y[lane], parts[lane]);
        }
    }
    fold(parts)
}

/// The largest element; −∞ of none.
#[inline(always)]
pub fn max(x: &[f32]) -> f32 {
    let mut parts = [f32::NEG_INFINITY; LANES];
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let chunks = x.chunks_exact(LANES);
    for (part, x) in parts.iter_mut().zip(chunks.remainder()) {
        *part = larger(*part, *x);
    }
    for chunk in chunks {
        for lane in 0..LANES {
            parts[lane] = larger(parts[lane], chunk[lane]);
        }
    }
    parts.into_iter().fold(f32::NEG_INFINITY, larger)
}

/// y += a · x.
#[inline(always)]
pub fn add_scaled(y: &mut [f32], a: f32, x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = a.mul_add(*x, *y);
    }
}

/// y += x.
#[inline(always)]
pub fn add(y: &mut [f32], x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += x;
    }
}

/// eˣ for x ≤ 88, within 2 units in the last place; below −87 it is the value at −87, about 1e-38,
/// instead of a subnormal number. The library's exp does not vectorise and differs between systems.
///
/// x = n ln 2 + r with |r| ≤ ln 2 / 2; eʳ by its Taylor polynomial of degree 7, times 2ⁿ by its
/// bits.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Adding 1.5 · 2²³ leaves no bits for a fraction: the sum's low bits are the rounded integer.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = if x > -87.0 { x } else { -87.0 };
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-LN_2_LOW, n.mul_add(-LN_2_HIGH, x));
    let mut e = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        e = r.mul_add(e, coefficient);
    }
    f32::from_bits(e.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// Replaces x by exp(x − shift) and returns the sum.
#[inline(always)]
pub fn exp_and_sum(x: &mut [f32], shift: f32) -> f32 {
    for x in x.iter_mut() {
        *x = exp(*x - shift);
    }
    sum(x)
}

/// Replaces scores by their softmax after scaling, and returns ln Σ exp.
#[inline(always)]
pub fn softmax(scores: &mut [f32], scale: f32) -> f32 {
    for score in scores.iter_mut() {
        *score *= scale;
    }
    let largest = max(scores);
    let total = exp_and_sum(scores, largest);
    let inverse = 1.0 / total;
    for score in scores.iter_mut() {
        *score *= inverse;
    }
    largest + total.ln()
}

/// One row's dropout mask.
#[derive(Clone, Copy)]
pub struct RowMask {
    key: u64,
    threshold: u32,
    /// 1 / (1 − rate).
    pub scale: f32,
}

impl RowMask {
    /// The mask of a row, or none when nothing is dropped.
    #[inline(always)]
    pub fn of(dropout: Dropout<'_>, row: usize) -> Option<RowMask> {
        (dropout.rate > 0.0).then(|| RowMask {
            key: mix64(dropout.keys[row] ^ dropout.site),
            threshold: (dropout.rate * u32::MAX as f32) as u32,
            scale: 1.0 / (1.0 - dropout.rate),
        })
    }

    /// Whether a column stays: the 32-bit finaliser of Wellons' hash-prospector, which vectorises
    /// where 64-bit multiplication does not.
    #[inline(always)]
    pub fn keeps(&self, column: usize) -> bool {
        let mut h = (self.key as u32).wrapping_add(column as u32);
        h = (h ^ (h >> 16)).wrapping_mul(0x7feb_352d);
        h = (h ^ (h >> 15)).wrapping_mul(0x846c_a68b);
        (h ^ (h >> 16)) ^ (self.key >> 32) as u32 >= self.threshold
    }

    /// Drops and scales a row.
    #[inline(always)]
    pub fn apply(&self, row: &mut [f32]) {
        for (column, x) in row.iter_mut().enumerate() {
            *x = if self.keeps(column) { *x * self.scale } else { 0.0 };
        }
    }
}
