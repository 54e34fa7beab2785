//! What a buffer holds.
#![allow(unsafe_code)]

/// The type of a number, as the emulator of the tests numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// u32.
    U32 = 1,
    /// i32.
    I32 = 2,
    /// f32.
    F32 = 3,
    /// u64.
    U64 = 4,
    /// [`Bf16`].
    Bf16 = 5,
    /// u8; also an FP8 number's bits.
    U8 = 6,
}

/// The upper half of an f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Bf16(pub u16);

impl Bf16 {
    /// The nearest number, of two that are as near the one whose last bit is 0.
    pub fn of(x: f32) -> Self {
        let bits = x.to_bits();
        if x.is_nan() {
            return Self(0x7fff);
        }
        Self(((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16)
    }

    /// As an f32, which holds it exactly.
    pub fn f32(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }
}

mod sealed {
    /// Every bit pattern is a value, and there are no bits besides.
    pub trait Plain {}
}

/// A number that buffers can hold. Sealed.
pub trait Element: sealed::Plain + Copy + Default + Send + Sync + 'static {
    /// Which one it is.
    const KIND: Kind;
}

macro_rules! element {
    ($($number:ty => $kind:ident),*) => {
        $(
            impl sealed::Plain for $number {}
            impl Element for $number {
                const KIND: Kind = Kind::$kind;
            }
        )*
    };
}
element!(u32 => U32, i32 => I32, f32 => F32, u64 => U64, Bf16 => Bf16, u8 => U8);

/// The bytes of numbers.
pub(super) fn bytes<T: Element>(numbers: &[T]) -> &[u8] {
    // SAFETY: an element has no padding (`Plain`), so all its bytes are initialised; a byte has no
    // alignment to keep; the borrow is the numbers' own.
    unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), size_of_val(numbers)) }
}

/// The bytes of numbers, to be written.
pub(super) fn bytes_mut<T: Element>(numbers: &mut [T]) -> &mut [u8] {
    // SAFETY: as in `bytes`; and whatever is written, every bit pattern is an element (`Plain`).
    unsafe { std::slice::from_raw_parts_mut(numbers.as_mut_ptr().cast(), size_of_val(numbers)) }
}

#[cfg(test)]
mod tests {
    use super::{Bf16, bytes};

    #[test]
    fn numbers_round_to_the_nearest_and_then_to_even() {
        for (x, bits) in [(1.0, 0x3f80), (-2.0, 0xc000), (0.0, 0), (f32::INFINITY, 0x7f80)] {
            assert_eq!(Bf16::of(x).0, bits);
            assert_eq!(Bf16::of(x).f32(), x);
        }
        let between = |low: u16| f32::from_bits(u32::from(low) << 16 | 0x8000);
        assert_eq!((Bf16::of(between(0x3f80)).0, Bf16::of(between(0x3f81)).0), (0x3f80, 0x3f82));
        assert!(Bf16::of(f32::NAN).f32().is_nan());
        assert_eq!(Bf16::of(f32::MAX).f32(), f32::INFINITY);
        assert_eq!(bytes(&[1u32, 2]), [1, 0, 0, 0, 2, 0, 0, 0]);
    }
}
