//! Holds rows by partition until timely says that their epoch is complete.

use super::Flow;
use super::outlets::append;
use crate::stage::Setback;
use crate::types::Epoch;
use std::collections::{BTreeMap, BTreeSet};
use timely::dataflow::channels::pact::{ParallelizationContract, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;

/// What an epoch left in one partition.
#[derive(Clone, Debug)]
pub struct Sealed<A> {
    /// The epoch, now complete.
    pub epoch: Epoch,
    /// The partition.
    pub partition: u64,
    /// All its rows, in no particular order.
    pub rows: Vec<A>,
}

/// What an epoch holds so far, by partition, and the right to emit it.
type Open<A> = (Capability<Epoch>, BTreeMap<u64, Vec<A>>);

/// Gathers rows by partition; emits each partition once, when its epoch is complete. `pact` says
/// whether rows change the worker on the way.
///
/// An epoch of which anything failed, by what `setbacks` say to this worker, is never emitted: rows
/// may be missing from it, and what is once written of a partition must be all of it.
pub fn seal<'s, A, P>(
    input: Flow<'s, A>,
    setbacks: Flow<'s, Setback>,
    name: &str,
    pact: P,
    partition_of: impl Fn(&A) -> u64 + 'static,
) -> Flow<'s, Sealed<A>>
where
    A: Clone + 'static,
    P: ParallelizationContract<Epoch, Vec<A>>,
{
    input.binary_frontier(setbacks, pact, Pipeline, name, move |_, _| {
        let mut open: BTreeMap<Epoch, Open<A>> = BTreeMap::new();
        let mut failed: BTreeSet<Epoch> = BTreeSet::new();
        move |(input, rows_frontier), (setbacks, setbacks_frontier), output| {
            setbacks.for_each_time(|time, mut data| {
                if data.any(|some| some.iter().any(|s| matches!(s, Setback::Failed(_)))) {
                    failed.insert(*time.time());
                }
            });
            input.for_each_time(|time, data| {
                let port = output.output_index();
                let slot = open.entry(*time.time());
                let (_, parts) = slot.or_insert_with(|| (time.retain(port), BTreeMap::new()));
                data.for_each(|rows| add(parts, rows, &partition_of));
            });
            let complete = |epoch: &Epoch| {
                !rows_frontier.less_equal(epoch) && !setbacks_frontier.less_equal(epoch)
            };
            while let Some(entry) = open.first_entry().filter(|entry| complete(entry.key())) {
                let (epoch, (capability, parts)) = entry.remove_entry();
                if failed.contains(&epoch) {
                    continue;
                }
                let mut session = output.session(&capability);
                for (partition, rows) in parts {
                    session.give(Sealed { epoch, partition, rows });
                }
            }
        }
    })
}

/// Adds a container's rows to their partitions. A container of one partition, which is what a task
/// leaves, becomes the partition as it is.
fn add<A>(parts: &mut BTreeMap<u64, Vec<A>>, rows: &mut Vec<A>, of: impl Fn(&A) -> u64) {
    let Some(partition) = rows.first().map(&of) else { return };
    if rows.iter().all(|row| of(row) == partition) {
        append(parts.entry(partition).or_default(), std::iter::once(rows));
        return;
    }
    for row in rows.drain(..) {
        parts.entry(of(&row)).or_default().push(row);
    }
}
