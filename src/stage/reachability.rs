//! How far somebody can steer their list towards somebody else's.
//!
//! A pair of people are a source and a target. The source tries filters, or requests, that fit the
//! target's list, and keeps what brings their own list nearest to it. With the likeness of two
//! lists sim(A, B) = the mean over B's items of the greatest cosine with an item of A, in the base
//! recommender's space,
//!
//! reach = (sim(list under control, target) − sim(list, target)) / (1 − sim(list, target)):
//!
//! 0 for what changes nothing, 1 for the target's list itself, less than 0 for what leads away. The
//! same with the share of common items (Jaccard) in place of sim.
//!
//! A request is heard as language, an order of all items; and both ways: what the rules read in it
//! is a filter, and language orders what is left, as `language-control` after a `hard-filter` that
//! leaves only what meets it.
//!
//! Source: the simulation of CTRL-Rec (arXiv 2510.12742), whose measure is not published; this one
//! is ours. That reach depends on how far apart two people are is why pairs are told by it.

use super::language::{Fusion, Speaker, best};
use super::rerank::Embeddings;
use crate::control::request::{Requests, spoken_title};
use crate::control::{Postings, all_met};
use crate::device::cpu::top_k::every_score;
use crate::error::Result;
use crate::types::{Catalogue, Control, ItemId, Relation};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What pairs are steered with.
pub struct Steering {
    /// The items.
    pub catalogue: Arc<Catalogue>,
    /// For finding filters that enough items meet.
    pub postings: Postings,
    /// The base recommender's item vectors, (items, width), and the same of length 1.
    pub items: Vec<f32>,
    /// See `items`.
    pub embeddings: Embeddings,
    /// The length of a vector.
    pub width: usize,
    /// f and g.
    pub speaker: Arc<Speaker>,
    /// The rules that read requests.
    pub rules: Requests,
    /// The attributes that filters are over.
    pub filters: Vec<usize>,
    /// Items of a list.
    pub k: usize,
    /// The request's shares of the score.
    pub weights: Vec<f32>,
    /// How many filters and requests are tried at most.
    pub tries: usize,
}

/// What somebody says, as it is heard.
struct Request {
    /// Of every item.
    scores: Vec<f32>,
    /// The items that meet what the rules read in it, those taken already left out; none if they
    /// read nothing.
    meeting: Vec<ItemId>,
}

/// The score of what was taken already.
const TAKEN: f32 = f32::MIN;

/// Somebody, by what they took and the base recommender's vector of them.
pub struct Person<'a> {
    /// Oldest first.
    pub history: &'a [ItemId],
    /// (width).
    pub vector: &'a [f32],
}

/// What came of a pair: by likeness of items and by items in common.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Steered {
    /// How alike the lists were.
    pub before: [f64; 2],
    /// How far filters lead.
    pub filters: [f64; 2],
    /// How far requests lead, by weight.
    pub requests: Vec<[f64; 2]>,
    /// The same within what the rules read in them.
    pub within: Vec<[f64; 2]>,
}

