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
    let mut taken: Vec<Box4> = Vec::new();
    for point in &points {
        let (at, class) = (place(point), point.role.class());
        if has_interval(&point.across) {
            let (low, high) = (x.at(point.across.low), x.at(point.across.high));
            svg.line(&format!("whisker {class}"), (low, at.1), (high, at.1));
            taken.push((low, at.1 - 1.0, high, at.1 + 1.0));
        }
        if has_interval(&point.up) {
            let (low, high) = (y.at(point.up.low), y.at(point.up.high));
            svg.line(&format!("whisker {class}"), (at.0, low), (at.0, high));
            taken.push((at.0 - 1.0, high, at.0 + 1.0, low));
        }
        svg.dot(class, at, &tip(point, across, up));
        taken.push((at.0 - 5.0, at.1 - 5.0, at.0 + 5.0, at.1 + 5.0));
    }
    // The two arms that matter choose their places first.
    let mut order = points.clone();
    order.sort_by_key(|p| p.role == Role::Other);
    order.iter().for_each(|p| label(&mut svg, p, place(p), &mut taken));
    let about: Vec<String> = points.iter().map(|p| tip(p, across, up)).collect();
    svg.finish(HEIGHT, &format!("{up} against {across}"), &about.join("; "))
}

fn tip(point: &Point, across: &str, up: &str) -> String {
    let write = |e: &Estimate| fixed(e.mean, decimals([e].into_iter()));
    format!("{}: {across} {}, {up} {}", point.arm, write(&point.across), write(&point.up))
}

/// Writes the arm's name beside its dot: the first of some places that is inside and free; a place
/// that is merely inside when all are taken.
fn label(svg: &mut Svg, point: &Point, (x, y): (f64, f64), taken: &mut Vec<Box4>) {
    let text = cut(&point.arm, LABEL_CHARS);
    let bold = if point.role == Role::Published { 1.08 } else { 1.0 };
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
    ];
    let inside = |b: &&Box4| b.0 >= LEFT && b.2 <= WIDTH + 6.0 && b.1 >= TOP - 8.0 && b.3 <= BOTTOM;
    let free = |b: &&Box4| taken.iter().all(|t| !overlap(b, t));
    let chosen = places.iter().filter(inside).find(free).or(places.iter().find(inside));
    let chosen = *chosen.unwrap_or(&places[1]);
    taken.push(chosen);
    svg.text(
        &format!("label halo {}", point.role.class()),
        (chosen.0.max(0.0), chosen.3 - 3.0),
        Anchor::Start,
        &text,
    );
}

fn overlap(a: &Box4, b: &Box4) -> bool {
    a.0 < b.2 && b.0 < a.2 && a.1 < b.3 && b.1 < a.3
}
