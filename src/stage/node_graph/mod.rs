//! Node graph: a list re-ranked again and again, each time with another aspect in mind, towards a
//! Goal.
//!
//! ```text
//!   ┌─────────────────── next ───────────────────┐
//!   ▼                                            │
//! node ─► rank by its aspect ─► pool ─► where next? ─► stop: the pool's last list
//! ```
//!
//! Every node is open from every other: aspects (accuracy, where each way starts, diversity,
//! fairness, novelty, and whatever a job declares), backward, which drops the latest list, and
//! stop.
//! Who ranks at a node and who says where to go next is a [`Guide`]: rules that need no model, a
//! decoder of our own, or a model behind a server, in any mixture.
//!
//! Source: LLM4Rerank (arXiv 2406.12433), §3; what its released code leaves open is in
//! [`state`](State).

mod along;
mod aspect;
mod far;
mod kept;
mod near;
mod reading;
mod reply;
mod rules;
mod state;
mod sums;
mod visit;
mod windows;
mod wording;

pub use along::Along;
pub use aspect::{Aspect, Gauge, View};
pub use far::Far;
pub use near::{Near, NearSettings};
pub use reply::{Reply, read};
pub use rules::Rules;
pub use state::State;
pub use sums::{WalkSums, add_walks};
pub use visit::{Begin, Graphs, VisitNodes, Walker};

use super::Meter;
use super::rerank::Facts;
use crate::control::{Aims, read_goal};
use crate::error::Result;
use crate::types::{ArmList, Candidates, Cost, FaultKind, NodeId, Query, ReplyClass, unit_f64};
use std::sync::Arc;

/// A node as people and models know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// What to do there, in words.
    pub prompt: String,
    /// Beginnings of words that name it in a Goal.
    pub stems: Vec<String>,
}

/// A graph, and who guides through it.
pub struct Graph {
    /// The aspects' nodes, then backward if it is there, then stop.
    pub nodes: Vec<Node>,
    /// Of each aspect's node what it is about.
    pub aspects: Vec<Aspect>,
    /// Where every way starts.
    pub start: NodeId,
    /// The node that drops the latest list.
    pub backward: Option<NodeId>,
    /// The node that ends every way.
    pub stop: NodeId,
    /// Visits of a way, at most.
    pub hops_max: usize,
    /// Candidates that are ranked: the first ones of the list that comes in.
    pub candidates: usize,
    /// Places by which aspects are judged.
    pub depth: usize,
    /// Whether later visits know of earlier lists.
    pub pool: bool,
    /// Everybody's Goal; each user's own where there is none.
    pub goal: Option<String>,
    /// What the aspects look at.
    pub facts: Facts,
    /// Who guides where no model does.
    pub rules: Crew,
    /// Who guides otherwise.
    pub models: Option<Models>,
    /// The time that rules take.
    pub meter: Arc<Meter>,
}

/// Who guides.
#[derive(Clone)]
pub struct Crew {
    /// Who ranks at the aspects' nodes.
    pub ranker: Arc<dyn Guide>,
    /// Who says where to go next.
    pub navigator: Arc<dyn Guide>,
}

impl Crew {
    /// How many devices they wait for.
    pub fn devices(&self) -> usize {
        self.ranker.devices().max(self.navigator.devices())
    }
}

/// Models that guide, and whom.
pub struct Models {
    /// The models; rules for what they leave.
    pub crew: Crew,
    /// The share of users whom they guide, by the hash of their keys.
    pub share: f64,
    /// Only where the rules' list is doubtful.
    pub uncertain_only: bool,
    /// Decides which users.
    pub seed: u64,
}

/// Where a way stands.
#[derive(Clone, Copy)]
pub struct Stand<'a> {
    /// Of which graph.
    pub graph: &'a Graph,
    /// Whose candidates.
    pub row: &'a Candidates,
    /// What it has.
    pub state: &'a State,
}

