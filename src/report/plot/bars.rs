//! Where the time went: one bar a stage, as long as its share of all work.

use super::{Anchor, ROW, Svg, WIDTH, label_width};
use crate::report::model::StageTime;
use crate::report::numbers::{duration, percent, short};
use crate::report::plain::cut;

const LABEL_CHARS: usize = 14;
/// Room for `100.0 %` at the right.
const SHARE: f64 = 50.0;

pub(in crate::report) fn plot(title: &str, stages: &[StageTime]) -> String {
    let mut svg = Svg::new();
    let left = label_width(stages.iter().map(|s| s.stage.as_str()), LABEL_CHARS);
    let room = WIDTH - SHARE - left;
    let sound = |s: &StageTime| if s.share.is_finite() { s.share.clamp(0.0, 1.0) } else { 0.0 };
    let most = stages.iter().map(sound).fold(0.01, f64::max);
    let mut about = Vec::new();
    for (at, stage) in stages.iter().enumerate() {
        let y = (at as f64 + 0.5) * ROW;
        svg.text("label", (0.0, y + 4.0), Anchor::Start, &cut(&stage.stage, LABEL_CHARS));
        svg.rect("bar", (left, y - 6.0), (sound(stage) / most * room, 12.0));
        svg.text("value", (WIDTH, y + 4.0), Anchor::End, &percent(stage.share, 1));
        let rate = short(stage.rows_per_second);
        about.push(format!("{} {}, {rate} rows/s", stage.stage, duration(stage.seconds)));
    }
    svg.finish(stages.len() as f64 * ROW + 4.0, title, &about.join("; "))
}
