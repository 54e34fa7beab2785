//! The top K of the whole catalogue for each user, by the retriever's scores.

use super::{Outcomes, Stage};
use crate::device::Turns;
use crate::device::cpu::top_k::{BitSet, ItemIndex, TopK, TopKQuery};
use crate::device::cuda::{Asked, Items};
use crate::error::Result;
use crate::types::{Candidates, FaultKind, ItemId, Key, Query, StageName};
use std::collections::HashMap;
use std::sync::Arc;

/// Gives each history's user vector: (users, width) row-major.
pub type Encode = Arc<dyn Fn(&[&[ItemId]]) -> Result<Vec<f32>> + Send + Sync>;

/// What retrieval needs: shared by all workers of a process.
pub struct Retriever {
    /// The network, up to the user's vector.
    pub encode: Encode,
    /// The item vectors, and which of them nobody is recommended.
    pub search: Search,
    /// Items that a user is not recommended, ascending.
    pub excluded: HashMap<Key, Vec<ItemId>>,
    /// Whether a user's own history is left out.
    pub exclude_seen: bool,
    /// Candidates of a user.
    pub k: usize,
}

/// Where the items are searched: the lists and scores are the same.
pub enum Search {
    /// On the processor, with the items that nobody is recommended: the exclusion list, and those
    /// that fail a hard rule.
    Cpu(ItemIndex, BitSet),
    /// On devices, which know them.
    Devices(Turns<Items>),
}

impl Search {
    /// Errors: a device that fails.
    fn run(&self, users: &[f32], excluded: &[&[ItemId]], k: usize) -> Result<TopK> {
        match self {
            Search::Cpu(index, barred) => {
                let query = TopKQuery { k, excluded, barred: Some(barred), threads: 1 };
                Ok(index.search(users, &query))
            }
            Search::Devices(items) => items.ask(|one| one.search(&Asked { users, excluded, k })),
        }
    }
}

/// [`Query`] → [`Candidates`].
#[derive(Clone)]
pub struct Retrieve(pub Arc<Retriever>);

/// Users that are searched for at once: enough to reuse each block of items, and little enough that
/// their vectors stay in the cache.
pub const USERS_AT_ONCE: usize = 1024;

impl Stage for Retrieve {
    type In = Query;
    type Out = Candidates;
    const NAME: StageName = StageName::Retrieve;

    fn run(&mut self, rows: Vec<Query>, out: &mut Outcomes<Candidates>) {
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            let batch: Vec<Query> = rows.by_ref().take(USERS_AT_ONCE).collect();
            self.0.batch(batch, out);
        }
    }
}

impl Retriever {
    /// How many devices a batch may wait for.
    pub fn devices(&self) -> usize {
        match &self.search {
            Search::Cpu(..) => 0,
            Search::Devices(items) => items.count(),
        }
    }

    fn batch(&self, rows: Vec<Query>, out: &mut Outcomes<Candidates>) {
        let histories: Vec<&[ItemId]> = rows.iter().map(|row| row.history.as_slice()).collect();
        let users = match (self.encode)(&histories) {
            Ok(users) => users,
            Err(error) => return out.fail(&error),
        };
        let excluded: Vec<Vec<ItemId>> = rows.iter().map(|row| self.excluded_for(row)).collect();
        let excluded: Vec<&[ItemId]> = excluded.iter().map(Vec::as_slice).collect();
        let found = match self.search.run(&users, &excluded, self.k) {
            Ok(found) => found,
            Err(error) => return out.fail(&error),
        };
        for (at, row) in rows.into_iter().enumerate() {
            let range = found.offsets[at]..found.offsets[at + 1];
            if found.unscored.binary_search(&(at as u32)).is_ok() {
                out.fault(row.origin, FaultKind::NonFiniteScore);
            } else if range.is_empty() {
                out.fault(row.origin, FaultKind::NoCandidates);
            } else {
                out.ok(Candidates {
                    query: row,
                    items: found.items[range.clone()].to_vec(),
                    scores: found.scores[range].to_vec(),
                    ..Candidates::default()
                });
            }
        }
    }

    fn excluded_for(&self, row: &Query) -> Vec<ItemId> {
        let mut ids = if self.exclude_seen { row.history.clone() } else { Vec::new() };
        ids.extend(self.excluded.get(&row.user).into_iter().flatten());
        ids.sort_unstable();
        ids.dedup();
        ids
    }
}
