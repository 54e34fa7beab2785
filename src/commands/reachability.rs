//! Brings a `reachability` job's run up to date.

use super::embed::Embeddings as Vectors;
use super::prepare::Prepared;
use super::rerank::{attribute, speaker};
use super::runs::{manifest, payload};
use super::train_retriever::Trained;
use crate::control::request::{RequestSettings, Requests};
use crate::control::{Postings, with_popularity};
use crate::error::{Error, Result};
use crate::metric::Estimate;
use crate::report::{Bar, Sheet};
use crate::spec::{Job, ReachabilitySpec};
use crate::stage::reachability::{Person, Steered, Steering};
use crate::stage::rerank::Embeddings;
use crate::store::{Commit, RunDir, Store, part};
use crate::types::{ItemId, mix64};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A job with its run known.
pub struct Opened {
    /// The people.
    pub prepared: Prepared,
    /// The base recommender.
    pub trained: Trained,
    /// Language.
    pub embeddings: Vectors,
    /// The run.
    pub run: RunDir,
}

/// What it came to: the payload of its commit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Parts of the pairs by how alike their lists were, the least alike first; all of them last.
    pub strata: Vec<Stratum>,
    /// The request's shares of the score.
    pub weights: Vec<f32>,
}

/// Some of the pairs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stratum {
    /// How alike their lists were, from and to.
    pub between: [f64; 2],
    /// By likeness of items, and by items in common.
    pub views: [Reached; 2],
}

/// How far controls lead, in the mean over pairs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reached {
    /// With filters.
    pub filters: Estimate,
    /// With requests, by weight.
    pub requests: Vec<Estimate>,
    /// What requests add to filters, by weight: paired.
    pub gains: Vec<Estimate>,
    /// The two for requests within what the rules read in them.
    #[serde(default)] // runs before had none
    pub within: [Vec<Estimate>; 2],
}

/// Opens what the job reads.
pub fn open(
    job: &Job,
    store: &Store,
    (prepared, trained, embeddings): (Prepared, Trained, Vectors),
) -> Result<Opened> {
    let upstream = [
        ("sequences", &prepared.run),
        ("retriever", &trained.run),
        ("embeddings", &embeddings.run),
    ];
    let run = RunDir::at(store, manifest(job, Vec::new(), &upstream));
    Ok(Opened { prepared, trained, embeddings, run })
}

/// Steers all pairs.
pub fn run(spec: &ReachabilitySpec, opened: &Opened, threads: usize) -> Result<()> {
    opened.run.create()?;
    let catalogue = Arc::new(with_popularity(&opened.prepared.catalogue));
    let (items, width) = (opened.trained.item_embeddings().to_vec(), opened.trained.width());
    let filters = spec.filters.iter().map(|name| attribute(&catalogue, "filters", name));
    let steering = Steering {
        postings: Postings::new(Arc::clone(&catalogue)),
        embeddings: Embeddings::new(width, items.clone())?,
        items,
        width,
        speaker: speaker(0, &opened.embeddings, &catalogue, (&[], 0))?,
        filters: filters.collect::<Result<Vec<usize>>>()?,
        k: spec.k,
        weights: spec.weights.clone(),
        tries: spec.tries,
        rules: Requests::new(
            Arc::clone(&catalogue),
            RequestSettings { attributes: spec.filters.clone(), ..RequestSettings::default() },
        )?,
        catalogue,
    };
    let histories = histories(opened)?;
    if histories.len() < 2 {
        return Err(Error::Input(format!(
            "{}: expected at least two people with a history, found {}",
            opened.prepared.run.name(),
            histories.len()
        )));
    }
    let encode = opened.trained.encode();
    let mut pairs: Vec<(usize, Option<Result<Steered>>)> =
        (0..spec.pairs).map(|at| (at, None)).collect();
    crate::device::parallel::for_each(threads, &mut pairs, |_, (at, steered)| {
        let [a, b] = pair(spec.seed, *at, histories.len()).map(|who| histories[who].as_slice());
        let steer = || {
            let vectors = encode(&[a, b])?;
            let (ours, theirs) = vectors.split_at(width);
            let source = Person { history: a, vector: ours };
            steering.steer(&source, &Person { history: b, vector: theirs })
        };
        *steered = Some(steer());
    });
    let steered: Result<Vec<Steered>> = pairs.into_iter().filter_map(|(_, found)| found).collect();
    let facts = Facts { strata: strata(steered?, spec.strata), weights: spec.weights.clone() };
    let payload = serde_json::to_value(&facts).map_err(|e| Error::Incomplete(e.to_string()))?;
    let commit = Commit { rows_read: spec.pairs as u64, payload, ..Commit::default() };
    opened.run.put_commit(&commit)
}

/// What everybody took, in the order of partitions and users.
fn histories(opened: &Opened) -> Result<Vec<Vec<ItemId>>> {
    let mut all = Vec::new();
    for part in opened.prepared.sequences.iter() {
        let bytes = opened.prepared.run.get_part(part)?;
        let sequences = part::sequences::decode(&part.key, bytes)?.into_iter();
        all.extend(sequences.map(|sequence| sequence.items).filter(|items| !items.is_empty()));
    }
    Ok(all)
}

/// Two people, drawn by the seed and the pair's number.
fn pair(seed: u64, at: usize, people: usize) -> [usize; 2] {
    let draw = mix64(seed ^ mix64(at as u64));
    let first = (draw % people as u64) as usize;
    let other = (mix64(draw) % (people as u64 - 1)) as usize;
    [first, if other < first { other } else { other + 1 }]
}

