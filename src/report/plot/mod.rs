//! Plots as inline SVG, 360 units wide so that their text stays readable on a phone. Colours are
//! the page's CSS classes; every text is escaped here.

pub(super) mod arms;
mod axis;
pub(super) mod bars;
pub(super) mod curve;
pub(super) mod curves;
pub(super) mod slices;
pub(super) mod tradeoff;
pub(super) mod traffic;

use super::plain::clean;
use axis::Axis;
use std::fmt::Write;

/// Width of every plot, in SVG units.
const WIDTH: f64 = 360.0;
/// Height of a row of text with its mark.
const ROW: f64 = 22.0;
/// Average advance of a character at the label size; labels are placed by this guess.
const CHAR: f64 = 6.3;

/// What an arm is in the run: decides the mark's class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Baseline,
    Published,
    Other,
}

impl Role {
    fn class(self) -> &'static str {
        match self {
            Role::Baseline => "base",
            Role::Published => "pub",
            Role::Other => "other",
        }
    }
}

/// Where a text is anchored.
#[derive(Clone, Copy)]
enum Anchor {
    Start,
    Middle,
    End,
}

/// A drawing that grows from the top.
struct Svg {
    body: String,
}

impl Svg {
    fn new() -> Svg {
        Svg { body: String::new() }
    }

    fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let _ = writeln!(
            self.body,
            r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#
        );
    }

    /// A round mark that says `tip` when pointed at.
    fn dot(&mut self, class: &str, (x, y): (f64, f64), tip: &str) {
        let tip = escape(tip);
        let _ = writeln!(
            self.body,
            "<circle class=\"dot {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\">\
             <title>{tip}</title></circle>"
        );
    }

    fn rect(&mut self, class: &str, (x, y): (f64, f64), (width, height): (f64, f64)) {
        let _ = writeln!(
            self.body,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" \
             width=\"{width:.1}\" height=\"{height:.1}\"/>"
        );
    }

    fn path(&mut self, class: &str, points: &[(f64, f64)]) {
        let list: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(self.body, r#"<polyline class="{class}" points="{}"/>"#, list.join(" "));
    }

    /// A line of a width that says something.
    fn stroke(&mut self, class: &str, width: f64, points: &[(f64, f64)]) {
        let list: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(
            self.body,
            r#"<polyline class="{class}" stroke-width="{width:.2}" points="{}"/>"#,
            list.join(" ")
        );
    }

    fn text(&mut self, class: &str, (x, y): (f64, f64), anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escape(text);
        let _ = writeln!(
            self.body,
            r#"<text class="{class}" x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#
        );
    }

    /// Horizontal axis: grid lines over the plot's height, labels below.
    fn bottom(&mut self, axis: &Axis, top: f64, bottom: f64) {
        for (value, label) in axis.ticks() {
            let x = axis.at(value);
            self.line("grid", (x, top), (x, bottom));
            self.text("tick", (x, bottom + 13.0), Anchor::Middle, &label);
        }
    }

    /// Vertical axis: grid lines over the plot's width, labels on the left.
    fn side(&mut self, axis: &Axis, left: f64, right: f64) {
        for (value, label) in axis.ticks() {
            let y = axis.at(value);
            self.line("grid", (left, y), (right, y));
            self.text("tick", (left - 6.0, y + 3.5), Anchor::End, &label);
        }
    }

    /// The element. `title` names it, `about` tells what it shows to who cannot see it.
    fn finish(self, height: f64, title: &str, about: &str) -> String {
        format!(
            "<svg role=\"img\" viewBox=\"0 0 {WIDTH:.0} {height:.0}\">\n<title>{}</title>\n\
             <desc>{}</desc>\n{}</svg>",
            escape(title),
            escape(about),
            self.body
        )
    }
}

/// Text as XML character data or attribute value.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in clean(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '/' => out.push_str("&#x2f;"),
            c => out.push(c),
        }
    }
    out
}

/// The widest label's room, at most `chars_max` characters of it.
fn label_width<'a>(labels: impl Iterator<Item = &'a str>, chars_max: usize) -> f64 {
    let chars = labels.map(|l| l.chars().count()).max().unwrap_or(0).min(chars_max);
    chars as f64 * CHAR + 10.0
}
