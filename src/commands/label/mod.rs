//! Brings a `label` job's run up to date.

mod estimate;
mod infer;
mod settings;
mod teacher;

pub use estimate::{Estimate, estimate};
pub use infer::InferFacts;
pub use settings::{requests, texts};
pub use teacher::files as decoder_files;

use super::prepare::Prepared;
use super::runs::{Options, hash_inputs, manifest, unfinished};
use super::server;
use crate::control::{Requests, with_popularity};
use crate::error::{Error, Result};
use crate::flow::Meters;
use crate::flow::commit::Record;
use crate::flow::label::{LabelStages, label};
use crate::flow::prepare::Pass;
use crate::plan::{Plan, Task};
use crate::spec::{Job, LabelSpec, RequestsFrom, TeacherSpec};
use crate::stage::judge::{Judge, Paid, Writer};
use crate::stage::labels::{LabelSums, WriteJudgements};
use crate::stage::pose::{Pose, Source};
use crate::stage::texts::Texts;
use crate::stage::users::{ReadUsers, quotas};
use crate::store::{Commit, RunDir, Store, part};
use crate::types::{Catalogue, Inferred, Judgement};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A job with its run known: ready to be planned or run.
pub struct Opened {
    /// The users, their histories and the items.
    pub prepared: Prepared,
    /// The items with their popularity: what requests, texts and judgements are about.
    pub catalogue: Arc<Catalogue>,
    /// The run.
    pub run: RunDir,
    /// Its epochs.
    pub plan: Plan,
}

/// A finished label run, as later jobs read it.
pub struct Labelled {
    /// Its directory.
    pub run: RunDir,
    /// What it came to.
    pub facts: Facts,
    /// The job.
    pub spec: LabelSpec,
    /// What it read.
    pub prepared: Prepared,
    /// The items with their popularity: what requests, texts and judgements are about.
    pub catalogue: Arc<Catalogue>,
}

/// What a label run came to: a fold over its commits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Users, requests, judgements and what they took.
    pub sums: LabelSums,
    /// Faults by kind.
    pub faults: BTreeMap<String, u64>,
    /// What came of inferring an attribute, if that was asked for.
    pub inferred: Option<InferFacts>,
    /// What was paid for it, where there was something to pay.
    pub paid: Option<Paid>,
}

impl Facts {
    /// Judgements of all categories.
    pub fn judgements(&self) -> u64 {
        self.sums.categories.values().map(|sums| sums.judgements).sum()
    }

    /// Judgements with a score of at least a half.
    pub fn positive(&self) -> u64 {
        self.sums.categories.values().map(|sums| sums.positive).sum()
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LabelSums { users, requests, .. } = self.sums;
        let (judged, positive) = (self.judgements(), self.positive());
        let share = 100.0 * positive as f64 / judged.max(1) as f64;
        write!(
            f,
            "{requests} requests of {users} users, {judged} judgements, {share:.1} % positive"
        )?;
        if let Some(inferred) = &self.inferred {
            let InferFacts { attribute, unknown, filled, known, right, .. } = inferred;
            write!(f, "; {attribute} of {filled} of {unknown} items inferred, ")?;
            write!(f, "right for {right} of {known}")?;
        }
        let Some(Paid { requests, usage, cached, cost }) = self.paid else { return Ok(()) };
        let (read, written) = (usage.tokens_in, usage.tokens_out);
        write!(f, "; {requests} answers were paid, {cached} were there, {read} tokens read and ")?;
        write!(f, "{written} written, cost {cost:.2}")
    }
}

impl Labelled {
    /// What puts a catalogue's items, and people, in words as the teacher read them. The catalogue
    /// has its popularity.
    ///
    /// Errors: an attribute that the catalogue does not have.
    pub fn texts(&self, catalogue: &Arc<Catalogue>) -> Result<Texts> {
        texts(&self.spec.texts, catalogue)
    }

    /// What writes and reads requests over a catalogue, which has its popularity.
    ///
    /// Errors: an attribute or a meaning that the catalogue does not have.
    pub fn requests(&self, catalogue: &Arc<Catalogue>) -> Result<Requests> {
        requests(&self.spec.requests, catalogue)
    }

    /// What the teacher thinks of items' attributes, in the order of items; nothing where the job
    /// does not ask.
    ///
    /// Errors: a part that is gone, changed or foreign.
    pub fn inferred(&self) -> Result<Vec<Inferred>> {
        inferred(&self.run)
    }

