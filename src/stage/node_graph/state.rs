//! One way through a graph: where it stands, what it has, and how an answer takes it on.
//!
//! ```text
//! node = accuracy, pool = [], visits = 0
//! until node = stop:
//!     an aspect's node appends its list to the pool; backward drops the last one
//!     visits + 1; node = what was answered, and stop once visits = hops_max
//! ```
//!
//! The result is the pool's last list, or the one that came in. Every visit counts, those of
//! backward too, so that no answers whatever can keep a way from its end; and every list in the
//! pool is an order over all candidates, whatever was answered.
//!
//! Source: LLM4Rerank (arXiv 2406.12433), algorithm 1; the count of visits is ours.

use super::Graph;
use crate::control::Aims;
use crate::types::{ArmList, Cost, NodeId, ReplyClass, Visit, Walk};

/// A way that goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// The list that it began with: the candidates that are ranked.
    pub incoming: ArmList,
    /// The candidates that are not, in their order.
    pub rest: Vec<u32>,
    /// The Goal in words.
    pub goal: String,
    /// What it means.
    pub aims: Aims,
    /// The node to visit next.
    pub node: NodeId,
    /// The lists so far that were not dropped, each with its node.
    pub pool: Vec<(NodeId, ArmList)>,
    /// What was visited.
    pub path: Vec<Visit>,
    /// Whether models are asked, and not rules alone.
    pub by_models: bool,
    /// Whether it has come to the end.
    pub ended: bool,
    /// Whether the limit of visits ended it.
    pub limited: bool,
    /// What models read on it.
    pub cost: Cost,
}

impl State {
    /// At the first node. `list` is what comes in; so many of its first candidates are ranked.
    pub fn new(graph: &Graph, mut list: ArmList, goal: String, by_models: bool) -> State {
        let rest = list.order.split_off(graph.candidates.min(list.order.len()));
        list.scores.truncate(list.order.len());
        State {
            aims: graph.aims(&goal),
            ended: list.order.is_empty(),
            incoming: list,
            rest,
            goal,
            node: graph.start,
            pool: Vec::new(),
            path: Vec::new(),
            by_models,
            limited: false,
            cost: Cost::default(),
        }
    }

    /// The list so far.
    pub fn list(&self) -> &ArmList {
        self.pool.last().map_or(&self.incoming, |(_, list)| list)
    }

    /// Takes an aspect's list, whatever it is, as an order over all candidates.
    pub fn put(&mut self, list: ArmList) {
        let list = whole(list, self.list());
        self.pool.push((self.node, list));
    }

    /// Drops the pool's last list.
    pub fn back(&mut self) {
        self.pool.pop();
    }

    /// Goes on from the node, whose list is in the pool by now.
    pub fn step(&mut self, graph: &Graph, next: NodeId, reply: ReplyClass) {
        self.path.push(Visit { node: self.node, reply });
        self.node = if graph.knows(next) { next } else { graph.stop };
        self.limited = self.node != graph.stop && self.path.len() >= graph.hops_max;
        self.ended = self.limited || self.node == graph.stop;
    }

    /// Visits that are left, the one at hand included.
    pub fn left(&self, graph: &Graph) -> usize {
        graph.hops_max.saturating_sub(self.path.len())
    }

    /// From the start again, with models: what rules made of it is forgotten.
    pub fn again(&mut self, graph: &Graph) {
        self.pool.clear();
        self.path.clear();
        (self.node, self.by_models) = (graph.start, true);
        (self.ended, self.limited) = (false, false);
    }

    /// What came of it, the candidates that were not ranked behind the others.
    pub fn into_walk(mut self) -> Walk {
        let mut list = self.pool.pop().map_or(self.incoming, |(_, list)| list);
        let last = list.scores.last().copied().unwrap_or(0.0);
        list.scores.extend((1..=self.rest.len()).map(|place| last - place as f32));
        list.order.append(&mut self.rest);
        let Self { path, limited, by_models, cost, .. } = self;
        Walk { list, path, limited, by_models, cost }
    }
}

/// A list as an order over all candidates of another: what is none of them or there again is left
/// out, and what is missing follows in the order of the other. Scores are those of the list if they
/// belong to it, do not rise and are numbers; otherwise those of the places.
fn whole(list: ArmList, earlier: &ArmList) -> ArmList {
    let count = earlier.order.len();
    let size = earlier.order.iter().max().map_or(0, |most| *most as usize + 1);
    let mut wanted = vec![false; size];
    earlier.order.iter().for_each(|at| wanted[*at as usize] = true);
    let mut take = |at: &u32| wanted.get_mut(*at as usize).is_some_and(std::mem::take);
    let mut order: Vec<u32> = list.order.iter().copied().filter(|at| take(at)).collect();
    let as_given = order.len() == list.order.len() && order.len() == count;
    let missing: Vec<u32> = earlier.order.iter().copied().filter(|at| take(at)).collect();
    order.extend(missing);
    let falls = list.scores.windows(2).all(|pair| pair[0] >= pair[1]);
    let numbers = list.scores.iter().all(|score| score.is_finite());
    if as_given && list.scores.len() == count && falls && numbers {
        return ArmList { order, scores: list.scores };
    }
    ArmList { scores: (0..count).map(|place| 1.0 - place as f32 / count as f32).collect(), order }
}
