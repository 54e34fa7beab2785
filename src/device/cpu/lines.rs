//! Products of rows with packed weights: the innermost loops, in f32 and in bf16.
//!
//! A tile is up to 12 rows by 2 panels of 16 outputs. Its rows are packed too, line by line, and a
//! line of the rows meets a line of the panel. Each output is summed line by line in order,
//! whatever tile it lies in, so that a row's bits do not depend on the other rows. The
//! instruction for bf16 adds the odd input's product and then the even one's, each rounded to the
//! nearest; the portable loops do the same, and so the bits are those of every processor (where
//! no value is so small that it is denormal).
#![allow(unsafe_code)]

use super::matrix::Precision;
use std::sync::OnceLock;

/// Words of a line of a panel.
pub const WORDS: usize = 16;
/// Rows of the largest tile: 12 × 2 sums and 2 operands in the 32 registers of AVX-512.
pub const ROWS_MAX: usize = 12;
/// Panels of a tile.
pub const PANELS_MAX: usize = 2;

/// A tile's sums, row by row: those of its first panel, then those of its second.
pub type Sums = [[f32; PANELS_MAX * WORDS]; ROWS_MAX];
/// Sums to be written.
pub const ZERO: Sums = [[0.0; PANELS_MAX * WORDS]; ROWS_MAX];

/// What is summed: lines of some rows, packed by [`Format::words`] with the rows next to each
/// other, and the same lines of each panel.
#[derive(Clone, Copy)]
pub struct Operands<'a> {
    /// (lines, rows).
    pub rows: &'a [u32],
    /// (lines, 16) each; of a tile of one panel, the second is not read.
    pub panels: [&'a [u32]; PANELS_MAX],
}

/// How numbers lie in the words of a line.
pub trait Format {
    /// Writes the words of one row, `stride` apart.
    fn words(self, row: &[f32], to: &mut [u32], stride: usize);
}

impl Format for Precision {
    #[inline(always)]
    fn words(self, row: &[f32], to: &mut [u32], stride: usize) {
        match self.apart() {
            Precision::Bf16 if stride == 1 => pack(row, to),
            Precision::F32 => {
                for (word, x) in to.iter_mut().step_by(stride).zip(row) {
                    *word = x.to_bits();
                }
            }
            _ => {
                let (pairs, last) = row.as_chunks::<2>();
                let mut words = to.iter_mut().step_by(stride);
                for ([even, odd], word) in pairs.iter().zip(words.by_ref()) {
                    *word = bf16(*even) >> 16 | bf16(*odd);
                }
                if let (Some(word), [even]) = (words.next(), last) {
                    *word = bf16(*even) >> 16;
                }
            }
        }
    }
}

/// The words of a row in bf16, next to each other: a loop that the compiler makes vectors of.
#[inline(always)]
fn pack(row: &[f32], to: &mut [u32]) {
    let (pairs, last) = row.as_chunks::<2>();
    for ([even, odd], word) in pairs.iter().zip(&mut *to) {
        *word = bf16(*even) >> 16 | bf16(*odd);
    }
    if let (Some(word), [even]) = (to.get_mut(pairs.len()), last) {
        *word = bf16(*even) >> 16;
    }
}

/// Rounds to the nearest bf16, ties to even; its bits are the upper half.
#[inline(always)]
fn bf16(x: f32) -> u32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    (if x.is_nan() { bits | 0x0040_0000 } else { rounded }) & 0xffff_0000
}

/// The nearest bf16 number.
pub fn round_bf16(x: f32) -> f32 {
    f32::from_bits(bf16(x))
}

/// Adds one line's products to a sum.
#[inline(always)]
fn multiply<const BF16: bool>(a: u32, b: u32, sum: f32) -> f32 {
    if !BF16 {
        return f32::from_bits(a).mul_add(f32::from_bits(b), sum);
    }
    let (even, odd) = (|x: u32| f32::from_bits(x << 16), |x| f32::from_bits(x & 0xffff_0000));
    even(a).mul_add(even(b), odd(a).mul_add(odd(b), sum))
}

/// Heights that tiles come in: 12 while there are as many rows, then smaller ones.
pub fn height(rows: usize) -> usize {
    [ROWS_MAX, 8, 4, 2].into_iter().find(|height| *height <= rows).unwrap_or(1)
}

