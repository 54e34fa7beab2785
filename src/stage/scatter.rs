//! Between the two passes of `prepare`: interactions by hash partition of the user.

use super::{Outcomes, Stage};
use crate::error::Result;
use crate::plan::Task;
use crate::spec::{Duplicates, Split};
use crate::stage::sequence::{order, sequence};
use crate::store::{Commit, RunDir, part, part_key};
use crate::types::{Interaction, ItemId, Key, Sequence, StageName};
use std::collections::HashMap;
use std::sync::Arc;

/// The partition of a user. Everything of a user is in one, whoever runs the job.
pub fn partition_of(user: &Key, partitions: u32) -> u32 {
    (user.hash64() % u64::from(partitions)) as u32
}

/// What both passes over the partitions do first: one partition's users with their interactions, in
/// order and without the repeats that the job does not want.
#[derive(Clone)]
pub struct Partitions {
    /// The prepare run.
    pub run: RunDir,
    /// The epochs of its first pass: what they vouch for, and nothing else, is read.
    pub scattered: Arc<Vec<Commit>>,
    /// The rule for repeats.
    pub duplicates: Duplicates,
    /// Interactions with a smaller weight do not count.
    pub weight_min: Option<f32>,
}

impl Partitions {
    /// Users in the order of their keys.
    fn users(&self, partition: u32) -> Result<Vec<(Key, Vec<Interaction>)>> {
        let mut events: Vec<Interaction> = Vec::new();
        for commit in self.scattered.iter() {
            // An epoch that had nothing for the partition has no part of it.
            if let Some(part) = commit.part(&part_key(commit.epoch, partition)) {
                let bytes = self.run.get_part(part)?;
                events.append(&mut part::interactions::decode(&part.key, bytes)?);
            }
        }
        if let Some(least) = self.weight_min {
            events.retain(|event| event.weight >= least);
        }
        events.sort_by(|a, b| a.user.cmp(&b.user));
        let mut users: Vec<(Key, Vec<Interaction>)> = Vec::new();
        for event in events {
            match users.last_mut() {
                Some((user, mine)) if *user == event.user => mine.push(event),
                _ => users.push((event.user.clone(), vec![event])),
            }
        }
        for (_, mine) in &mut users {
            order(mine, self.duplicates);
        }
        Ok(users)
    }
}

/// A partition's (user number, item) pairs, for the k-core.
pub struct ReadPairs(pub Partitions);

impl Stage for ReadPairs {
    type In = Task;
    type Out = (u64, Key);
    const NAME: StageName = StageName::Read;

    fn run(&mut self, tasks: Vec<Task>, out: &mut Outcomes<(u64, Key)>) {
        for task in tasks {
            match self.0.users(task.shard) {
                Err(error) => out.fail(&error),
                Ok(users) => {
                    for (number, (_, events)) in users.into_iter().enumerate() {
                        let number = u64::from(task.shard) << 32 | number as u64;
                        events.into_iter().for_each(|event| out.ok((number, event.item)));
                    }
                }
            }
        }
    }
}

/// A partition's sequences: what is left when only items of the core count. The users of the core
/// are those with enough of its items, since the core is a fixed point.
pub struct BuildSequences {
    /// Where the interactions are.
    pub partitions: Partitions,
    /// The core's items and their ids.
    pub items: Arc<HashMap<Key, ItemId>>,
    /// The fewest interactions of a user.
    pub user_min: u32,
    /// What is held out.
    pub split: Split,
    /// Each known user's segments.
    pub segments: Arc<HashMap<Key, Vec<u32>>>,
    /// How many segments a user has.
    pub segment_count: usize,
}

/// A part of sequences, and how often each item is in what is learned from.
pub struct BuiltSequences {
    /// The partition.
    pub partition: u32,
    /// In the order of the users' keys.
    pub sequences: Vec<Sequence>,
}

impl Stage for BuildSequences {
    type In = Task;
    type Out = BuiltSequences;
    const NAME: StageName = StageName::Prepare;

    fn run(&mut self, tasks: Vec<Task>, out: &mut Outcomes<BuiltSequences>) {
        for task in tasks {
            match self.build(task.shard) {
                Ok(sequences) => out.ok(BuiltSequences { partition: task.shard, sequences }),
                Err(error) => out.fail(&error),
            }
        }
    }
}

impl BuildSequences {
    fn build(&self, partition: u32) -> Result<Vec<Sequence>> {
        let mut sequences = Vec::new();
        for (user, events) in self.partitions.users(partition)? {
            let known = |event: &Interaction| Some((*self.items.get(&event.item)?, event.time));
            let events: Vec<(ItemId, i64)> = events.iter().filter_map(known).collect();
            if events.len() < self.user_min.max(1) as usize {
                continue;
            }
            let unknown = || vec![u32::MAX; self.segment_count];
            let segments = self.segments.get(&user).cloned().unwrap_or_else(unknown);
            sequences.push(Sequence { segments, ..sequence(user, &events, self.split) });
        }
        Ok(sequences)
    }
}

/// How often each item is in the training part of sequences, for those that are there at all.
pub fn popularity(sequences: &[Sequence]) -> Vec<(ItemId, u64)> {
    let mut counts: std::collections::BTreeMap<ItemId, u64> = Default::default();
    for sequence in sequences {
        for item in &sequence.items[..sequence.train as usize] {
            *counts.entry(*item).or_default() += 1;
        }
    }
    counts.into_iter().collect()
}
