//! Token control: the order that a decoder gives a user's best candidates, read from the logits of
//! their labels after one prompt.
//!
//! Score of candidate j: mean over permutations of logit[last token, label of j], standardised over
//! the candidates, and mixed with the standardised score of the list that came in:
//! (1 − weight) · z(incoming) + weight · z(model).
//!
//! Candidates are shown in an order drawn for the user, not in the retriever's, so that a place
//! says nothing; several orders take out what is left of a model's love for some labels.
//! Candidates beyond those that a prompt shows follow as they were. A user whose prompt cannot be
//! made or scored keeps the list that came in, and is told.
//!
//! Source: COREC (2025), §1.4 of its released code for reading the logits; LlamaRec (2023).

use super::prompt::Prompter;
use super::reader::Reader;
use super::{Meter, Outcomes};
use crate::error::Error;
use crate::model::decoder::Prompt;
use crate::types::{ArmList, Candidates, Control, Cost, FaultKind, ItemId, Origin, mix64};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

/// A decoder that ranks candidates.
pub struct Scorer {
    /// Makes its prompts.
    pub prompter: Prompter,
    /// Reads them.
    pub reader: Reader,
    /// Which adapter; none is the base model.
    pub adapter: Option<u32>,
    /// Tokens of the prompts that it was asked, and the time that these took to be made and read.
    pub meter: Arc<Meter>,
}

/// The step.
#[derive(Clone)]
pub struct TokenControl {
    /// Shared by all workers.
    pub scorer: Arc<Scorer>,
    /// The model's share of the score, 0 to 1.
    pub weight: f32,
    /// Prompts of a user, each with another order of the candidates; at least 1.
    pub permutations: usize,
    /// What the orders are drawn by.
    pub seed: u64,
}

/// What decoders said of users' candidates: the sum of each one's logits over the permutations, or
/// why there is none. Steps that differ in their weight alone, and lists that differ beyond what a
/// prompt shows, read it once.
#[derive(Default)]
pub struct Memo(HashMap<Origin, Vec<Said>>);

/// The answer for one user's controls and candidates.
struct Said {
    step: TokenControl,
    controls: Vec<Control>,
    items: Vec<ItemId>,
    sums: Result<Vec<f32>, FaultKind>,
    cost: Cost,
}

/// A prompt on its way: for which answer, and which candidate each label stands for.
struct Asked {
    answer: usize,
    shown: Vec<u32>,
    prompt: Prompt,
}

impl Memo {
    fn said(&self, step: &TokenControl, row: &Candidates, list: &ArmList) -> Option<&Said> {
        let same = |said: &&Said| {
            let items = step.items(row, list);
            said.step.asks_as(step)
                && said.controls == row.query.controls
                && items.eq(said.items.iter().copied())
        };
        self.0.get(&row.query.origin)?.iter().find(same)
    }
}

impl TokenControl {
    /// The lists that the step makes of those that came in, one for each row; adds what it reads
    /// for each to its cost, whether or not another step asked the same before.
    pub fn apply<T>(
        &self,
        rows: &[Candidates],
        mut lists: Vec<ArmList>,
        costs: &mut [Cost],
        memo: &mut Memo,
        out: &mut Outcomes<T>,
    ) -> Vec<ArmList> {
        if let Err(error) = self.ask_all(rows, &lists, memo) {
            out.fail(&error);
            return lists;
        }
        for ((row, list), cost) in rows.iter().zip(&mut lists).zip(costs) {
            // Of an empty list there is nothing to ask.
            let Some(said) = memo.said(self, row, list) else { continue };
            *cost += said.cost;
            match &said.sums {
                Ok(sums) => self.mix(list, sums),
                Err(kind) => out.fault(row.query.origin, kind.clone()),
            }
        }
        lists
    }

    /// Has the decoder answer whatever it was not asked yet.
    fn ask_all(
        &self,
        rows: &[Candidates],
        lists: &[ArmList],
        memo: &mut Memo,
    ) -> Result<(), Error> {
        let start = Instant::now();
        let (mut answers, mut asked) = (Vec::new(), Vec::<Asked>::new());
        let mut tokens = 0;
        for (row, list) in rows.iter().zip(lists) {
            if list.order.is_empty() || memo.said(self, row, list).is_some() {
                continue;
            }
            let prompts = self.ask(answers.len(), row, list);
            let items: Vec<ItemId> = self.items(row, list).collect();
            let mut cost = Cost::default();
            let sums = prompts.map(|prompts: Vec<Asked>| {
                cost.prompts = prompts.len() as u64;
                cost.tokens = prompts.iter().map(|asked| asked.prompt.tokens.len() as u64).sum();
                asked.extend(prompts);
                vec![0.0; items.len()]
            });
            tokens += cost.tokens as usize;
            let controls = row.query.controls.clone();
            let said = Said { step: self.clone(), controls, items, sums, cost };
            answers.push((row.query.origin, said));
        }
        let prompts: Vec<Prompt> =
            asked.iter_mut().map(|a| std::mem::take(&mut a.prompt)).collect();
        let labels = self.scorer.reader.labels();
        let logits = self.scorer.reader.logits(&prompts)?;
        for (Asked { answer, shown, .. }, logits) in asked.iter().zip(logits.chunks_exact(labels)) {
            let Ok(sums) = &mut answers[*answer].1.sums else { continue };
            for (place, logit) in shown.iter().zip(logits) {
                sums[*place as usize] += logit;
            }
        }
        if tokens > 0 {
            self.scorer.meter.add(tokens, start.elapsed());
        }
        for (origin, said) in answers {
            memo.0.entry(origin).or_default().push(said);
        }
        Ok(())
    }

