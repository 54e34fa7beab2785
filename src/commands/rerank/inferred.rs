//! Values of attributes that nobody wrote down, and what a report says of them.

use super::Prepared;
use crate::commands::label;
use crate::control::{Inferences, fill_in};
use crate::error::{Error, Result};
use crate::spec::InferredSpec;
use crate::store::RunDir;
use crate::types::Catalogue;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Fills in what the job's teacher inferred. Gives how sure it is of each value.
///
/// Errors: values of another catalogue; a part that is gone or changed.
pub fn fill(
    spec: &InferredSpec,
    labelled: &label::Labelled,
    prepared: &mut Prepared,
) -> Result<Inferences> {
    if labelled.catalogue.keys != prepared.catalogue.keys {
        return Err(Error::Input(format!(
            "inferred.labels: expected values of the items of {}, found those of {}",
            prepared.run.name(),
            labelled.prepared.run.name()
        )));
    }
    let filled = fill_in(&prepared.catalogue, &labelled.inferred()?, spec.confidence_min);
    prepared.catalogue = Arc::new(filled.catalogue);
    Ok(filled.inferred)
}

/// How many values of each attribute a run's lists are made with, and judged by, that a label run
/// inferred: a sentence each.
///
/// Errors: those of [`label::inferred`].
pub fn told(spec: &InferredSpec, catalogue: &Catalogue, labels: &RunDir) -> Result<Vec<String>> {
    let least = spec.confidence_min;
    let filled = fill_in(catalogue, &label::inferred(labels)?, least);
    let mut sums: BTreeMap<usize, (u64, f64)> = BTreeMap::new();
    for ((attribute, _), confidence) in &filled.inferred {
        let (count, sum) = sums.entry(*attribute).or_default();
        (*count, *sum) = (*count + 1, *sum + f64::from(*confidence));
    }
    if sums.is_empty() {
        return Ok(vec![format!("No value was inferred with a confidence of at least {least}.")]);
    }
    let sentence = |(attribute, (count, sum)): (usize, (u64, f64))| {
        let name = &catalogue.attributes[attribute].name;
        format!(
            "{count} values of {name} were inferred, with a confidence of at least {least} and of \
             {:.2} in the mean: lists are made with them, and judged by them.",
            sum / count as f64
        )
    };
    Ok(sums.into_iter().map(sentence).collect())
}
