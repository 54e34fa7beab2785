//! Vectors as small integers times a scale, with the error measured.

/// The largest norm of an integer vector: 181² is the largest square whose root times itself
/// still fits 16 bits with its sign.
const NORM_MAX: i32 = 181;

/// The norm a first try aims for; rounding may lengthen a vector a little.
const NORM_AIM: f64 = 180.0;

/// Covers the rounding of f64 sums over a row in everything that is used as an upper bound.
const SLACK: f64 = 1.0 + 1e-6;

/// The largest integer coordinate of a user: with it, two products fit 16 bits with their sign.
pub(super) const USER_MAX: i32 = 63;

/// The largest integer coordinate of an item.
pub(super) const ITEM_MAX: i32 = 127;

/// The Euclidean norm.
pub(in crate::device) fn norm(row: &[f32]) -> f64 {
    row.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt()
}

/// What is known of a few vectors that share a scale: upper bounds of the largest of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// What an integer stands for.
    pub scale: f64,
    /// max ‖v‖.
    pub norm: f64,
    /// max ‖v − scale·s‖.
    pub residual: f64,
    /// max ‖s‖.
    pub reach: f64,
}

/// Rounds finite rows to integers of at most `max`, with norms of at most 181, at the finest scale
/// that allows it (to within a per cent). `out` has the shape of `rows`.
pub(super) fn quantise(rows: &[f32], width: usize, max: i32, out: &mut [i8]) -> Bounds {
    let norm_max = rows.chunks(width).map(norm).fold(0.0, f64::max);
    let largest = rows.iter().fold(0.0f64, |most, &x| most.max(f64::from(x).abs()));
    let mut scale = (norm_max / NORM_AIM).max(largest / f64::from(max));
    if scale == 0.0 {
        scale = 1.0;
    }
    loop {
        if let Some(reach) = round(rows, width, scale, max, out) {
            let residual = rows
                .chunks(width)
                .zip(out.chunks(width))
                .map(|(row, integers)| distance(row, integers, scale))
                .fold(0.0, f64::max);
            return Bounds {
                scale,
                norm: norm_max * SLACK,
                // The second term: the differences themselves are rounded, relative to the row.
                residual: residual * SLACK + norm_max * 1e-12,
                reach: reach * SLACK,
            };
        }
        scale *= 1.01;
    }
}

/// Rounds rows at a scale and gives the largest norm, or nothing if one does not fit.
fn round(rows: &[f32], width: usize, scale: f64, max: i32, out: &mut [i8]) -> Option<f64> {
    let inverse = 1.0 / scale;
    let mut square_max = 0;
    for (row, integers) in rows.chunks(width).zip(out.chunks_mut(width)) {
        let mut square = 0;
        let mut largest = 0;
        for (&x, out) in row.iter().zip(integers) {
            // Adding and taking away 1.5·2⁵² rounds to an integer without a call.
            const ROUND: f64 = 6_755_399_441_055_744.0;
            let rounded = ((f64::from(x) * inverse + ROUND) - ROUND) as i32;
            largest = largest.max(rounded.abs());
            square += rounded * rounded;
            *out = rounded as i8;
        }
        if largest > max || square > NORM_MAX * NORM_MAX {
            return None;
        }
        square_max = square_max.max(square);
    }
    Some(f64::from(square_max).sqrt())
}

/// ‖row − scale·integers‖.
fn distance(row: &[f32], integers: &[i8], scale: f64) -> f64 {
    let square = |(&x, &s): (&f32, &i8)| {
        let difference = f64::from(x) - scale * f64::from(s);
        difference * difference
    };
    row.iter().zip(integers).map(square).sum::<f64>().sqrt()
}
