//! Floor 0: the nouns every floor shares. What a row is on its way from a shard to a ranked list.
//!
//! Each later row *contains* the earlier one (`Ranked { candidates: Candidates { query, … }, … }`),
//! so that nothing is looked up again and the type says how far a row has come.

mod catalogue;
mod fault;
mod hash;
mod inferred;
mod key;
mod request;
mod walk;

pub use catalogue::{Attribute, Catalogue};
pub use fault::{Fault, FaultKind, StageName};
pub use hash::{mix64, normal, unit_f64};
pub use inferred::Inferred;
pub use key::Key;
pub use request::{Category, Judgement, Quota, Request};
pub use walk::{NodeId, ReplyClass, Visit, Walk};

use serde::{Deserialize, Serialize};
use std::fmt;

/// The dataflow's timestamp: one wave of shards, read, written and committed together.
pub type Epoch = u64;

/// An item's position in the [`Catalogue`], which is sorted by the item's key.
pub type ItemId = u32;

/// Where a row came from: enough to find it again by hand.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Origin {
    /// The shard's number in the plan's listing.
    pub shard: u32,
    /// The row's position in the shard, from 0.
    pub row: u32,
}

/// One event of the raw data, after validation and before the catalogue is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interaction {
    /// Where it was read.
    pub origin: Origin,
    /// Who.
    pub user: Key,
    /// With what.
    pub item: Key,
    /// When; the unit is the input's own, since only the order matters.
    pub time: i64,
    /// The optional weight column: rating, quantity, dwell time.
    pub weight: f32,
}

/// One user's prepared history: the unit that retrieval is trained on and lists are made for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sequence {
    /// Who.
    pub user: Key,
    /// With what, oldest first.
    pub items: Vec<ItemId>,
    /// When, in the input's unit; ascending.
    pub times: Vec<i64>,
    /// `items[..train]` may be learned from.
    pub train: u32,
    /// `items[train..train + valid]` is held out for validation, and what follows for the test.
    pub valid: u32,
    /// One label code for each user attribute of the run, in its order.
    pub segments: Vec<u32>,
}

/// A control as somebody wrote it down, before the catalogue gives it meaning.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Asked {
    /// The attribute's name.
    pub attribute: String,
    /// The comparison.
    pub relation: Relation,
    /// A label (several are separated by `|`: any of them will do), or a number for the bounds.
    pub value: String,
}

/// How a control compares an item's attribute with what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relation {
    /// One of the item's labels is among the wanted ones.
    Is,
    /// None of the item's labels is among the named ones.
    Not,
    /// The item's number is known and at most the bound.
    AtMost,
    /// The item's number is known and at least the bound.
    AtLeast,
}

/// What was asked for, resolved against the catalogue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Control {
    /// Index into [`Catalogue::attributes`].
    pub attribute: u16,
    /// The comparison.
    pub relation: Relation,
    /// Label codes for `Is` and `Not`, ascending; empty when the label is in no item.
    pub codes: Vec<u32>,
    /// The bound for `AtMost` and `AtLeast`; 0 otherwise.
    pub bound: f32,
}

/// Why a set of controls cannot be met; the row is ranked all the same and carries this to the
/// report.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Conflict {
    /// Two controls of one row exclude each other, whatever the catalogue: their indices.
    Contradiction(u8, u8),
    /// No item of the catalogue meets this control.
    Unsatisfiable(u8),
    /// Each control can be met, but no item of the catalogue meets them all.
    Jointly,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Conflict::Contradiction(a, b) => write!(f, "controls {a} and {b} exclude each other"),
            Conflict::Unsatisfiable(a) => write!(f, "no item meets control {a}"),
            Conflict::Jointly => f.write_str("no item meets all controls"),
        }
    }
}

/// Where a row's controls came from. Oracle controls are read off the target and leak it,
/// so their metrics are never mixed with the others'.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum ControlSource {
    /// The row has none.
    #[default]
    None,
    /// The job file: the same for everybody.
    Job,
    /// The per-user table.
    Table,
    /// Drawn from a retrieved candidate (seeded by the user).
    Sampled,
    /// The target's own attributes.
    Oracle,
}

