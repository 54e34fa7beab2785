//! A way that is known beforehand: for comparison with ways that are found.

use super::{Guide, Ranking, Stand, Turn};
use crate::error::{Error, Result};
use crate::types::NodeId;

/// Goes from node to node as the job says.
pub struct Along(pub Vec<NodeId>);

impl Guide for Along {
    fn rank(&self, _: &[Stand<'_>]) -> Result<Vec<Ranking>> {
        Err(Error::Input("node-graph: a path says where to go and ranks nothing".into()))
    }

    fn next(&self, at: &[Stand<'_>]) -> Result<Vec<Turn>> {
        let one = |stand: &Stand<'_>| {
            let next = self.0.get(stand.state.path.len() + 1).copied();
            Turn { next: next.unwrap_or(stand.graph.stop), ..Turn::default() }
        };
        Ok(at.iter().map(one).collect())
    }
}
