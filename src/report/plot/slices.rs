//! One metric over the parts of the users: the baseline above the report's arm, for each part.

use super::{Anchor, Axis, Role, Svg, WIDTH, label_width};
use crate::metric::Estimate;
use crate::report::numbers::{THIN_SPACE, count, decimals, fixed, has_interval, interval};
use crate::report::plain::cut;

/// One part of the users.
pub(in crate::report) struct Part {
    pub label: String,
    pub users: u64,
    /// Arm and value: the baseline first, if both are there.
    pub values: Vec<(Role, String, Estimate)>,
}

const LABEL_CHARS: usize = 16;
const ROW: f64 = 26.0;
/// Between the dots of one part.
const APART: f64 = 10.0;
/// Between the dots of one part and those of the next, at least.
const GAP: f64 = 6.0;
/// Room for the number of users at the right.
const USERS: f64 = 56.0;

pub(in crate::report) fn plot(title: &str, parts: &[Part]) -> String {
    let mut svg = Svg::new();
    let left = label_width(parts.iter().map(|p| p.label.as_str()), LABEL_CHARS);
    let estimates = || parts.iter().flat_map(|p| p.values.iter().map(|(.., e)| e));
    let ends = estimates().flat_map(|e| [e.low, e.mean, e.high]);
    let axis = Axis::over(ends, (left, WIDTH - USERS), 4);
    let digits = decimals(estimates());
    // As high as the most values of a part need.
    let most = parts.iter().map(|part| part.values.len()).max().unwrap_or(0);
    let row = ROW.max(APART * most as f64 + GAP);
    let bottom = parts.len() as f64 * row + 18.0;
    svg.text("tick", (WIDTH, 11.0), Anchor::End, "users");
    svg.bottom(&axis, 16.0, bottom);
    let mut about = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        let y = 16.0 + (at as f64 + 0.5) * row;
        svg.text("label", (0.0, y + 4.0), Anchor::Start, &cut(&part.label, LABEL_CHARS));
        svg.text("value", (WIDTH, y + 4.0), Anchor::End, &count(part.users, THIN_SPACE));
        let top = y - APART * part.values.len().saturating_sub(1) as f64 / 2.0;
        for (nth, (role, arm, value)) in part.values.iter().enumerate() {
            let y = top + nth as f64 * APART;
            about.push(format!("{}, {arm}: {}", part.label, fixed(value.mean, digits)));
            draw(&mut svg, &axis, y, (*role, arm, value), digits);
        }
    }
    svg.finish(bottom + 18.0, title, &about.join("; "))
}

fn draw(svg: &mut Svg, axis: &Axis, y: f64, series: (Role, &str, &Estimate), digits: usize) {
    let (role, arm, value) = series;
    if !value.mean.is_finite() {
        return;
    }
    let class = role.class();
    if has_interval(value) {
        let (low, high) = (axis.at(value.low), axis.at(value.high));
        svg.line(&format!("whisker {class}"), (low, y), (high, y));
    }
    let tip = format!("{arm}: {} {}", fixed(value.mean, digits), interval(value, digits, fixed));
    svg.dot(class, (axis.at(value.mean), y), tip.trim_end());
}