/// One user to rank for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Query {
    /// Where the sequence was read.
    pub origin: Origin,
    /// Who.
    pub user: Key,
    /// What they did, oldest first.
    pub history: Vec<ItemId>,
    /// What they did next (held out): empty when nothing is known; in order, without repeats.
    pub targets: Vec<ItemId>,
    /// What they asked for; at most 32.
    pub controls: Vec<Control>,
    /// Where the controls came from.
    pub source: ControlSource,
    /// Why the controls cannot all be met, if so.
    pub conflict: Option<Conflict>,
    /// The user's segments (one label for each user attribute of the run, in its order).
    pub segments: Vec<u32>,
    /// What they asked for in their own words.
    pub request: Option<Box<Request>>,
    /// What their list as a whole should be like, in words.
    pub goal: Option<Box<str>>,
    /// How the controls stand to what the user did; looked up at the points of a sweep alone.
    pub standing: Option<Standing>,
}

/// How a user's controls stand to what the user did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// The mean over the history's items of the share of the controls that each meets: 1 for more
    /// of the same.
    pub agreement: f32,
    /// The most controls that a target meets; none without a target.
    pub target: Option<u32>,
}

/// A query with its candidates, best first by the retriever.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Candidates {
    /// Whose.
    pub query: Query,
    /// Best first; ties go to the lower id; no repeats.
    pub items: Vec<ItemId>,
    /// The retriever's score of each item.
    pub scores: Vec<f32>,
    /// Bit c of `met[i]` says that item i meets control c of the query.
    pub met: Vec<u32>,
    /// What was found for it before the arms, if anything looked.
    pub reach: Option<Box<Reach>>,
}

/// What was found for a user before the arms: by searches of the whole catalogue, whose items that
/// the retriever did not give stand after those that it did, and on ways through graphs of nodes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reach {
    /// Of each item after the retrieved ones its rank by the retriever, from 1, among all that the
    /// user may be shown.
    pub beyond: Vec<u32>,
    /// The list of each search, over all items of the row.
    pub lists: Vec<ArmList>,
    /// Each way through a graph of nodes.
    pub walks: Vec<Walk>,
    /// What searches heard of the request, for whoever asks the same encoders next.
    pub heard: Vec<Heard>,
}

/// The vector of a user's request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Heard {
    /// Which of the job's encoders heard it.
    pub encoder: usize,
    /// As it understood it.
    pub vector: Vec<f32>,
}

impl Candidates {
    /// How many of the items the retriever gave: the first ones.
    pub fn retrieved(&self) -> usize {
        self.items.len() - self.reach.as_ref().map_or(0, |reach| reach.beyond.len())
    }

    /// Where the retriever has the item of a position, from 1.
    pub fn rank(&self, at: usize) -> u32 {
        let beyond =
            self.reach.as_ref().and_then(|r| r.beyond.get(at.wrapping_sub(self.retrieved())));
        beyond.copied().unwrap_or(at as u32 + 1)
    }
}

/// What one arm made of the candidates: an order over (some of) them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ArmList {
    /// `order[j]` is the retrieval rank, from 0, of the item the arm puts at place j: a position in
    /// [`Candidates::items`]. No repeats.
    pub order: Vec<u32>,
    /// The arm's score of each place; what it means is the last step's affair. Never NaN.
    pub scores: Vec<f32>,
}

/// What models read for a list, or for many. What prompts begin with alike may be computed once;
/// here each counts whole, so that no batch changes a count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Prompts.
    pub prompts: u64,
    /// All their tokens.
    pub tokens: u64,
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, other: Cost) {
        self.prompts += other.prompts;
        self.tokens += other.tokens;
    }
}

/// The candidates with every arm's list, in the job's order of arms.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ranked {
    /// What was ranked.
    pub candidates: Candidates,
    /// One list for each arm of the job.
    pub arms: Vec<ArmList>,
    /// What each arm's models read; empty where no arm has a model.
    pub costs: Vec<Cost>,
}
