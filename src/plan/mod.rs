//! In which pieces? A pure function of the job and the listing of its inputs: epochs of tasks. What
//! is committed already is taken out on resume; nothing else about a plan depends on what ran
//! before.

use crate::types::Epoch;
use std::collections::BTreeSet;
use std::fmt;

/// A piece of input that is read at once: a row group of a shard, or a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// The shard's number in the listing; with the row it makes a row's origin.
    pub shard: u32,
    /// The file or object.
    pub name: String,
    /// Which row group of it; 0 where the whole object is read.
    pub row_group: u32,
    /// Rows in it.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
}

/// The pieces of one pass over some input.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// What is done in these epochs: `scatter`, `dictionary`, `sequences`, `rerank`.
    pub phase: &'static str,
    /// The epochs in order.
    pub epochs: Vec<(Epoch, Vec<Task>)>,
}

impl Plan {
    /// Fills epochs, in order, with tasks until they hold `rows_max` rows or `tasks_max` tasks; the
    /// first epoch is `first`.
    pub fn pack(
        phase: &'static str,
        first: Epoch,
        tasks: Vec<Task>,
        rows_max: u64,
        tasks_max: usize,
    ) -> Plan {
        let mut epochs: Vec<(Epoch, Vec<Task>)> = Vec::new();
        let mut rows = 0;
        for task in tasks {
            let full = |(_, tasks): &(Epoch, Vec<Task>)| {
                tasks.len() >= tasks_max || rows + task.rows > rows_max
            };
            if epochs.last().is_none_or(full) {
                epochs.push((first + epochs.len() as Epoch, Vec::new()));
                rows = 0;
            }
            rows += task.rows;
            if let Some((_, tasks)) = epochs.last_mut() {
                tasks.push(task);
            }
        }
        Plan { phase, epochs }
    }

    /// The number after the last epoch's.
    pub fn end(&self) -> Epoch {
        self.epochs.last().map_or(0, |(epoch, _)| epoch + 1)
    }

    /// What is left when the committed epochs are taken out.
    pub fn resume(&self, committed: &BTreeSet<Epoch>) -> Plan {
        let left = self.epochs.iter().filter(|(epoch, _)| !committed.contains(epoch));
        Plan { phase: self.phase, epochs: left.cloned().collect() }
    }

    /// All tasks.
    pub fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.epochs.iter().flat_map(|(_, tasks)| tasks)
    }

    /// Rows of all tasks.
    pub fn rows(&self) -> u64 {
        self.tasks().map(|task| task.rows).sum()
    }

    /// Bytes of all tasks.
    pub fn bytes(&self) -> u64 {
        self.tasks().map(|task| task.bytes).sum()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (epochs, tasks) = (self.epochs.len(), self.tasks().count());
        let (rows, megabytes) = (self.rows(), self.bytes() as f64 / 1e6);
        writeln!(
            f,
            "  {:<12} {epochs} epochs, {tasks} tasks, {rows} rows, {megabytes:.1} MB",
            self.phase
        )?;
        const SHOWN: usize = 6;
        for (epoch, tasks) in self.epochs.iter().take(SHOWN) {
            let rows: u64 = tasks.iter().map(|task| task.rows).sum();
            let first = tasks.first().map_or("", |task| task.name.as_str());
            let more = tasks.len().saturating_sub(1);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            writeln!(f, "    epoch {epoch:>4}  {rows:>10} rows  {first}{more}")?;
        }
        if epochs > SHOWN {
            writeln!(f, "    … and {} more epochs", epochs - SHOWN)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(shard: u32, rows: u64) -> Task {
        Task { shard, name: format!("s{shard}"), row_group: 0, rows, bytes: rows * 10 }
    }

    #[test]
    fn epochs_are_filled_in_order_and_never_split_a_task() {
        let plan = Plan::pack(
            "scatter",
            3,
            vec![task(0, 60), task(1, 50), task(2, 40), task(3, 500)],
            100,
            9,
        );
        let rows: Vec<(Epoch, Vec<u64>)> =
            plan.epochs.iter().map(|(e, t)| (*e, t.iter().map(|t| t.rows).collect())).collect();
        assert_eq!(rows, [(3, vec![60]), (4, vec![50, 40]), (5, vec![500])]);
        assert_eq!((plan.end(), plan.rows(), plan.bytes()), (6, 650, 6500));
    }

    #[test]
    fn resume_is_the_plan_less_the_commits() {
        let plan = Plan::pack("rerank", 0, (0..5).map(|s| task(s, 10)).collect(), u64::MAX, 2);
        let left = plan.resume(&BTreeSet::from([0, 2]));
        assert_eq!(left.epochs.iter().map(|(epoch, _)| *epoch).collect::<Vec<_>>(), [1]);
        assert!(left.resume(&BTreeSet::from([1])).epochs.is_empty());
    }
}
