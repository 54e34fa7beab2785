//! `steerage plan`: what a job would do, without doing it. Nothing is written, not even a manifest;
//! what a job reads is opened and checked as far as it is there.

use super::runs::{Options, store};
use super::{label, prepare, rerank, train_reranker, train_retriever};
use crate::error::Result;
use crate::spec::{Job, Kind, LabelSpec, RerankSpec, TrainRerankerSpec, TrainRetrieverSpec};
use crate::stage::retrieve::USERS_AT_ONCE;
use crate::store::{RunDir, Store};
use std::fmt::Write;
use std::path::Path;

/// Rows a second and worker of each phase on a core of about 100 GFLOP/s, measured by
/// `benches/run.sh`: an estimate is for knowing minutes from hours.
const SCATTER_ROWS_PER_S: f64 = 1e6;
const CORE_ROWS_PER_S: f64 = 4e5;
const LISTS_PER_S: f64 = 2e5;
/// Multiply-adds a second and thread of the search and of training.
const SEARCH_PER_S: f64 = 8e10;
const TRAIN_PER_S: f64 = 2e10;
/// Tokens of a title with its attributes.
const TOKENS_PER_ITEM: f64 = 15.0;

/// The plan of a job and of what it reads from, as text.
pub fn plan(file: &Path, options: &Options) -> Result<String> {
    let job = options.load(file, false)?;
    let store = store(&job)?;
    let mut text = String::new();
    add(&job, &store, options, &mut text)?;
    Ok(text)
}

/// Appends the plan of a job, after those of the jobs it reads from.
fn add(job: &Job, store: &Store, options: &Options, text: &mut String) -> Result<()> {
    let mut ready = Vec::new();
    for file in job.upstream() {
        let needed = options.load(&file, true)?;
        if !text.contains(&header(&needed)) {
            add(&needed, store, options, text)?;
        }
        ready.push(needed);
    }
    // Writing to a text does not fail.
    let _ = writeln!(text, "{}", header(job));
    let workers = options.cluster.peers() as f64;
    match &job.kind {
        Kind::Prepare(spec) => match prepare::planned(job, spec, store)? {
            None => text.push_str("  makes its own data first\n"),
            Some(opened) => {
                status(&opened.run, opened.epochs(), text)?;
                opened.plans.iter().for_each(|plan| text.push_str(&plan.to_string()));
                let rows = opened.plans[0].rows() as f64;
                let seconds = rows / SCATTER_ROWS_PER_S + 2.0 * rows / CORE_ROWS_PER_S;
                graph("read ─► by user ─► k-core ─► sequences ─► commit", seconds / workers, text);
            }
        },
        Kind::TrainRetriever(spec) => match sequences(&ready, store)? {
            None => text.push_str("  waits for its sequences\n"),
            Some(prepared) => {
                let seconds = training_seconds(spec, &prepared) / workers;
                let opened = train_retriever::open(job, spec, store, prepared)?;
                status(&opened.run, 1, text)?;
                graph("batches ─► gradients ─► AdamW ─► checkpoint", seconds, text);
            }
        },
        Kind::TrainReranker(spec) => match (sequences(&ready, store)?, retriever(&ready, store)?) {
            (Some(prepared), Some(trained)) => {
                let seconds = reranker_seconds(spec, &prepared) / workers;
                let opened = train_reranker::open(job, spec, store, prepared, trained)?;
                status(&opened.run, 1, text)?;
                let steps = "examples ─► prompts ─► gradients ─► AdamW ─► checkpoint";
                graph(steps, seconds, text);
            }
            _ => text.push_str("  waits for its sequences and its retriever\n"),
        },
        Kind::Label(spec) => labels(job, spec, store, sequences(&ready, store)?, text)?,
        Kind::Rerank(spec) => match read_by(spec, &ready, store)? {
            Some(sources) => {
                let width = sources.trained.as_ref().map_or(0, train_retriever::Trained::width);
                let pairs = sources.prepared.catalogue.len() as f64 * width as f64;
                let opened = rerank::open(job, spec, store, sources)?;
                status(&opened.run, opened.plan.epochs.len() as u64, text)?;
                text.push_str(&opened.plan.to_string());
                device(spec, &opened, text)?;
                let users = opened.plan.rows() as f64;
                let (points, swept) = (spec.points().len(), spec.swept_arms().len());
                let lists = (spec.arms.len() + points * swept) as f64;
                let seconds = users * (pairs / SEARCH_PER_S + lists / LISTS_PER_S);
                let _ = match points {
                    0 => Ok(()),
                    _ => writeln!(text, "  sweep        {points} points, {swept} arms each"),
                };
                let sweep = if points > 0 { "sweep ─► " } else { "" };
                let steps = "read ─► retrieve ─► ask ─► arms";
                let steps = format!("{steps} ─► {sweep}measure ─► write ─► commit");
                graph(&steps, seconds / workers, text);
            }
            None => text.push_str("  waits for what it reads from\n"),
        },
    }
    Ok(())
}

fn header(job: &Job) -> String {
    format!("{} ({})", job.name, job.kind.name())
}

