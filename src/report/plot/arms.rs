//! Arms side by side on one metric: a dot with its interval each, and the baseline as a line.

use super::{Anchor, Axis, ROW, Role, Svg, WIDTH, label_width};
use crate::metric::Estimate;
use crate::report::numbers::{decimals, fixed, has_interval, interval};
use crate::report::plain::cut;

/// One arm on one metric.
pub(in crate::report) struct Point {
    pub arm: String,
    pub value: Estimate,
    pub role: Role,
    /// Better or worse than the baseline, as a mark.
    pub mark: &'static str,
}

const LABEL_CHARS: usize = 19;
/// Room for `0.12345 ▲` at the right.
const VALUE: f64 = 66.0;

pub(in crate::report) fn plot(title: &str, points: &[Point]) -> String {
    let mut svg = Svg::new();
    let left = label_width(points.iter().map(|p| p.arm.as_str()), LABEL_CHARS);
    let right = WIDTH - VALUE;
    let ends = points.iter().flat_map(|p| [p.value.low, p.value.mean, p.value.high]);
    let axis = Axis::over(ends, (left, right), 4);
    let bottom = points.len() as f64 * ROW + 2.0;
    svg.bottom(&axis, 0.0, bottom);
    for base in points.iter().filter(|p| p.role == Role::Baseline && p.value.mean.is_finite()) {
        let x = axis.at(base.value.mean);
        svg.line("reference", (x, 0.0), (x, bottom));
    }
    let digits = decimals(points.iter().map(|p| &p.value));
    for (at, point) in points.iter().enumerate() {
        draw(&mut svg, point, &axis, (at as f64 + 0.5) * ROW + 1.0, digits);
    }
    let about: Vec<String> = points
        .iter()
        .map(|p| format!("{} {} {}", p.arm, fixed(p.value.mean, digits), p.mark).trim_end().into())
        .collect();
    svg.finish(bottom + 18.0, title, &about.join("; "))
}

fn draw(svg: &mut Svg, point: &Point, axis: &Axis, y: f64, digits: usize) {
    let class = point.role.class();
    svg.text(
        &format!("label {class}"),
        (0.0, y + 4.0),
        Anchor::Start,
        &cut(&point.arm, LABEL_CHARS),
    );
    let Estimate { mean, low, high, .. } = point.value;
    let value = fixed(mean, digits);
    svg.text(&format!("value {class}"), (WIDTH - 14.0, y + 4.0), Anchor::End, &value);
    svg.text("mark", (WIDTH, y + 4.0), Anchor::End, point.mark);
    if !mean.is_finite() {
        return;
    }
    if has_interval(&point.value) {
        svg.line(&format!("whisker {class}"), (axis.at(low), y), (axis.at(high), y));
    }
    let tip = format!("{}: {value} {}", point.arm, interval(&point.value, digits, fixed));
    svg.dot(class, (axis.at(mean), y), tip.trim_end());
}
