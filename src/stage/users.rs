//! Who is asked: some of a partition's users, with what they may be learned by.

use super::{Outcomes, Stage};
use crate::plan::Task;
use crate::store::{PartRef, RunDir, part};
use crate::types::{FaultKind, Origin, Query, Sequence, StageName, mix64};
use std::sync::Arc;

/// Reads the training part of the histories of some users: of each partition as many as its task
/// has rows, those with the lowest hashes. A task's `shard` is the part's position here.
#[derive(Clone)]
pub struct ReadUsers {
    /// The prepare run.
    pub run: RunDir,
    /// Its parts of sequences.
    pub parts: Arc<Vec<PartRef>>,
    /// Decides who.
    pub seed: u64,
}

impl Stage for ReadUsers {
    type In = Task;
    type Out = Query;
    const NAME: StageName = StageName::Read;

    fn run(&mut self, tasks: Vec<Task>, out: &mut Outcomes<Query>) {
        for task in tasks {
            let part = &self.parts[task.shard as usize];
            let read = self.run.get_part(part);
            match read.and_then(|bytes| part::sequences::decode(&part.key, bytes)) {
                Err(error) => out.fail(&error),
                Ok(sequences) => self.choose(&task, &sequences, out),
            }
        }
    }
}

impl ReadUsers {
    fn choose(&self, task: &Task, sequences: &[Sequence], out: &mut Outcomes<Query>) {
        let hash = |at: usize| mix64(self.seed ^ sequences[at].user.hash64());
        let mut chosen: Vec<usize> = (0..sequences.len()).collect();
        chosen.sort_by_cached_key(|&at| (hash(at), at));
        chosen.truncate(task.rows as usize);
        chosen.sort_unstable();
        for at in chosen {
            let sequence = &sequences[at];
            let origin = Origin { shard: task.shard, row: at as u32 };
            let history = sequence.items[..sequence.train as usize].to_vec();
            if history.is_empty() {
                out.fault(origin, FaultKind::EmptyHistory);
            } else {
                out.ok(Query { origin, user: sequence.user.clone(), history, ..Query::default() });
            }
        }
    }
}

/// How many users of each partition are asked, of so many at most: in proportion, and all of them
/// where `users_max` is 0.
pub fn quotas(partitions: &[u64], users_max: u64) -> Vec<u64> {
    let total: u64 = partitions.iter().sum();
    let most = if users_max == 0 { total } else { users_max.min(total) };
    let upto =
        |users: u64| (u128::from(users) * u128::from(most) / u128::from(total.max(1))) as u64;
    let ends = partitions.iter().scan(0, |sum, rows| {
        let before = upto(*sum);
        *sum += rows;
        Some(upto(*sum) - before)
    });
    ends.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_shared_in_proportion_and_met_exactly() {
        assert_eq!(quotas(&[10, 0, 30, 5], 0), [10, 0, 30, 5]);
        assert_eq!(quotas(&[10, 0, 30, 5], 99), [10, 0, 30, 5]);
        assert_eq!(quotas(&[10, 0, 30, 5], 9), [2, 0, 6, 1]);
        assert_eq!(quotas(&[1; 7], 3).iter().sum::<u64>(), 3);
        assert_eq!(quotas(&[], 3), [0; 0]);
    }
}
