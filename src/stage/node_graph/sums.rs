//! What many users' ways come to: counts, which may be added up in any order.

use crate::types::{NodeId, ReplyClass, Walk};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the ways through one graph come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalkSums {
    /// How many users went each way: the numbers of its nodes with `-` between them.
    pub paths: BTreeMap<String, u64>,
    /// Ways that the limit of visits ended.
    pub limited: u64,
    /// Ways that models guided.
    pub by_models: u64,
    /// Answers of each class, in the order of [`ReplyClass::ALL`].
    pub replies: [u64; ReplyClass::ALL.len()],
}

impl WalkSums {
    /// Adds a way.
    pub fn add(&mut self, walk: &Walk) {
        let nodes: Vec<String> = walk.path.iter().map(|visit| visit.node.to_string()).collect();
        *self.paths.entry(nodes.join("-")).or_default() += 1;
        self.limited += u64::from(walk.limited);
        self.by_models += u64::from(walk.by_models);
        for visit in &walk.path {
            self.replies[visit.reply as usize] += 1;
        }
    }

    /// Adds what other ways come to.
    pub fn merge(&mut self, other: &WalkSums) {
        for (path, count) in &other.paths {
            *self.paths.entry(path.clone()).or_default() += count;
        }
        self.limited += other.limited;
        self.by_models += other.by_models;
        self.replies.iter_mut().zip(other.replies).for_each(|(ours, theirs)| *ours += theirs);
    }

    /// The ways, by how many went each, the most first.
    pub fn ways(&self) -> Vec<(Vec<NodeId>, u64)> {
        let nodes = |path: &str| path.split('-').filter_map(|node| node.parse().ok()).collect();
        let mut ways: Vec<(Vec<NodeId>, u64)> =
            self.paths.iter().map(|(path, count)| (nodes(path), *count)).collect();
        ways.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        ways
    }
}

/// Adds what the ways of each graph come to.
pub fn add_walks(sums: &mut Vec<WalkSums>, others: &[WalkSums]) {
    if sums.len() < others.len() {
        sums.resize_with(others.len(), WalkSums::default);
    }
    sums.iter_mut().zip(others).for_each(|(ours, theirs)| ours.merge(theirs));
}
