//! From a teacher's judgements to lessons and to what they are examined by.

use crate::spec::TrainEncoderSpec;
use crate::train::encoder::Lesson;
use crate::types::{Category, ItemId, Judgement, mix64, unit_f64};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
    /// The item.
    Items,
    /// Both.
    Both,
}

impl Held {
    /// All four.
    pub const ALL: [Held; 4] = [Held::Requests, Held::Wordings, Held::Items, Held::Both];

    /// The judgements of a request that are of this kind.
    pub fn of(self, judged: &Judged) -> &[(ItemId, f32)] {
        match (self, judged.new_wording) {
            (Held::Requests, false) | (Held::Wordings, true) => &judged.items,
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
    (lessons, kept)
}