    /// All judgements, in the order of parts and rows.
    ///
    /// Errors: a part that is gone, changed or foreign.
    pub fn judgements(&self) -> Result<Vec<Judgement>> {
        let mut all = Vec::new();
        for commit in self.run.commits()?.values().filter(|commit| !infers(commit)) {
            for part in &commit.parts {
                let path = self.run.path(&part.key).display().to_string();
                all.append(&mut part::judgements::decode(&path, self.run.get_part(part)?)?);
            }
        }
        let items = self.catalogue.len() as u32;
        match all.iter().find(|judgement| judgement.item >= items) {
            None => Ok(all),
            Some(judgement) => Err(Error::Input(format!(
                "{}: expected items below {items}, found {}: its catalogue is another one",
                self.run.name(),
                judgement.item
            ))),
        }
    }
}

/// Opens and checks everything that the job reads.
pub fn open(job: &Job, spec: &LabelSpec, store: &Store, prepared: Prepared) -> Result<Opened> {
    let mut files = settings::files(&spec.requests)?;
    if let TeacherSpec::Decoder(decoder) = &spec.teacher {
        files.append(&mut teacher::files(std::path::Path::new(&decoder.path))?);
    }
    let inputs = hash_inputs(store, &files)?;
    let run = RunDir::at(store, manifest(job, inputs, &[("sequences", &prepared.run)]));
    let rows: Vec<u64> = prepared.sequences.iter().map(|part| part.rows).collect();
    let quotas = quotas(&rows, spec.requests.users_max);
    let asked = prepared.sequences.iter().zip(quotas).enumerate();
    let tasks = asked.filter(|(_, (_, users))| *users > 0).map(|(shard, (part, users))| Task {
        shard: shard as u32,
        name: part.key.clone(),
        row_group: 0,
        rows: users,
        bytes: part.bytes,
    });
    let plan = Plan::pack("label", 0, tasks.collect(), u64::MAX, spec.output.epoch_tasks);
    let catalogue = Arc::new(with_popularity(&prepared.catalogue));
    Ok(Opened { prepared, catalogue, run, plan })
}

impl Opened {
    fn record(&self, job: &Job, faults: u64, meters: &Arc<Meters>) -> Record {
        let shards = self.prepared.sequences.iter().map(|part| part.key.clone());
        Record {
            run: self.run.clone(),
            conserves: true,
            faults,
            faults_max: job.run.faults_max,
            shards: Arc::new(shards.collect()),
            meters: Arc::clone(meters),
        }
    }

    /// Epochs of judging, and the one of inferring, if the job does that.
    pub fn epochs(&self, spec: &LabelSpec) -> u64 {
        self.plan.epochs.len() as u64 + u64::from(spec.infer.is_some())
    }
}

/// Whether a commit is of what was inferred.
fn infers(commit: &Commit) -> bool {
    commit.payload.get("inferred").is_some()
}

/// Does what is not done yet. Gives the number of epochs that were.
pub fn run(
    job: &Job,
    spec: &LabelSpec,
    (opened, store): (&Opened, &Store),
    options: &Options,
    meters: &Arc<Meters>,
) -> Result<u64> {
    opened.run.create()?;
    let committed = opened.run.epochs()?;
    if committed.len() as u64 >= opened.epochs(spec) {
        return Ok(committed.len() as u64);
    }
    let faults = opened.run.commits()?.values().map(|commit| commit.rows_faulted).sum();
    let texts = Arc::new(texts(&spec.texts, &opened.catalogue)?);
    let asked = teacher::open(spec, opened, &texts, store)?;
    let window_epochs = job.run.window_epochs;
    let plan = opened.plan.resume(&committed);
    let pass = Pass { plan, window_epochs, meters: Arc::clone(meters), build: () };
    let record = opened.record(job, faults, meters);
    let done = judge(spec, opened, (&asked, &texts), record, (options, pass));
    let done = done.and_then(|()| match &spec.infer {
        Some(infer) if !committed.contains(&opened.plan.end()) => {
            let work = || infer::infer(spec, infer, opened, asked.asking.as_ref());
            options.cluster.once(&format!("{}/infer", opened.run.name()), work)?;
            meters.epochs_done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok(())
        }
        _ => Ok(()),
    });
    // Whatever the end, what was paid is noted.
    if let Some(asking) = &asked.asking {
        server::note(&opened.run, &asking.account)?;
    }
    done.map(|()| committed.len() as u64)
}

