//! Control against accuracy: one labelled dot an arm, with both intervals.

use super::{Anchor, Axis, CHAR, Role, Svg, WIDTH};
use crate::metric::Estimate;
use crate::report::numbers::{decimals, fixed, has_interval};
use crate::report::plain::cut;

/// One arm on two metrics.
pub(in crate::report) struct Point {
    pub arm: String,
    pub across: Estimate,
    pub up: Estimate,
    pub role: Role,
}

const HEIGHT: f64 = 290.0;
const LEFT: f64 = 46.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = HEIGHT - 40.0;
const LABEL_CHARS: usize = 22;
/// What is wider is a name.
const WORD: f64 = 12.0;

/// A label's or a mark's box: left, top, right, bottom.
type Box4 = (f64, f64, f64, f64);

pub(in crate::report) fn plot(across: &str, up: &str, points: &[Point]) -> String {
    let finite = |p: &&Point| p.across.mean.is_finite() && p.up.mean.is_finite();
    let points: Vec<&Point> = points.iter().filter(finite).collect();
    let ends = |e: &Estimate| [e.low, e.mean, e.high];
    let x = Axis::over(points.iter().flat_map(|p| ends(&p.across)), (LEFT, WIDTH - 8.0), 5);
    let y = Axis::over(points.iter().flat_map(|p| ends(&p.up)), (BOTTOM, TOP), 5);
    let mut svg = Svg::new();
    svg.bottom(&x, TOP, BOTTOM);
    svg.side(&y, LEFT, WIDTH - 8.0);
    svg.text("axis", (0.0, 11.0), Anchor::Start, &format!("↑ {up}"));
    svg.text("axis", (WIDTH - 8.0, HEIGHT - 8.0), Anchor::End, &format!("{across} →"));
    let place = |p: &Point| (x.at(p.across.mean), y.at(p.up.mean));
    let mut labels = Labels::new(LEFT, TOP, BOTTOM);
    for point in &points {
        let (at, class) = (place(point), point.role.class());
        if has_interval(&point.across) {
            let (low, high) = (x.at(point.across.low), x.at(point.across.high));
            svg.line(&format!("whisker {class}"), (low, at.1), (high, at.1));
            labels.take_line((low, at.1), (high, at.1));
        }
        if has_interval(&point.up) {
            let (low, high) = (y.at(point.up.low), y.at(point.up.high));
            svg.line(&format!("whisker {class}"), (at.0, low), (at.0, high));
            labels.take_line((at.0, high), (at.0, low));
        }
        svg.dot(class, at, &tip(point, across, up));
        labels.take(at, 5.0);
    }
    // The two arms that matter choose their places first.
    let mut order = points.clone();
    order.sort_by_key(|p| p.role == Role::Other);
    order.iter().for_each(|p| labels.put(&mut svg, &p.arm, p.role, place(p)));
    let about: Vec<String> = points.iter().map(|p| tip(p, across, up)).collect();
    svg.finish(HEIGHT, &format!("{up} against {across}"), &about.join("; "))
}

fn tip(point: &Point, across: &str, up: &str) -> String {
    let write = |e: &Estimate| fixed(e.mean, decimals([e].into_iter()));
    format!("{}: {across} {}, {up} {}", point.arm, write(&point.across), write(&point.up))
}

/// Places for names beside dots, and what is taken already.
pub(super) struct Labels {
    left: f64,
    top: f64,
    bottom: f64,
    taken: Vec<Box4>,
}

impl Labels {
    /// Within a plot whose axes are there.
    pub(super) fn new(left: f64, top: f64, bottom: f64) -> Labels {
        Labels { left, top, bottom, taken: Vec::new() }
    }

    /// Keeps names away from a dot.
    pub(super) fn take(&mut self, (x, y): (f64, f64), around: f64) {
        self.taken.push((x - around, y - around, x + around, y + around));
    }

    /// Keeps names away from a line.
    pub(super) fn take_line(&mut self, (x0, y0): (f64, f64), (x1, y1): (f64, f64)) {
        let steps = ((x1 - x0).abs().max((y1 - y0).abs()) / 6.0).ceil().max(1.0);
        for step in 0..=steps as usize {
            let part = step as f64 / steps;
            self.take((x0 + part * (x1 - x0), y0 + part * (y1 - y0)), 1.5);
        }
    }

    /// Writes an arm's name beside its dot: the first of some places that is inside and free; the
    /// one that hides least when all are taken.
    pub(super) fn put(&mut self, svg: &mut Svg, arm: &str, role: Role, (x, y): (f64, f64)) {
        let text = cut(arm, LABEL_CHARS);
        let bold = if role == Role::Published { 1.08 } else { 1.0 };
        let width = text.chars().count() as f64 * CHAR * bold;
        let beside = |dx: f64, dy: f64| {
            let left = if dx > 0.0 { x + dx } else { x + dx - width };
            (left, y + dy - 9.0, left + width, y + dy + 3.0)
        };
        let above = |dy: f64| (x - width / 2.0, y + dy - 9.0, x + width / 2.0, y + dy + 3.0);
        let places = [
            beside(9.0, -7.0),
            beside(-9.0, -7.0),
            beside(9.0, 14.0),
            beside(-9.0, 14.0),
            above(-10.0),
            above(17.0),
            beside(9.0, -20.0),
            beside(9.0, 27.0),
            beside(-9.0, -20.0),
            beside(-9.0, 27.0),
            beside(9.0, 40.0),
            beside(9.0, -33.0),
            beside(-9.0, 40.0),
            beside(-9.0, -33.0),
        ];
        let Labels { left, top, bottom, taken } = self;
        let inside =
            |b: &&Box4| b.0 >= *left && b.2 <= WIDTH + 6.0 && b.1 >= *top - 8.0 && b.3 <= *bottom;
        // Another name in the way is worse than any number of dots and lines.
        let cost = |b: &&Box4| -> usize {
            let hidden = taken.iter().filter(|t| overlap(b, t));
            hidden.map(|t| if t.2 - t.0 > WORD { 1000 } else { 1 }).sum()
        };
        let chosen = *places.iter().filter(inside).min_by_key(cost).unwrap_or(&places[1]);
        taken.push(chosen);
        svg.text(
            &format!("label halo {}", role.class()),
            (chosen.0.max(0.0), chosen.3 - 3.0),
            Anchor::Start,
            &text,
        );
    }
}

fn overlap(a: &Box4, b: &Box4) -> bool {
    a.0 < b.2 && b.0 < a.2 && a.1 < b.3 && b.1 < a.3
}
