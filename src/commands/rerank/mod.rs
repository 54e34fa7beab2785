//! Brings a `rerank` job's run up to date.

mod estimate;
mod graph;
mod inferred;
mod memory;
mod models;
mod one;
mod settings;
mod shared;
mod sums;

pub use estimate::guided;
pub use inferred::told;
pub use memory::memory;
pub use models::speaker;
pub use one::{one, stages};
pub use settings::{attribute, metric_plan, point_plan};
pub use sums::sums;

use super::embed::Embeddings;
use super::label::{self, Labelled};
use super::prepare::Prepared;
use super::runs::{Options, hash_inputs, manifest, names};
use super::server;
use super::train_reranker::Reranker;
use super::train_retriever::Trained;
use super::{demo_data, devices};
use crate::control::{Inferences, with_popularity};
use crate::device::Turns;
use crate::device::cpu::top_k::ItemIndex;
use crate::device::cuda::Items;
use crate::error::{Error, Result};
use crate::flow::Meters;
use crate::flow::commit::Record;
use crate::flow::prepare::Pass;
use crate::flow::rerank::{Given, Retrieved, rerank};
use crate::metric::MetricPlan;
use crate::plan::{Plan, Task};
use crate::spec::{CandidatesSpec, Job, RerankSpec};
use crate::stage::read::{ReadGiven, ReadSequences};
use crate::stage::retrieve::{Encode, Retrieve, Retriever, Search};
use crate::store::input::{self, GivenColumns, GivenFile, open_given};
use crate::store::{RunDir, Store};
use shared::{Barred, Shared};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A job with its inputs opened and its run known: ready to be planned or run.
pub struct Opened {
    /// The users, their histories and the catalogue.
    pub prepared: Prepared,
    /// The retriever; none where candidates are given.
    pub trained: Option<Trained>,
    /// The arms' decoders, in the order of [`RerankSpec::rerankers`].
    pub rerankers: Vec<Reranker>,
    /// The arms' encoders, in the order of [`RerankSpec::embeddings`].
    pub embeddings: Vec<Embeddings>,
    /// The catalogue's values that nobody wrote down.
    pub inferences: Inferences,
    /// The run.
    pub run: RunDir,
    /// Its epochs.
    pub plan: Plan,
    /// The metrics.
    pub metrics: MetricPlan,
    store: Store,
    given: Option<GivenLists>,
    controls: Option<PathBuf>,
    requests: Option<PathBuf>,
    goals: Option<PathBuf>,
    exclude: Option<PathBuf>,
}

/// What a rerank job reads from, up to date.
pub struct Sources {
    /// The users, their histories and the catalogue.
    pub prepared: Prepared,
    /// The retriever; none where candidates are given.
    pub trained: Option<Trained>,
    /// The arms' decoders.
    pub rerankers: Vec<Reranker>,
    /// The arms' encoders.
    pub embeddings: Vec<Embeddings>,
    /// Who inferred values of attributes.
    pub labelled: Option<Labelled>,
}

struct GivenLists {
    files: Arc<Vec<GivenFile>>,
    file_of: Arc<Vec<usize>>,
}

