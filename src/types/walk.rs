//! A user's way through a graph of nodes.

use super::{ArmList, Cost};
use serde::{Deserialize, Serialize};

/// A node's position among those of its graph.
pub type NodeId = u8;

/// How a node's answer was, as it came.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum ReplyClass {
    /// It could not be wrong: nothing was read from text.
    #[default]
    Exact,
    /// Text that said what it should.
    Ok,
    /// Text without a list, or with a next node that there is not.
    WrongFormat,
    /// Text that named a candidate twice, or what is no candidate.
    Repetition,
    /// Text that left candidates out.
    Missing,
}

impl ReplyClass {
    /// All, in the order of reports.
    pub const ALL: [ReplyClass; 5] = [
        ReplyClass::Exact,
        ReplyClass::Ok,
        ReplyClass::WrongFormat,
        ReplyClass::Repetition,
        ReplyClass::Missing,
    ];
}

/// A node that was visited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visit {
    /// Which.
    pub node: NodeId,
    /// How its answer was.
    pub reply: ReplyClass,
}

/// A way that has ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Walk {
    /// What came of it.
    pub list: ArmList,
    /// The nodes in the order of the visits, without the one that ends every way.
    pub path: Vec<Visit>,
    /// Whether it was ended by the limit of visits.
    pub limited: bool,
    /// Whether models went it, and not rules alone.
    pub by_models: bool,
    /// What models read on it.
    pub cost: Cost,
}
