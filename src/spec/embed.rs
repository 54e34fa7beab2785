//! `kind = "embed"`: the catalogue's texts to vectors.

use super::{DeviceSpec, Problems};
use serde::{Deserialize, Serialize};

/// The job as written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmbedSpec {
    /// `run:JOB`, a train-encoder job.
    #[serde(skip_serializing)] // the upstream run's id stands for it
    pub encoder: String,
    /// Whose items are encoded: `run:JOB`, a prepare job; those that the encoder learned from when
    /// left out. A catalogue with new items and new texts needs no new encoder.
    #[serde(skip_serializing)]
    pub sequences: Option<String>,
    /// On what texts are read: `cpu`, or by an encoder of BERT's kind `cuda:N`, or `cuda:N,M` for
    /// several, which share the work. Runs of one store belong on devices of one kind: others' last
    /// bits differ. Default `cpu`.
    #[serde(skip_serializing_if = "DeviceSpec::is_cpu")] // a job without it keeps its run
    pub device: DeviceSpec,
    /// In which pieces.
    pub output: EmbedOutput,
}

/// `[output]` of an embed job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmbedOutput {
    /// Items of a part, 1 to 10000000. Default 8192.
    pub part_items: usize,
    /// Parts of an epoch, at least 1. Default 4.
    pub epoch_parts: usize,
}

impl Default for EmbedOutput {
    fn default() -> Self {
        Self { part_items: 8192, epoch_parts: 4 }
    }
}

impl EmbedSpec {
    /// Every rule over the fields.
    pub fn check(&self, problems: &mut Problems) {
        problems.reference("encoder", &self.encoder);
        if let Some(sequences) = &self.sequences {
            problems.reference("sequences", sequences);
        }
        problems.range("output.part_items", self.output.part_items, 1, 10_000_000);
        problems.range("output.epoch_parts", self.output.epoch_parts, 1, 1_000_000);
    }
}
