//! A stage on the worker itself.

use super::{Flow, Meters, offload::split};
use crate::stage::{Outcomes, Setback, Stage};
use std::sync::Arc;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

/// Runs a stage inline; values leave on the first stream, setbacks on the second.
pub fn apply<'s, S: Stage>(
    input: Flow<'s, S::In>,
    mut stage: S,
    meters: &Arc<Meters>,
) -> (Flow<'s, S::Out>, Flow<'s, Setback>) {
    let meter = meters.stage(S::NAME);
    split(input.unary(Pipeline, &S::NAME.to_string(), move |_, _| {
        move |input, output| {
            input.for_each_time(|time, data| {
                let rows: Vec<S::In> = data.flat_map(|rows| rows.drain(..)).collect();
                let mut out = Outcomes::new(S::NAME);
                meter.time(rows.len(), || stage.run(rows, &mut out));
                output.session(&time).give_iterator(out.into_rows().into_iter());
            });
        }
    }))
}
