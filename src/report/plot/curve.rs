//! A figure over the passes of a training, with the best pass marked.

use super::{Anchor, Axis, Svg, WIDTH};
use crate::report::numbers::fixed;

const HEIGHT: f64 = 190.0;
const LEFT: f64 = 46.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = HEIGHT - 36.0;

/// `points` are (pass, value); `best` is the pass to mark.
pub(in crate::report) fn plot(title: &str, points: &[(u32, f64)], best: Option<u32>) -> String {
    let points: Vec<(f64, f64)> =
        points.iter().filter(|p| p.1.is_finite()).map(|p| (f64::from(p.0), p.1)).collect();
    let x = Axis::over(points.iter().map(|p| p.0), (LEFT, WIDTH - 10.0), 6);
    let y = Axis::over(points.iter().map(|p| p.1), (BOTTOM, TOP), 4);
    let mut svg = Svg::new();
    svg.side(&y, LEFT, WIDTH - 10.0);
    for (value, label) in x.ticks().iter().filter(|(v, _)| v.fract() == 0.0) {
        svg.text("tick", (x.at(*value), BOTTOM + 14.0), Anchor::Middle, label);
    }
    svg.text("axis", (WIDTH - 10.0, HEIGHT - 6.0), Anchor::End, "epoch →");
    let placed: Vec<(f64, f64)> = points.iter().map(|p| (x.at(p.0), y.at(p.1))).collect();
    svg.path("curve", &placed);
    let marked = best.and_then(|b| points.iter().find(|p| p.0 == f64::from(b)));
    if let Some((pass, value)) = marked {
        let at = (x.at(*pass), y.at(*value));
        let text = format!("{} at {pass:.0}", fixed(*value, 4));
        svg.dot("pub", at, &text);
        let anchor = if at.0 > WIDTH / 2.0 { Anchor::End } else { Anchor::Start };
        svg.text("label halo pub", (at.0, at.1 + 17.0), anchor, &text);
    }
    let about = match (points.first(), points.last()) {
        (Some(first), Some(last)) => format!(
            "from {} at epoch {:.0} to {} at epoch {:.0}",
            fixed(first.1, 4),
            first.0,
            fixed(last.1, 4),
            last.0
        ),
        _ => "no finite value".into(),
    };
    svg.finish(HEIGHT, title, &about)
}