/// Has the teacher judge the epochs that are left.
fn judge(
    spec: &LabelSpec,
    opened: &Opened,
    (asked, texts): (&teacher::Asked, &Arc<Texts>),
    record: Record,
    (options, pass): (&Options, Pass<()>),
) -> Result<()> {
    let Pass { plan, window_epochs, meters, .. } = pass;
    if plan.epochs.is_empty() {
        return Ok(());
    }
    let requests = Arc::new(requests(&spec.requests, &opened.catalogue)?);
    let settings = Arc::new(settings::pose(spec, &requests)?);
    let source = match (spec.requests.from, &asked.asking) {
        (RequestsFrom::Table, _) => Source::Table(Arc::new(settings::table(&spec.requests)?)),
        (RequestsFrom::Teacher, Some(asking)) => {
            let (asking, noun) = (Arc::clone(asking), spec.requests.noun.clone());
            Source::Teacher(Arc::new(Writer { asking, noun }))
        }
        _ => Source::Templates,
    };
    let build = {
        let (catalogue, seed) = (Arc::clone(&opened.catalogue), spec.requests.seed);
        let (sequences, held_out) = (opened.prepared.run.clone(), spec.items.held_out);
        let parts = Arc::clone(&opened.prepared.sequences);
        let teacher = Arc::clone(&asked.teacher);
        let (users_at_once, devices) = (asked.users_at_once, asked.devices);
        let texts = Arc::clone(texts);
        let compared = !matches!(spec.teacher, TeacherSpec::Attributes { .. });
        move || LabelStages {
            read: ReadUsers { run: sequences.clone(), parts: Arc::clone(&parts), seed },
            pose: Pose {
                source: source.clone(),
                requests: Arc::clone(&requests),
                texts: Arc::clone(&texts),
                settings: Arc::clone(&settings),
            },
            judge: Judge {
                teacher: Arc::clone(&teacher),
                catalogue: Arc::clone(&catalogue),
                held_out,
                seed,
                compared,
            },
            devices,
            users_at_once,
            write: WriteJudgements(record.run.clone()),
            ledger: record.ledger(|_, sums: Vec<LabelSums>| Ok((folded(&sums)?, vec![]))),
        }
    };
    label(&options.cluster, opened.run.name(), Pass { plan, window_epochs, meters, build })
}

/// The payload of an epoch's commit: the sums of its parts, in whatever order they came.
fn folded(sums: &[LabelSums]) -> Result<serde_json::Value> {
    let mut all = LabelSums::default();
    sums.iter().for_each(|one| all.add(one));
    serde_json::to_value(&all).map_err(|e| Error::Incomplete(e.to_string()))
}

/// What a run's teacher thinks of items' attributes, in the order of items.
///
/// Errors: a part that is gone, changed or foreign.
pub fn inferred(run: &RunDir) -> Result<Vec<Inferred>> {
    let mut all = Vec::new();
    for commit in run.commits()?.values().filter(|commit| infers(commit)) {
        for part in &commit.parts {
            let path = run.path(&part.key).display().to_string();
            all.append(&mut part::inferred::decode(&path, run.get_part(part)?)?);
        }
    }
    Ok(all)
}

/// What a run came to so far.
///
/// Errors: a commit of another kind of run.
pub fn facts(run: &RunDir) -> Result<Facts> {
    let mut facts = Facts { paid: server::noted(run)?, ..Facts::default() };
    for commit in run.commits()?.into_values() {
        let unreadable = |e: serde_json::Error| {
            Error::Input(format!("{}: a commit cannot be read: {e}", run.name()))
        };
        let inferred = infers(&commit);
        let Commit { payload, faults, .. } = commit;
        if inferred {
            let payload: infer::Payload = serde_json::from_value(payload).map_err(unreadable)?;
            facts.inferred = Some(payload.inferred);
        } else {
            facts.sums.add(&serde_json::from_value(payload).map_err(unreadable)?);
        }
        for (kind, count) in faults.into_values().flatten() {
            *facts.faults.entry(kind).or_default() += count;
        }
    }
    Ok(facts)
}

/// What a finished run holds, for the jobs that read it.
pub fn finished(opened: Opened, spec: LabelSpec) -> Result<Labelled> {
    let epochs = opened.epochs(&spec);
    let Opened { prepared, catalogue, run, .. } = opened;
    if (run.epochs()?.len() as u64) < epochs {
        return Err(unfinished(&run));
    }
    Ok(Labelled { facts: facts(&run)?, run, spec, prepared, catalogue })
}
