//! Language control over the whole catalogue, whose items may be spread over workers.
//!
//! A row asks a [`Question`]: the user's vector and the request's. Each worker answers with the
//! scores of its share of the items, in the order of their ids. The scores of all shares one after
//! the other are those of the whole catalogue, each the same bits wherever it was computed, so that
//! the ranks are exact and a list does not depend on the shares.

use super::best::{Found, best};
use super::control::{LanguageControl, Said};
use crate::device::cpu::top_k::every_score;
use crate::error::Result;
use crate::stage::retrieve::Encode;
use crate::stage::{Outcomes, Stage};
use crate::types::{ArmList, Candidates, FaultKind, Heard, ItemId, Key, Origin, Reach, StageName};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

/// Which controls of a row an item meets, as a mask.
pub type Met = Arc<dyn Fn(&Candidates, ItemId) -> u32 + Send + Sync>;

/// What a search of the catalogue needs: shared by all workers of a process.
pub struct Search {
    /// The base recommender, up to the user's vector.
    pub encode: Encode,
    /// Its item vectors, (items, width).
    pub items: Vec<f32>,
    /// The length of its vectors.
    pub width: usize,
    /// The searches: arms that begin with one know it by its number.
    pub steps: Vec<LanguageControl>,
    /// Items that nobody is recommended, ascending.
    pub barred: Vec<ItemId>,
    /// Items that a user is not recommended.
    pub excluded: HashMap<Key, Vec<ItemId>>,
    /// Whether a user's own history is left out.
    pub exclude_seen: bool,
    /// Items of a list.
    pub k: usize,
    /// Whether an item meets each control of a row, as a mask.
    pub met: Met,
}

/// A row on its way through the shares.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Question {
    /// The worker that waits for the answers.
    pub home: u64,
    /// Whose.
    pub origin: Origin,
    user: Vec<f32>,
    requests: Vec<Vec<f32>>,
}

/// A share's scores.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// The worker that waits for it.
    pub home: u64,
    /// Whose.
    pub origin: Origin,
    /// Which share.
    pub share: u64,
    /// By the base recommender.
    base: Vec<f32>,
    /// By the request, for each search.
    controls: Vec<Vec<f32>>,
}

/// A row whose answers are not all there.
struct Waiting {
    row: Candidates,
    /// What was heard of its request.
    heard: Vec<Heard>,
    answers: Vec<Answer>,
}

/// Puts rows' questions into vectors: [`Candidates`] → [`Posed`].
#[derive(Clone)]
pub struct PoseQuestions {
    /// What is asked.
    pub search: Arc<Search>,
    /// The worker that will wait for the answers.
    pub home: u64,
}

/// A row, and what it asks: nothing without a request.
pub struct Posed {
    row: Candidates,
    question: Option<Question>,
}

/// A worker's part in searches of the whole catalogue.
pub struct Reacher {
    search: Arc<Search>,
    share: u64,
    shares: u64,
    waiting: BTreeMap<Origin, Waiting>,
}

impl Stage for PoseQuestions {
    type In = Candidates;
    type Out = Posed;
    const NAME: StageName = StageName::Language;

    fn run(&mut self, rows: Vec<Candidates>, out: &mut Outcomes<Posed>) {
        let (asking, plain): (Vec<Candidates>, Vec<Candidates>) = rows.into_iter().partition(asks);
        plain.into_iter().for_each(|row| out.ok(Posed { row, question: None }));
        match self.questions(&asking) {
            Ok(questions) => {
                let posed = asking.into_iter().zip(questions);
                posed.for_each(|(row, asked)| out.ok(Posed { row, question: Some(asked) }));
            }
            Err(error) => out.fail(&error),
        }
    }
}

impl PoseQuestions {
    fn questions(&self, rows: &[Candidates]) -> Result<Vec<Question>> {
        let search = &self.search;
        let mut said = Said::default();
        for step in &search.steps {
            step.speaker.listen(rows.iter().map(|row| &row.query), &mut said)?;
        }
        let histories: Vec<&[ItemId]> =
            rows.iter().map(|row| row.query.history.as_slice()).collect();
        let users = (search.encode)(&histories)?;
        let question = |(row, user): (&Candidates, &[f32])| Question {
            home: self.home,
            origin: row.query.origin,
            user: user.to_vec(),
            requests: search
                .steps
                .iter()
                .filter_map(|step| Some(step.speaker.vector(&row.query, &said)?.to_vec()))
                .collect(),
        };
        Ok(rows.iter().zip(users.chunks_exact(search.width)).map(question).collect())
    }
}

impl Reacher {
    /// The part of worker `share` of `shares`.
    pub fn new(search: Arc<Search>, share: u64, shares: u64) -> Reacher {
        Reacher { search, share, shares, waiting: BTreeMap::new() }
    }

