//! Control against accuracy at one point of a sweep: a line for the arms of a family that differ in
//! their weight, a dot for an arm that has none.

use super::tradeoff::Labels;
use super::{Anchor, Axis, Role, Svg, WIDTH};
use crate::metric::Estimate;
use crate::report::numbers::{decimals, fixed};

/// The arms of a family.
pub(in crate::report) struct Curve {
    pub family: String,
    pub role: Role,
    pub marks: Vec<Mark>,
}

/// One arm on two metrics.
pub(in crate::report) struct Mark {
    pub weight: Option<f32>,
    pub across: Estimate,
    pub up: Estimate,
}

/// The axes that several drawings share, so that they can be compared.
pub(in crate::report) struct Frame {
    across: Axis,
    up: Axis,
}

const HEIGHT: f64 = 250.0;
const LEFT: f64 = 46.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = HEIGHT - 40.0;

impl Frame {
    /// Axes that hold every mark.
    pub(in crate::report) fn over<'a>(curves: impl Iterator<Item = &'a Curve>) -> Frame {
        let marks: Vec<&Mark> = curves.flat_map(|curve| &curve.marks).collect();
        let across = marks.iter().map(|mark| mark.across.mean);
        let up = marks.iter().map(|mark| mark.up.mean);
        Frame {
            across: Axis::over(across, (LEFT, WIDTH - 8.0), 5),
            up: Axis::over(up, (BOTTOM, TOP), 5),
        }
    }
}

pub(in crate::report) fn plot(
    (across, up): (&str, &str),
    curves: &[Curve],
    frame: &Frame,
) -> String {
    let mut svg = Svg::new();
    svg.bottom(&frame.across, TOP, BOTTOM);
    svg.side(&frame.up, LEFT, WIDTH - 8.0);
    svg.text("axis", (0.0, 11.0), Anchor::Start, &format!("↑ {up}"));
    svg.text("axis", (WIDTH - 8.0, HEIGHT - 8.0), Anchor::End, &format!("{across} →"));
    let mut labels = Labels::new(LEFT, TOP, BOTTOM);
    let mut about = Vec::new();
    // What is compared to is drawn over what begins there.
    let mut order: Vec<&Curve> = curves.iter().collect();
    order.sort_by_key(|curve| curve.role == Role::Baseline);
    for curve in &order {
        let places: Vec<(f64, f64)> = finite(curve).map(|mark| frame.place(mark)).collect();
        if places.len() > 1 {
            svg.path(&format!("trade {}", curve.role.class()), &places);
        }
        places.windows(2).for_each(|ends| labels.take_line(ends[0], ends[1]));
        for (mark, at) in finite(curve).zip(&places) {
            let tip = tip(curve, mark, (across, up));
            svg.dot(curve.role.class(), *at, &tip);
            labels.take(*at, 5.0);
            about.push(tip);
        }
    }
    // The arms that matter choose their places first; a line is called by its greatest weight.
    order.sort_by_key(|curve| curve.role == Role::Other);
    for curve in order {
        if let Some(mark) = finite(curve).last() {
            labels.put(&mut svg, &curve.family, curve.role, frame.place(mark));
        }
    }
    svg.finish(HEIGHT, &format!("{up} against {across}"), &about.join("; "))
}

impl Frame {
    fn place(&self, mark: &Mark) -> (f64, f64) {
        (self.across.at(mark.across.mean), self.up.at(mark.up.mean))
    }
}

fn finite(curve: &Curve) -> impl Iterator<Item = &Mark> {
    curve.marks.iter().filter(|mark| mark.across.mean.is_finite() && mark.up.mean.is_finite())
}

fn tip(curve: &Curve, mark: &Mark, (across, up): (&str, &str)) -> String {
    let write = |e: &Estimate| fixed(e.mean, decimals([e].into_iter()));
    let weight = mark.weight.map_or(String::new(), |weight| format!(" w={weight}"));
    let (x, y) = (write(&mark.across), write(&mark.up));
    format!("{}{weight}: {across} {x}, {up} {y}", curve.family)
}
