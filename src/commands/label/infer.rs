//! The end of a label job with `[infer]`: a label for each item that has none of an attribute.

use super::{Opened, teacher};
use crate::commands::rerank::attribute;
use crate::error::{Error, Result};
use crate::flow::commit::put_with_faults;
use crate::spec::{InferSpec, LabelSpec};
use crate::stage::judge::{Asking, Spent};
use crate::store::{Commit, RunDir, part, part_key};
use crate::types::{Epoch, Fault, Inferred, ItemId, Origin, StageName, mix64, unit_f64};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Items that a teacher is asked about at once.
const ITEMS_AT_ONCE: usize = 512;

/// What came of inferring an attribute: the payload of its commit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InferFacts {
    /// The attribute.
    pub attribute: String,
    /// Items without a value that were asked about.
    pub unknown: u64,
    /// Of them, those that have a label now with enough confidence.
    pub filled: u64,
    /// Items with a value that were asked about, to measure.
    pub known: u64,
    /// Of them, those of which the label is one that they have.
    pub right: u64,
    /// Of them, those with enough confidence.
    pub sure: u64,
    /// Of those, the ones that are right.
    pub sure_right: u64,
    /// What the answers took.
    pub spent: Spent,
}

/// The payload as a commit holds it, told apart from the others'.
#[derive(Serialize, Deserialize)]
pub struct Payload {
    /// What came of it.
    pub inferred: InferFacts,
}

/// Which items are asked about: those without a value, and those that are to measure the teacher.
struct Asked {
    unknown: Vec<ItemId>,
    known: Vec<ItemId>,
    /// What may be learned from.
    learned: Vec<ItemId>,
}

/// Asks about all items, and records the epoch.
///
/// Errors: an attribute that is not there, or is one of numbers; those of the teacher and the disk.
pub fn infer(
    spec: &LabelSpec,
    infer: &InferSpec,
    opened: &Opened,
    asking: Option<&Arc<Asking>>,
) -> Result<()> {
    let catalogue = &opened.catalogue;
    let at = attribute(catalogue, "infer.attribute", &infer.attribute)?;
    if !catalogue.attributes[at].numbers.is_empty() {
        let name = &infer.attribute;
        return Err(Error::Input(format!(
            "infer.attribute: expected an attribute of labels, found {name:?}, which has numbers"
        )));
    }
    let asked = asked(infer, spec.requests.seed, opened, at);
    let namer = teacher::namer(spec, opened, at, &asked.learned, asking)?;
    let mut items: Vec<(ItemId, bool)> = asked.unknown.iter().map(|item| (*item, false)).collect();
    items.extend(asked.known.iter().map(|item| (*item, true)));
    items.sort_unstable();
    let mut facts = InferFacts { attribute: infer.attribute.clone(), ..InferFacts::default() };
    let (mut rows, mut faults) = (Vec::new(), Vec::new());
    for some in items.chunks(ITEMS_AT_ONCE) {
        let ids: Vec<ItemId> = some.iter().map(|(item, _)| *item).collect();
        let (guesses, spent) = namer.name(&ids)?;
        facts.spent += spent;
        for (&(item, known), guess) in some.iter().zip(guesses) {
            match guess {
                Ok((code, confidence)) => {
                    count(&mut facts, known, confidence >= infer.confidence_min as f32, || {
                        catalogue.attributes[at].codes(item).contains(&code)
                    });
                    let label = catalogue.attributes[at].labels[code as usize].clone();
                    let attribute = infer.attribute.clone();
                    rows.push(Inferred { item, attribute, label, confidence, known });
                }
                Err(kind) => {
                    let origin = Origin { shard: 0, row: item };
                    faults.push(Fault { origin, stage: StageName::Judge, kind });
                }
            }
        }
    }
    put(&opened.run, opened.plan.end(), facts, &rows, faults)
}

/// Draws which items are asked about.
fn asked(infer: &InferSpec, seed: u64, opened: &Opened, at: usize) -> Asked {
    let (catalogue, attribute) = (&opened.catalogue, &opened.catalogue.attributes[at]);
    let draw = |item: &ItemId| mix64(mix64(seed ^ 7) ^ catalogue.keys[*item as usize].hash64());
    let all = 0..catalogue.len() as ItemId;
    let (without, with): (Vec<_>, Vec<_>) = all.partition(|i| attribute.codes(*i).is_empty());
    let measured = |item: &ItemId| unit_f64(draw(item)) < infer.held_out;
    let (mut known, learned): (Vec<_>, Vec<_>) = with.into_iter().partition(measured);
    let mut unknown = without;
    if infer.items_max > 0 {
        for some in [&mut unknown, &mut known] {
            some.sort_by_cached_key(|item| (draw(item), *item));
            some.truncate(infer.items_max as usize);
        }
    }
    Asked { unknown, known, learned }
}

fn count(facts: &mut InferFacts, known: bool, sure: bool, right: impl Fn() -> bool) {
    if !known {
        facts.unknown += 1;
        facts.filled += u64::from(sure);
        return;
    }
    let right = right();
    facts.known += 1;
    facts.right += u64::from(right);
    facts.sure += u64::from(sure);
    facts.sure_right += u64::from(sure && right);
}

fn put(
    run: &RunDir,
    epoch: Epoch,
    facts: InferFacts,
    rows: &[Inferred],
    faults: Vec<Fault>,
) -> Result<()> {
    let bytes = part::inferred::encode(rows)?;
    let part = run.put_part(part_key(epoch, 0), rows.len() as u64, bytes.into())?;
    let payload = serde_json::to_value(Payload { inferred: facts });
    let payload = payload.map_err(|e| Error::Incomplete(e.to_string()))?;
    let commit = Commit { epoch, parts: vec![part], payload, ..Commit::default() };
    put_with_faults(run, commit, faults, &["the catalogue's items".to_owned()])
}