/// Opens and checks everything that the job reads.
pub fn open(job: &Job, spec: &RerankSpec, store: &Store, sources: Sources) -> Result<Opened> {
    let Sources { mut prepared, trained, rerankers, embeddings, labelled } = sources;
    let inferences = match (&spec.inferred, &labelled) {
        (Some(spec), Some(labelled)) => inferred::fill(spec, labelled, &mut prepared)?,
        _ => Inferences::new(),
    };
    if spec.requests.is_some() {
        prepared.catalogue = Arc::new(with_popularity(&prepared.catalogue)); // people ask for it
    }
    let mut paths = Vec::new();
    let mut one = |path: &Option<String>| -> Result<Option<PathBuf>> {
        let Some(path) = path else { return Ok(None) };
        let found = match path.strip_prefix("generated:") {
            Some(name) => demo_data::of_run(&prepared.run, store)?.join(name),
            None => input::resolve(std::slice::from_ref(path))?.swap_remove(0),
        };
        paths.push(found.clone());
        Ok(Some(found))
    };
    let (controls, exclude) = (one(&spec.controls.path)?, one(&spec.retrieve.exclude)?);
    let requests = spec.requests.as_ref().map(|requests| one(&requests.path)).transpose()?;
    let goals = spec.goals.as_ref().map(|goals| one(&goals.path)).transpose()?;
    let given = spec.candidates.as_ref().map(|candidates| open_lists(candidates, &mut paths));
    let given = given.transpose()?;
    let mut upstream = vec![("sequences", &prepared.run)];
    upstream.extend(trained.as_ref().map(|trained| ("retriever", &trained.run)));
    let names: Vec<String> =
        spec.rerankers().iter().map(|name| format!("reranker {name}")).collect();
    upstream.extend(names.iter().map(String::as_str).zip(rerankers.iter().map(|r| &r.run)));
    let names: Vec<String> =
        spec.embeddings().iter().map(|name| format!("embeddings {name}")).collect();
    upstream.extend(names.iter().map(String::as_str).zip(embeddings.iter().map(|e| &e.run)));
    upstream.extend(labelled.as_ref().map(|labelled| ("inferred", &labelled.run)));
    for decoder in spec.guides.iter().filter_map(|guide| guide.decoder.as_ref()) {
        for folder in [&decoder.path].into_iter().chain(&decoder.adapter) {
            paths.extend(label::decoder_files(Path::new(folder))?);
        }
    }
    let refs = hash_inputs(store, &paths)?;
    let run = RunDir::at(store, manifest(job, refs, &upstream));
    let tasks = match &given {
        Some((_, tasks)) => tasks.clone(),
        None => partitions(&prepared),
    };
    let given = given.map(|(lists, _)| lists);
    let plan = Plan::pack("rerank", 0, tasks, u64::MAX, spec.output.epoch_tasks);
    let metrics = metric_plan(spec, &prepared, trained.is_some())?;
    Ok(Opened {
        prepared,
        trained,
        rerankers,
        embeddings,
        inferences,
        run,
        plan,
        metrics,
        store: store.clone(),
        given,
        controls,
        requests: requests.flatten(),
        goals: goals.flatten(),
        exclude,
    })
}

/// One task for each partition of sequences.
fn partitions(prepared: &Prepared) -> Vec<Task> {
    let task = |(shard, part): (usize, &crate::store::PartRef)| Task {
        shard: shard as u32,
        name: part.key.clone(),
        row_group: 0,
        rows: part.rows,
        bytes: part.bytes,
    };
    prepared.sequences.iter().enumerate().map(task).collect()
}

/// One task for each row group of given lists.
fn open_lists(spec: &CandidatesSpec, paths: &mut Vec<PathBuf>) -> Result<(GivenLists, Vec<Task>)> {
    let columns = GivenColumns {
        user: spec.user.clone(),
        items: spec.items.clone(),
        scores: spec.scores.clone(),
        target: spec.target.clone(),
    };
    let found = input::resolve(&spec.paths)?;
    let files = found.iter().map(|path| open_given(path, &columns));
    let files = files.collect::<Result<Vec<GivenFile>>>()?;
    let (mut tasks, mut file_of) = (Vec::new(), Vec::new());
    let names = names(&found);
    for (at, file) in files.iter().enumerate() {
        let bytes = std::fs::metadata(file.path()).map_err(Error::io("read", file.path()))?.len();
        for row_group in 0..file.row_groups() {
            tasks.push(Task {
                shard: tasks.len() as u32,
                name: names[at].clone(),
                row_group: row_group as u32,
                rows: file.rows(row_group),
                bytes: bytes / file.row_groups() as u64,
            });
            file_of.push(at);
        }
    }
    paths.extend(found);
    Ok((GivenLists { files: Arc::new(files), file_of: Arc::new(file_of) }, tasks))
}