    /// Takes rows up: those without a question go on, the others' questions are returned.
    pub fn ask(&mut self, rows: Vec<Posed>, out: &mut Outcomes<Candidates>) -> Vec<Question> {
        let mut questions = Vec::new();
        for Posed { row, question } in rows {
            let Some(question) = question else {
                out.ok(self.search.untouched(row));
                continue;
            };
            let heard = self.search.heard(&question);
            self.waiting.insert(question.origin, Waiting { row, heard, answers: vec![] });
            questions.push(question);
        }
        questions
    }

    /// The answers of this worker's share.
    pub fn answer(&self, questions: &[Question]) -> Vec<Answer> {
        let search = &self.search;
        let share = search.share(self.share, self.shares);
        let users = questions.iter().map(|question| question.user.as_slice());
        let base = scores(users, &search.items, search.width, &share);
        let mut controls: Vec<Vec<Vec<f32>>> = vec![Vec::new(); questions.len()];
        for (at, step) in search.steps.iter().enumerate() {
            let requests = questions.iter().map(|question| question.requests[at].as_slice());
            let speaker = &step.speaker;
            let found = scores(requests, &speaker.items, speaker.width, &share);
            controls.iter_mut().zip(found).for_each(|(all, scores)| all.push(scores));
        }
        let answers = questions.iter().zip(base).zip(controls);
        let answer = |((question, base), controls): ((&Question, Vec<f32>), Vec<Vec<f32>>)| {
            let Question { home, origin, .. } = *question;
            Answer { home, origin, share: self.share, base, controls }
        };
        answers.map(answer).collect()
    }

    /// Takes an answer; with the last one of a row the row goes on.
    pub fn hear(&mut self, answer: Answer, out: &mut Outcomes<Candidates>) {
        let origin = answer.origin;
        let Some(waiting) = self.waiting.get_mut(&origin) else { return };
        waiting.answers.push(answer);
        if waiting.answers.len() as u64 == self.shares
            && let Some(mut waiting) = self.waiting.remove(&origin)
        {
            waiting.answers.sort_unstable_by_key(|answer| answer.share);
            self.search.finish(waiting, out);
        }
    }
}

/// Whether a row's user says something about items.
fn asks(row: &Candidates) -> bool {
    row.query.request.as_ref().is_some_and(|request| !request.text.is_empty())
}

/// The scores of a share of the items, for each row.
fn scores<'a>(
    rows: impl Iterator<Item = &'a [f32]>,
    items: &[f32],
    width: usize,
    share: &Range<usize>,
) -> Vec<Vec<f32>> {
    let rows: Vec<f32> = rows.flatten().copied().collect();
    let items = &items[share.start * width..share.end * width];
    let mut out = vec![0.0; rows.len() / width * share.len()];
    every_score(&rows, items, width, &mut out);
    if share.is_empty() {
        return vec![Vec::new(); rows.len() / width];
    }
    out.chunks_exact(share.len()).map(<[f32]>::to_vec).collect()
}

impl Search {
    fn share(&self, share: u64, shares: u64) -> Range<usize> {
        let items = (self.items.len() / self.width) as u64;
        (items * share / shares) as usize..(items * (share + 1) / shares) as usize
    }

    /// A row that nobody searches for: the lists of searches are that of retrieval.
    fn untouched(&self, mut row: Candidates) -> Candidates {
        let list =
            ArmList { order: (0..row.items.len() as u32).collect(), scores: row.scores.clone() };
        let lists = vec![list; self.steps.len()];
        row.reach = Some(Box::new(Reach { lists, ..Reach::default() }));
        row
    }

    /// The vectors of a question, by who heard them.
    fn heard(&self, question: &Question) -> Vec<Heard> {
        let all = self.steps.iter().zip(&question.requests);
        let mut heard: Vec<Heard> = all
            .map(|(step, v)| Heard { encoder: step.speaker.number, vector: v.clone() })
            .collect();
        heard.sort_by_key(|one| one.encoder);
        heard.dedup_by_key(|one| one.encoder);
        heard
    }

    /// Ranks the whole catalogue for a row.
    fn finish(&self, waiting: Waiting, out: &mut Outcomes<Candidates>) {
        let Waiting { mut row, heard, answers } = waiting;
        let mut base = Vec::with_capacity(self.items.len() / self.width);
        let mut controls = vec![Vec::with_capacity(base.capacity()); self.steps.len()];
        for answer in answers {
            base.extend(answer.base);
            controls.iter_mut().zip(answer.controls).for_each(|(all, some)| all.extend(some));
        }
        let left_out = self.left_out(&row);
        without(&mut base, &left_out);
        controls.iter_mut().for_each(|scores| without(scores, &left_out));
        if base.iter().chain(controls.iter().flatten()).any(|score| !score.is_finite()) {
            return out.fault(row.query.origin, FaultKind::NonFiniteScore);
        }
        let found: Vec<Vec<Found>> = self
            .steps
            .iter()
            .zip(&controls)
            .map(|(step, control)| {
                best(&base, control, step.fusion, step.weight(&row.query), self.k)
            })
            .collect();
        let reach = Reach { heard, ..self.take(&mut row, &found, &base, &left_out) };
        out.ok(Candidates { reach: Some(Box::new(reach)), ..row });
    }

