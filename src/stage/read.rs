//! Decoding: shards of raw interactions, partitions of prepared sequences, given candidate lists.

use super::{Outcomes, Stage};
use crate::device::cpu::top_k::BitSet;
use crate::plan::Task;
use crate::spec::Target;
use crate::store::input::{GivenBatch, GivenFile, InteractionFile, ItemIndex, Rows};
use crate::store::{PartRef, RunDir, part};
use crate::types::{
    Candidates, FaultKind, Interaction, ItemId, Key, Origin, Query, Sequence, StageName,
};
use std::collections::HashSet;
use std::sync::Arc;

/// Rows of a row group that room is made for before they are read.
const ROOM_ROWS: usize = 1 << 16;

/// Row groups of interaction shards. A task's `shard` is the file's position here.
pub struct ReadInteractions {
    /// The shards, schemas checked.
    pub files: Arc<Vec<InteractionFile>>,
    /// The keys of the item table; any item will do when there is none.
    pub items: Option<Arc<HashSet<Key>>>,
}

impl Stage for ReadInteractions {
    type In = Task;
    type Out = Interaction;
    const NAME: StageName = StageName::Read;

    fn run(&mut self, tasks: Vec<Task>, out: &mut Outcomes<Interaction>) {
        for task in tasks {
            let mut found = Rows::default();
            let file = &self.files[task.shard as usize];
            if let Err(error) = file.read(task.row_group as usize, task.shard, &mut found) {
                out.fail(&error);
                continue;
            }
            for fault in found.faults {
                out.fault(fault.origin, fault.kind);
            }
            out.reserve(found.rows.len());
            for event in found.rows {
                let known = self.items.as_ref().is_none_or(|items| items.contains(&event.item));
                if known {
                    out.ok(event);
                } else {
                    out.fault(event.origin, FaultKind::UnknownItem { item: event.item });
                }
            }
        }
    }
}

/// Partitions of a prepare run's sequences. A task's `shard` is the part's position here.
#[derive(Clone)]
pub struct ReadSequences {
    /// The prepare run.
    pub run: RunDir,
    /// Its parts of sequences.
    pub parts: Arc<Vec<PartRef>>,
    /// What is held out.
    pub target: Target,
}

impl Stage for ReadSequences {
    type In = Task;
    type Out = Query;
    const NAME: StageName = StageName::Read;

    fn run(&mut self, tasks: Vec<Task>, out: &mut Outcomes<Query>) {
        for task in tasks {
            let part = &self.parts[task.shard as usize];
            let read = self.run.get_part(part);
            let sequences = match read.and_then(|bytes| part::sequences::decode(&part.key, bytes)) {
                Ok(sequences) => sequences,
                Err(error) => {
                    out.fail(&error);
                    continue;
                }
            };
            out.reserve(sequences.len());
            for (row, sequence) in sequences.into_iter().enumerate() {
                let origin = Origin { shard: task.shard, row: row as u32 };
                let query = query(origin, sequence, self.target);
                if query.history.is_empty() {
                    out.fault(origin, FaultKind::EmptyHistory);
                } else {
                    out.ok(query);
                }
            }
        }
    }
}

/// Row groups of files of given candidate lists.
pub struct ReadGiven {
    /// The files, schemas checked; a task's `name` is its file's path.
    pub files: Arc<Vec<GivenFile>>,
    /// For each task the position of its file.
    pub file_of: Arc<Vec<usize>>,
    /// The catalogue's items by key.
    pub index: Arc<ItemIndex>,
    /// What is not recommended: seen items are the lists' affair, hard rules are ours.
    pub barred: Arc<BitSet>,
    /// Candidates of a user.
    pub k: usize,
}

impl Stage for ReadGiven {
    type In = Task;
    type Out = Candidates;
    const NAME: StageName = StageName::Read;

    fn run(&mut self, tasks: Vec<Task>, out: &mut Outcomes<Candidates>) {
        for task in tasks {
            let file = &self.files[self.file_of[task.shard as usize]];
            let batches = file.batches(task.row_group as usize, task.shard, &self.index);
            let mut listed = Listed::default();
            out.reserve((task.rows as usize).min(ROOM_ROWS)); // a footer may lie
            let read = batches.and_then(|mut all| {
                all.try_for_each(|batch| {
                    self.rows(batch?, &mut listed, out);
                    Ok(())
                })
            });
            if let Err(error) = read {
                out.fail(&error);
            }
        }
    }
}

