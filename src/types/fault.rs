//! A row that could not be finished. Data, not an error: it flows to the commit, is counted, and is
//! written to the dead-letter file of its epoch.

use super::{Key, Origin};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The stages, in pipeline order, as faults and the report name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StageName {
    /// Decoding and validating a shard.
    Read,
    /// Joining with the item table, k-core and de-duplication.
    Prepare,
    /// Top-K by the retriever.
    Retrieve,
    /// Resolving what was asked for.
    Control,
    /// Texts to vectors.
    Encode,
    /// Searching the whole catalogue for what was said.
    Language,
    /// A hop of ways through graphs of nodes.
    Walk,
    /// The arms.
    Rerank,
    /// The arms at the points of a sweep.
    Sweep,
    /// Writing requests.
    Request,
    /// Asking a teacher.
    Judge,
    /// Encoding parts.
    Write,
    /// Judging lists.
    Measure,
    /// Recording an epoch.
    Commit,
}

impl StageName {
    /// All, in pipeline order.
    pub const ALL: [StageName; 14] = [
        StageName::Read,
        StageName::Prepare,
        StageName::Retrieve,
        StageName::Control,
        StageName::Encode,
        StageName::Language,
        StageName::Walk,
        StageName::Rerank,
        StageName::Sweep,
        StageName::Request,
        StageName::Judge,
        StageName::Write,
        StageName::Measure,
        StageName::Commit,
    ];
}

/// What was wrong with the row. `Display` is what the dead-letter file says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FaultKind {
    /// A required value is null.
    Null {
        /// The column.
        column: String,
    },
    /// A number is NaN or infinite.
    NotFinite {
        /// The column.
        column: String,
    },
    /// A text is not valid UTF-8, or a value cannot be read as its column's type.
    Unreadable {
        /// The column.
        column: String,
        /// What was found, shortened.
        found: String,
    },
    /// An item that the item table or the catalogue does not have.
    UnknownItem {
        /// Its key.
        item: Key,
    },
    /// An attribute or label that a control names and the catalogue does not have.
    UnknownControl {
        /// What was asked for.
        asked: String,
    },
    /// A second row of the item or user table with a key that was there before.
    DuplicateKey {
        /// The key.
        key: Key,
    },
    /// Nothing is known of the user, so nothing can be ranked.
    EmptyHistory,
    /// Fewer items can be recommended than a list needs: everything is seen, excluded or ruled out.
    NoCandidates,
    /// The retriever gave NaN or an infinity.
    NonFiniteScore,
    /// The prompt does not fit, even without history.
    PromptTooLong {
        /// Its tokens without history.
        tokens: u64,
        /// What fits.
        tokens_max: u64,
    },
    /// No category of requests has anything for the user.
    NothingToAsk,
    /// The teacher's answer cannot be read, or leaves out items.
    Unjudged {
        /// What was asked.
        request: String,
        /// What is wrong with the answer, and how it begins.
        found: String,
    },
}

/// A row's end: where it came from, which stage gave it up, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fault {
    /// Where the row was read.
    pub origin: Origin,
    /// Which stage gave it up.
    pub stage: StageName,
    /// Why.
    pub kind: FaultKind,
}

impl FaultKind {
    /// The kind alone, as commits and reports count it.
    pub fn name(&self) -> &'static str {
        match self {
            FaultKind::Null { .. } => "null",
            FaultKind::NotFinite { .. } => "not-finite",
            FaultKind::Unreadable { .. } => "unreadable",
            FaultKind::UnknownItem { .. } => "unknown-item",
            FaultKind::UnknownControl { .. } => "unknown-control",
            FaultKind::DuplicateKey { .. } => "duplicate-key",
            FaultKind::EmptyHistory => "empty-history",
            FaultKind::NoCandidates => "no-candidates",
            FaultKind::NonFiniteScore => "non-finite-score",
            FaultKind::PromptTooLong { .. } => "prompt-too-long",
            FaultKind::NothingToAsk => "nothing-to-ask",
            FaultKind::Unjudged { .. } => "unjudged",
        }
    }
}

impl fmt::Display for StageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StageName::Read => "read",
            StageName::Prepare => "prepare",
            StageName::Retrieve => "retrieve",
            StageName::Control => "control",
            StageName::Encode => "encode",
            StageName::Language => "language",
            StageName::Walk => "walk",
            StageName::Rerank => "rerank",
            StageName::Sweep => "sweep",
            StageName::Request => "request",
            StageName::Judge => "judge",
            StageName::Write => "write",
            StageName::Measure => "measure",
            StageName::Commit => "commit",
        })
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FaultKind::Null { column } => write!(f, "column {column:?} is null"),
            FaultKind::NotFinite { column } => {
                write!(f, "column {column:?} is not a finite number")
            }
            FaultKind::Unreadable { column, found } => {
                write!(f, "column {column:?} cannot be read: found {found:?}")
            }
            FaultKind::UnknownItem { item } => write!(f, "item {item} is not in the item table"),
            FaultKind::UnknownControl { asked } => {
                write!(f, "nothing in the catalogue is called {asked}")
            }
            FaultKind::DuplicateKey { key } => {
                write!(f, "key {key} is there already: the first row was kept")
            }
            FaultKind::EmptyHistory => f.write_str("the user has no history to rank from"),
            FaultKind::NoCandidates => {
                f.write_str("every item is seen, excluded or ruled out: nothing to rank")
            }
            FaultKind::NonFiniteScore => {
                f.write_str("the retriever's score is not a finite number")
            }
            FaultKind::PromptTooLong { tokens, tokens_max } => {
                write!(
                    f,
                    "the prompt has {tokens} tokens without any history, and {tokens_max} fit: \
                     raise prompt.tokens_max, or show fewer candidates or shorter titles"
                )
            }
            FaultKind::NothingToAsk => {
                f.write_str("no category of requests has anything for the user")
            }
            FaultKind::Unjudged { request, found } => {
                write!(f, "the teacher's answer to {request:?} cannot be used: {found}")
            }
        }
    }
}