    /// Adds what was found to the row's items, in the order of the base, and gives the lists.
    fn take(
        &self,
        row: &mut Candidates,
        found: &[Vec<Found>],
        base: &[f32],
        left_out: &[ItemId],
    ) -> Reach {
        let mut places: HashMap<ItemId, u32> =
            (0..).zip(&row.items).map(|(p, i)| (*i, p)).collect();
        let named: Vec<Vec<(ItemId, Found)>> = found
            .iter()
            .map(|list| list.iter().map(|one| (item_at(one.at, left_out), *one)).collect())
            .collect();
        let mut new: Vec<(u32, ItemId, u32)> = named
            .iter()
            .flatten()
            .filter(|(item, _)| !places.contains_key(item))
            .map(|(item, one)| (one.before, *item, one.at))
            .collect();
        new.sort_unstable();
        new.dedup();
        let mut beyond = Vec::with_capacity(new.len());
        for (before, item, at) in new {
            places.insert(item, row.items.len() as u32);
            row.items.push(item);
            row.scores.push(base[at as usize]);
            beyond.push(before + 1);
            if !row.query.controls.is_empty() {
                let met = (self.met)(row, item);
                row.met.push(met);
            }
        }
        let list = |list: Vec<(ItemId, Found)>| ArmList {
            order: list.iter().map(|(item, _)| places[item]).collect(),
            scores: list.iter().map(|(_, one)| one.score as f32).collect(),
        };
        let lists = named.into_iter().map(list).collect();
        Reach { beyond, lists, ..Reach::default() }
    }

    /// What the user is not shown, ascending.
    fn left_out(&self, row: &Candidates) -> Vec<ItemId> {
        let seen = if self.exclude_seen { row.query.history.as_slice() } else { &[] };
        let excluded = self.excluded.get(&row.query.user).into_iter().flatten();
        let mut own: Vec<ItemId> = seen.iter().chain(excluded).copied().collect();
        own.sort_unstable();
        merged(&self.barred, &own)
    }
}

/// What is in either of two ascending lists, ascending and once.
fn merged(first: &[ItemId], second: &[ItemId]) -> Vec<ItemId> {
    let mut all = Vec::with_capacity(first.len() + second.len());
    let (mut a, mut b) = (first, second);
    while let (Some(x), Some(y)) = (a.first(), b.first()) {
        let least = if x <= y { &mut a } else { &mut b };
        all.push(least[0]);
        *least = &least[1..];
    }
    all.extend(a.iter().chain(b));
    all.dedup();
    all
}

/// Takes some places, ascending, out of a list.
fn without(scores: &mut Vec<f32>, places: &[ItemId]) {
    let Some(first) = places.first() else { return };
    let mut end = *first as usize;
    for (at, place) in places.iter().enumerate() {
        let next = places.get(at + 1).map_or(scores.len(), |next| *next as usize);
        let from = *place as usize + 1;
        scores.copy_within(from..next, end);
        end += next - from;
    }
    scores.truncate(end);
}

/// The item at a place of a list that some items were taken out of.
fn item_at(place: u32, left_out: &[ItemId]) -> ItemId {
    // left_out[n] − n of the kept items stand before the n-th that was taken out.
    let mut at = 0;
    let mut size = left_out.len();
    while size > 0 {
        let half = size / 2;
        let middle = at + half;
        if left_out[middle] - middle as u32 <= place {
            (at, size) = (middle + 1, size - half - 1);
        } else {
            size = half;
        }
    }
    place + at as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_found_again_after_some_are_left_out() {
        assert_eq!(merged(&[1, 4, 9], &[0, 4, 4, 7]), [0, 1, 4, 7, 9]);
        assert_eq!(merged(&[], &[3, 3]), [3]);
        for left_out in [vec![], vec![0], vec![9], vec![2, 3, 7], (0..10).collect()] {
            let mut scores: Vec<f32> = (0..10u8).map(f32::from).collect();
            without(&mut scores, &left_out);
            let kept: Vec<u32> = (0..10).filter(|i| !left_out.contains(i)).collect();
            assert_eq!(scores, kept.iter().map(|i| *i as f32).collect::<Vec<_>>());
            let named: Vec<u32> = (0..kept.len() as u32).map(|p| item_at(p, &left_out)).collect();
            assert_eq!(named, kept);
        }
    }
}
