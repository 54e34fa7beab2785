//! From a job file to a finished run: whatever it reads from first, and nothing that is done
//! already.

use super::embed::Embeddings;
use super::label::Labelled;
use super::prepare::Prepared;
use super::rerank::Sources;
use super::runs::{Options, store};
use super::train_encoder::TrainedEncoder;
use super::train_retriever::Trained;
use super::{
    chain, embed, label, prepare, reachability, rerank, train_encoder, train_reranker,
    train_retriever,
};
use crate::error::{Error, Result};
use crate::flow::Meters;
use crate::spec::{
    EmbedSpec, Job, Kind, LabelSpec, Needed, PrepareSpec, ReachabilitySpec, RerankSpec,
    TrainEncoderSpec, TrainRerankerSpec, TrainRetrieverSpec,
};
use crate::store::{RunDir, Store};
use crate::train::Progress;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Who is told what happens.
pub trait Watcher {
    /// A run begins, or goes on after `epochs_done` of its `epochs`.
    fn begin(&self, run: &RunDir, meters: &Arc<Meters>);
    /// A training step.
    fn step(&self, run: &RunDir, progress: &Progress);
    /// A run is finished; `skipped` says that it was so before.
    fn end(&self, run: &RunDir, skipped: bool, wall: Duration);
}

/// A run that is up to date.
pub struct Brought {
    /// The job.
    pub job: Job,
    /// What it came to.
    pub outcome: Outcome,
    /// The process's counters, if anything was done.
    pub meters: Arc<Meters>,
    /// Whether anything was left to do.
    pub worked: bool,
    /// How long it took, its upstream runs not counted.
    pub wall: Duration,
}

/// What a job came to, by kind.
#[allow(clippy::large_enum_variant)] // one in a process
pub enum Outcome {
    /// Sequences.
    Prepared(Prepared),
    /// A retriever.
    Trained(Trained),
    /// A re-ranker.
    TrainedReranker(train_reranker::Reranker),
    /// A teacher's judgements.
    Labelled(Labelled),
    /// Two text encoders.
    TrainedEncoder(TrainedEncoder),
    /// The catalogue's vectors.
    Embedded(Embeddings),
    /// How far controls lead.
    Steered(RunDir),
    /// Ranked lists.
    Reranked(rerank::Opened),
}

impl Outcome {
    /// The run's directory.
    pub fn run(&self) -> &RunDir {
        match self {
            Outcome::Prepared(prepared) => &prepared.run,
            Outcome::Trained(trained) => &trained.run,
            Outcome::TrainedReranker(reranker) => &reranker.run,
            Outcome::Labelled(labelled) => &labelled.run,
            Outcome::TrainedEncoder(trained) => &trained.run,
            Outcome::Embedded(embeddings) => &embeddings.run,
            Outcome::Steered(run) => run,
            Outcome::Reranked(opened) => &opened.run,
        }
    }
}

/// Brings a job's run up to date, and every run it reads from. Of several processes each calls this
/// with the same job; what only one of them does, the others wait for.
pub fn bring_up(file: &Path, options: &Options, watcher: &dyn Watcher) -> Result<Brought> {
    let job = chain::load(file, options)?;
    let store = store(&job)?;
    if options.cluster.hosts.is_none() {
        chain::find_devices(&job, &store, options)?; // of several processes not all need them
    }
    let told = RefCell::default();
    Chain { store: &store, options, watcher, told }.bring(job)
}

/// A job and what it reads from, on their way to being up to date.
struct Chain<'a> {
    store: &'a Store,
    options: &'a Options,
    watcher: &'a dyn Watcher,
    /// Runs that somebody has heard of: two jobs of a chain may read the same one.
    told: RefCell<BTreeSet<String>>,
}

