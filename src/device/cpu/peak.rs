//! What one core can do at most, measured from registers alone (tiles from the first-level cache):
//! the yardstick of the benches.
#![allow(unsafe_code)]

use super::tiles;
use super::top_k::{Path, Way};
use std::hint::black_box;
use std::time::Instant;

/// Enough independent chains to hide the latency of an instruction.
const CHAINS: usize = 12;

const TURNS: usize = 4_000_000;
/// Turns of [`tiles::turn`].
const TILE_TURNS: usize = 100_000;

/// Operations a second of the calling thread with 8-bit integers, in the instructions with which a
/// path of [`super::top_k`] screens: every product is a multiplication and an addition. Nothing for
/// the portable path, whose instructions are the compiler's choice.
pub fn integer_ops_per_s(path: Path) -> Option<f64> {
    match path.way() {
        Way::Portable => None,
        // SAFETY: a path of this way is there only if the processor has AVX2.
        #[cfg(target_arch = "x86_64")]
        Way::Avx2 => Some(rate(2 * 32 * CHAINS * TURNS, || unsafe { avx2::integers() })),
        // SAFETY: a path of this way is there only if the processor has AVX-512 with VNNI.
        #[cfg(target_arch = "x86_64")]
        Way::Vnni => Some(rate(2 * 64 * CHAINS * TURNS, || unsafe { vnni::integers() })),
    }
}

/// Operations a second of the calling thread with fused f32 multiply-adds, each counted as two;
/// nothing where there is no AVX2 and FMA.
pub fn f32_ops_per_s() -> Option<f64> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the processor has both.
        return Some(rate(2 * 8 * CHAINS * TURNS, || unsafe { avx2::floats() }));
    }
    None
}

/// Operations a second of the calling thread with pairs of bf16 that are multiplied and added to
/// f32, each a multiplication and an addition; nothing where there is no instruction for it.
pub fn bf16_ops_per_s() -> Option<f64> {
    if let Some(unit) = tiles::unit() {
        return Some(rate(2 * TILE_TURNS * tiles::TURN, || tiles::turn(unit, TILE_TURNS)));
    }
    #[cfg(target_arch = "x86_64")]
    if super::has_bf16() {
        // SAFETY: the instruction has been tried.
        return Some(rate(2 * 32 * CHAINS * TURNS, || unsafe { avx512::pairs() }));
    }
    None
}

/// The best of a few runs of so many operations.
fn rate(ops: usize, run: impl Fn()) -> f64 {
    let once = || {
        let start = Instant::now();
        run();
        ops as f64 / start.elapsed().as_secs_f64()
    };
    (0..5).map(|_| once()).fold(0.0, f64::max)
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{CHAINS, TURNS, black_box};
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx2")]
    pub(super) fn integers() {
        let factor = _mm256_set1_epi8(black_box(3));
        let mut sums = [_mm256_setzero_si256(); CHAINS];
        for (at, sum) in sums.iter_mut().enumerate() {
            *sum = _mm256_set1_epi16(black_box(at as i16));
        }
        for _ in 0..TURNS {
            for sum in &mut sums {
                *sum = _mm256_add_epi16(*sum, _mm256_maddubs_epi16(*sum, factor));
            }
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn floats() {
        let factor = _mm256_set1_ps(black_box(0.5));
        let mut sums = [_mm256_setzero_ps(); CHAINS];
        for (at, sum) in sums.iter_mut().enumerate() {
            *sum = _mm256_set1_ps(black_box(at as f32));
        }
        for _ in 0..TURNS {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, factor, factor);
            }
        }
        black_box(sums);
    }
}

#[cfg(target_arch = "x86_64")]
mod vnni {
    use super::{CHAINS, TURNS, black_box};
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) fn integers() {
        let factor = _mm512_set1_epi8(black_box(3));
        let mut sums = [_mm512_setzero_si512(); CHAINS];
        for (at, sum) in sums.iter_mut().enumerate() {
            *sum = _mm512_set1_epi32(black_box(at as i32));
        }
        for _ in 0..TURNS {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, factor, factor);
            }
        }
        black_box(sums);
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::{CHAINS, TURNS, black_box};
    use std::arch::x86_64::{
        __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_set1_epi32, _mm512_set1_ps,
    };

    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) fn pairs() {
        // SAFETY: both are 512 bits, any of which are valid.
        let halves = unsafe {
            std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(black_box(0x3f00_3f00)))
        };
        let mut sums = [_mm512_set1_ps(0.0); CHAINS];
        for (at, sum) in sums.iter_mut().enumerate() {
            *sum = _mm512_set1_ps(black_box(at as f32));
        }
        for _ in 0..TURNS {
            for sum in &mut sums {
                *sum = _mm512_dpbf16_ps(*sum, halves, halves);
            }
        }
        black_box(sums);
    }
}
