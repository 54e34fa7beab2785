//! How good a retriever is on held-out items, over the whole catalogue.

use crate::device::cpu::top_k::{BitSet, TopKShape};
use crate::device::cuda::{Asked, Items, SharedDriver};
use crate::device::parallel::for_each;
use crate::device::shape::LinearShape;
use crate::device::{Activation, Backend, Dropout, Linear};
use crate::error::{Error, Result};
use crate::model::retriever::{Resident, Retriever, RetrieverConfig};
use crate::types::{ItemId, Sequence};

/// Ranks that count.
const K: usize = 10;
/// Users that are scored together.
const USERS: usize = 64;
/// The same on a device.
const USERS_THERE: usize = 1024;

/// Means over the users that have held-out items.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quality {
    /// NDCG@10: Σ over targets in the first ten of 1 / log₂(rank + 1), over the best such sum.
    pub ndcg_10: f64,
    /// HR@10: the share of users with a target among the first ten.
    pub hit_10: f64,
    /// How many users.
    pub users: u64,
}

/// What a user is ranked from and for.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    /// `items[..train]` is known, `items[train..train + valid]` is to be found.
    Validation,
    /// `items[..train + valid]` is known, the rest is to be found.
    Test,
}

impl Part {
    fn of(self, sequence: &Sequence) -> (&[ItemId], &[ItemId]) {
        let train = (sequence.train as usize).min(sequence.items.len());
        let held = (train + sequence.valid as usize).min(sequence.items.len());
        match self {
            Part::Validation => sequence.items[..held].split_at(train),
            Part::Test => sequence.items.split_at(held),
        }
    }
}

struct Group<'a> {
    sequences: &'a [Sequence],
    quality: Quality,
    error: Option<Error>,
}

/// Ranks the whole catalogue less each user's known items. Ties go to the lower id, and a target
/// that is among the known items is not found.
///
/// Errors: see [`Retriever::encode`].
pub fn evaluate(
    device: &dyn Backend,
    retriever: &Retriever,
    sequences: &[Sequence],
    part: Part,
    threads: usize,
) -> Result<Quality> {
    let mut groups: Vec<Group<'_>> = sequences
        .chunks(USERS)
        .map(|sequences| Group { sequences, quality: Quality::default(), error: None })
        .collect();
    for_each(threads, &mut groups, |_, group| {
        match rank(device, retriever, group.sequences, part) {
            Ok(quality) => group.quality = quality,
            Err(error) => group.error = Some(error),
        }
    });
    let mut total = Quality::default();
    for group in groups {
        if let Some(error) = group.error {
            return Err(error);
        }
        total.ndcg_10 += group.quality.ndcg_10;
        total.hit_10 += group.quality.hit_10;
        total.users += group.quality.users;
    }
    Ok(total.means())
}

/// As [`evaluate`], on the device where a retriever learns; `retriever` has its weights.
///
/// Errors: those of [`Resident::encode`]; [`Error::Device`] if the device fails.
pub fn evaluate_there(
    driver: SharedDriver,
    (resident, retriever): (&Resident, &Retriever),
    sequences: &[Sequence],
    part: Part,
) -> Result<Quality> {
    let RetrieverConfig { items, hidden, .. } = *retriever.config();
    let (table, all) = (retriever.item_embeddings(), BitSet::new(items));
    let items = Items::over(driver, (table, resident.item_embeddings()?), hidden, &all, K)?;
    let mut sums = Quality::default();
    for sequences in sequences.chunks(USERS_THERE) {
        let users = tested(sequences, part);
        let histories: Vec<&[ItemId]> = users.iter().map(|(history, _)| *history).collect();
        let rows = resident.encode(&histories)?;
        let known: Vec<Vec<ItemId>> = histories.iter().map(|history| ascending(history)).collect();
        let known: Vec<&[ItemId]> = known.iter().map(Vec::as_slice).collect();
        let found = items.search(&Asked { users: &rows, excluded: &known, k: K })?;
        for ((_, targets), range) in users.into_iter().zip(found.offsets.windows(2)) {
            let list = &found.items[range[0]..range[1]];
            let ranks = targets.iter().map(|target| list.iter().position(|item| item == target));
            sums.add(targets.len(), ranks.map(|rank| rank.unwrap_or(usize::MAX)));
        }
    }
    Ok(sums.means())
}

/// What [`evaluate_there`] takes of the device beside what learns there, in bytes.
pub fn evaluation_bytes(config: &RetrieverConfig) -> usize {
    let RetrieverConfig { items, hidden, .. } = *config;
    let [kept, computed] =
        Items::bytes(&TopKShape { users: USERS_THERE, items, width: hidden, k: K });
    let table = items * hidden * size_of::<f32>(); // which learns
    kept - table + computed
}

fn ascending(history: &[ItemId]) -> Vec<ItemId> {
    let mut ids = history.to_vec();
    ids.sort_unstable();
    ids.dedup();
    ids
}

impl Quality {
    /// Adds a user with so many targets, found at these ranks, from 0.
    fn add(&mut self, targets: usize, ranks: impl Iterator<Item = usize>) {
        let gain = |rank: usize| if rank < K { 1.0 / ((rank + 2) as f64).log2() } else { 0.0 };
        let found: f64 = ranks.map(gain).sum();
        let best: f64 = (0..targets.min(K)).map(gain).sum();
        self.ndcg_10 += found / best;
        self.hit_10 += f64::from(found > 0.0);
        self.users += 1;
    }

    /// Of sums over users.
    fn means(self) -> Quality {
        let users = self.users.max(1) as f64;
        Quality { ndcg_10: self.ndcg_10 / users, hit_10: self.hit_10 / users, users: self.users }
    }
}

/// The users that have targets, each with its known items and its targets.
fn tested(sequences: &[Sequence], part: Part) -> Vec<(&[ItemId], &[ItemId])> {
    let users = sequences.iter().map(|sequence| part.of(sequence));
    users.filter(|(_, targets)| !targets.is_empty()).collect()
}

/// The sums over some users.
fn rank(
    device: &dyn Backend,
    retriever: &Retriever,
    sequences: &[Sequence],
    part: Part,
) -> Result<Quality> {
    let users = tested(sequences, part);
    let histories: Vec<&[ItemId]> = users.iter().map(|(history, _)| *history).collect();
    let (items, inputs) = (retriever.config().items, retriever.config().hidden);
    let mut scores = vec![0.0; users.len() * items];
    device.linear(Linear {
        shape: LinearShape { rows: users.len(), inputs, outputs: items },
        x: &retriever.encode(&histories)?,
        affine: retriever.item_embeddings(),
        activation: Activation::Identity,
        dropout: Dropout::NONE,
        residual: &[],
        out: &mut scores,
    });
    let mut sums = Quality::default();
    for ((history, targets), scores) in users.into_iter().zip(scores.chunks_exact_mut(items)) {
        history.iter().for_each(|item| scores[*item as usize] = f32::NEG_INFINITY);
        sums.add(targets.len(), targets.iter().map(|target| place(scores, *target)));
    }
    Ok(sums)
}

/// The rank of an item, from 0; past the catalogue's end when it is not ranked.
fn place(scores: &[f32], target: ItemId) -> usize {
    let Some(&score) = scores.get(target as usize) else { return usize::MAX };
    if !score.is_finite() {
        return usize::MAX;
    }
    let (before, after) = scores.split_at(target as usize);
    before.iter().filter(|s| **s >= score).count() + after.iter().filter(|s| **s > score).count()
}
