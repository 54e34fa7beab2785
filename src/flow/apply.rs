//! A stage on the worker itself.

use super::outlets::{Outlets, Ways, gather};
use super::{Flow, Meters};
use crate::stage::{Outcomes, Stage};
use std::sync::Arc;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::Timestamp;
use timely::progress::operate::FrontierInterest;

/// Runs a stage inline; values leave on the first stream, setbacks on the second.
pub fn apply<'s, T: Timestamp, S: Stage>(
    input: Flow<'s, S::In, T>,
    mut stage: S,
    meters: &Arc<Meters>,
) -> Ways<'s, S::Out, T> {
    let meter = meters.stage(S::NAME);
    let mut builder = OperatorBuilder::new(S::NAME.to_string(), input.scope());
    let mut input = builder.new_input(input, Pipeline);
    builder.set_notify_for(0, FrontierInterest::Never);
    let (mut outlets, ways) = Outlets::of(&mut builder);
    builder.build(move |_| {
        move |_| {
            input.for_each_time(|time, data| {
                let rows = gather(data);
                let mut out = Outcomes::new(S::NAME);
                meter.time(rows.len(), || stage.run(rows, &mut out));
                outlets.send([&time, &time], out);
            });
        }
    });
    ways
}
