//! The two ways out of a stage: rows that go on, and setbacks. Whole batches leave as they are.

use super::Flow;
use crate::stage::{Outcomes, Setback};
use crate::types::Epoch;
use timely::dataflow::channels::pushers::Output;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::{Capability, CapabilityTrait, InputCapability};

/// The outputs of an operator that hosts a stage.
pub struct Outlets<T> {
    rows: Output<Epoch, Vec<T>>,
    setbacks: Output<Epoch, Vec<Setback>>,
}

/// What leaves a stage: rows, and setbacks.
pub type Ways<'s, T> = (Flow<'s, T>, Flow<'s, Setback>);

/// The right to send at an epoch later, one for each way out.
pub type Rights = [Capability<Epoch>; 2];

impl<T: 'static> Outlets<T> {
    /// Gives an operator its two ways out.
    pub fn of<'s>(builder: &mut OperatorBuilder<'s, Epoch>) -> (Self, Ways<'s, T>) {
        let (rows, row_stream) = builder.new_output();
        let (setbacks, setback_stream) = builder.new_output();
        (Self { rows, setbacks }, (row_stream, setback_stream))
    }

    /// Keeps the right to send.
    pub fn retain(&self, time: &InputCapability<Epoch>) -> Rights {
        [time.retain(self.rows.output_index()), time.retain(self.setbacks.output_index())]
    }

    /// Sends a batch's outcomes.
    pub fn send<C: CapabilityTrait<Epoch>>(&mut self, [on, back]: [&C; 2], out: Outcomes<T>) {
        let (mut rows, mut setbacks) = out.into_parts();
        self.rows.activate().give(on, &mut rows);
        self.setbacks.activate().give(back, &mut setbacks);
    }
}

/// The rows of some containers as one batch; a single container is one already.
pub fn gather<'c, T: 'c>(containers: impl Iterator<Item = &'c mut Vec<T>>) -> Vec<T> {
    let mut rows = Vec::new();
    append(&mut rows, containers);
    rows
}

/// Moves the rows of some containers to the end of `rows`.
pub fn append<'c, T: 'c>(rows: &mut Vec<T>, containers: impl Iterator<Item = &'c mut Vec<T>>) {
    for container in containers {
        if rows.is_empty() {
            std::mem::swap(rows, container);
        } else {
            rows.append(container);
        }
    }
}
