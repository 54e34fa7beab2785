//! A linear scale with round ticks.

use crate::report::numbers::fixed;

/// Maps values to positions.
pub(super) struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    step: f64,
}

impl Axis {
    /// An axis over the finite ones of `values` with a little room, drawn from `from` to `to`
    /// (which may be less), with at most about `ticks_max` ticks.
    pub(super) fn over(
        values: impl Iterator<Item = f64>,
        (from, to): (f64, f64),
        ticks_max: u32,
    ) -> Axis {
        let (low, high) = values
            .filter(|v| v.is_finite() && v.abs() < 1e100)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        // A single value still needs a width to stand in.
        let room = ((high - low) * 0.06).max(high.abs().max(low.abs()) * 1e-3).max(1e-6);
        let (low, high) = (low - room, high + room);
        let step = round_step((high - low) / f64::from(ticks_max));
        Axis { low, high, from, to, step }
    }

    /// The position of a value; what is outside stands at the edge.
    pub(super) fn at(&self, value: f64) -> f64 {
        let part = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        self.from + part * (self.to - self.from)
    }

    /// Round values inside the axis, with their labels.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let decimals = (-self.step.log10().floor()).clamp(0.0, 8.0) as usize;
        let first = (self.low / self.step).ceil();
        (0..20)
            .map(|n| (first + f64::from(n)) * self.step)
            .take_while(|v| *v <= self.high)
            .map(|v| (v, fixed(v, decimals)))
            .collect()
    }
}

/// The next of 1, 2, 5 × 10ⁿ that is not less.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    let digit = [1.0, 2.0, 5.0, 10.0].into_iter().find(|d| d * power >= least).unwrap_or(10.0);
    digit * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let axis = Axis::over([0.161, 0.1774].into_iter(), (100.0, 300.0), 4);
        let labels: Vec<String> = axis.ticks().into_iter().map(|t| t.1).collect();
        assert_eq!(labels, ["0.165", "0.170", "0.175"]);
        assert!(axis.at(0.161) > 100.0 && axis.at(0.1774) < 300.0);
    }

    #[test]
    fn nothing_and_one_value_have_an_axis() {
        for values in [vec![], vec![f64::NAN], vec![0.0], vec![5.0], vec![1e300, -1e300]] {
            let axis = Axis::over(values.iter().copied(), (0.0, 100.0), 4);
            assert!(axis.at(0.0).is_finite());
            assert!(axis.ticks().len() < 20, "{values:?}");
        }
    }
}
