//! The baseline of baselines: what the retriever gave, as it gave it.

use crate::types::{ArmList, Candidates};

/// Every candidate in the retriever's order, with its score.
pub fn retrieval_order(row: &Candidates) -> ArmList {
    let count = row.retrieved();
    ArmList { order: (0..count as u32).collect(), scores: row.scores[..count].to_vec() }
}
