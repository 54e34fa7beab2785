//! How numbers are written: as many digits as the interval supports, a true minus sign, thin
//! spaces.

use crate::metric::Estimate;

/// Between groups of three digits where fonts are proportional: narrow and does not break.
pub(super) const THIN_SPACE: &str = "\u{202f}";
/// What is not a number.
pub(super) const NOTHING: &str = "–";
const MINUS: char = '\u{2212}';

/// An integer with its digits in threes.
pub(super) fn count(value: u64, separator: &str) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push_str(separator);
        }
        out.push(digit);
    }
    out
}

/// A number with fixed decimals; never `-0.00`.
pub(super) fn fixed(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return NOTHING.into();
    }
    let digits = format!("{:.decimals$}", value.abs());
    let zero = digits.bytes().all(|b| b == b'0' || b == b'.');
    if value < 0.0 && !zero { format!("{MINUS}{digits}") } else { digits }
}

/// A difference: with its sign, unless it is nought at this precision.
pub(super) fn signed(value: f64, decimals: usize) -> String {
    let text = fixed(value, decimals);
    let zero = !text.chars().any(|c| ('1'..='9').contains(&c));
    if value > 0.0 && !zero { format!("+{text}") } else { text }
}

/// `[low, high]` of a value, or of a difference with its signs. Empty when no interval is known.
pub(super) fn interval(e: &Estimate, decimals: usize, write: fn(f64, usize) -> String) -> String {
    if has_interval(e) {
        format!("[{}, {}]", write(e.low, decimals), write(e.high, decimals))
    } else {
        String::new()
    }
}

/// Whether an interval was computed: a point's ends are its mean.
pub(super) fn has_interval(e: &Estimate) -> bool {
    e.low.is_finite() && e.high.is_finite() && e.low < e.high
}

/// The decimals that show two significant digits of the narrowest interval's half-width, from 2 to
/// 4 (5 if even the first would be lost); 4 when there is no interval. One answer for a column, so
/// that its digits line up.
pub(super) fn decimals<'a>(column: impl Iterator<Item = &'a Estimate>) -> usize {
    let narrowest = column
        .filter(|e| has_interval(e))
        .map(|e| (e.high - e.low) / 2.0)
        .fold(f64::INFINITY, f64::min);
    let most = if narrowest < 1e-4 { 5.0 } else { 4.0 };
    if narrowest.is_finite() {
        (1.0 - narrowest.log10().floor()).clamp(2.0, most) as usize
    } else {
        4
    }
}

/// A number of unknown size with three or so significant digits.
pub(super) fn short(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => NOTHING.into(),
        v if v >= 1e9 => format!("{} G", fixed(value / 1e9, 2)),
        v if v >= 1e6 => format!("{} M", fixed(value / 1e6, 2)),
        v if v >= 1e4 => format!("{} k", fixed(value / 1e3, 1)),
        v if v >= 1e3 => format!("{} k", fixed(value / 1e3, 2)),
        v if v >= 100.0 => fixed(value, 0),
        v if v >= 1.0 => fixed(value, 2),
        _ => fixed(value, 4),
    }
}

/// A share from 0 to 1 in per cent.
pub(super) fn percent(share: f64, decimals: usize) -> String {
    if share.is_finite() { format!("{} %", fixed(share * 100.0, decimals)) } else { NOTHING.into() }
}

/// A length of time in the two units that matter.
pub(super) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return NOTHING.into();
    }
    let whole = seconds.round() as u64;
    match whole {
        3600.. => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
        100.. => format!("{} min {:02} s", whole / 60, whole % 60),
        10.. => format!("{} s", fixed(seconds, 1)),
        _ => format!("{} s", fixed(seconds, 2)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_follow_the_interval() {
        let e = |half: f64| Estimate { mean: 0.17, low: 0.17 - half, high: 0.17 + half, users: 9 };
        assert_eq!(decimals([e(0.0062)].iter()), 4); // two digits of 0.0062: 0.0062
        assert_eq!(decimals([e(0.62), e(0.031)].iter()), 3); // the narrowest decides
        assert_eq!(decimals([e(0.00031)].iter()), 4);
        assert_eq!(decimals([e(0.000031)].iter()), 5);
        assert_eq!(decimals([e(3.0)].iter()), 2);
        assert_eq!(decimals([e(0.0)].iter()), 4);
        assert_eq!(decimals([e(f64::NAN)].iter()), 4);
    }

    #[test]
    fn nought_has_no_sign() {
        assert_eq!(fixed(-0.00001, 3), "0.000");
        assert_eq!(signed(0.00001, 3), "0.000");
        assert_eq!(signed(0.5, 1), "+0.5");
        assert_eq!(signed(-0.5, 1), "\u{2212}0.5");
        assert_eq!(fixed(f64::NAN, 3), NOTHING);
    }

    #[test]
    fn thousands_and_times() {
        assert_eq!(count(0, ","), "0");
        assert_eq!(count(999, ","), "999");
        assert_eq!(count(1_000_209, ","), "1,000,209");
        assert_eq!(duration(59.04), "59.0 s");
        assert_eq!(duration(605.0), "10 min 05 s");
        assert_eq!(duration(7384.0), "2 h 03 min");
        assert_eq!(short(1_234_567.0), "1.23 M");
        assert_eq!(short(1769.0), "1.77 k");
        assert_eq!(percent(0.0312, 1), "3.1 %");
    }
}