    /// Whether another step asks the same decoder in the same orders.
    fn asks_as(&self, other: &TokenControl) -> bool {
        let seeds = (self.permutations, self.seed) == (other.permutations, other.seed);
        seeds && Arc::ptr_eq(&self.scorer, &other.scorer)
    }

    /// The items of a list that a prompt shows, as they came in.
    fn items<'a>(
        &self,
        row: &'a Candidates,
        list: &'a ArmList,
    ) -> impl Iterator<Item = ItemId> + use<'a> {
        let shown = list.order.iter().take(self.scorer.reader.labels());
        shown.map(|at| row.items[*at as usize])
    }

    /// The first prompt of a user as people read it, and its tokens.
    ///
    /// Errors: those of [`Prompter::prompt`].
    pub fn first_prompt(
        &self,
        row: &Candidates,
        list: &ArmList,
    ) -> Result<(String, Vec<u32>), FaultKind> {
        let (_, items) = self.shown(row, list, 0);
        let (prompter, query) = (&self.scorer.prompter, &row.query);
        let made = prompter.prompt(&query.history, &query.controls, &items)?;
        let text = prompter.text(made.shown, &query.history, &query.controls, &items);
        let text = text
            .map_err(|e| FaultKind::Unreadable { column: "prompt".into(), found: e.to_string() })?;
        Ok((text, made.tokens))
    }

    /// The places of a list that a prompt shows, in the order in which it does, and their items.
    fn shown(&self, row: &Candidates, list: &ArmList, permutation: u64) -> (Vec<u32>, Vec<ItemId>) {
        let count = list.order.len().min(self.scorer.reader.labels());
        let draw = mix64(row.query.user.hash64() ^ mix64(self.seed ^ permutation));
        let shown = permuted(count, draw);
        let item = |place: &u32| row.items[list.order[*place as usize] as usize];
        let items = shown.iter().map(item).collect();
        (shown, items)
    }

    /// A user's prompts, one for each permutation.
    fn ask(
        &self,
        answer: usize,
        row: &Candidates,
        list: &ArmList,
    ) -> Result<Vec<Asked>, FaultKind> {
        let prompter = &self.scorer.prompter;
        let one = |permutation: u64| {
            let (shown, items) = self.shown(row, list, permutation);
            let made = prompter.prompt(&row.query.history, &row.query.controls, &items)?;
            let prompt = Prompt { tokens: made.tokens, adapter: self.scorer.adapter };
            if let Some(found) = self.scorer.reader.refusal(&prompt) {
                return Err(FaultKind::Unreadable { column: "prompt".into(), found });
            }
            Ok(Asked { answer, shown, prompt })
        };
        (0..self.permutations as u64).map(one).collect()
    }

    /// Orders the first places of a list by the mixed score. Equal ones stay as they were.
    fn mix(&self, list: &mut ArmList, sums: &[f32]) {
        let count = sums.len();
        let mixed = mixed(&list.scores[..count], sums, self.weight);
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by(|a, b| mixed[*b].total_cmp(&mixed[*a]));
        let positions: Vec<u32> = order.iter().map(|at| list.order[*at]).collect();
        list.order[..count].copy_from_slice(&positions);
        for (score, at) in list.scores.iter_mut().zip(&order) {
            *score = mixed[*at] as f32;
        }
        // What was not shown comes after, and no score rises along a list.
        let last = list.scores[count - 1];
        for (place, score) in list.scores[count..].iter_mut().enumerate() {
            *score = last - 1.0 - place as f32;
        }
    }
}

/// (1 − weight) · z(incoming) + weight · z(model).
pub fn mixed(incoming: &[f32], model: &[f32], weight: f32) -> Vec<f64> {
    let share = f64::from(weight);
    let pairs = standardised(incoming).into_iter().zip(standardised(model));
    pairs.map(|(incoming, model)| (1.0 - share) * incoming + share * model).collect()
}

/// (x − mean) / standard deviation; 0 where all are equal. In f64.
fn standardised(values: &[f32]) -> Vec<f64> {
    let count = values.len() as f64;
    let mean = values.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
    let squares = values.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>();
    let deviation = (squares / count).sqrt();
    let scale = if deviation > 0.0 { 1.0 / deviation } else { 0.0 };
    values.iter().map(|x| (f64::from(*x) - mean) * scale).collect()
}

/// A permutation of 0..count, drawn by the seed alone (Fisher and Yates).
pub fn permuted(count: usize, seed: u64) -> Vec<u32> {
    let mut places: Vec<u32> = (0..count as u32).collect();
    for last in (1..count).rev() {
        let draw = mix64(seed ^ last as u64);
        places.swap(last, ((u128::from(draw) * (last as u128 + 1)) >> 64) as usize);
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permutations_are_that_and_differ() {
        let mut found = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let places = permuted(4, mix64(seed));
            let mut sorted = places.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3]);
            found.insert(places);
        }
        assert_eq!(found.len(), 24, "each of them is drawn");
        assert_eq!(permuted(0, 1), [0; 0]);
    }

    #[test]
    fn standardised_scores_have_mean_zero_and_deviation_one() {
        let found = standardised(&[1.0, 2.0, 3.0, 4.0]);
        assert!((found.iter().sum::<f64>()).abs() < 1e-12);
        assert!((found.iter().map(|x| x * x).sum::<f64>() - 4.0).abs() < 1e-12);
        assert_eq!(standardised(&[5.0, 5.0]), [0.0, 0.0]);
    }
}
