//! A stage on an engine: the worker hands over batches, goes on, and is woken by the replies.

use super::{Flow, Meters};
use crate::engine::Engine;
use crate::stage::{Outcome, Outcomes, Setback, Stage};
use crate::types::Epoch;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::core::OkErr;
use timely::dataflow::operators::generic::Operator;
use timely::progress::frontier::MutableAntichain;

/// Sends batches of at most `rows_max` rows of one epoch to an engine; emits its replies in the
/// order of the batches. A batch is sent as soon as there is something to send: an engine that is
/// behind gets full ones.
pub fn offload<'s, S: Stage>(
    input: Flow<'s, S::In>,
    engine: Engine<S>,
    rows_max: usize,
    meters: &Arc<Meters>,
) -> (Flow<'s, S::Out>, Flow<'s, Setback>) {
    assert!(rows_max > 0, "a batch of no rows would never end");
    let scope = input.scope();
    let meter = meters.stage(S::NAME);
    split(input.unary_frontier(Pipeline, &S::NAME.to_string(), move |_, info| {
        let wake = Arc::new(scope.worker().sync_activator_for(info.address.to_vec()));
        let (reply_to, replies) = mpsc::channel::<(usize, Outcomes<S::Out>, Duration)>();
        let mut waiting: BTreeMap<Epoch, (Capability<Epoch>, Vec<S::In>)> = BTreeMap::new();
        let mut in_flight: VecDeque<Capability<Epoch>> = VecDeque::new();
        move |(input, _frontier): (_, &MutableAntichain<Epoch>), output| {
            input.for_each_time(|time, data| {
                let port = output.output_index();
                let slot = waiting.entry(*time.time());
                let (_, rows) = slot.or_insert_with(|| (time.retain(port), Vec::new()));
                rows.extend(data.flat_map(|rows| rows.drain(..)));
            });
            while let Some(mut entry) = waiting.first_entry() {
                let (capability, rows) = entry.get_mut();
                let count = rows.len().min(rows_max);
                let later = rows.split_off(count);
                let batch = std::mem::replace(rows, later);
                let (reply_to, wake) = (reply_to.clone(), Arc::clone(&wake));
                let sent = engine.try_submit(batch, move |out, busy| {
                    // Both fail only when the dataflow is gone; then nobody waits.
                    let _ = reply_to.send((count, out, busy)).map(|()| wake.activate());
                });
                if let Err(batch) = sent {
                    rows.splice(..0, batch);
                    break; // a reply will wake us
                }
                in_flight.push_back(capability.clone());
                if rows.is_empty() {
                    entry.remove();
                }
            }
            while let Ok((count, out, busy)) = replies.try_recv() {
                meter.add(count, busy);
                let capability = in_flight.pop_front().expect("one reply for each batch, in order");
                output.session(&capability).give_iterator(out.into_rows().into_iter());
            }
        }
    }))
}

/// Values to the left, setbacks to the right.
pub(super) fn split<'s, T: 'static>(
    outcomes: Flow<'s, Outcome<T>>,
) -> (Flow<'s, T>, Flow<'s, Setback>) {
    outcomes.ok_err(|outcome| match outcome {
        Outcome::Ok(row) => Ok(row),
        Outcome::Setback(setback) => Err(setback),
    })
}