impl Chain<'_> {
    /// Everything the job reads from, in the order in which the job names it.
    fn upstream(&self, job: &Job) -> Result<Vec<Outcome>> {
        let one = |needed: Needed| {
            let needed = self.options.load(&needed.file, true)?;
            Ok(self.bring(needed)?.outcome)
        };
        job.upstream().into_iter().map(one).collect()
    }

    fn bring(&self, job: Job) -> Result<Brought> {
        let (file, upstream) = (job.file.clone(), self.upstream(&job)?);
        self.brought(job, upstream).map_err(|error| chain::of_job(&file, error))
    }

    fn brought(&self, job: Job, upstream: Vec<Outcome>) -> Result<Brought> {
        let meters = Arc::new(Meters::default());
        let start = Instant::now();
        let (outcome, worked) = match &job.kind {
            Kind::Prepare(spec) => self.prepare(&job, spec, &meters)?,
            Kind::TrainRetriever(spec) => self.train(&job, spec, upstream, &meters)?,
            Kind::TrainReranker(spec) => self.train_reranker(&job, spec, upstream, &meters)?,
            Kind::Label(spec) => self.label(&job, spec, upstream, &meters)?,
            Kind::TrainEncoder(spec) => self.train_encoder(&job, spec, upstream, &meters)?,
            Kind::Embed(spec) => self.embed(&job, spec, upstream, &meters)?,
            Kind::Reachability(spec) => self.reachability(&job, spec, upstream, &meters)?,
            Kind::Rerank(spec) => self.rerank(&job, spec, upstream, &meters)?,
        };
        Ok(Brought { job, outcome, meters, worked, wall: start.elapsed() })
    }

    fn prepare(&self, job: &Job, spec: &PrepareSpec, meters: &Arc<Meters>) -> Result<Done> {
        let opened = prepare::open(job, spec, self.store)?;
        meters.epochs_total.store(opened.epochs(), Relaxed);
        let work = || prepare::run(job, spec, &opened, self.options, meters);
        let worked = self.watched(&opened.run, meters, work)?;
        Ok((Outcome::Prepared(prepare::finished(opened.run)?), worked))
    }

    fn train(
        &self,
        job: &Job,
        spec: &TrainRetrieverSpec,
        upstream: Vec<Outcome>,
        meters: &Arc<Meters>,
    ) -> Result<Done> {
        let opened = train_retriever::open(job, spec, self.store, prepared(job, upstream)?)?;
        let worked = self.trained(&opened.run, meters, opened.done()?, |workers, watch| {
            train_retriever::run(spec, &opened, workers, watch)
        })?;
        Ok((Outcome::Trained(train_retriever::finished(opened.run)?), worked))
    }

    fn train_reranker(
        &self,
        job: &Job,
        spec: &TrainRerankerSpec,
        upstream: Vec<Outcome>,
        meters: &Arc<Meters>,
    ) -> Result<Done> {
        let (prepared, trained) = learned_from(job, upstream)?;
        let opened = train_reranker::open(job, spec, self.store, prepared, trained)?;
        let worked = self.trained(&opened.run, meters, opened.done()?, |workers, watch| {
            train_reranker::run(spec, &opened, workers, watch)
        })?;
        let reranker = train_reranker::Reranker::open(opened.run, spec)?;
        Ok((Outcome::TrainedReranker(reranker), worked))
    }

    fn label(
        &self,
        job: &Job,
        spec: &LabelSpec,
        upstream: Vec<Outcome>,
        meters: &Arc<Meters>,
    ) -> Result<Done> {
        let opened = label::open(job, spec, self.store, prepared(job, upstream)?)?;
        meters.epochs_total.store(opened.epochs(spec), Relaxed);
        let work = || label::run(job, spec, (&opened, self.store), self.options, meters);
        let worked = self.watched(&opened.run, meters, work)?;
        Ok((Outcome::Labelled(label::finished(opened, spec.clone())?), worked))
    }

    fn train_encoder(
        &self,
        job: &Job,
        spec: &TrainEncoderSpec,
        upstream: Vec<Outcome>,
        meters: &Arc<Meters>,
    ) -> Result<Done> {
        let opened = train_encoder::open(job, spec, self.store, labels(job, upstream)?)?;
        let worked = self.trained(&opened.run, meters, opened.done()?, |workers, watch| {
            train_encoder::run(spec, &opened, workers, watch)
        })?;
        Ok((Outcome::TrainedEncoder(opened.finished()?), worked))
    }

    fn embed(
        &self,
        job: &Job,
        spec: &EmbedSpec,
        upstream: Vec<Outcome>,
        meters: &Arc<Meters>,
    ) -> Result<Done> {
        let (encoder, items) = encoder_and_items(job, upstream)?;
        let opened = embed::open(job, spec, self.store, encoder, items)?;
        meters.epochs_total.store(opened.plan.epochs.len() as u64, Relaxed);
        let work = || embed::run(job, spec, &opened, self.store, self.options, meters);
        let worked = self.watched(&opened.run, meters, work)?;
        Ok((Outcome::Embedded(opened.finished()?), worked))
    }

    fn reachability(
        &self,
        job: &Job,
        spec: &ReachabilitySpec,
        upstream: Vec<Outcome>,
        meters: &Arc<Meters>,
    ) -> Result<Done> {
        let opened = reachability::open(job, self.store, pairs(job, upstream)?)?;
        let worked = self.trained(&opened.run, meters, opened.done()?, |workers, _| {
            reachability::run(spec, &opened, workers)
        })?;
        Ok((Outcome::Steered(opened.run), worked))
    }

    /// Has process 0 train, unless that is done. Gives whether it was left to do.
    fn trained(
        &self,
        run: &RunDir,
        meters: &Arc<Meters>,
        done: bool,
        train: impl FnOnce(usize, &mut dyn FnMut(&Progress)) -> Result<()>,
    ) -> Result<bool> {
        meters.epochs_total.store(1, Relaxed);
        let cluster = &self.options.cluster;
        let mut step = |progress: &Progress| self.watcher.step(run, progress);
        self.watched(run, meters, || {
            if done {
                return Ok(1);
            }
            cluster.once(run.name(), || train(cluster.workers, &mut step))?;
            meters.epochs_done.store(1, Relaxed);
            Ok(0)
        })
    }

    fn rerank(
        &self,
        job: &Job,
        spec: &RerankSpec,
        upstream: Vec<Outcome>,
        meters: &Arc<Meters>,
    ) -> Result<Done> {
        let opened = rerank::open(job, spec, self.store, sources(job, upstream)?)?;
        meters.epochs_total.store(opened.plan.epochs.len() as u64, Relaxed);
        let work = || rerank::run(job, spec, &opened, self.options, meters);
        let worked = self.watched(&opened.run, meters, work)?;
        Ok((Outcome::Reranked(opened), worked))
    }

    /// Runs `work`, which gives how many epochs were done before, between the watcher's begin and
    /// end. Gives whether any was left.
    fn watched(
        &self,
        run: &RunDir,
        meters: &Arc<Meters>,
        work: impl FnOnce() -> Result<u64>,
    ) -> Result<bool> {
        let first = self.told.borrow_mut().insert(run.name().to_owned());
        let done = if first { run.verify()? } else { run.epochs()?.len() as u64 };
        meters.epochs_done.store(done, Relaxed);
        let start = Instant::now();
        if first {
            self.watcher.begin(run, meters);
        }
        let skipped = work()? >= meters.epochs_total.load(Relaxed);
        if first {
            self.watcher.end(run, skipped, start.elapsed());
        }
        Ok(!skipped)
    }
}