/// Writes the sums of a tile of some rows, a value of [`height`], and panels over one operand
/// after the other; the rest of `to` is left as it was. (Given back by value, the 1.5 KiB that
/// every tile zeroes and copies took 4 % of encoding.)
pub fn tile(
    precision: Precision,
    [rows, panels]: [usize; 2],
    parts: &[Operands<'_>],
    to: &mut Sums,
) {
    for part in parts {
        let lines = part.rows.len() / rows;
        assert!(part.rows.len() == lines * rows);
        assert!(part.panels[..panels].iter().all(|panel| panel.len() == lines * WORDS));
    }
    let two = panels == PANELS_MAX;
    match (precision.apart(), unit()) {
        (Precision::F32, _) => *to = narrow::<false>(rows, two, parts),
        (_, Unit::Avx512Bf16) => wide(rows, two, parts, to),
        (_, Unit::Portable) => *to = narrow::<true>(rows, two, parts),
    }
}

/// Without the instruction for bf16: with AVX2, or else the portable loops.
fn narrow<const BF16: bool>(rows: usize, two: bool, parts: &[Operands<'_>]) -> Sums {
    #[cfg(target_arch = "x86_64")]
    if super::has_avx2() {
        // SAFETY: the processor has both, and `tile` has checked the lines.
        return unsafe { avx2::tile::<BF16>(rows, two, parts) };
    }
    portable::<BF16>(rows, two, parts)
}

/// What multiplies bf16.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Portable,
    Avx512Bf16,
}

/// Found by using it once: what a processor says it has, a virtual machine may not give.
fn unit() -> Unit {
    static UNIT: OnceLock<Unit> = OnceLock::new();
    *UNIT.get_or_init(|| {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16") {
            let words: Vec<u32> = (1..40 * WORDS as u32 + 1)
                .map(|i| i.wrapping_mul(0x9e37_79b1) & 0x80ff_80ff | 0x3f00_3f00)
                .collect();
            let (rows, panels) = words.split_at(8 * ROWS_MAX);
            let (first, second) = panels.split_at(8 * WORDS);
            let part = Operands { rows, panels: [first, &second[..8 * WORDS]] };
            let mut sums = ZERO;
            wide(ROWS_MAX, true, &[part], &mut sums);
            if sums == portable::<true>(ROWS_MAX, true, &[part]) {
                return Unit::Avx512Bf16;
            }
        }
        Unit::Portable
    })
}

/// Whether bf16 products use an instruction of their own.
pub fn has_bf16() -> bool {
    unit() != Unit::Portable
}

