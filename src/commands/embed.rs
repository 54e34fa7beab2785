//! Brings an `embed` job's run up to date.

use super::devices;
use super::prepare::Prepared;
use super::runs::{Options, manifest, unfinished};
use super::train_encoder::TrainedEncoder;
use crate::control::with_popularity;
use crate::error::{Error, Result};
use crate::flow::Meters;
use crate::flow::commit::Record;
use crate::flow::embed::{EmbedStages, embed};
use crate::flow::prepare::Pass;
use crate::plan::{Plan, Task};
use crate::spec::{EmbedSpec, Job};
use crate::stage::embed::{EmbedItems, WriteEmbeddings};
use crate::store::{RunDir, Store, list_runs, part};
use crate::types::Catalogue;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Tokens that a device reads together.
pub const DEVICE_TOKENS_MAX: usize = 16_384;

/// How many vectors were there already: it depends on what else lies in the store, so that no
/// commit holds it.
const REUSED_KEY: &str = "reused.json";

/// A job with its run known.
pub struct Opened {
    /// What encodes.
    pub encoder: TrainedEncoder,
    /// Whose items are encoded, with their popularity; those that the encoder learned from when
    /// there are no others.
    pub catalogue: Arc<Catalogue>,
    /// The run.
    pub run: RunDir,
    /// Its epochs.
    pub plan: Plan,
}

/// A finished run, as later jobs read it.
pub struct Embeddings {
    /// Its directory.
    pub run: RunDir,
    /// What encoded the items, and will encode requests.
    pub encoder: TrainedEncoder,
}

/// Opens what the job reads.
pub fn open(
    job: &Job,
    spec: &EmbedSpec,
    store: &Store,
    encoder: TrainedEncoder,
    sequences: Option<Prepared>,
) -> Result<Opened> {
    let mut upstream = vec![("encoder", &encoder.run)];
    upstream.extend(sequences.as_ref().map(|prepared| ("sequences", &prepared.run)));
    let run = RunDir::at(store, manifest(job, Vec::new(), &upstream));
    let own = sequences.map(|prepared| Arc::new(with_popularity(&prepared.catalogue)));
    let catalogue = own.unwrap_or_else(|| Arc::clone(&encoder.labelled.catalogue));
    let task = |(shard, items): (u32, u64)| Task {
        shard,
        name: format!("items from {}", u64::from(shard) * spec.output.part_items as u64),
        row_group: 0,
        rows: items,
        bytes: 0,
    };
    let (items, most) = (catalogue.len() as u64, spec.output.part_items as u64);
    let sizes = (0..items.div_ceil(most)).map(|part| most.min(items - part * most));
    let tasks = (0..).zip(sizes).map(task).collect();
    let plan = Plan::pack("embed", 0, tasks, u64::MAX, spec.output.epoch_parts);
    Ok(Opened { encoder, catalogue, run, plan })
}

/// Does what is not done yet. Gives the number of epochs that were.
pub fn run(
    job: &Job,
    spec: &EmbedSpec,
    opened: &Opened,
    store: &Store,
    options: &Options,
    meters: &Arc<Meters>,
) -> Result<u64> {
    opened.run.create()?;
    let committed = opened.run.epochs()?;
    let plan = opened.plan.resume(&committed);
    if plan.epochs.is_empty() {
        return Ok(committed.len() as u64);
    }
    let encoder = opened.encoder.encoder()?;
    let encoder = Arc::new(encoder.on(&devices::open(&spec.device, "device")?, DEVICE_TOKENS_MAX)?);
    let texts = Arc::new(opened.encoder.labelled.texts(&opened.catalogue)?);
    let reused = Arc::new(AtomicU64::new(0));
    let stage = EmbedItems {
        catalogue: Arc::clone(&opened.catalogue),
        text: Arc::new(move |item| texts.item(item)),
        encode: Arc::new(move |texts| encoder.items(texts, 1)),
        known: Arc::new(known(store, opened)?),
        reused: Arc::clone(&reused),
        part_items: spec.output.part_items,
    };
    let names = opened.plan.tasks().map(|task| task.name.clone()).collect();
    let record = Record {
        run: opened.run.clone(),
        conserves: true,
        faults: 0,
        faults_max: job.run.faults_max,
        shards: Arc::new(names),
        meters: Arc::clone(meters),
    };
    let epochs = opened.plan.epochs.iter();
    let epochs = Arc::new(epochs.flat_map(|(e, tasks)| tasks.iter().map(|_| *e)).collect());
    let devices = spec.device.count();
    let (run, window_epochs) = (opened.run.clone(), job.run.window_epochs);
    let build = move || EmbedStages {
        embed: stage.clone(),
        devices,
        write: WriteEmbeddings { run: run.clone(), epochs: Arc::clone(&epochs) },
        ledger: record.ledger(|_, _| Ok((Value::Null, Vec::new()))),
    };
    let pass = Pass { plan, window_epochs, meters: Arc::clone(meters), build };
    embed(&options.cluster, opened.run.name(), pass)?;
    let reused = serde_json::json!({ "reused": reused.load(Relaxed) });
    opened.run.put_derived(REUSED_KEY, reused.to_string().into_bytes())?;
    Ok(committed.len() as u64)
}

