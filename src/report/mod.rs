//! What came of it?
//!
//! Owns everything people read after a run: the [`Report`] (a fold over commits, made by the floors
//! below), and its forms: one self-contained HTML page, Markdown, JSON, rows for `metrics.parquet`,
//! one screen of text; two runs side by side ([`compare`]) and one user explained ([`explain`]).
//! Everything here is a pure function of its argument: the same report gives the same bytes.

pub mod compare;
mod cost;
mod diagnosis;
pub mod explain;
mod figures;
mod headline;
mod html;
mod markdown;
mod model;
mod names;
mod numbers;
mod plain;
mod plot;
mod rows;
mod saturation;
mod sheet;
mod sweep;
mod table;
mod text;

pub use headline::warnings;
pub use html::render_html;
pub use markdown::render_markdown;
pub use model::{
    ArmCosine, ArmCost, ArmTime, Bar, Expectation, Facts, FaultGroup, Learned, Report, Sheet,
    StageTime, Sweep, SweepPoint, SweptArm, Timings, Traffic, TrainingPoint, Upstream,
};
pub use rows::{MetricRow, from_json, metric_rows, render_json};
pub use text::summary_text;
