//! A stage on an engine: the worker hands over batches, goes on, and is woken by the replies.

use super::apply::apply;
use super::outlets::{Outlets, Rights, Ways, append};
use super::{Flow, Meters};
use crate::engine::Engine;
use crate::stage::{Outcomes, Stage};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, mpsc};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::Timestamp;
use timely::progress::operate::FrontierInterest;

/// A stage whose batches may wait for so many devices: on the worker if for none, else on an engine
/// beside them.
pub fn host<'s, T: Timestamp, S: Stage + Clone + Send>(
    input: Flow<'s, S::In, T>,
    stage: S,
    devices: usize,
    rows_max: usize,
    meters: &Arc<Meters>,
) -> Ways<'s, S::Out, T> {
    if devices == 0 {
        return apply(input, stage, meters);
    }
    offload(input, Engine::start_beside(devices, move || stage.clone()), rows_max, meters)
}

/// A batch that has not left.
struct Batch<T: Timestamp, D> {
    rights: Rights<T>,
    /// What came of it, once it is known.
    out: Option<Outcomes<D>>,
}

/// Sends batches of at most `rows_max` rows of one epoch (and hop) to an engine; emits its replies
/// in the order of the batches. A batch is sent as soon as there is something to send: an engine
/// that is behind gets full ones.
pub fn offload<'s, T: Timestamp, S: Stage>(
    input: Flow<'s, S::In, T>,
    engine: Engine<S>,
    rows_max: usize,
    meters: &Arc<Meters>,
) -> Ways<'s, S::Out, T> {
    assert!(rows_max > 0, "a batch of no rows would never end");
    let scope = input.scope();
    let meter = meters.stage(S::NAME);
    let mut builder = OperatorBuilder::new(S::NAME.to_string(), scope);
    let mut input = builder.new_input(input, Pipeline);
    builder.set_notify_for(0, FrontierInterest::Never);
    let (mut outlets, ways) = Outlets::of(&mut builder);
    let address = builder.operator_info().address.to_vec();
    let wake = Arc::new(scope.worker().sync_activator_for(address));
    let (reply_to, replies) = mpsc::channel::<(u64, Outcomes<S::Out>)>();
    let mut waiting: BTreeMap<T, (Rights<T>, Vec<S::In>)> = BTreeMap::new();
    // Oldest first, and the first one's number.
    let (mut in_flight, mut first) = (VecDeque::<Batch<T, S::Out>>::new(), 0u64);
    builder.build(move |_| {
        move |_| {
            input.for_each_time(|time, data| {
                let slot = waiting.entry(time.time().clone());
                let (_, rows) = slot.or_insert_with(|| (outlets.retain(&time), Vec::new()));
                append(rows, data);
            });
            while let Some(mut entry) = waiting.first_entry() {
                let (rights, rows) = entry.get_mut();
                let count = rows.len().min(rows_max);
                let later = rows.split_off(count);
                let batch = std::mem::replace(rows, later);
                let (reply_to, wake) = (reply_to.clone(), Arc::clone(&wake));
                let (number, meter) = (first + in_flight.len() as u64, Arc::clone(&meter));
                let sent = engine.try_submit(batch, move |out, busy| {
                    meter.add(count, busy);
                    // Both fail only when the dataflow is gone; then nobody waits.
                    let _ = reply_to.send((number, out)).map(|()| wake.activate());
                });
                if let Err(batch) = sent {
                    rows.splice(..0, batch);
                    break; // a reply will wake us
                }
                in_flight.push_back(Batch { rights: rights.clone(), out: None });
                if rows.is_empty() {
                    entry.remove();
                }
            }
            while let Ok((number, out)) = replies.try_recv() {
                in_flight[(number - first) as usize].out = Some(out);
            }
            while let Some(out) = in_flight.front_mut().and_then(|batch| batch.out.take()) {
                let [on, back] = in_flight.pop_front().expect("it is at the front").rights;
                first += 1;
                outlets.send([&on, &back], out);
            }
        }
    });
    ways
}
