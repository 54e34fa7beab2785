//! `embed` as a dataflow.
//!
//! ```text
//! tasks ─► encode ─► write ─► commit
//! ```

use super::cluster::Cluster;
use super::commit::{Ledger, commit};
use super::offload::offload;
use super::prepare::{Pass, execute, kept, lost, planned};
use crate::engine::Engine;
use crate::error::Result;
use crate::stage::embed::{EmbedItems, WriteEmbeddings};
use timely::dataflow::operators::Concatenate;

/// Parts in flight between a worker and its engines.
const AHEAD: usize = 2;

/// The stages of a worker, and the job's ledger.
pub struct EmbedStages {
    /// Encodes a part of the catalogue.
    pub embed: EmbedItems,
    /// How many devices encode: while they do, the next part's texts become tokens.
    pub devices: usize,
    /// Writes it.
    pub write: WriteEmbeddings,
    /// Records epochs.
    pub ledger: Ledger<()>,
}

/// The catalogue's vectors.
pub fn embed<B>(cluster: &Cluster, run: &str, pass: Pass<B>) -> Result<()>
where
    B: Fn() -> EmbedStages + Send + Sync + 'static,
{
    execute(cluster, run, pass, |scope, parts, stages, pass, done| {
        let EmbedStages { embed, devices, write, ledger } = stages;
        let planned = planned(parts.clone());
        // The processor's time is an engine's too: parts are written meanwhile.
        let engine = Engine::start_beside(devices, move || embed.clone());
        let (embedded, unembedded) = offload(parts, engine, 1, &pass.meters);
        let (written, unwritten) =
            offload(embedded, Engine::start(AHEAD, || write), 1, &pass.meters);
        let receipts = [planned, kept(written), lost(scope, [unembedded, unwritten])];
        commit(scope.concatenate(receipts), ledger, done, &pass.meters);
    })
}