impl ReadGiven {
    fn rows(&self, batch: GivenBatch, listed: &mut Listed, out: &mut Outcomes<Candidates>) {
        for fault in batch.faults {
            out.fault(fault.origin, fault.kind);
        }
        for (row, (origin, user)) in batch.origins.into_iter().zip(batch.users).enumerate() {
            let range = batch.offsets[row] as usize..batch.offsets[row + 1] as usize;
            let mut items = batch.items[range.clone()].to_vec();
            let mut scores = match batch.scores.as_slice() {
                // Without scores the places stand for them: n, n − 1, …, 1.
                [] => (0..items.len()).map(|place| (items.len() - place) as f32).collect(),
                scores => scores[range].to_vec(),
            };
            self.allow(listed, &mut items, &mut scores);
            if items.is_empty() {
                out.fault(origin, FaultKind::NoCandidates);
                continue;
            }
            let targets = match batch.target_offsets.as_slice() {
                [] | [_] => Vec::new(),
                at => batch.targets[at[row] as usize..at[row + 1] as usize].to_vec(),
            };
            let query = Query { origin, user, targets, ..Query::default() };
            out.ok(Candidates { query, items, scores, ..Candidates::default() });
        }
    }

    /// Leaves out what hard rules forbid, and repeats; cuts to K.
    fn allow(&self, listed: &mut Listed, items: &mut Vec<ItemId>, scores: &mut Vec<f32>) {
        listed.number += 1;
        let mut kept = 0;
        for at in 0..items.len() {
            let item = items[at];
            if kept < self.k && !self.barred.contains(item) && listed.add(item) {
                (items[kept], scores[kept]) = (item, scores[at]);
                kept += 1;
            }
        }
        items.truncate(kept);
        scores.truncate(kept);
    }
}

/// What the list at hand has already. Lists may be thousands of items long: each item carries the
/// number of the last list that has it, so that a repeat is found without looking back.
#[derive(Default)]
struct Listed {
    number: u32,
    lists: Vec<u32>,
}

impl Listed {
    /// Puts an item on the list, unless it is there.
    fn add(&mut self, item: ItemId) -> bool {
        let at = item as usize;
        if at >= self.lists.len() {
            self.lists.resize(at + 1, 0);
        }
        std::mem::replace(&mut self.lists[at], self.number) != self.number
    }
}

/// What is known of a user, and what is held out.
fn query(origin: Origin, sequence: Sequence, target: Target) -> Query {
    let (train, valid) = (sequence.train as usize, sequence.valid as usize);
    let mut history = sequence.items;
    let mut targets = match target {
        Target::Test => history.split_off(train + valid),
        Target::Validation => {
            history.truncate(train + valid);
            history.split_off(train)
        }
        Target::None => Vec::new(),
    };
    let mut seen = HashSet::new();
    targets.retain(|item| seen.insert(*item));
    Query {
        origin,
        user: sequence.user,
        history,
        targets,
        segments: sequence.segments,
        ..Query::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_decides_what_is_history() {
        let sequence = || Sequence {
            items: vec![7, 8, 9, 5, 6, 6],
            train: 3,
            valid: 1,
            ..Sequence::default()
        };
        let parts = |target| {
            let query = query(Origin::default(), sequence(), target);
            (query.history, query.targets)
        };
        assert_eq!(parts(Target::Test), (vec![7, 8, 9, 5], vec![6]));
        assert_eq!(parts(Target::Validation), (vec![7, 8, 9], vec![5]));
        assert_eq!(parts(Target::None), (vec![7, 8, 9, 5, 6, 6], vec![]));
    }

    #[test]
    fn a_list_keeps_the_first_k_items_that_may_be_there() {
        let mut barred = BitSet::new(9);
        barred.insert(4);
        let read = ReadGiven {
            files: Arc::default(),
            file_of: Arc::default(),
            index: Arc::new(ItemIndex::new(&[])),
            barred: Arc::new(barred),
            k: 3,
        };
        let mut listed = Listed::default();
        let mut allowed = |items: &[ItemId]| {
            let mut items = items.to_vec();
            let mut scores: Vec<f32> = (0..items.len()).map(|place| -(place as f32)).collect();
            read.allow(&mut listed, &mut items, &mut scores);
            (items, scores)
        };
        assert_eq!(allowed(&[7, 4, 7, 1, 4, 1, 8, 2]), (vec![7, 1, 8], vec![0.0, -3.0, -6.0]));
        // What one list has, the next one may have.
        assert_eq!(allowed(&[8, 8, 7]), (vec![8, 7], vec![0.0, -2.0]));
        assert_eq!(allowed(&[4]), (vec![], vec![]));
    }
}