/// The loops that define the sums.
fn portable<const BF16: bool>(rows: usize, two: bool, parts: &[Operands<'_>]) -> Sums {
    let mut sums = ZERO;
    for part in parts {
        for (panel, lines) in part.panels[..1 + usize::from(two)].iter().enumerate() {
            let lines = lines.as_chunks::<WORDS>().0;
            for (a, line) in part.rows.chunks_exact(rows).zip(lines) {
                for (a, sums) in a.iter().zip(&mut sums) {
                    for (sum, b) in sums[panel * WORDS..].iter_mut().zip(line) {
                        *sum = multiply::<BF16>(*a, *b, *sum);
                    }
                }
            }
        }
    }
    sums
}

/// The same with the sums in registers, which the compiler does not find by itself: four rows by
/// one panel at a time.
#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{Operands, Sums, WORDS, ZERO};
    use std::arch::x86_64::{
        __m256, _mm256_and_si256, _mm256_castsi256_ps, _mm256_fmadd_ps, _mm256_loadu_ps,
        _mm256_loadu_si256, _mm256_set1_epi32, _mm256_slli_epi32, _mm256_storeu_ps,
    };

    /// # Safety
    /// Needs AVX2 and FMA; every part has as many lines of `rows` rows as of its panels.
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn tile<const BF16: bool>(rows: usize, two: bool, parts: &[Operands<'_>]) -> Sums {
        let mut sums = ZERO;
        for panel in 0..1 + usize::from(two) {
            for part in parts {
                for first in (0..rows).step_by(4) {
                    let at = [rows, first, panel];
                    // SAFETY: the caller's promises; heights are 1, 2 or multiples of 4.
                    unsafe {
                        match rows {
                            1 => lines::<BF16, 1>(part, at, &mut sums),
                            2 => lines::<BF16, 2>(part, at, &mut sums),
                            _ => lines::<BF16, 4>(part, at, &mut sums),
                        }
                    }
                }
            }
        }
        sums
    }

    /// # Safety
    /// As for `tile`; `first + ROWS <= rows`.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn lines<const BF16: bool, const ROWS: usize>(
        part: &Operands<'_>,
        [rows, first, panel]: [usize; 3],
        to: &mut Sums,
    ) {
        let high = _mm256_set1_epi32(0xffff_0000u32.cast_signed());
        let to = &mut to[first..first + ROWS];
        let mut sums: [[__m256; 2]; ROWS] = std::array::from_fn(|i| {
            let row = to[i][panel * WORDS..].as_chunks::<8>().0;
            // SAFETY: both are 8 floats, and the processor has AVX.
            [0, 1].map(|half| unsafe { _mm256_loadu_ps(row[half].as_ptr()) })
        });
        let panel_lines = part.panels[panel].as_chunks::<WORDS>().0;
        for (line, b) in part.rows.chunks_exact(rows).zip(panel_lines) {
            // SAFETY: both are 8 of the line's 16 words.
            let words = [0, 1].map(|half| unsafe {
                _mm256_loadu_si256(b.as_chunks::<8>().0[half].as_ptr().cast())
            });
            let Some(line) = line[first..].first_chunk::<ROWS>() else { continue };
            for (a, sums) in line.iter().zip(&mut sums) {
                let a = _mm256_set1_epi32(a.cast_signed());
                for (sum, b) in sums.iter_mut().zip(words) {
                    let (mut x, mut y) = (a, b);
                    if BF16 {
                        let odd = (_mm256_and_si256(x, high), _mm256_and_si256(y, high));
                        let odd = (_mm256_castsi256_ps(odd.0), _mm256_castsi256_ps(odd.1));
                        *sum = _mm256_fmadd_ps(odd.0, odd.1, *sum);
                        (x, y) = (_mm256_slli_epi32::<16>(x), _mm256_slli_epi32::<16>(y));
                    }
                    *sum = _mm256_fmadd_ps(_mm256_castsi256_ps(x), _mm256_castsi256_ps(y), *sum);
                }
            }
        }
        for (sums, row) in sums.iter().zip(to) {
            let halves = row[panel * WORDS..].as_chunks_mut::<8>().0;
            for (sum, half) in sums.iter().zip(halves) {
                // SAFETY: it is 8 floats.
                unsafe { _mm256_storeu_ps(half.as_mut_ptr(), *sum) };
            }
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn wide(rows: usize, two: bool, parts: &[Operands<'_>], to: &mut Sums) {
    *to = portable::<true>(rows, two, parts);
}

/// The loops with the bf16 instruction. Only called where `unit` found it.
#[cfg(target_arch = "x86_64")]
fn wide(rows: usize, two: bool, parts: &[Operands<'_>], to: &mut Sums) {
    // SAFETY: `unit` has seen AVX-512 and its bf16 extension, and `tile` has checked that every
    // part has as many lines of `rows` rows as of its panels.
    unsafe {
        match (rows, two) {
            (ROWS_MAX, true) => wide_lines::<ROWS_MAX, 2>(parts, to),
            (8, true) => wide_lines::<8, 2>(parts, to),
            (4, true) => wide_lines::<4, 2>(parts, to),
            (2, true) => wide_lines::<2, 2>(parts, to),
            (_, true) => wide_lines::<1, 2>(parts, to),
            (ROWS_MAX, false) => wide_lines::<ROWS_MAX, 1>(parts, to),
            (8, false) => wide_lines::<8, 1>(parts, to),
            (4, false) => wide_lines::<4, 1>(parts, to),
            (2, false) => wide_lines::<2, 1>(parts, to),
            (_, false) => wide_lines::<1, 1>(parts, to),
        }
    }
}

/// # Safety
/// Needs AVX-512 with bf16; every part's panels have `part.rows.len() / ROWS` lines of 16 words.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn wide_lines<const ROWS: usize, const PANELS: usize>(
    parts: &[Operands<'_>],
    to: &mut Sums,
) {
    use std::arch::x86_64::{
        __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_loadu_si512, _mm512_set1_epi32,
        _mm512_setzero_ps, _mm512_storeu_ps,
    };
    // SAFETY: both are 512 bits, any of which are valid.
    let pairs = |x: __m512i| unsafe { std::mem::transmute::<__m512i, __m512bh>(x) };
    let mut sums = [[_mm512_setzero_ps(); PANELS]; ROWS];
    for part in parts {
        let panels = part.panels.map(|panel| panel.as_chunks::<WORDS>().0);
        for (at, a) in part.rows.as_chunks::<ROWS>().0.iter().enumerate() {
            let mut line = [_mm512_set1_epi32(0); PANELS];
            for (line, panel) in line.iter_mut().zip(panels) {
                // SAFETY: a line is 16 words.
                *line = unsafe { _mm512_loadu_si512(panel[at].as_ptr().cast()) };
            }
            for (a, sums) in a.iter().zip(&mut sums) {
                let a = pairs(_mm512_set1_epi32(a.cast_signed()));
                for (sum, line) in sums.iter_mut().zip(line) {
                    *sum = _mm512_dpbf16_ps(*sum, a, pairs(line));
                }
            }
        }
    }
    for (sums, to) in sums.iter().zip(to) {
        for (sum, to) in sums.iter().zip(to.as_chunks_mut::<WORDS>().0) {
            // SAFETY: `to` is 16 floats.
            unsafe { _mm512_storeu_ps(to.as_mut_ptr(), *sum) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Format, Operands, ROWS_MAX, Sums, WORDS, bf16, height, narrow, portable, wide};
    use crate::device::cpu::Precision;
    use crate::types::{mix64, unit_f64};

    fn packed(seed: u64, rows: usize, width: usize) -> Vec<u32> {
        let mut words = vec![0; Precision::Bf16.lines(width) * rows];
        for row in 0..rows {
            let draw = |i| unit_f64(mix64(seed ^ mix64((row * width + i) as u64))) as f32 - 0.5;
            let line: Vec<f32> = (0..width).map(draw).collect();
            Precision::Bf16.words(&line, &mut words[row..], rows);
        }
        words
    }

    #[test]
    fn every_unit_gives_the_bits_of_the_portable_loops() {
        let bits = |sums: Sums| sums.map(|row| row.map(f32::to_bits));
        for rows in [1, 2, 4, 8, ROWS_MAX] {
            for (width, more) in [(7, 2), (64, 24), (768, 8)] {
                let (a, c) = (packed(1, rows, width), packed(2, rows, more));
                let [b, d, e, f] = [(3, width), (4, width), (5, more), (6, more)]
                    .map(|(seed, width)| packed(seed, WORDS, width));
                let parts = [
                    Operands { rows: &a, panels: [&b, &d] },
                    Operands { rows: &c, panels: [&e, &f] },
                ];
                let exact = bits(portable::<true>(rows, true, &parts));
                assert_eq!(bits(narrow::<true>(rows, true, &parts)), exact, "{rows} × {width}");
                if super::has_bf16() {
                    let mut sums = super::ZERO;
                    wide(rows, true, &parts, &mut sums);
                    assert_eq!(bits(sums), exact, "{rows} × {width}");
                }
                let exact = bits(portable::<false>(rows, false, &parts));
                assert_eq!(bits(narrow::<false>(rows, false, &parts)), exact, "{rows} × {width}");
            }
        }
    }

    #[test]
    fn rounding_is_to_the_nearest_and_keeps_what_is_not_finite() {
        for (x, expected) in [
            (1.0, 1.0),
            (1.0 + 1.0 / 256.0, 1.0),               // a tie, to even
            (1.0 + 3.0 / 256.0, 1.0 + 4.0 / 256.0), // a tie, to even
            (-1.0 - 1.1 / 256.0, -1.0 - 2.0 / 256.0),
            (f32::MAX, f32::INFINITY),
            (f32::INFINITY, f32::INFINITY),
        ] {
            assert_eq!(f32::from_bits(bf16(x)), expected, "{x}");
        }
        assert!(f32::from_bits(bf16(f32::NAN)).is_nan());
        assert!(f32::from_bits(bf16(f32::from_bits(0x7fff_ffff))).is_nan());
        assert_eq!([25, 12, 11, 5, 3, 1].map(height), [12, 12, 8, 4, 2, 1]);
    }
}
