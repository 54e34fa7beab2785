//! What judgements come to, and encoding them.

use super::judge::{Answered, Beside, Spent};
use super::write::{Partition, Written};
use super::{Outcomes, Stage};
use crate::store::{RunDir, part, part_key};
use crate::types::{Category, Judgement, StageName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a partition's judgements come to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LabelSums {
    /// Users who asked.
    pub users: u64,
    /// Requests.
    pub requests: u64,
    /// By category.
    pub categories: BTreeMap<Category, CategorySums>,
    /// What the answers took.
    pub spent: Spent,
}

/// What the judgements of one category come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)] // runs of earlier versions know less
pub struct CategorySums {
    /// Judgements.
    pub judgements: u64,
    /// Of wordings that are kept from training.
    pub wordings_held_out: u64,
    /// Of items that are kept from training.
    pub items_held_out: u64,
    /// With a score of at least a half.
    pub positive: u64,
    /// The sum of their scores, in millionths.
    pub score_micro: u64,
    /// Requests.
    pub requests: u64,
    /// Judgements by tenths of the score; a score of 1 is of the last.
    pub tenths: [u64; 10],
    /// Beside the catalogue.
    pub beside: Beside,
}

impl LabelSums {
    /// Adds those of another partition.
    pub fn add(&mut self, other: &LabelSums) {
        self.users += other.users;
        self.requests += other.requests;
        self.spent += other.spent;
        for (category, sums) in &other.categories {
            self.categories.entry(*category).or_default().add(sums);
        }
    }

    fn of(users: &[Answered]) -> LabelSums {
        let mut sums = LabelSums { users: users.len() as u64, ..LabelSums::default() };
        for user in users {
            sums.requests += user.asked.len() as u64;
            sums.spent += user.spent;
            for category in &user.asked {
                sums.categories.entry(*category).or_default().requests += 1;
            }
            for (category, beside) in &user.beside {
                sums.categories.entry(*category).or_default().beside += *beside;
            }
            for judgement in &user.judgements {
                sums.categories.entry(judgement.category).or_default().note(judgement);
            }
        }
        sums
    }

    /// Those of all categories together.
    pub fn all(&self) -> CategorySums {
        let mut all = CategorySums::default();
        self.categories.values().for_each(|sums| all.add(sums));
        all
    }
}

impl CategorySums {
    fn add(&mut self, other: &CategorySums) {
        self.judgements += other.judgements;
        self.wordings_held_out += other.wordings_held_out;
        self.items_held_out += other.items_held_out;
        self.positive += other.positive;
        self.score_micro += other.score_micro;
        self.requests += other.requests;
        self.tenths.iter_mut().zip(other.tenths).for_each(|(mine, other)| *mine += other);
        self.beside += other.beside;
    }

    fn note(&mut self, judgement: &Judgement) {
        let score = f64::from(judgement.score);
        self.judgements += 1;
        self.wordings_held_out += u64::from(judgement.wording_held_out);
        self.items_held_out += u64::from(judgement.item_held_out);
        self.positive += u64::from(score >= 0.5);
        self.score_micro += (score * 1e6).round() as u64;
        self.tenths[((score * 10.0) as usize).min(9)] += 1;
    }
}

/// Judgements, in the order of their users.
pub struct WriteJudgements(pub RunDir);

impl Stage for WriteJudgements {
    type In = Partition<Answered>;
    type Out = Written<LabelSums>;
    const NAME: StageName = StageName::Write;

    fn run(&mut self, parts: Vec<Partition<Answered>>, out: &mut Outcomes<Written<LabelSums>>) {
        for mut part in parts {
            part.rows.sort_by_key(|user| user.origin);
            let (extra, covers) = (LabelSums::of(&part.rows), part.rows.len() as u64);
            let judgements = part.rows.into_iter().flat_map(|user| user.judgements);
            let judgements: Vec<Judgement> = judgements.collect();
            let key = part_key(part.epoch, part.partition);
            let put = part::judgements::encode(&judgements)
                .and_then(|bytes| self.0.put_part(key, judgements.len() as u64, bytes.into()));
            match put {
                Ok(part) => out.ok(Written { part, covers, extra }),
                Err(error) => out.fail(&error),
            }
        }
    }
}
