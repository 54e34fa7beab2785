//! Brings a `label` job's run up to date.

mod estimate;
mod settings;
mod teacher;

pub use estimate::{Estimate, estimate};
pub use settings::{requests, texts};

use super::prepare::Prepared;
use super::runs::{Options, hash_inputs, manifest, unfinished};
use crate::control::{Requests, with_popularity};
use crate::error::{Error, Result};
use crate::flow::Meters;
use crate::flow::commit::Record;
use crate::flow::label::{LabelStages, label};
use crate::flow::prepare::Pass;
use crate::plan::{Plan, Task};
use crate::spec::{Job, LabelSpec, TeacherSpec};
use crate::stage::judge::{Judge, Paid};
use crate::stage::labels::{LabelSums, WriteJudgements};
use crate::stage::pose::Pose;
use crate::stage::texts::Texts;
use crate::stage::users::{ReadUsers, quotas};
use crate::store::{Commit, RunDir, Store, part};
use crate::types::{Catalogue, Epoch, Judgement};
use std::collections::{BTreeMap, BTreeSet};
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

    /// All judgements, in the order of parts and rows.
    ///
    /// Errors: a part that is gone, changed or foreign.
    pub fn judgements(&self) -> Result<Vec<Judgement>> {
        let mut all = Vec::new();
        for commit in self.run.commits()?.values() {
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
    let inputs = match &spec.teacher {
        TeacherSpec::Decoder(decoder) => hash_inputs(store, &teacher::files(decoder)?)?,
        TeacherSpec::Attributes { .. } | TeacherSpec::Http(_) => Vec::new(),
    };
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

/// Does what is not done yet. Gives the number of epochs that were.
pub fn run(
    job: &Job,
    spec: &LabelSpec,
    (opened, store): (&Opened, &Store),
    options: &Options,
    meters: &Arc<Meters>,
) -> Result<u64> {
    opened.run.create()?;
    let commits = opened.run.commits()?;
    let faults = commits.values().map(|commit| commit.rows_faulted).sum();
    let committed: BTreeSet<Epoch> = commits.into_keys().collect();
    let plan = opened.plan.resume(&committed);
    if plan.epochs.is_empty() {
        return Ok(committed.len() as u64);
    }
    let shards = opened.prepared.sequences.iter().map(|part| part.key.clone());
    let record = Record {
        run: opened.run.clone(),
        conserves: true,
        faults,
        faults_max: job.run.faults_max,
        shards: Arc::new(shards.collect()),
        meters: Arc::clone(meters),
    };
    let requests = Arc::new(requests(&spec.requests, &opened.catalogue)?);
    let texts = Arc::new(texts(&spec.texts, &opened.catalogue)?);
    let settings = Arc::new(settings::pose(spec, &requests)?);
    let teacher = teacher::open(spec, opened, &texts, store)?;
    let account = teacher.account.clone();
    let build = {
        let (catalogue, seed) = (Arc::clone(&opened.catalogue), spec.requests.seed);
        let (sequences, held_out) = (opened.prepared.run.clone(), spec.items.held_out);
        let users_at_once = teacher.users_at_once;
        move || LabelStages {
            read: ReadUsers { run: sequences.clone(), seed },
            pose: Pose {
                requests: Arc::clone(&requests),
                texts: Arc::clone(&texts),
                settings: Arc::clone(&settings),
            },
            judge: Judge {
                teacher: Arc::clone(&teacher.teacher),
                catalogue: Arc::clone(&catalogue),
                held_out,
                seed,
            },
            users_at_once,
            write: WriteJudgements(record.run.clone()),
            ledger: record.ledger(|_, sums: Vec<LabelSums>| Ok((folded(&sums)?, vec![]))),
        }
    };
    let (window_epochs, meters) = (job.run.window_epochs, Arc::clone(meters));
    let (cluster, name) = (&options.cluster, opened.run.name());
    let done = label(cluster, name, Pass { plan, window_epochs, meters, build });
    // Whatever the end, what was paid is noted.
    if let Some(account) = &account {
        teacher::note(&opened.run, account)?;
    }
    done.map(|()| committed.len() as u64)
}

/// The payload of an epoch's commit: the sums of its parts, in whatever order they came.
fn folded(sums: &[LabelSums]) -> Result<serde_json::Value> {
    let mut all = LabelSums::default();
    sums.iter().for_each(|one| all.add(one));
    serde_json::to_value(&all).map_err(|e| Error::Incomplete(e.to_string()))
}

/// What a run came to so far.
///
/// Errors: a commit of another kind of run.
pub fn facts(run: &RunDir) -> Result<Facts> {
    let mut facts = Facts { paid: teacher::noted(run)?, ..Facts::default() };
    for commit in run.commits()?.into_values() {
        let Commit { payload, faults, .. } = commit;
        let sums: LabelSums = serde_json::from_value(payload)
            .map_err(|e| Error::Input(format!("{}: a commit cannot be read: {e}", run.name())))?;
        facts.sums.add(&sums);
        for (kind, count) in faults.into_values().flatten() {
            *facts.faults.entry(kind).or_default() += count;
        }
    }
    Ok(facts)
}

/// What a finished run holds, for the jobs that read it.
pub fn finished(opened: Opened, spec: LabelSpec) -> Result<Labelled> {
    let Opened { prepared, catalogue, run, plan } = opened;
    if run.commits()?.len() < plan.epochs.len() {
        return Err(unfinished(&run));
    }
    Ok(Labelled { facts: facts(&run)?, run, spec, prepared, catalogue })
}
