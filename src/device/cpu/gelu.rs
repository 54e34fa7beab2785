//! The activation between an encoder's two forward products. Definition: [`Gelu`],
//! [`GeluBackward`].

use super::Kernel;
use super::vector::exp;
use crate::device::{Gelu, GeluBackward};

/// Beyond it Φ is 0 or 1.
const END: f32 = 5.4;

/// (Φ(x) − 1/2) / x as a polynomial of u = 2 x² / END² − 1, lowest power first: of those of its
/// degree the one whose largest error in Φ is least (3e-8), found by linear programming at 4,000
/// points.
const COEFFICIENTS: [f32; 15] = [
    0.130_928_11,
    -0.065_328_06,
    0.048_499_61,
    -0.039_206_553,
    0.032_116_16,
    -0.025_749_01,
    0.019_648_78,
    -0.013_952_755,
    0.009_637_497,
    -0.006_736_264,
    0.003_684_504_2,
    -0.001_166_782,
    0.000_851_874_24,
    -0.001_035_369_4,
    0.000_400_852_7,
];

/// Φ. One polynomial and no exponential: an encoder asks for it more often than for anything else.
#[inline(always)]
fn distribution(x: f32) -> f32 {
    let near = if x > END { END } else { x };
    let near = if near < -END { -END } else { near };
    let u = (near * near).mul_add(2.0 / (END * END), -1.0);
    let mut slope = COEFFICIENTS[14];
    for coefficient in COEFFICIENTS[..14].iter().rev() {
        slope = slope.mul_add(u, *coefficient);
    }
    let value = near.mul_add(slope, 0.5);
    if value > 0.0 { value } else { 0.0 }
}

impl Kernel for Gelu<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let elements = self.shape.elements;
        assert_eq!((self.x.len(), self.out.len()), (elements, elements));
        for (out, x) in self.out.iter_mut().zip(self.x) {
            *out = x * distribution(*x);
        }
    }
}

impl Kernel for GeluBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        /// 1 / √(2π).
        const PEAK: f32 = 0.398_942_3;
        let elements = self.shape.elements;
        assert_eq!((self.x.len(), self.d.len()), (elements, elements));
        for (d, x) in self.d.iter_mut().zip(self.x) {
            let density = PEAK * exp(-0.5 * x * x);
            *d *= x.mul_add(density, distribution(*x));
        }
    }
}