/// What came of a job, and whether anything was left to do.
type Done = (Outcome, bool);

/// What a rerank job reads, which must be up to date already.
pub fn upstream_of(job: &Job, store: &Store, options: &Options) -> Result<Sources> {
    struct Silent;
    impl Watcher for Silent {
        fn begin(&self, _: &RunDir, _: &Arc<Meters>) {}
        fn step(&self, _: &RunDir, _: &Progress) {}
        fn end(&self, _: &RunDir, _: bool, _: Duration) {}
    }
    let chain = Chain { store, options, watcher: &Silent, told: RefCell::default() };
    sources(job, chain.upstream(job)?)
}

/// The sequences that a job reads from.
pub(super) fn prepared(job: &Job, upstream: Vec<Outcome>) -> Result<Prepared> {
    match upstream.into_iter().next() {
        Some(Outcome::Prepared(prepared)) => Ok(prepared),
        _ => Err(wrong_kind(job, "sequences", "prepare")),
    }
}

/// The sequences and the retriever that a re-ranker learns from.
pub(super) fn learned_from(job: &Job, upstream: Vec<Outcome>) -> Result<(Prepared, Trained)> {
    match sources(job, upstream)? {
        Sources { prepared, trained: Some(trained), .. } => Ok((prepared, trained)),
        _ => Err(wrong_kind(job, "retriever", "train-retriever")),
    }
}

