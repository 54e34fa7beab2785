//! From a job file to a finished run: whatever it reads from first, and nothing that is done
//! already.

use super::rerank::Sources;
use super::runs::{Options, store};
use super::{label, prepare, rerank, train_reranker, train_retriever};
use crate::error::{Error, Result};
use crate::flow::Meters;
use crate::spec::{
    Job, Kind, LabelSpec, PrepareSpec, RerankSpec, TrainRerankerSpec, TrainRetrieverSpec,
};
use crate::store::{RunDir, Store};
use crate::train::Progress;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
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
    Prepared(prepare::Prepared),
    /// A retriever.
    Trained(train_retriever::Trained),
    /// A re-ranker.
    TrainedReranker(train_reranker::Reranker),
    /// Judgements.
    Labelled(label::Labelled),
    /// Ranked lists.
    Reranked(rerank::Opened),
}

impl Brought {
    /// The run's directory.
    pub fn run(&self) -> &RunDir {
        match &self.outcome {
            Outcome::Prepared(prepared) => &prepared.run,
            Outcome::Trained(trained) => &trained.run,
            Outcome::TrainedReranker(reranker) => &reranker.run,
            Outcome::Labelled(labelled) => &labelled.run,
            Outcome::Reranked(opened) => &opened.run,
        }
    }
}

/// Brings a job's run up to date, and every run it reads from. Of several processes each calls this
/// with the same job; what only one of them does, the others wait for.
pub fn bring_up(file: &Path, options: &Options, watcher: &dyn Watcher) -> Result<Brought> {
    let job = options.load(file, false)?;
    let store = store(&job)?;
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
        let one = |file: PathBuf| {
            let needed = self.options.load(&file, true)?;
            Ok(self.bring(needed)?.outcome)
        };
        job.upstream().into_iter().map(one).collect()
    }

    fn bring(&self, job: Job) -> Result<Brought> {
        let upstream = self.upstream(&job)?;
        let meters = Arc::new(Meters::default());
        let start = Instant::now();
        let (outcome, worked) = match &job.kind {
            Kind::Prepare(spec) => self.prepare(&job, spec, &meters)?,
            Kind::TrainRetriever(spec) => self.train(&job, spec, upstream, &meters)?,
            Kind::TrainReranker(spec) => self.train_reranker(&job, spec, upstream, &meters)?,
            Kind::Label(spec) => self.label(&job, spec, upstream, &meters)?,
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
        let Some(Outcome::Prepared(prepared)) = upstream.into_iter().next() else {
            return Err(wrong_kind(job, "sequences", "prepare"));
        };
        let opened = train_retriever::open(job, spec, self.store, prepared)?;
        let worked = self.trained(&opened.run, meters, opened.done()?, |workers, watch| {
            train_retriever::run(&opened, workers, watch)
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
        let Sources { prepared, trained: Some(trained), .. } = sources(job, upstream)? else {
            return Err(wrong_kind(job, "retriever", "train-retriever"));
        };
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
        let Some(Outcome::Prepared(prepared)) = upstream.into_iter().next() else {
            return Err(wrong_kind(job, "sequences", "prepare"));
        };
        let opened = label::open(job, spec, self.store, prepared)?;
        meters.epochs_total.store(opened.plan.epochs.len() as u64, Relaxed);
        let work = || label::run(job, spec, (&opened, self.store), self.options, meters);
        let worked = self.watched(&opened.run, meters, work)?;
        Ok((Outcome::Labelled(label::finished(opened, spec.clone())?), worked))
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
        meters.epochs_done.store(run.commits()?.len() as u64, Relaxed);
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

/// The sequences, the retriever and the re-rankers that a job reads from.
fn sources(job: &Job, upstream: Vec<Outcome>) -> Result<Sources> {
    let mut upstream = upstream.into_iter();
    let Some(Outcome::Prepared(prepared)) = upstream.next() else {
        return Err(wrong_kind(job, "sequences", "prepare"));
    };
    let mut sources = Sources { prepared, trained: None, rerankers: Vec::new() };
    let given = matches!(&job.kind, Kind::Rerank(spec) if spec.candidates.is_some());
    if !given {
        let Some(Outcome::Trained(trained)) = upstream.next() else {
            return Err(wrong_kind(job, "retriever", "train-retriever"));
        };
        sources.trained = Some(trained);
    }
    for outcome in upstream {
        let Outcome::TrainedReranker(reranker) = outcome else {
            return Err(wrong_kind(job, "arm.steps.reranker", "train-reranker"));
        };
        sources.rerankers.push(reranker);
    }
    Ok(sources)
}

fn wrong_kind(job: &Job, field: &str, expected: &str) -> Error {
    let file = job.file.display();
    Error::Input(format!(
        "{file}: {field}: expected a job of kind {expected:?}, found another kind"
    ))
}
