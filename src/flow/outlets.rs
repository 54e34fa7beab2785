//! The two ways out of a stage: rows that go on, and setbacks. Whole batches leave as they are.

use super::Flow;
use crate::stage::{Outcomes, Setback};
use crate::types::Epoch;
use timely::dataflow::channels::pushers::Output;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::{Capability, CapabilityTrait, InputCapability};
use timely::progress::Timestamp;

/// The outputs of an operator that hosts a stage.
pub struct Outlets<D, T: Timestamp = Epoch> {
    rows: Output<T, Vec<D>>,
    setbacks: Output<T, Vec<Setback>>,
}

/// What leaves a stage: rows, and setbacks.
pub type Ways<'s, D, T = Epoch> = (Flow<'s, D, T>, Flow<'s, Setback, T>);

/// The right to send at a time later, one for each way out.
pub type Rights<T = Epoch> = [Capability<T>; 2];

impl<D: 'static, T: Timestamp> Outlets<D, T> {
    /// Gives an operator its two ways out.
    pub fn of<'s>(builder: &mut OperatorBuilder<'s, T>) -> (Self, Ways<'s, D, T>) {
        let (rows, row_stream) = builder.new_output();
        let (setbacks, setback_stream) = builder.new_output();
        (Self { rows, setbacks }, (row_stream, setback_stream))
    }

    /// Keeps the right to send.
    pub fn retain(&self, time: &InputCapability<T>) -> Rights<T> {
        [time.retain(self.rows.output_index()), time.retain(self.setbacks.output_index())]
    }

    /// Sends a batch's outcomes.
    pub fn send<C: CapabilityTrait<T>>(&mut self, [on, back]: [&C; 2], out: Outcomes<D>) {
        let (mut rows, mut setbacks) = out.into_parts();
        self.rows.activate().give(on, &mut rows);
        self.setbacks.activate().give(back, &mut setbacks);
    }
}

/// The rows of some containers as one batch; a single container is one already.
pub fn gather<'c, D: 'c>(containers: impl Iterator<Item = &'c mut Vec<D>>) -> Vec<D> {
    let mut rows = Vec::new();
    append(&mut rows, containers);
    rows
}

/// Moves the rows of some containers to the end of `rows`.
pub fn append<'c, D: 'c>(rows: &mut Vec<D>, containers: impl Iterator<Item = &'c mut Vec<D>>) {
    for container in containers {
        if rows.is_empty() {
            std::mem::swap(rows, container);
        } else {
            rows.append(container);
        }
    }
}
