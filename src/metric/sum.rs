//! The fixed point in which users' values are summed.
//!
//! A value v of a column with unit n travels as the integer round(n·v). Counts and shares of k have
//! the unit 1 or k, so they are exact; values in [0, 1] have the unit [`ONE`] = 2²⁰, so one user's
//! value is off by at most 2⁻²¹ = 4.8e-7, and so is any mean. No integer exceeds [`VALUE_MAX`]: the
//! bootstrap takes values apart into three bytes.

/// The unit of values in [0, 1].
pub(super) const ONE: u32 = 1 << 20;

/// The largest value of any column.
pub(super) const VALUE_MAX: u32 = (1 << 24) - 1;

const _: () = assert!(ONE < VALUE_MAX);

/// The nearest fixed-point number, within [0, [`VALUE_MAX`]]; NaN gives 0.
#[inline]
pub(super) fn fixed(value: f64, unit: u32) -> u32 {
    ((value * f64::from(unit) + 0.5) as u32).min(VALUE_MAX)
}

/// A count as a column of unit 1 holds it.
#[inline]
pub(super) fn whole(count: usize) -> u32 {
    count.min(VALUE_MAX as usize) as u32
}

/// The bits that a column of this unit drops before it squares, so that 2⁶³ is out of reach: the
/// squares' unit is (unit / 2^shift)².
#[inline]
pub(super) fn square_shift(unit: u32) -> u32 {
    if unit >= 1 << 16 { 6 } else { 0 }
}
