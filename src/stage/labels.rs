//! What judgements come to, and encoding them.

use super::judge::{Answered, Spent};
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
}

impl LabelSums {
    /// Adds those of another partition.
    pub fn add(&mut self, other: &LabelSums) {
        self.users += other.users;
        self.requests += other.requests;
        self.spent += other.spent;
        for (category, sums) in &other.categories {
            let mine = self.categories.entry(*category).or_default();
            mine.judgements += sums.judgements;
            mine.wordings_held_out += sums.wordings_held_out;
            mine.items_held_out += sums.items_held_out;
            mine.positive += sums.positive;
            mine.score_micro += sums.score_micro;
        }
    }

    fn of(users: &[Answered]) -> LabelSums {
        let mut sums = LabelSums { users: users.len() as u64, ..LabelSums::default() };
        for user in users {
            sums.requests += user.requests;
            sums.spent += user.spent;
            for judgement in &user.judgements {
                let mine = sums.categories.entry(judgement.category).or_default();
                mine.judgements += 1;
                mine.wordings_held_out += u64::from(judgement.wording_held_out);
                mine.items_held_out += u64::from(judgement.item_held_out);
                mine.positive += u64::from(judgement.score >= 0.5);
                mine.score_micro += (f64::from(judgement.score) * 1e6).round() as u64;
            }
        }
        sums
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