impl Steering {
    /// Steers a source towards a target.
    ///
    /// Errors: a failure of an encoder.
    pub fn steer(&self, source: &Person<'_>, target: &Person<'_>) -> Result<Steered> {
        let scores = |person: &Person<'_>| {
            let mut scores = vec![0.0; self.catalogue.len()];
            every_score(person.vector, &self.items, self.width, &mut scores);
            // What was taken already is not recommended again.
            person.history.iter().for_each(|item| scores[*item as usize] = TAKEN);
            scores
        };
        let (ours, theirs) = (scores(source), scores(target));
        let goal = self.list(&theirs, &theirs, 0.0);
        let before = self.alike(&self.list(&ours, &ours, 0.0), &goal);
        let nearest = |lists: &mut dyn Iterator<Item = Vec<ItemId>>| {
            lists
                .map(|list| self.alike(&list, &goal))
                .fold(before, |best, now| [best[0].max(now[0]), best[1].max(now[1])])
        };
        let reach = |after: [f64; 2]| [0, 1].map(|view| reach(before[view], after[view]));
        let labels = self.labels(&goal);
        let filtered = self.tried(&labels).into_iter().map(|filter| self.filtered(&ours, &filter));
        let filters = reach(nearest(&mut filtered.collect::<Vec<_>>().into_iter()));
        let requests = self.requests(source, &goal, &labels)?;
        let led = |list: &dyn Fn(&Request, f32) -> Vec<ItemId>| -> Vec<[f64; 2]> {
            let by = |weight: &f32| nearest(&mut requests.iter().map(|said| list(said, *weight)));
            self.weights.iter().map(|weight| reach(by(weight))).collect()
        };
        let all = led(&|said, weight| self.list(&ours, &said.scores, weight));
        let within = led(&|said, weight| self.within(&ours, said, weight));
        Ok(Steered { before, filters, requests: all, within })
    }

    /// The best items by both orders.
    fn list(&self, base: &[f32], control: &[f32], weight: f32) -> Vec<ItemId> {
        let found = best(base, control, Fusion::Ranks, weight, self.k);
        found.into_iter().map(|one| one.at).collect()
    }

    /// The best items by both orders, of those that meet what the rules read in a request; of all
    /// if that is nothing, or nothing meets it.
    fn within(&self, base: &[f32], said: &Request, weight: f32) -> Vec<ItemId> {
        let meeting = &said.meeting;
        if meeting.is_empty() {
            return self.list(base, &said.scores, weight);
        }
        let [base, control] = [base, &said.scores]
            .map(|all| meeting.iter().map(|item| all[*item as usize]).collect::<Vec<f32>>());
        let found = self.list(&base, &control, weight);
        found.into_iter().map(|at| meeting[at as usize]).collect()
    }

    /// The best items that meet a filter.
    fn filtered(&self, base: &[f32], filter: &[Control]) -> Vec<ItemId> {
        let items = 0..self.catalogue.len() as ItemId;
        let there = |item: &ItemId| base[*item as usize] > TAKEN;
        let mut met: Vec<ItemId> =
            items.filter(|item| there(item) && all_met(&self.catalogue, filter, *item)).collect();
        met.sort_by(|a, b| base[*b as usize].total_cmp(&base[*a as usize]).then(a.cmp(b)));
        met.truncate(self.k);
        met
    }

    /// The labels that most items of a list have, with their attributes; the most frequent first.
    fn labels(&self, list: &[ItemId]) -> Vec<(usize, u32)> {
        let mut counts: BTreeMap<(usize, u32), usize> = BTreeMap::new();
        for &attribute in &self.filters {
            for item in list {
                for code in self.catalogue.attributes[attribute].codes(*item) {
                    *counts.entry((attribute, *code)).or_default() += 1;
                }
            }
        }
        let mut labels: Vec<((usize, u32), usize)> = counts.into_iter().collect();
        labels.sort_by_key(|(label, count)| (std::cmp::Reverse(*count), *label));
        labels.into_iter().map(|(label, _)| label).collect()
    }

    /// Filters that somebody tries: pairs of the most frequent labels, of different attributes
    /// first, and single ones; those that some item meets.
    fn tried(&self, labels: &[(usize, u32)]) -> Vec<Vec<Control>> {
        let control = |(attribute, code): (usize, u32)| Control {
            attribute: attribute as u16,
            relation: Relation::Is,
            codes: vec![code],
            bound: 0.0,
        };
        let few = &labels[..labels.len().min(self.tries)];
        let single = few.iter().map(|label| vec![control(*label)]);
        let pairs = few
            .iter()
            .enumerate()
            .flat_map(|(at, a)| few[at + 1..].iter().map(|b| vec![control(*a), control(*b)]));
        // In turns: a single one, a pair, a single one.
        let (single, pairs): (Vec<_>, Vec<_>) = (single.collect(), pairs.collect());
        let mut all = Vec::new();
        for at in 0..single.len().max(pairs.len()) {
            all.extend(single.get(at).cloned().into_iter().chain(pairs.get(at).cloned()));
        }
        all.retain(|filter| self.postings.any_meets(filter));
        all.truncate(self.tries);
        all
    }

    /// The requests that somebody tries.
    fn requests(
        &self,
        source: &Person<'_>,
        goal: &[ItemId],
        labels: &[(usize, u32)],
    ) -> Result<Vec<Request>> {
        let context = (self.speaker.describe)(source.history);
        let mut said: Vec<String> = self.said(goal, labels);
        said.truncate(self.tries);
        let meeting = |text: &String| -> Vec<ItemId> {
            let filter = self.rules.understand(text);
            if filter.is_empty() { Vec::new() } else { self.rules.meeting(&filter) }
        };
        let meeting: Vec<Vec<ItemId>> = said.iter().map(meeting).collect();
        let requests: Vec<(String, String)> =
            said.into_iter().map(|text| (text, context.clone())).collect();
        let vectors = (self.speaker.hear)(&requests)?;
        let scores = |vector: &[f32]| {
            let mut scores = vec![0.0; self.catalogue.len()];
            every_score(vector, &self.speaker.items, self.speaker.width, &mut scores);
            source.history.iter().for_each(|item| scores[*item as usize] = TAKEN);
            scores
        };
        let request = |(vector, mut meeting): (&[f32], Vec<ItemId>)| {
            let scores = scores(vector);
            meeting.retain(|item| scores[*item as usize] > TAKEN);
            Request { scores, meeting }
        };
        let vectors = vectors.chunks_exact(self.speaker.width);
        Ok(vectors.zip(meeting).map(request).collect())
    }

    /// What somebody may say who wants a list like this: in free words, by labels and by titles.
    fn said(&self, goal: &[ItemId], labels: &[(usize, u32)]) -> Vec<String> {
        let label = |at: usize| {
            let (attribute, code) = labels.get(at)?;
            Some(self.catalogue.attributes[*attribute].labels[*code as usize].clone())
        };
        let title = |at: usize| {
            let title = &self.catalogue.titles[*goal.get(at)? as usize];
            (!title.is_empty()).then(|| spoken_title(title))
        };
        let forms = [
            title(0).map(|title| format!("something like {title}")),
            label(0).zip(label(1)).map(|(a, b)| format!("{a} and {b}")),
            title(1).zip(label(0)).map(|(t, a)| format!("something like {t}, {a}")),
            label(0).map(|a| format!("I am in the mood for {a}")),
            title(2).map(|title| format!("more like {title}")),
            label(0).zip(label(2)).map(|(a, b)| format!("{a} or {b}")),
            Some((self.speaker.describe)(goal)),
            title(3).map(|title| format!("something like {title}")),
        ];
        forms.into_iter().flatten().collect()
    }

    /// How alike a list is to another: in its items' directions, and in its items.
    fn alike(&self, list: &[ItemId], goal: &[ItemId]) -> [f64; 2] {
        let nearest = |item: &ItemId| {
            let there = self.embeddings.row(*item);
            let cosine = |other: &ItemId| {
                let here = self.embeddings.row(*other);
                here.iter().zip(there).map(|(a, b)| f64::from(a * b)).sum::<f64>()
            };
            list.iter().map(cosine).fold(-1.0, f64::max)
        };
        let common = goal.iter().filter(|item| list.contains(item)).count() as f64;
        let all = (list.len() + goal.len()) as f64 - common;
        let mean = goal.iter().map(nearest).sum::<f64>() / goal.len().max(1) as f64;
        [mean, common / all.max(1.0)]
    }
}

/// How much of the way is gone.
fn reach(before: f64, after: f64) -> f64 {
    let way = 1.0 - before;
    if way > 1e-9 { (after - before) / way } else { 1.0 }
}
