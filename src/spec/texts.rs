//! `[texts]`: items and people in words, for teachers and encoders.

use super::Problems;
use serde::{Deserialize, Serialize};

/// `[texts]`: how items and people are put in words. The same in training and when people are
/// waited on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TextsSpec {
    /// Attributes that are told, in this order; all of them when left out.
    pub attributes: Option<Vec<String>>,
    /// The latest titles of a person that are told, 0 to 200. Default 20.
    pub history_max: usize,
    /// Letters of a description that are told, 0 to 10000. Default 0.
    pub description_chars_max: usize,
}

impl Default for TextsSpec {
    fn default() -> Self {
        TextsSpec { attributes: None, history_max: 20, description_chars_max: 0 }
    }
}

impl TextsSpec {
    /// Every rule over the fields.
    pub fn check(&self, problems: &mut Problems) {
        problems.unique("texts.attributes", self.attributes.iter().flatten().map(String::as_str));
        problems.range("texts.history_max", self.history_max, 0, 200);
        problems.range("texts.description_chars_max", self.description_chars_max, 0, 10_000);
    }
}