/// The pairs by how alike their lists were, in parts of the same size; and all of them.
fn strata(mut pairs: Vec<Steered>, count: usize) -> Vec<Stratum> {
    pairs.sort_by(|a, b| a.before[0].total_cmp(&b.before[0]));
    let size = pairs.len().div_ceil(count).max(1);
    pairs.chunks(size).chain([pairs.as_slice()]).map(stratum).collect()
}

fn stratum(pairs: &[Steered]) -> Stratum {
    let weights = pairs.first().map_or(0, |pair| pair.requests.len());
    let view = |view: usize| {
        let filters: Vec<f64> = pairs.iter().map(|pair| pair.filters[view]).collect();
        // How far, and how much further than filters, by weight.
        let both = |of: &dyn Fn(&Steered) -> &[[f64; 2]]| -> [Vec<Estimate>; 2] {
            let led = |weight: usize| -> Vec<f64> {
                pairs.iter().map(|pair| of(pair)[weight][view]).collect()
            };
            let further = |weight: usize| -> Vec<f64> {
                led(weight).into_iter().zip(&filters).map(|(led, filters)| led - filters).collect()
            };
            [
                (0..weights).map(|weight| estimate(&led(weight))).collect(),
                (0..weights).map(|weight| estimate(&further(weight))).collect(),
            ]
        };
        let [requests, gains] = both(&|pair| &pair.requests);
        let within = both(&|pair| &pair.within);
        Reached { filters: estimate(&filters), requests, gains, within }
    };
    let ends = [pairs.first(), pairs.last()].map(|pair| pair.map_or(0.0, |pair| pair.before[0]));
    Stratum { between: ends, views: [view(0), view(1)] }
}

/// The mean with its 95 % interval by the normal approximation.
fn estimate(values: &[f64]) -> Estimate {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count.max(1.0);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let margin = 1.96 * (squares / (count - 1.0).max(1.0) / count.max(1.0)).sqrt();
    Estimate { mean, low: mean - margin, high: mean + margin, users: values.len() as u64 }
}

impl Opened {
    /// Whether all pairs were steered.
    pub fn done(&self) -> Result<bool> {
        Ok(!self.run.epochs()?.is_empty())
    }
}

/// What a finished run came to.
pub fn facts(run: &RunDir) -> Result<Facts> {
    payload(run)
}

/// How requests are heard: its name, and what came of it.
type Heard = (&'static str, fn(&Reached) -> [&[Estimate]; 2]);

/// Tables for each way to say how alike two lists are, and for each way to hear a request.
pub fn sheets(facts: &Facts) -> Vec<Sheet> {
    let heard: [Heard; 2] = [
        ("language", |reached| [&reached.requests, &reached.gains]),
        ("rules and language", |reached| reached.within.each_ref().map(Vec::as_slice)),
    ];
    let there = |(_, of): &Heard| {
        let any = facts.strata.first().map(|stratum| of(&stratum.views[0])[0].len());
        any.unwrap_or(0) > 0
    };
    let mut sheets = Vec::new();
    for (view, title) in ["by likeness of items", "by items in common"].into_iter().enumerate() {
        let heard = heard.iter().filter(|heard| there(heard));
        sheets.extend(heard.map(|heard| sheet(facts, view, title, *heard)));
    }
    sheets
}

fn sheet(facts: &Facts, view: usize, title: &str, (name, of): Heard) -> Sheet {
    let told = |e: &Estimate| format!("{:.3} [{:.3}, {:.3}]", e.mean, e.low, e.high);
    let label = |at: usize, stratum: &Stratum| match at + 1 == facts.strata.len() {
        true => "all pairs".to_owned(),
        false => format!("{:.2} to {:.2}", stratum.between[0], stratum.between[1]),
    };
    let by_weight = |what: &str| {
        let names = facts.weights.iter().map(|weight| format!("{what} w={weight}"));
        names.collect::<Vec<String>>()
    };
    let row = |(at, stratum): (usize, &Stratum)| {
        let reached = &stratum.views[view];
        let cells = [reached.filters.users.to_string(), told(&reached.filters)];
        let more = of(reached).into_iter().flatten().map(told);
        (label(at, stratum), cells.into_iter().chain(more).collect())
    };
    // Drawn at the weight that leads furthest.
    let all = facts.strata.last().map(|stratum| of(&stratum.views[view])[0]);
    let furthest =
        all.and_then(|all| (0..all.len()).max_by(|a, b| all[*a].mean.total_cmp(&all[*b].mean)));
    let furthest = furthest.unwrap_or(0);
    let bar = |(at, stratum): (usize, &Stratum)| {
        let reached = &stratum.views[view];
        Some(Bar {
            label: label(at, stratum),
            count: reached.filters.users,
            values: vec![*of(reached)[0].get(furthest)?, reached.filters],
        })
    };
    let weight = facts.weights.get(furthest).copied().unwrap_or(0.0);
    Sheet {
        title: format!("Reachability with {name}, {title}"),
        note: "How much of the way from one person's list to another's can be gone: 0 without any \
               control, 1 for the other's list itself. Pairs by how alike their lists were to \
               begin with. Language orders all items; rules and language orders those that meet \
               what the rules read in the request."
            .into(),
        head: "lists alike by".into(),
        columns: ["pairs", "filters"]
            .map(str::to_owned)
            .into_iter()
            .chain(by_weight(name))
            .chain(by_weight("over filters"))
            .collect(),
        rows: facts.strata.iter().enumerate().map(row).collect(),
        caption: "reach, mean over pairs".into(),
        series: vec![format!("{name}, w={weight}"), "filters".into()],
        bars: facts.strata.iter().enumerate().filter_map(bar).collect(),
        ..Sheet::default()
    }
}
