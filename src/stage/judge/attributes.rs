//! The catalogue as a teacher: an item answers a request if it meets what the request means.

use super::{Question, Teacher, Verdict};
use crate::control::met;
use crate::error::Result;
use crate::types::{Catalogue, FaultKind, mix64, unit_f64};
use std::sync::Arc;

/// Scores of 1 where all that a request means is met, and 0 otherwise.
pub struct Attributes {
    /// The items.
    pub catalogue: Arc<Catalogue>,
    /// The share of what is met, instead.
    pub graded: bool,
    /// The share of judgements that are turned around, as a teacher errs.
    pub noise: f64,
    /// Decides which.
    pub seed: u64,
}

impl Teacher for Attributes {
    fn judge(&self, questions: &[Question<'_>]) -> Result<Vec<Verdict>> {
        Ok(questions.iter().map(|question| self.verdict(question)).collect())
    }
}

impl Attributes {
    fn verdict(&self, question: &Question<'_>) -> Verdict {
        let meaning = &question.request.meaning;
        if meaning.is_empty() {
            let found = "no rule understands it".to_owned();
            let fault = FaultKind::Unjudged { request: question.request.text.clone(), found };
            let scores = vec![Err(fault); question.items.len()];
            return Verdict { scores, ..Verdict::default() };
        }
        let text = crate::types::Key::from(question.request.text.as_str()).hash64();
        let score = |item: &u32| {
            let kept =
                meaning.iter().filter(|control| met(&self.catalogue, control, *item)).count();
            let share = kept as f32 / meaning.len().max(1) as f32;
            let score = if self.graded { share } else { f32::from(kept == meaning.len()) };
            let draw = mix64(self.seed ^ mix64(question.user ^ text) ^ u64::from(*item));
            if unit_f64(mix64(draw)) < self.noise { 1.0 - score } else { score }
        };
        Verdict {
            scores: question.items.iter().map(|i| Ok(score(i))).collect(),
            ..Verdict::default()
        }
    }
}
