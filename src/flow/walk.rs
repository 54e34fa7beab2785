//! Ways through graphs of nodes: a loop.
//!
//! ```text
//!                 ┌──────────── hop + 1 ◄───────────┐
//! rows ─► begin ─►┴─► visit ─► every way has ended? ┴─► rows with what came of their ways
//! ```
//!
//! Times within are (epoch, hop): rows at the same hop are visited together, a row leaves when its
//! ways have ended, and an epoch cannot commit before the last of its rows has left. Every way ends
//! after a fixed number of visits, whoever guides it, and so does the loop.

use super::offload::{host, offload};
use super::outlets::Ways;
use super::{Flow, Meters, apply::apply};
use crate::engine::Engine;
use crate::stage::node_graph::{Begin, Graphs, VisitNodes, Walker};
use crate::stage::retrieve::USERS_AT_ONCE;
use crate::types::{Candidates, Epoch};
use std::sync::Arc;
use timely::dataflow::operators::vec::{Branch, Map};
use timely::dataflow::operators::{Concat, ConnectLoop, Enter, Leave, LoopVariable};
use timely::order::Product;

/// The hop, as the inner part of a time.
type Hop = u32;

/// What a worker's loop needs.
pub struct Walks {
    /// Makes walkers of rows.
    pub begin: Begin,
    /// The graphs.
    pub graphs: Graphs,
    /// Rows that the guides get at once, at most, where they have to be waited for: they are asked
    /// on an engine then. Rules answer at once, on the worker.
    pub rows_at_once: Option<usize>,
    /// How many devices the guides compute on: while these do, the next rows' prompts are made.
    pub devices: usize,
}

/// Rows with what came of their ways. The steps before those may wait for so many devices.
pub fn walk<'s>(
    input: Flow<'s, Candidates>,
    walks: Walks,
    before: usize,
    meters: &Arc<Meters>,
) -> Ways<'s, Candidates> {
    let outer = input.scope();
    let Walks { begin, graphs, rows_at_once, devices } = walks;
    let (walkers, unbegun) = host(input, begin, before, USERS_AT_ONCE, meters);
    let (ended, lost) = outer.iterative::<Hop, _, _>(|inner| {
        let (again, cycle) = inner.loop_variable(1);
        let standing: Flow<'_, Walker, Product<Epoch, Hop>> = walkers.enter(inner).concat(cycle);
        let (visited, lost) = match rows_at_once {
            None => apply(standing, VisitNodes(graphs), meters),
            Some(rows) => {
                let visit = move || VisitNodes(Arc::clone(&graphs));
                offload(standing, Engine::start_beside(devices, visit), rows, meters)
            }
        };
        let (going, ended) = visited.branch(|_, walker| walker.ended());
        going.connect_loop(again);
        (ended.leave(outer), lost.leave(outer))
    });
    (ended.map(Walker::into_row), unbegun.concat(lost))
}
