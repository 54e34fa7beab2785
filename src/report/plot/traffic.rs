//! Who went from node to node: the nodes on an ellipse, the first at the left and the last at the
//! right. An arrow is as wide as the number of users on it, and says their share of all: above
//! 100 % where ways take it twice.

use super::{Anchor, Svg, WIDTH};
use crate::report::model::Traffic;
use crate::report::numbers::percent;
use crate::report::plain::cut;
use std::f64::consts::PI;

const LABEL_CHARS: usize = 14;
const HEIGHT: f64 = 250.0;
/// The half axes of the ellipse.
const ACROSS: f64 = 128.0;
const DOWN: f64 = 92.0;
/// The width of the arrow that most take.
const WIDE: f64 = 9.0;
/// Room around a node that no arrow enters.
const CLEAR: f64 = 9.0;
/// How far an arrow bends from the straight line, as a share of its length: the way back bends the
/// other way.
const BEND: f64 = 0.16;
/// Arrows with a smaller share of the users have no number beside them.
const TOLD: f64 = 0.02;
/// Lines of which a bent arrow is made.
const PIECES: usize = 16;

type Point = (f64, f64);

pub(in crate::report) fn plot(title: &str, traffic: &Traffic) -> String {
    let (mut svg, count) = (Svg::new(), traffic.nodes.len());
    let places: Vec<Point> = (0..count).map(|at| place(at, count)).collect();
    let users: u64 = traffic.counts.iter().filter_map(|row| row.last()).sum(); // all come to stop
    let mut arrows = Vec::new();
    for (from, row) in traffic.counts.iter().enumerate().take(count) {
        let to = row.iter().enumerate().take(count).filter(|(_, users)| **users > 0);
        arrows.extend(to.map(|(to, count)| (from, to, *count as f64 / users.max(1) as f64)));
    }
    arrows.sort_by(|a, b| b.2.total_cmp(&a.2)); // the narrow ones on top
    let most = arrows.first().map_or(1.0, |(.., share)| *share);
    let (mut about, mut told) = (Vec::new(), Vec::new());
    for (from, to, share) in arrows {
        let middle = arrow(&mut svg, places[from], places[to], share / most * WIDE);
        let name = |at: usize| traffic.nodes[at].as_str();
        about.push(format!("{} to {}: {}", name(from), name(to), percent(share, 1)));
        if share >= TOLD {
            told.push((middle, percent(share, 0)));
        }
    }
    for (at, place) in told {
        svg.text("tick halo", (at.0, at.1 + 3.5), Anchor::Middle, &place);
    }
    for (at, (node, (x, y))) in traffic.nodes.iter().zip(&places).enumerate() {
        let class = if at == 0 || at + 1 == count { "pub" } else { "other" };
        svg.dot(class, (*x, *y), node);
        let above = if *y < HEIGHT / 2.0 - 1.0 { -10.0 } else { 19.0 };
        svg.text("label halo", (*x, y + above), Anchor::Middle, &cut(node, LABEL_CHARS));
    }
    svg.finish(HEIGHT, title, &about.join("; "))
}

/// The first node is at the left, the last at the right, the others above and below in turns.
fn place(at: usize, count: usize) -> Point {
    let last = count.saturating_sub(1);
    let angle = match at {
        0 => PI,
        at if at == last => 0.0,
        at => {
            let (above, between) = (at % 2 == 1, last - 1);
            let of = if above { between.div_ceil(2) } else { between / 2 };
            let turn = PI * at.div_ceil(2) as f64 / (of + 1) as f64;
            if above { PI - turn } else { PI + turn }
        }
    };
    (WIDTH / 2.0 + ACROSS * angle.cos(), HEIGHT / 2.0 - DOWN * angle.sin())
}

/// Draws an arrow, bent to its left. Gives the place for its number.
fn arrow(svg: &mut Svg, from: Point, to: Point, width: f64) -> Point {
    let width = width.max(0.75);
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length = dx.hypot(dy);
    if length < 1.0 {
        // From a node to itself: a loop outside of the ellipse.
        let out = if from.1 < HEIGHT / 2.0 { -1.0 } else { 1.0 };
        let turn = |at: usize| 2.0 * PI * at as f64 / PIECES as f64;
        let round =
            |at| (from.0 + 9.0 * turn(at).sin(), from.1 + out * 9.0 * (1.0 - turn(at).cos()));
        svg.stroke("flow", width, &(0..=PIECES).map(round).collect::<Vec<Point>>());
        return (from.0 + 20.0, from.1 + out * 14.0);
    }
    let bend = (from.0 + dx / 2.0 + dy * BEND, from.1 + dy / 2.0 - dx * BEND);
    let along = |t: f64| {
        let of =
            |a: f64, b: f64, c: f64| (1.0 - t).powi(2) * a + 2.0 * t * (1.0 - t) * b + t * t * c;
        (of(from.0, bend.0, to.0), of(from.1, bend.1, to.1))
    };
    let clear = (CLEAR / length).min(0.4);
    let step = |at: usize| along(clear + (1.0 - 2.0 * clear) * at as f64 / PIECES as f64);
    let line: Vec<Point> = (0..=PIECES).map(step).collect();
    svg.stroke("flow", width, &line);
    let (tip, before) = (line[PIECES], line[PIECES - 1]);
    let (ux, uy) = unit(tip.0 - before.0, tip.1 - before.1);
    let head = 4.0 + width / 2.0;
    let wing = |side: f64| {
        (tip.0 - head * ux + side * head * 0.6 * uy, tip.1 - head * uy - side * head * 0.6 * ux)
    };
    svg.stroke("flow", width.min(2.0), &[wing(1.0), tip, wing(-1.0)]);
    along(0.36)
}

fn unit(x: f64, y: f64) -> Point {
    let length = x.hypot(y).max(1e-9);
    (x / length, y / length)
}
