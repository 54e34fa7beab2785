//! `steerage plan`: what a job would do, without doing it. No run is begun, not even by a manifest;
//! what a job reads is opened and checked as far as it is there. In the root of the runs stays what
//! the content of inputs hashes to, so that `run` need not read all of them for that again.

use super::bring_up::{Outcome, encoder_and_items, labels, learned_from, pairs, prepared, sources};
use super::label::Labelled;
use super::ready::upstream;
use super::runs::{Options, store};
use super::{
    chain, embed, label, prepare, reachability, rerank, train_encoder, train_reranker,
    train_retriever,
};
use crate::error::Result;
use crate::model::decoder::Memory;
use crate::spec::{
    DeviceSpec, EmbedSpec, Job, Kind, LabelSpec, PrepareSpec, RerankSpec, StepSpec,
    TrainEncoderSpec, TrainRerankerSpec, TrainRetrieverSpec,
};
use crate::stage::retrieve::USERS_AT_ONCE;
use crate::store::{RunDir, Store};
use std::fmt::Write;
use std::path::Path;

/// On what jobs compute that name no device.
const HERE: &DeviceSpec = &DeviceSpec::Cpu;

/// Rows a second and worker of each phase on a core of about 100 GFLOP/s, measured by
/// `benches/run.sh`: an estimate is for knowing minutes from hours.
const SCATTER_ROWS_PER_S: f64 = 1e6;
const CORE_ROWS_PER_S: f64 = 4e5;
const LISTS_PER_S: f64 = 2e5;
/// Multiply-adds a second and thread of the search and of training.
const SEARCH_PER_S: f64 = 8e10;
const TRAIN_PER_S: f64 = 2e10;
/// Short texts a second and thread.
const EMBEDDED_PER_S: f64 = 1000.0;
/// Items a second and thread that orders are fused over.
const RANKED_PER_S: f64 = 1e8;
/// Tokens of a title with its attributes.
const TOKENS_PER_ITEM: f64 = 15.0;

/// The plan of a job and of what it reads from, as text.
pub fn plan(file: &Path, options: &Options) -> Result<String> {
    let job = chain::load(file, options)?;
    let store = store(&job)?;
    let mut text = String::new();
    add(&job, &store, options, &mut text)?;
    Ok(text)
}

/// Appends the plan of a job, after those of the jobs it reads from.
fn add(job: &Job, store: &Store, options: &Options, text: &mut String) -> Result<()> {
    for needed in job.upstream() {
        let needed = options.load(&needed.file, true)?;
        if !text.contains(&header(&needed)) {
            add(&needed, store, options, text)?;
        }
    }
    // Writing to a text does not fail.
    let _ = writeln!(text, "{}", header(job));
    let workers = options.cluster.peers() as f64;
    let Some(upstream) = upstream(job, store, options)? else {
        text.push_str("  waits for what it reads from\n");
        return Ok(());
    };
    own(job, store, upstream, workers, text)
}