/// The vectors that runs of the same encoder left, by the hashes of their texts. A run is named by
/// all that its bytes depend on, so that the same encoder gives the same bits on the same device.
fn known(store: &Store, opened: &Opened) -> Result<HashMap<String, Vec<f32>>> {
    let mut known = HashMap::new();
    for name in list_runs(store)? {
        let Ok(run) = RunDir::open(store, &name) else { continue };
        let manifest = run.manifest();
        let ours = manifest.upstream.get("encoder").is_some_and(|e| e == opened.encoder.run.name());
        let alike =
            [&manifest, &opened.run.manifest()].map(|m| (&m.code_version, m.spec.get("device")));
        if manifest.kind != "embed" || !ours || alike[0] != alike[1] {
            continue;
        }
        // One that is damaged saves no work, and is no reason to do none.
        let Ok(rows) = rows(&run) else { continue };
        known.extend(rows.into_iter().map(|row| (row.text_hash, row.vector)));
    }
    Ok(known)
}

/// How many vectors a run took from earlier ones; none if nobody knows, or there were none.
pub fn reused(run: &RunDir) -> Result<Option<u64>> {
    let Some(bytes) = run.get(REUSED_KEY)? else { return Ok(None) };
    let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    Ok(value["reused"].as_u64().filter(|count| *count > 0))
}

/// All rows of a run that are committed, in the order of the catalogue.
fn rows(run: &RunDir) -> Result<Vec<part::embeddings::Embedding>> {
    let mut rows = Vec::new();
    for commit in run.commits()?.values() {
        for part in &commit.parts {
            let path = run.path(&part.key).display().to_string();
            rows.append(&mut part::embeddings::decode(&path, run.get_part(part)?)?);
        }
    }
    Ok(rows)
}

impl Opened {
    /// Whether every item has its vector.
    pub fn done(&self) -> Result<bool> {
        Ok(self.run.epochs()?.len() >= self.plan.epochs.len())
    }

    /// The finished run.
    ///
    /// Errors: a run that is not finished.
    pub fn finished(self) -> Result<Embeddings> {
        if !self.done()? {
            return Err(unfinished(&self.run));
        }
        Ok(Embeddings { run: self.run, encoder: self.encoder })
    }
}

impl Embeddings {
    /// The vectors of a catalogue's items, (items, width), and their width.
    ///
    /// Errors: an item that has none, vectors of several widths.
    pub fn vectors(&self, catalogue: &Catalogue) -> Result<(Vec<f32>, usize)> {
        let by_item: HashMap<_, _> =
            rows(&self.run)?.into_iter().map(|row| (row.item, row.vector)).collect();
        let mut all = Vec::new();
        let mut width = 0;
        for key in &catalogue.keys {
            let vector = by_item.get(key).ok_or_else(|| {
                Error::Input(format!(
                    "{}: expected a vector for each item of the catalogue, found none for {key}: \
                     name the job that made the catalogue as its `sequences`",
                    self.run.name()
                ))
            })?;
            if width == 0 {
                width = vector.len();
            }
            if vector.len() != width || width == 0 {
                return Err(Error::Input(format!(
                    "{}: item {key}: expected a vector of {width} numbers, found {}",
                    self.run.name(),
                    vector.len()
                )));
            }
            all.extend_from_slice(vector);
        }
        Ok((all, width))
    }
}
