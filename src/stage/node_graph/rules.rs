//! The guide that needs no model: each aspect's node is an exact operator, and the way follows what
//! the Goal's words weigh until the list gets no better by them.
//!
//! How good a list is: Σ over the aspects of weight · how much of it the list has. A node tries a
//! few strengths and keeps the best list. Where even that is no better than the list before, the
//! way goes back, and on to the aspect that was visited least, and of those weighs most, of all
//! not tried since it last got better; when there is none left, it stops. (By weight alone, three
//! aspects that weigh the same take turns in twos: MovieLens' users came to the third after five
//! visits.)

use super::aspect::{Gauge, View};
use super::{Graph, Guide, Ranking, Stand, State, Turn};
use crate::error::Result;
use crate::types::{ArmList, NodeId};

/// The strengths that a node tries: of equally good lists the first one stays.
const SHARES: [f32; 6] = [1.0, 0.7, 0.5, 0.35, 0.2, 0.1];

/// Less is no improvement.
const BETTER_MIN: f64 = 1e-9;

/// The guide that needs no model.
pub struct Rules;

/// How good lists are by a walk's Goal.
struct Worth<'a>(Vec<(f64, Gauge<'a>)>);

impl<'a> Worth<'a> {
    fn new(graph: &Graph, state: &State, view: View<'a>) -> Worth<'a> {
        let weighed = graph.aspects.iter().zip(&state.aims.weights);
        let counted = weighed.filter(|(_, weight)| **weight > 0.0);
        Worth(counted.map(|(aspect, w)| (f64::from(*w), aspect.gauge(view))).collect())
    }

    fn of(&self, list: &ArmList) -> f64 {
        self.0.iter().map(|(weight, gauge)| weight * gauge.measure(&list.order)).sum()
    }
}

impl Guide for Rules {
    fn rank(&self, at: &[Stand<'_>]) -> Result<Vec<Ranking>> {
        let one = |stand: &Stand<'_>| Ranking { list: rank(stand), ..Ranking::default() };
        Ok(at.iter().map(one).collect())
    }

    fn next(&self, at: &[Stand<'_>]) -> Result<Vec<Turn>> {
        let one = |stand: &Stand<'_>| Turn { next: next(stand), ..Turn::default() };
        Ok(at.iter().map(one).collect())
    }
}

/// The node's list. On the last visit, or where no way leads back, none that is worse.
fn rank(stand: &Stand<'_>) -> ArmList {
    let Stand { graph, state, .. } = *stand;
    let view = stand.view();
    let aspect = &graph.aspects[usize::from(state.node)];
    let list = stand.list();
    if state.pool.is_empty() {
        return aspect.improve(&view, list, 1.0); // the first list is the aspect's own
    }
    let worth = Worth::new(graph, state, view);
    let tried = SHARES.map(|share| aspect.improve(&view, list, share));
    let mut best: Option<(f64, ArmList)> = None;
    for made in tried {
        let value = worth.of(&made);
        if best.as_ref().is_none_or(|(most, _)| value > most + BETTER_MIN) {
            best = Some((value, made));
        }
    }
    let stays = state.left(graph) <= 1 || graph.backward.is_none();
    match best {
        Some((value, made)) if !stays || value > worth.of(list) + BETTER_MIN => made,
        _ => list.clone(),
    }
}

/// Where to go from a node whose list is in the pool.
fn next(stand: &Stand<'_>) -> NodeId {
    let Stand { graph, state, .. } = *stand;
    if let (Some(backward), true, [.., (_, before), (_, now)]) =
        (graph.backward, Some(state.node) != graph.backward, &state.pool[..])
    {
        let worth = Worth::new(graph, state, stand.view());
        if worth.of(now) <= worth.of(before) + BETTER_MIN {
            return backward;
        }
    }
    let tried = tried(graph, state);
    let weights = state.aims.weights.iter().enumerate();
    let left = weights.filter(|(node, weight)| **weight > 0.0 && !tried.contains(&(*node as u8)));
    let path = state.path.iter().map(|visit| visit.node).chain([state.node]);
    let visits = |node: usize| path.clone().filter(|other| usize::from(*other) == node).count();
    let next = left.min_by(|(a, x), (b, y)| visits(*a).cmp(&visits(*b)).then(y.total_cmp(x)));
    next.map_or(graph.stop, |(node, _)| node as NodeId)
}

/// The aspects that were tried since the list last got better, the one that made it so included:
/// those that a way back followed, and those that changed nothing.
fn tried(graph: &Graph, state: &State) -> Vec<NodeId> {
    let (mut tried, mut back, mut kept) = (Vec::new(), 0, state.pool.len());
    let earlier = state.path.iter().rev().map(|visit| visit.node);
    for node in std::iter::once(state.node).chain(earlier) {
        if Some(node) == graph.backward {
            back += 1;
            continue;
        }
        tried.push(node);
        match back {
            0 if changed(state, kept) => break,
            0 => kept = kept.saturating_sub(1),
            _ => back -= 1,
        }
    }
    tried
}

/// Whether the last of the first `kept` lists of the pool differs from the one before.
fn changed(state: &State, kept: usize) -> bool {
    match &state.pool[..kept.min(state.pool.len())] {
        [.., (_, before), (_, now)] => before.order != now.order,
        _ => true,
    }
}
