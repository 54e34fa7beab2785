//! Which label of an attribute fits an item: by what other items with its labels have, or by asking
//! a server.

use super::Spent;
use super::asking::Asking;
use super::form::{Form, entries, one_of};
use super::wording::{beginning, object};
use crate::error::Result;
use crate::remote::{Message, Role};
use crate::stage::texts::Texts;
use crate::types::{Catalogue, FaultKind, ItemId};
use serde::Deserialize;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;

/// A label's code with how sure somebody is of it, or why there is none.
pub type Guess = Result<(u32, f32), FaultKind>;

/// Somebody who knows which label fits.
pub trait Namer {
    /// A guess for each item, in their order, and what they took.
    ///
    /// Errors: whatever must stop the job.
    fn name(&self, items: &[ItemId]) -> Result<(Vec<Guess>, Spent)>;
}

/// The catalogue: the most probable label given the other attributes' labels, each counted by
/// itself.
///
/// Formula: P(l | item) ∝ (n(l) + 1) · Π over the item's other labels m of
/// (n(l, m) + 1) / (n(l) + M), with n counted over the items that may be learned from and M the
/// number of labels of m's attribute.
/// Source: naive Bayes with Laplace's correction.
pub struct Neighbours {
    catalogue: Arc<Catalogue>,
    attribute: usize,
    /// Items of each label.
    labels: Vec<u32>,
    /// Items of a label that have another one: (label, attribute, other label).
    pairs: HashMap<(u32, usize, u32), u32>,
}

impl Neighbours {
    /// Learns from some items.
    pub fn new(catalogue: Arc<Catalogue>, attribute: usize, items: &[ItemId]) -> Neighbours {
        let mut labels = vec![0; catalogue.attributes[attribute].labels.len()];
        let mut pairs = HashMap::new();
        for &item in items {
            for &label in catalogue.attributes[attribute].codes(item) {
                labels[label as usize] += 1;
                for (at, other) in others(&catalogue, attribute, item) {
                    *pairs.entry((label, at, other)).or_default() += 1;
                }
            }
        }
        Neighbours { catalogue, attribute, labels, pairs }
    }

    fn guess(&self, item: ItemId) -> Guess {
        let evidence: Vec<(usize, u32)> = others(&self.catalogue, self.attribute, item).collect();
        let log = |label: u32| {
            let count = f64::from(self.labels[label as usize]);
            evidence.iter().fold((count + 1.0).ln(), |sum, &(at, other)| {
                let both = self.pairs.get(&(label, at, other)).copied().unwrap_or(0);
                let kinds = self.catalogue.attributes[at].labels.len() as f64;
                sum + ((f64::from(both) + 1.0) / (count + kinds)).ln()
            })
        };
        let logs: Vec<f64> = (0..self.labels.len() as u32).map(log).collect();
        let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let all: f64 = logs.iter().map(|log| (log - most).exp()).sum();
        let best = logs.iter().position(|log| *log == most);
        best.map(|at| (at as u32, (1.0 / all) as f32)).ok_or(FaultKind::NothingToAsk)
    }
}

impl Namer for Neighbours {
    fn name(&self, items: &[ItemId]) -> Result<(Vec<Guess>, Spent)> {
        Ok((items.iter().map(|item| self.guess(*item)).collect(), Spent::default()))
    }
}

/// The labels that an item has of other attributes.
fn others(
    catalogue: &Catalogue,
    attribute: usize,
    item: ItemId,
) -> impl Iterator<Item = (usize, u32)> {
    let all = catalogue.attributes.iter().enumerate().filter(move |(at, _)| *at != attribute);
    all.flat_map(move |(at, a)| a.codes(item).iter().map(move |code| (at, *code)))
}

/// A model behind a server.
pub struct FarNamer {
    /// The server, and what may be spent.
    pub asking: Arc<Asking>,
    /// Puts items in words, the attribute left out.
    pub texts: Texts,
    /// The attribute.
    pub attribute: usize,
    /// Items of a prompt.
    pub items_per_prompt: usize,
}

const EXAMPLE: &str = "{\"labels\":[{\"id\":1,\"label\":\"…\",\"confidence\":7}]}";
/// The surest answer.
const CONFIDENCE_MAX: f64 = 10.0;
/// Labels that a schema lists: servers limit how many words it may have.
const LISTED_MAX: usize = 200;

/// The form of an answer about so many items.
fn form(items: usize, labels: &[String]) -> Form {
    let label = match labels.len() <= LISTED_MAX {
        true => one_of(&labels.iter().map(String::as_str).collect::<Vec<&str>>()),
        false => json!({ "type": "string" }),
    };
    let confidence = json!({ "type": "number", "minimum": 0, "maximum": CONFIDENCE_MAX });
    Form {
        example: EXAMPLE,
        holds: "one entry for every item",
        schema: entries("labels", items, &[("label", label), ("confidence", confidence)]),
    }
}