/// Appends a job's own plan.
fn own(
    job: &Job,
    store: &Store,
    upstream: Vec<Outcome>,
    workers: f64,
    text: &mut String,
) -> Result<()> {
    match &job.kind {
        Kind::Prepare(spec) => read(job, spec, store, workers, text)?,
        Kind::TrainRetriever(spec) => {
            let prepared = prepared(job, upstream)?;
            let seconds = training_seconds(spec, &prepared) / workers;
            let opened = train_retriever::open(job, spec, store, prepared)?;
            status(&opened.run, 1, text)?;
            let memory = train_retriever::memory(spec, &opened)?;
            learning(&spec.device, memory, "the retriever", text);
            graph("batches ─► gradients ─► AdamW ─► checkpoint", seconds, &spec.device, text);
        }
        Kind::TrainReranker(spec) => {
            let (prepared, trained) = learned_from(job, upstream)?;
            let seconds = reranker_seconds(spec, &prepared) / workers;
            let opened = train_reranker::open(job, spec, store, prepared, trained)?;
            status(&opened.run, 1, text)?;
            learning(&spec.device, train_reranker::memory(spec, &opened)?, "the decoder", text);
            let steps = "examples ─► prompts ─► gradients ─► AdamW ─► checkpoint";
            graph(steps, seconds, &spec.device, text);
        }
        Kind::Label(spec) => labelled(job, spec, store, prepared(job, upstream)?, text)?,
        Kind::TrainEncoder(spec) => {
            let opened = train_encoder::open(job, spec, store, labels(job, upstream)?)?;
            status(&opened.run, 1, text)?;
            learning(&spec.device, train_encoder::memory(spec, &opened)?, "the encoder", text);
            let seconds = encoder_seconds(spec, &opened.labelled) / workers;
            graph(
                "requests, items ─► gradients ─► AdamW ─► checkpoint",
                seconds,
                &spec.device,
                text,
            );
        }
        Kind::Embed(spec) => {
            let (encoder, items) = encoder_and_items(job, upstream)?;
            embedded(spec, &embed::open(job, spec, store, encoder, items)?, workers, text)?;
        }
        Kind::Reachability(spec) => {
            let opened = reachability::open(job, store, pairs(job, upstream)?)?;
            status(&opened.run, 1, text)?;
            let lists = spec.pairs * spec.tries * (1 + 2 * spec.weights.len());
            let scores = (lists * opened.prepared.catalogue.len()) as f64;
            graph(
                "pairs ─► filters, requests ─► reach",
                scores / RANKED_PER_S / workers,
                HERE,
                text,
            );
        }
        Kind::Rerank(spec) => {
            let opened = rerank::open(job, spec, store, sources(job, upstream)?)?;
            reranked(spec, &opened, workers, text)?;
        }
    }
    Ok(())
}

/// The plan of a prepare job.
fn read(
    job: &Job,
    spec: &PrepareSpec,
    store: &Store,
    workers: f64,
    text: &mut String,
) -> Result<()> {
    let Some(opened) = prepare::planned(job, spec, store)? else {
        text.push_str("  makes its own data first\n");
        return Ok(());
    };
    status(&opened.run, opened.epochs(), text)?;
    opened.plans.iter().for_each(|plan| text.push_str(&plan.to_string()));
    let rows = opened.plans[0].rows() as f64;
    let seconds = rows / SCATTER_ROWS_PER_S + 2.0 * rows / CORE_ROWS_PER_S;
    graph("read ─► by user ─► k-core ─► sequences ─► commit", seconds / workers, HERE, text);
    Ok(())
}

/// The plan of an embed job.
fn embedded(
    spec: &EmbedSpec,
    opened: &embed::Opened,
    workers: f64,
    text: &mut String,
) -> Result<()> {
    status(&opened.run, opened.plan.epochs.len() as u64, text)?;
    text.push_str(&opened.plan.to_string());
    if !spec.device.is_cpu() {
        let memory = opened.encoder.memory(embed::DEVICE_TOKENS_MAX)?;
        let batch = format!("{} tokens", embed::DEVICE_TOKENS_MAX);
        device(&spec.device, memory, ["the encoder", &batch], text);
    }
    let seconds = opened.plan.rows() as f64 / EMBEDDED_PER_S;
    graph("read ─► encode ─► write ─► commit", seconds / workers, &spec.device, text);
    Ok(())
}