/// The judgements that an encoder learns from.
pub(super) fn labels(job: &Job, upstream: Vec<Outcome>) -> Result<Labelled> {
    match upstream.into_iter().next() {
        Some(Outcome::Labelled(labelled)) => Ok(labelled),
        _ => Err(wrong_kind(job, "labels", "label")),
    }
}

/// What encodes, and whose items, if it is not those that it learned from.
pub(super) fn encoder_and_items(
    job: &Job,
    upstream: Vec<Outcome>,
) -> Result<(TrainedEncoder, Option<Prepared>)> {
    let mut upstream = upstream.into_iter();
    let Some(Outcome::TrainedEncoder(encoder)) = upstream.next() else {
        return Err(wrong_kind(job, "encoder", "train-encoder"));
    };
    match upstream.next() {
        None => Ok((encoder, None)),
        Some(Outcome::Prepared(prepared)) => Ok((encoder, Some(prepared))),
        Some(_) => Err(wrong_kind(job, "sequences", "prepare")),
    }
}

/// The people, the base recommender and the language of a reachability job.
pub(super) fn pairs(job: &Job, upstream: Vec<Outcome>) -> Result<(Prepared, Trained, Embeddings)> {
    match sources(job, upstream)? {
        Sources { prepared, trained: Some(trained), mut embeddings, .. } => {
            let embeddings = embeddings.pop();
            let embeddings = embeddings.ok_or_else(|| wrong_kind(job, "embeddings", "embed"))?;
            Ok((prepared, trained, embeddings))
        }
        _ => Err(wrong_kind(job, "retriever", "train-retriever")),
    }
}

/// The sequences, the retriever, the re-rankers and the encoders that a job reads from.
pub(super) fn sources(job: &Job, upstream: Vec<Outcome>) -> Result<Sources> {
    let mut upstream = upstream.into_iter();
    let Some(Outcome::Prepared(prepared)) = upstream.next() else {
        return Err(wrong_kind(job, "sequences", "prepare"));
    };
    let (rerankers, embeddings) = (Vec::new(), Vec::new());
    let (trained, labelled) = (None, None);
    let mut sources = Sources { prepared, trained, rerankers, embeddings, labelled };
    let given = matches!(&job.kind, Kind::Rerank(spec) if spec.candidates.is_some());
    if !given {
        let Some(Outcome::Trained(trained)) = upstream.next() else {
            return Err(wrong_kind(job, "retriever", "train-retriever"));
        };
        sources.trained = Some(trained);
    }
    for outcome in upstream {
        match outcome {
            Outcome::TrainedReranker(reranker) => sources.rerankers.push(reranker),
            Outcome::Embedded(embeddings) => sources.embeddings.push(embeddings),
            Outcome::Labelled(labelled) => sources.labelled = Some(labelled),
            _ => return Err(wrong_kind(job, "arm.steps", "train-reranker\" or \"embed")),
        }
    }
    Ok(sources)
}

fn wrong_kind(job: &Job, field: &str, expected: &str) -> Error {
    let (file, why) = (job.file.display(), "found another kind");
    Error::Input(format!("{file}: {field}: expected a job of kind {expected:?}, {why}"))
}