/// Does what is not done yet. Gives the number of epochs that were.
pub fn run(
    job: &Job,
    spec: &RerankSpec,
    opened: &Opened,
    options: &Options,
    meters: &Arc<Meters>,
) -> Result<u64> {
    opened.run.create()?;
    let committed = opened.run.epochs()?;
    let plan = opened.plan.resume(&committed);
    if plan.epochs.is_empty() {
        return Ok(committed.len() as u64);
    }
    let faults = opened.run.commits()?.values().map(|commit| commit.rows_faulted).sum();
    let record = opened.record(job, faults, meters);
    let shared = Shared::new(spec, opened, record)?;
    let barred = shared.barred(spec, opened.exclude.as_ref())?;
    let window_epochs = job.run.window_epochs;
    let meters = Arc::clone(meters);
    let (cluster, name) = (&options.cluster, opened.run.name());
    let account = shared.account.clone();
    let done = match (&opened.given, &opened.trained) {
        (Some(given), _) => {
            let (files, file_of) = (Arc::clone(&given.files), Arc::clone(&given.file_of));
            let index = Arc::new(input::ItemIndex::new(&shared.catalogue.keys));
            let (barred, k) = (Arc::new(barred.everybody), spec.retrieve.k);
            let build = move || {
                let (files, file_of) = (Arc::clone(&files), Arc::clone(&file_of));
                let (index, barred) = (Arc::clone(&index), Arc::clone(&barred));
                shared.stages(Given(ReadGiven { files, file_of, index, barred, k }))
            };
            rerank(cluster, name, Pass { plan, window_epochs, meters, build })
        }
        (None, Some(trained)) => {
            let encode = trained.encode_on(&spec.device, spec.device_tokens_max)?;
            let shared = shared.searching(spec, (trained, &encode), &barred)?;
            let retrieved = opened.retrieved(spec, (trained, encode), barred)?;
            let build = move || shared.stages(retrieved.clone());
            rerank(cluster, name, Pass { plan, window_epochs, meters, build })
        }
        (None, None) => unreachable!("a checked job has a retriever or given candidates"),
    };
    if let Some(account) = &account {
        server::note(&opened.run, account)?; // what is paid is paid, whatever became of it
    }
    done?;
    Ok(committed.len() as u64)
}

impl Opened {
    fn record(&self, job: &Job, faults: u64, meters: &Arc<Meters>) -> Record {
        Record {
            run: self.run.clone(),
            conserves: true,
            faults,
            faults_max: job.run.faults_max,
            shards: Arc::new(self.plan.tasks().map(|task| task.name.clone()).collect()),
            meters: Arc::clone(meters),
        }
    }

    fn retrieved(
        &self,
        spec: &RerankSpec,
        (trained, encode): (&Trained, Encode),
        barred: Barred,
    ) -> Result<Retrieved> {
        let (items, width, k) = (trained.item_embeddings(), trained.width(), spec.retrieve.k);
        let devices = devices::open(&spec.device, "device")?;
        let search = if devices.is_empty() {
            Search::Cpu(ItemIndex::new(items, width)?, barred.everybody)
        } else {
            let on = |device| Items::new(device, items, width, &barred.everybody, k);
            Search::Devices(Turns::new(devices.into_iter().map(on).collect::<Result<_>>()?))
        };
        let retriever = Retriever {
            encode,
            search,
            excluded: barred.by_user,
            exclude_seen: spec.retrieve.exclude_seen,
            k,
        };
        let (run, parts) = (self.prepared.run.clone(), Arc::clone(&self.prepared.sequences));
        let read = ReadSequences { run, parts, target: spec.target };
        Ok(Retrieved { read, retrieve: Retrieve(Arc::new(retriever)) })
    }
}