impl Namer for FarNamer {
    fn name(&self, items: &[ItemId]) -> Result<(Vec<Guess>, Spent)> {
        let chunks: Vec<&[ItemId]> = items.chunks(self.items_per_prompt.max(1)).collect();
        let said = self.asking.all(chunks.len(), |at| self.some(chunks[at]))?;
        let (mut guesses, mut spent) = (Vec::new(), Spent::default());
        for (mut some, took) in said {
            guesses.append(&mut some);
            spent += took;
        }
        Ok((guesses, spent))
    }
}

impl FarNamer {
    fn some(&self, items: &[ItemId]) -> Result<(Vec<Guess>, Spent)> {
        let attribute = &self.texts.catalogue.attributes[self.attribute];
        let form = form(items.len(), &attribute.labels);
        let read = |answer: &str| labels(answer, items.len(), &attribute.labels);
        let (said, spent) = self.asking.answer(&self.prompt(items), &form, &read)?;
        let guesses = match said {
            Ok(labels) => labels.into_iter().map(Ok).collect(),
            Err(found) => {
                let request = format!("which {} fits", attribute.name);
                vec![Err(FaultKind::Unjudged { request, found }); items.len()]
            }
        };
        Ok((guesses, spent))
    }

    fn prompt(&self, items: &[ItemId]) -> Vec<Message> {
        let attribute = &self.texts.catalogue.attributes[self.attribute];
        let (name, labels) = (&attribute.name, attribute.labels.join(" | "));
        let task = format!(
            "You complete a catalogue. For each numbered item say which {name} fits best, one of: \
             {labels}. Say how sure you are, from 0 to 10. Answer with JSON alone, one entry for \
             every item, in this form: {EXAMPLE}"
        );
        let mut asked = "Items:\n".to_owned();
        for (number, item) in (1..).zip(items) {
            asked += &format!("{number}. {}\n", self.texts.item(*item).replace(['\n', '\r'], " "));
        }
        vec![
            Message { role: Role::System, content: task },
            Message { role: Role::User, content: asked },
        ]
    }
}

#[derive(Deserialize)]
struct Answer {
    labels: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    id: u64,
    label: String,
    confidence: f64,
}

/// The labels of an answer about so many items, in their order: code and confidence.
fn labels(answer: &str, items: usize, known: &[String]) -> Result<Vec<(u32, f32)>, String> {
    let wrong = |why: String| format!("{why}; it begins {:?}", beginning(answer));
    let parsed: Answer = serde_json::from_str(object(answer)?).map_err(|e| wrong(e.to_string()))?;
    let mut found: Vec<Option<(u32, f32)>> = vec![None; items];
    for Entry { id, label, confidence } in parsed.labels {
        let Some(place) = found.get_mut((id as usize).wrapping_sub(1)) else {
            return Err(wrong(format!("expected ids 1 to {items}, found {id}")));
        };
        let same = |other: &String| other.to_lowercase() == label.trim().to_lowercase();
        let Some(code) = known.iter().position(same) else {
            return Err(wrong(format!("item {id}: expected one of the labels, found {label:?}")));
        };
        if !(0.0..=CONFIDENCE_MAX).contains(&confidence) {
            let why = format!("item {id}: expected a confidence of 0 to 10, found {confidence}");
            return Err(wrong(why));
        }
        *place = Some((code as u32, (confidence / CONFIDENCE_MAX) as f32));
    }
    let missing = found.iter().position(Option::is_none);
    match missing {
        None => Ok(found.into_iter().flatten().collect()),
        Some(at) => {
            Err(wrong(format!("expected a label for each item, found none for {}", at + 1)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_those_of_the_attribute() {
        let known = ["Comedy".to_owned(), "Drama".to_owned()];
        let answer = r#"{"labels":[{"id":2,"label":"drama","confidence":9},
            {"id":1,"label":"Comedy","confidence":5}]}"#;
        assert_eq!(labels(answer, 2, &known), Ok(vec![(0, 0.5), (1, 0.9)]));
        let refused = |answer: &str| labels(answer, 1, &known).expect_err("it is wrong");
        for (answer, why) in [
            ("Drama", "expected a JSON object"),
            (r#"{"labels":[]}"#, "found none for 1"),
            (r#"{"labels":[{"id":1,"label":"War","confidence":5}]}"#, "found \"War\""),
            (r#"{"labels":[{"id":1,"label":"Drama","confidence":50}]}"#, "found 50"),
            (r#"{"labels":[{"id":0,"label":"Drama","confidence":5}]}"#, "found 0"),
        ] {
            assert!(refused(answer).contains(why), "{answer}: {}", refused(answer));
        }
    }
}
