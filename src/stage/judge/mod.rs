//! How well items answer requests, by a teacher: the catalogue, a decoder, or a server far away.

mod answers;
mod asking;
mod attributes;
mod beside;
mod budget;
mod far;
mod form;
mod naming;
mod near;
mod wording;
mod writing;

pub use answers::Answers;
pub use asking::Asking;
pub use attributes::Attributes;
pub use beside::Beside;
pub use budget::{Account, Budget, Paid};
pub use far::Far;
pub use form::{Form, list, number_to, object, one_of};
pub use naming::{FarNamer, Namer, Neighbours};
pub use near::{Near, TEMPLATE, Wording};
pub use wording::prompt;
pub use writing::Writer;

use super::pose::{Posed, kept_from_training};
use super::{Outcomes, Stage};
use crate::control::all_met;
use crate::error::Result;
use crate::types::{Catalogue, Category, FaultKind, ItemId, Judgement, Origin, Request, StageName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One request with the items to be judged for it.
pub struct Question<'a> {
    /// Who asks: the hash of their key.
    pub user: u64,
    /// The user in words.
    pub context: &'a str,
    /// What they ask for.
    pub request: &'a Request,
    /// The items, ascending.
    pub items: &'a [ItemId],
}

/// What a teacher says to a question.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Each item's score, 0 to 1, or why there is none.
    pub scores: Vec<Result<f32, FaultKind>>,
    /// What it took.
    pub spent: Spent,
}

/// What answers took, whoever paid for them and when: the same for the same answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Prompts that were read.
    pub prompts: u64,
    /// Their tokens.
    pub tokens_in: u64,
    /// Tokens of the answers.
    pub tokens_out: u64,
}

impl std::ops::AddAssign for Spent {
    fn add_assign(&mut self, other: Spent) {
        self.prompts += other.prompts;
        self.tokens_in += other.tokens_in;
        self.tokens_out += other.tokens_out;
    }
}

/// Somebody who knows how well items answer requests.
pub trait Teacher: Send + Sync {
    /// A verdict for each question, in their order. What is said of a question depends on that
    /// question alone.
    ///
    /// Errors: whatever must stop the job; what is wrong with an answer is a fault in the verdict.
    fn judge(&self, questions: &[Question<'_>]) -> Result<Vec<Verdict>>;
}

/// A user's requests, judged.
#[derive(Clone, Debug)]
pub struct Answered {
    /// Where the user's sequence was read.
    pub origin: Origin,
    /// In the order of requests and items.
    pub judgements: Vec<Judgement>,
    /// What each request that was asked is about.
    pub asked: Vec<Category>,
    /// Beside the catalogue, where it knows what a request means and is not the teacher itself.
    pub beside: BTreeMap<Category, Beside>,
    /// What the answers took.
    pub spent: Spent,
}

/// Has a teacher judge what users ask for.
#[derive(Clone)]
pub struct Judge {
    /// Who judges.
    pub teacher: Arc<dyn Teacher>,
    /// The items.
    pub catalogue: Arc<Catalogue>,
    /// The share of items that are kept from training.
    pub held_out: f64,
    /// Decides which.
    pub seed: u64,
    /// Whether the catalogue is asked too, to compare.
    pub compared: bool,
}

impl Stage for Judge {
    type In = Posed;
    type Out = Answered;
    const NAME: StageName = StageName::Judge;

    fn run(&mut self, users: Vec<Posed>, out: &mut Outcomes<Answered>) {
        let questions: Vec<Question<'_>> = users.iter().flat_map(questions).collect();
        let verdicts = match self.teacher.judge(&questions) {
            Ok(verdicts) => verdicts,
            Err(error) => return out.fail(&error),
        };
        assert_eq!(verdicts.len(), questions.len(), "a verdict for each question");
        let mut verdicts = verdicts.into_iter();
        for user in users {
            let verdicts = verdicts.by_ref().take(user.asked.len()).collect();
            self.answer(&user, verdicts, out);
        }
    }
}

fn questions(user: &Posed) -> impl Iterator<Item = Question<'_>> {
    user.asked.iter().map(|(request, items)| Question {
        user: user.user.hash64(),
        context: &user.context,
        request,
        items,
    })
}

impl Judge {
    fn answer(&self, user: &Posed, verdicts: Vec<Verdict>, out: &mut Outcomes<Answered>) {
        let (mut judgements, mut spent) = (Vec::new(), user.spent);
        let (mut asked, mut beside) = (Vec::new(), BTreeMap::new());
        for ((request, items), verdict) in user.asked.iter().zip(verdicts) {
            spent += verdict.spent;
            let category = request.category.unwrap_or(Category::Attribute);
            asked.push(category);
            if self.compared && !request.meaning.is_empty() {
                let mine: &mut Beside = beside.entry(category).or_default();
                for (item, score) in items.iter().zip(&verdict.scores) {
                    let Ok(score) = score else { continue };
                    mine.note(*score >= 0.5, all_met(&self.catalogue, &request.meaning, *item));
                }
            }
            let mut faults: Vec<FaultKind> = Vec::new();
            for (item, score) in items.iter().zip(verdict.scores) {
                let key = &self.catalogue.keys[*item as usize];
                match score {
                    Ok(score) => judgements.push(Judgement {
                        user: user.user.clone(),
                        context: user.context.clone(),
                        request: request.text.clone(),
                        category,
                        wording_held_out: request.held_out,
                        item: *item,
                        item_held_out: kept_from_training(key, self.held_out, self.seed),
                        score,
                    }),
                    Err(fault) if !faults.contains(&fault) => faults.push(fault),
                    Err(_) => {} // told already: one answer is about several items
                }
            }
            faults.into_iter().for_each(|fault| out.fault(user.origin, fault));
        }
        out.ok(Answered { origin: user.origin, judgements, asked, beside, spent });
    }
}
