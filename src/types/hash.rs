//! The one source of randomness: a mixing function over seeds and row identity.

/// Mixes 64 bits so that each output bit depends on every input bit (the finaliser of SplitMix64,
/// with its increment): `mix64(seed ^ row)` is a draw that does not depend on what was drawn
/// before.
#[inline]
pub fn mix64(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The top 53 bits of a hash as a number in [0, 1).
#[inline]
pub fn unit_f64(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1u64 << 53) as f64
}

/// A standard normal number from a hash, by Box and Muller.
pub fn normal(hash: u64) -> f64 {
    let (u, v) = (1.0 - unit_f64(hash), unit_f64(mix64(hash)));
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}