/// The plan of a rerank job.
fn reranked(
    spec: &RerankSpec,
    opened: &rerank::Opened,
    workers: f64,
    text: &mut String,
) -> Result<()> {
    let width = opened.trained.as_ref().map_or(0, train_retriever::Trained::width);
    let pairs = opened.prepared.catalogue.len() as f64 * width as f64;
    status(&opened.run, opened.plan.epochs.len() as u64, text)?;
    text.push_str(&opened.plan.to_string());
    if let Some(memory) = rerank::memory(spec, opened)? {
        let batch = format!("{} tokens and {USERS_AT_ONCE} users", spec.device_tokens_max);
        device(&spec.device, memory, ["models and items", &batch], text);
    }
    let guided = rerank::guided(spec, opened, workers)?;
    guided.iter().for_each(|guided| text.push_str(&guided.to_string()));
    let users = opened.plan.rows() as f64;
    let (points, swept) = (spec.points().len(), spec.swept_arms().len());
    let lists = (spec.arms.len() + points * swept) as f64;
    let seconds = users * (pairs / SEARCH_PER_S + lists / LISTS_PER_S);
    let _ = match points {
        0 => Ok(()),
        _ => writeln!(text, "  sweep        {points} points, {swept} arms each"),
    };
    let sweep = if points > 0 { "sweep ─► " } else { "" };
    let mut steps = spec.arms.iter().flat_map(|arm| &arm.steps);
    let walks = steps.any(|step| matches!(step, StepSpec::NodeGraph(_)));
    let walk = if walks { "walk ⟲ ─► " } else { "" };
    let steps = "read ─► retrieve ─► ask ─► ";
    let steps = format!("{steps}{walk}arms ─► {sweep}measure ─► write ─► commit");
    let asked: f64 = guided.iter().map(|guided| guided.seconds).sum();
    graph(&steps, seconds / workers + asked, &spec.device, text);
    Ok(())
}

fn header(job: &Job) -> String {
    format!("{} ({})", job.name, job.kind.name())
}

/// What a label job would ask, and what that takes.
fn labelled(
    job: &Job,
    spec: &LabelSpec,
    store: &Store,
    prepared: prepare::Prepared,
    text: &mut String,
) -> Result<()> {
    let opened = label::open(job, spec, store, prepared)?;
    status(&opened.run, opened.epochs(spec), text)?;
    text.push_str(&opened.plan.to_string());
    let estimate = label::estimate(spec, &opened)?;
    text.push_str(&estimate.to_string());
    graph("read ─► request ─► judge ─► write ─► commit", estimate.seconds, HERE, text);
    Ok(())
}

/// What learning will take of a job's device, if it has one.
fn learning(on: &DeviceSpec, taken: Option<(Memory, String)>, what: &str, text: &mut String) {
    if let Some((memory, batch)) = taken {
        device(on, memory, [what, &batch], text);
    }
}

/// What a job will take of its device's memory, or of each of them: of what stays there, and of its
/// batches.
fn device(on: &DeviceSpec, memory: Memory, [what, batch]: [&str; 2], text: &mut String) {
    let [kept, computed] =
        [memory.weights_bytes, memory.batch_bytes].map(|bytes| bytes.div_ceil(1 << 20));
    let each = if on.count() > 1 { ", on each" } else { "" };
    let _ = writeln!(
        text,
        "  device       {on}: {kept} MiB for {what}, {computed} MiB for batches of {batch}{each}"
    );
}

fn status(run: &RunDir, epochs: u64, text: &mut String) -> Result<()> {
    let done = run.epochs()?.len() as u64;
    let what = match done {
        0 => "nothing is done yet".to_owned(),
        done if done >= epochs => "up to date".to_owned(),
        done => format!("{done} of {epochs} epochs are done"),
    };
    let _ = writeln!(text, "  run          {}: {what}", run.name());
    Ok(())
}

fn graph(steps: &str, seconds: f64, on: &DeviceSpec, text: &mut String) {
    let _ = writeln!(text, "  graph        {steps}");
    // How fast a device is has not been measured.
    let by = if on.is_cpu() { "" } else { " by the processor alone" };
    let _ = writeln!(text, "  estimate     {seconds:.1} s{by}");
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

/// As for a retriever, with the tokens of requests and of the items that were judged as the
/// positions. A folder's encoder is taken for one of six layers of 384.
fn encoder_seconds(spec: &TrainEncoderSpec, labelled: &Labelled) -> f64 {
    let base = &spec.base;
    let (layers, width, inner) = match base.path {
        Some(_) => (6.0, 384.0, 1536.0),
        None => (base.layers as f64, base.hidden as f64, base.inner as f64),
    };
    let texts = (labelled.facts.sums.requests + labelled.facts.judgements()) as f64;
    let tokens = texts * TOKENS_PER_ITEM * spec.train.epochs_max as f64;
    tokens * 3.0 * layers * (4.0 * width * width + 2.0 * width * inner) / TRAIN_PER_S
}
