//! FP8 numbers (E4M3: sign, four bits of exponent with bias 7, three of fraction), and rows of
//! them: what `kernels/quantise.cu` computes, bit for bit.
//!
//! Every one of them is a bf16 number, too: that is how the processor keeps and multiplies them.

use super::lines::round_bf16;

/// The largest number.
const LARGEST: f32 = 448.0;

/// Writes the numbers nearest to x / scale, ties to even, and returns scale = max |x| / 448. Where
/// all of a row is below 1e-30, zeros. `x` is rounded to bf16 first.
///
/// Source: Micikevicius et al., FP8 Formats for Deep Learning (2022), §3.
pub fn quantise(x: &[f32], to: &mut [f32]) -> f32 {
    let largest = x.iter().fold(0.0f32, |largest, x| largest.max(round_bf16(*x).abs()));
    let factor = if largest > 1e-30 { LARGEST / largest } else { 0.0 };
    for (to, x) in to.iter_mut().zip(x) {
        *to = nearest((round_bf16(*x) * factor).clamp(-LARGEST, LARGEST));
    }
    largest / LARGEST
}

/// The number nearest to one of at most 448; what is no number stays none.
fn nearest(x: f32) -> f32 {
    if x.is_nan() {
        return x;
    }
    let size = x.abs();
    if size < 0.015_625 {
        return (size * 512.0).round_ties_even() / 512.0 * x.signum();
    }
    // Keeps three bits of fraction.
    let bits = size.to_bits();
    let rounded = (bits + 0x7ffff + (bits >> 20 & 1)) & !0xf_ffff;
    f32::from_bits(rounded).copysign(x)
}

#[cfg(test)]
mod tests {
    use super::{LARGEST, nearest, quantise};

    /// All numbers that are not negative.
    fn all() -> Vec<f32> {
        let fractions = |least: f32, eighths: f32| (0..8).map(move |i| least + eighths * i as f32);
        let small = fractions(0.0, 2f32.powi(-9));
        let others = (-6..=8).flat_map(|e| fractions(2f32.powi(e), 2f32.powi(e - 3)));
        small.chain(others).filter(|x| *x <= LARGEST).collect()
    }

    #[test]
    fn the_nearest_number_is_nearest_and_between_two_the_even_one() {
        let all = all();
        assert_eq!(all.len(), 127);
        for (i, pair) in all.windows(2).enumerate() {
            let [low, high] = [pair[0], pair[1]];
            let middle = (low + high) / 2.0;
            let [above, below] = [middle.next_up(), middle.next_down()];
            assert_eq!([nearest(low), nearest(below)], [low, low]);
            assert_eq!([nearest(above), nearest(high)], [high, high]);
            assert_eq!(nearest(middle), if i % 2 == 0 { low } else { high });
            assert_eq!(nearest(-above), -high);
        }
    }

    #[test]
    fn a_row_is_scaled_so_that_its_largest_is_the_largest_there_is() {
        let x = [1.0, -3.5, 0.0, 0.25];
        let mut to = [0.0; 4];
        assert_eq!(quantise(&x, &mut to), 3.5 / 448.0);
        assert_eq!(to, [128.0, -448.0, 0.0, 32.0]);
        let tiny = 2f32.powi(-103);
        assert_eq!(quantise(&[tiny, 0.0], &mut to[..2]), tiny / 448.0);
        assert_eq!(to[..2], [0.0, 0.0]);
        for nan in [f32::NAN, f32::from_bits(0x7fff_0000)] {
            assert!(quantise(&[nan, 1.0], &mut to[..2]).is_finite() && to[0].is_nan());
        }
    }
}