/// What a label job would ask, and what that takes.
fn labels(
    job: &Job,
    spec: &LabelSpec,
    store: &Store,
    prepared: Option<prepare::Prepared>,
    text: &mut String,
) -> Result<()> {
    let Some(prepared) = prepared else {
        text.push_str("  waits for its sequences\n");
        return Ok(());
    };
    let opened = label::open(job, spec, store, prepared)?;
    status(&opened.run, opened.plan.epochs.len() as u64, text)?;
    text.push_str(&opened.plan.to_string());
    let estimate = label::estimate(spec, &opened)?;
    text.push_str(&estimate.to_string());
    graph("read ─► request ─► judge ─► write ─► commit", estimate.seconds, text);
    Ok(())
}

/// What the job will take of its device's memory, unless it computes on the processor.
fn device(spec: &RerankSpec, opened: &rerank::Opened, text: &mut String) -> Result<()> {
    let Some(memory) = rerank::memory(spec, opened)? else { return Ok(()) };
    let mib = |bytes: usize| bytes.div_ceil(1 << 20);
    let _ = writeln!(
        text,
        "  device       {}: {} MiB for models and items, {} MiB for batches of {} tokens \
         and {} users",
        spec.device,
        mib(memory.weights_bytes),
        mib(memory.batch_bytes),
        spec.device_tokens_max,
        USERS_AT_ONCE,
    );
    Ok(())
}

fn status(run: &RunDir, epochs: u64, text: &mut String) -> Result<()> {
    let done = run.commits()?.len() as u64;
    let what = match done {
        0 => "nothing is done yet".to_owned(),
        done if done >= epochs => "up to date".to_owned(),
        done => format!("{done} of {epochs} epochs are done"),
    };
    let _ = writeln!(text, "  run          {}: {what}", run.name());
    Ok(())
}

fn graph(steps: &str, seconds: f64, text: &mut String) {
    let _ = writeln!(text, "  graph        {steps}");
    let _ = writeln!(text, "  estimate     {seconds:.1} s");
}

/// One pass over the users, and as many as are allowed: the search for the best epoch may end
/// sooner.
fn training_seconds(spec: &TrainRetrieverSpec, prepared: &prepare::Prepared) -> f64 {
    let positions = prepared.facts.rows_read.saturating_sub(2 * prepared.facts.users) as f64;
    let (width, items) = (spec.model.hidden as f64, prepared.catalogue.len() as f64);
    let scored = match spec.loss {
        crate::spec::LossSpec::Softmax => items,
        crate::spec::LossSpec::SampledSoftmax { negatives }
        | crate::spec::LossSpec::Gbce { negatives, .. } => negatives as f64,
        crate::spec::LossSpec::Bce => 2.0,
    };
    let block = 12.0 * width * width + spec.model.length_max as f64 * width;
    let products = 3.0 * (scored * width + spec.model.blocks as f64 * block);
    positions * products / TRAIN_PER_S * spec.train.epochs_max as f64
}

/// As for a retriever, with a prompt's tokens as the positions.
fn reranker_seconds(spec: &TrainRerankerSpec, prepared: &prepare::Prepared) -> f64 {
    let users = match spec.examples.users_max {
        0 => prepared.facts.users,
        most => prepared.facts.users.min(most as u64),
    };
    let prompts = (users * spec.examples.windows as u64 * spec.train.epochs_max) as f64;
    let items = (spec.prompt.candidates + spec.prompt.history_max) as f64;
    let tokens = (items * TOKENS_PER_ITEM).min(spec.prompt.tokens_max as f64);
    let (width, inner) = (spec.base.hidden as f64, spec.base.inner as f64);
    let layer = 4.0 * width * width + 3.0 * width * inner + tokens * width;
    prompts * tokens * 4.0 * spec.base.layers as f64 * layer / TRAIN_PER_S
}

/// What a rerank job reads, if it is all there.
fn read_by(spec: &RerankSpec, upstream: &[Job], store: &Store) -> Result<Option<rerank::Sources>> {
    let Some(prepared) = sequences(upstream, store)? else { return Ok(None) };
    let trained = retriever(upstream, store)?;
    if trained.is_none() && spec.candidates.is_none() {
        return Ok(None);
    }
    let mut rerankers = Vec::new();
    for job in upstream {
        let Kind::TrainReranker(spec) = &job.kind else { continue };
        let (Some(prepared), Some(trained)) =
            (sequences(upstream, store)?, retriever(upstream, store)?)
        else {
            return Ok(None);
        };
        let opened = train_reranker::open(job, spec, store, prepared, trained)?;
        if !opened.done()? {
            return Ok(None);
        }
        rerankers.push(train_reranker::Reranker::open(opened.run, spec)?);
    }
    Ok(Some(rerank::Sources { prepared, trained, rerankers }))
}

fn sequences(upstream: &[Job], store: &Store) -> Result<Option<prepare::Prepared>> {
    let Some((job, Kind::Prepare(spec))) = upstream.first().map(|job| (job, &job.kind)) else {
        return Ok(None);
    };
    let Some(opened) = prepare::planned(job, spec, store)? else { return Ok(None) };
    let done = opened.run.commits()?.len() as u64 >= opened.epochs();
    done.then(|| prepare::finished(opened.run)).transpose()
}

fn retriever(upstream: &[Job], store: &Store) -> Result<Option<train_retriever::Trained>> {
    let Some((job, Kind::TrainRetriever(spec))) = upstream.get(1).map(|job| (job, &job.kind))
    else {
        return Ok(None);
    };
    let Some(prepared) = sequences(upstream, store)? else { return Ok(None) };
    let opened = train_retriever::open(job, spec, store, prepared)?;
    opened.done()?.then(|| train_retriever::finished(opened.run)).transpose()
}
