//! From a teacher's judgements to lessons and to what they are examined by.

use crate::spec::TrainEncoderSpec;
use crate::train::encoder::Lesson;
use crate::types::{Category, ItemId, Judgement, mix64, unit_f64};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A request with what the teacher said about some items for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The request.
    pub request: String,
    /// The user in words.
    pub context: String,
    /// What it is about.
    pub category: Category,
    /// Whether its wording is kept from training.
    pub new_wording: bool,
    /// Whether it has a word that no request has that is learned from.
    pub new_word: bool,
    /// Items and scores that may be learned from.
    pub items: Vec<(ItemId, f32)>,
    /// Those of items that are kept from training.
    pub new_items: Vec<(ItemId, f32)>,
}

/// What of a judgement was kept from training, beside the request itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Held {
    /// Nothing: known wordings and items, in other requests.
    Requests,
    /// The wording.
    Wordings,
    /// The wording, but of words that others have.
    Arrangements,
    /// The wording, and a word of it.
    Words,
    /// The item.
    Items,
    /// Both.
    Both,
}

impl Held {
    /// All of them.
    pub const ALL: [Held; 6] =
        [Held::Requests, Held::Wordings, Held::Arrangements, Held::Words, Held::Items, Held::Both];

    /// The judgements of a request that are of this kind.
    pub fn of(self, judged: &Judged) -> &[(ItemId, f32)] {
        match (self, judged.new_wording) {
            (Held::Requests, false) | (Held::Wordings, true) => &judged.items,
            (Held::Arrangements, true) if !judged.new_word => &judged.items,
            (Held::Words, true) if judged.new_word => &judged.items,
            (Held::Items, false) | (Held::Both, true) => &judged.new_items,
            _ => &[],
        }
    }
}

/// All requests that were judged, in the order in which they were first.
pub fn judged(judgements: Vec<Judgement>) -> Vec<Judged> {
    let mut places: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut all: Vec<Judged> = Vec::new();
    for one in judgements {
        let key = (one.request, one.context);
        let at = *places.entry(key.clone()).or_insert_with(|| {
            all.push(Judged {
                request: key.0,
                context: key.1,
                category: one.category,
                new_wording: one.wording_held_out,
                new_word: false,
                items: Vec::new(),
                new_items: Vec::new(),
            });
            all.len() - 1
        });
        let items = match one.item_held_out {
            true => &mut all[at].new_items,
            false => &mut all[at].items,
        };
        items.push((one.item, one.score));
    }
    all
}

/// What is learned from, and what is not: all requests in new wordings, and a share of the others.
pub fn split(spec: &TrainEncoderSpec, all: Vec<Judged>) -> (Vec<Lesson>, Vec<Judged>) {
    let (mut lessons, mut kept) = (Vec::new(), Vec::new());
    for (at, judged) in all.into_iter().enumerate() {
        let draw = unit_f64(mix64(spec.train.seed ^ mix64(at as u64)));
        if judged.new_wording || draw < f64::from(spec.train.validation) {
            kept.push(judged);
        } else if !judged.items.is_empty() {
            let Judged { request, context, items, .. } = judged;
            lessons.push(Lesson { request, context, items });
        }
    }
    let learned: BTreeSet<String> =
        lessons.iter().flat_map(|lesson: &Lesson| words(&lesson.request)).collect();
    for judged in &mut kept {
        judged.new_word = words(&judged.request).any(|word| !learned.contains(&word));
    }
    (lessons, kept)
}

/// The words of a request in small letters, but for names and numbers: what begins with a capital
/// is a name, and requests about other titles and brands are in the same words.
fn words(request: &str) -> impl Iterator<Item = String> {
    let words = request.split(|letter: char| !letter.is_alphanumeric() && letter != '\'');
    let common = words.filter(|word| word.starts_with(char::is_lowercase));
    common.map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_no_new_words() {
        let found: Vec<String> =
            words("like The Matrix (1999), but it's cheaper than $12").collect();
        assert_eq!(found, ["like", "but", "it's", "cheaper", "than"]);
    }
}