/// A guide's list at a node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ranking {
    /// The list; what is wrong with it is put right by the one before.
    pub list: ArmList,
    /// Where to go next, if the guide said that in one with the list.
    pub next: Option<NodeId>,
    /// How the answer was.
    pub reply: ReplyClass,
    /// What was read for it.
    pub cost: Cost,
    /// Why there is no other list than the one before.
    pub fault: Option<FaultKind>,
}

/// Where a guide goes next.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Turn {
    /// The node.
    pub next: NodeId,
    /// How the answer was.
    pub reply: ReplyClass,
    /// What was read for it.
    pub cost: Cost,
    /// Why it is no other.
    pub fault: Option<FaultKind>,
}

/// Somebody who ranks at nodes, or says where to go next, or both. What is said of a way depends on
/// that way alone.
pub trait Guide: Send + Sync {
    /// The list of each way at its node, which is an aspect's.
    ///
    /// Errors: what must stop the job.
    fn rank(&self, at: &[Stand<'_>]) -> Result<Vec<Ranking>>;

    /// Where each way goes next, the list of its node in the pool, or dropped from it, by now.
    ///
    /// Errors: what must stop the job.
    fn next(&self, at: &[Stand<'_>]) -> Result<Vec<Turn>>;

    /// What tells how long it takes, where it is a model.
    fn meter(&self) -> Option<Arc<Meter>> {
        None
    }

    /// How many devices it waits for.
    fn devices(&self) -> usize {
        0
    }

    /// Told of users whose ways have all ended: nothing has to be kept for them.
    fn left(&self, _row: &Candidates) {}
}

impl Graph {
    /// Whether there is such a node.
    pub fn knows(&self, node: NodeId) -> bool {
        usize::from(node) < self.nodes.len()
    }

    /// The node of a name.
    pub fn named(&self, name: &str) -> Option<NodeId> {
        self.nodes.iter().position(|node| node.name == name).map(|at| at as NodeId)
    }

    /// What a Goal means.
    pub fn aims(&self, goal: &str) -> Aims {
        let stems = self.nodes[..self.aspects.len()].iter().map(|node| node.stems.clone());
        read_goal(goal, &stems.collect::<Vec<_>>())
    }

    /// A user's Goal: everybody's, or their own.
    pub fn goal_of<'a>(&'a self, query: &'a Query) -> &'a str {
        self.goal.as_deref().or(query.goal.as_deref()).unwrap_or_default()
    }

    /// A user's way, at its start.
    pub fn begin(&self, query: &Query, list: ArmList) -> State {
        let goal = self.goal_of(query);
        let chosen = self.models.as_ref().is_some_and(|models| models.guide(query));
        let at_once = chosen && self.models.as_ref().is_some_and(|m| !m.uncertain_only);
        State::new(self, list, goal.to_owned(), at_once)
    }

    /// Who guides a way.
    pub fn crew(&self, state: &State) -> &Crew {
        match &self.models {
            Some(models) if state.by_models => &models.crew,
            _ => &self.rules,
        }
    }

    /// Whether a way that rules have ended is to be gone again with models.
    fn doubts(&self, query: &Query, state: &State) -> bool {
        let Some(models) = &self.models else { return false };
        let more = state.aims.weights.iter().skip(1).any(|weight| *weight > 0.0);
        let doubtful = !state.aims.doubts.is_empty()
            || state.limited
            || more && state.list().order == state.incoming.order;
        !state.by_models && !state.incoming.order.is_empty() && doubtful && models.guide(query)
    }
}

impl Models {
    /// Whether they may guide a user.
    fn guide(&self, query: &Query) -> bool {
        let draw = crate::types::mix64(query.user.hash64() ^ crate::types::mix64(self.seed));
        unit_f64(draw) < self.share
    }
}

impl<'a> Stand<'a> {
    /// What aspects are looked at with.
    pub fn view(&self) -> View<'a> {
        let Stand { graph, row, state } = *self;
        View { row, facts: &graph.facts, incoming: &state.incoming, depth: graph.depth }
    }

    /// The list to go on from.
    pub fn list(&self) -> &'a ArmList {
        if self.graph.pool { self.state.list() } else { &self.state.incoming }
    }
}
