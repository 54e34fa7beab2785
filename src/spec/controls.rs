//! `[controls]` of a rerank job: what people asked for.

use super::rerank::AskedSpec;
use super::{Problems, RerankSpec, Target};
use serde::{Deserialize, Serialize};

/// `[controls]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ControlsSpec {
    /// Where they come from. Default `none`.
    pub from: ControlFrom,
    /// `from = "table"`: a Parquet file with columns user, attribute, relation, value and
    /// optionally time (the latest wins, attribute by attribute). `generated:controls.parquet` is
    /// the one that a prepare job with `[generate]` made.
    #[serde(skip_serializing)]
    pub path: Option<String>,
    /// `from = "table"`: rows with a later time are not known yet.
    pub as_of: Option<i64>,
    /// `from = "job"`: `[[controls.ask]]`, the same for everybody.
    #[serde(rename = "ask")]
    pub asks: Vec<AskedSpec>,
    /// `from = "oracle"` or `"sampled"`: the attributes whose values become controls.
    pub attributes: Vec<String>,
    /// `from = "sampled"`: the seed. Default 0.
    pub seed: u64,
}

/// Where controls come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ControlFrom {
    /// Nobody asked for anything.
    #[default]
    None,
    /// The job file.
    Job,
    /// A per-user table.
    Table,
    /// A retrieved candidate's values, drawn by user.
    Sampled,
    /// The target's values: they leak the answer, and the report keeps them apart.
    Oracle,
    /// The table first, and sampled values for users it does not have.
    TableThenSampled,
}

impl RerankSpec {
    /// Every rule over controls.
    pub(super) fn check_controls(&self, problems: &mut Problems) {
        let controls = &self.controls;
        let path = controls.path.is_some();
        match controls.from {
            ControlFrom::Table | ControlFrom::TableThenSampled if !path => {
                problems.add("controls.path", "is missing: the table of controls");
            }
            ControlFrom::Job if controls.asks.is_empty() => {
                problems.add("controls.ask", "is missing: at least one [[controls.ask]]");
            }
            _ => {}
        }
        let drawn = matches!(
            controls.from,
            ControlFrom::Oracle | ControlFrom::Sampled | ControlFrom::TableThenSampled
        );
        if drawn && controls.attributes.is_empty() {
            problems.add("controls.attributes", "is missing: whose values become controls");
        }
        if controls.from == ControlFrom::Oracle && self.target == Target::None {
            problems.add("controls.from", "\"oracle\" needs a target, and `target` is \"none\"");
        }
        let count = controls.asks.len().max(controls.attributes.len());
        problems.range("controls (how many)", count, 0, 32);
    }
}
