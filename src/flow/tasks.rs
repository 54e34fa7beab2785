//! The source: each epoch's tasks, spread over workers, a bounded number of epochs ahead.

use super::{Done, Flow, Meters};
use crate::types::Epoch;
use std::sync::Arc;
use timely::dataflow::Scope;
use timely::dataflow::operators::generic::operator::source;

/// Emits each epoch's tasks, task i on worker i modulo workers, at most `window_epochs` ahead of
/// the last commit. Ends early when the process is told to stop.
pub fn tasks<'s, D: Clone + 'static>(
    scope: Scope<'s, Epoch>,
    epochs: Vec<(Epoch, Vec<D>)>,
    window_epochs: u64,
    done: &Done,
    meters: Arc<Meters>,
) -> Flow<'s, D> {
    assert!(window_epochs > 0, "a window of no epochs would never start");
    let (index, peers) = (scope.index(), scope.peers());
    source(scope, "tasks", move |capability, info| {
        done.wakes(scope.activator_for(info.address));
        let done = done.clone();
        let mut capability = Some(capability);
        let mut pending = epochs.into_iter().enumerate().peekable();
        let mut released: Vec<Epoch> = Vec::new();
        move |output| {
            let Some(held) = capability.as_mut() else { return };
            while let Some((at, _)) = pending.peek() {
                let gate = at.checked_sub(window_epochs as usize).map(|i| released[i]);
                if meters.stopped() || gate.is_some_and(|epoch| !done.is(epoch)) {
                    break;
                }
                let Some((_, (epoch, tasks))) = pending.next() else { break };
                held.downgrade(&epoch);
                released.push(epoch);
                let mine = tasks.into_iter().enumerate().filter(|(i, _)| i % peers == index);
                output.session(&*held).give_iterator(mine.map(|(_, task)| task));
            }
            match pending.peek() {
                Some((_, (epoch, _))) if !meters.stopped() => held.downgrade(epoch),
                _ => capability = None,
            }
        }
    })
}
