//! From a run directory to what people read: a pure fold over its commits, which may be made again.

use super::prepare::{self, Prepared};
use super::rerank::{self, metric_plan, point_plan};
use super::{
    embed, label, reachability, report_encoder, report_label, report_walks, train_encoder,
    train_reranker, train_retriever,
};
use crate::error::{Error, Result};
use crate::metric::{Exposure, MetricPlan, Tally, summarise};
use crate::report::{
    ArmCosine, ArmCost, Expectation, Facts, FaultGroup, Learned, Report, Sweep, SweepPoint,
    SweptArm, Timings, TrainingPoint, Upstream, metric_rows, render_html, render_json,
    render_markdown,
};
use crate::spec::{self, Expect, Point, RerankSpec, StepSpec};
use crate::store::{Commit, RunDir, Store, part};
use crate::types::{Cost, Epoch, StageName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// How a run was called: what no hash depends on, and `report` and `explain` need again.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Invocation {
    /// The job file.
    pub job: PathBuf,
    /// `--set` overrides.
    pub sets: Vec<String>,
    /// The job's `[expect]`.
    pub expect: BTreeMap<String, Expect>,
    /// How long it took, when it was not skipped.
    pub timings: Option<Timings>,
}

const INVOCATION_KEY: &str = "invocation.json";

impl Invocation {
    /// What is known of how a run was called.
    pub fn of(run: &RunDir) -> Result<Invocation> {
        let Some(bytes) = run.get(INVOCATION_KEY)? else { return Ok(Invocation::default()) };
        serde_json::from_slice(&bytes).map_err(|e| {
            let path = run.path(INVOCATION_KEY);
            Error::Input(format!("{}: {e}: remove it", path.display()))
        })
    }

    /// Notes how a run was called. Timings of an earlier call stay when this one had nothing to do.
    pub fn put(mut self, run: &RunDir) -> Result<()> {
        if self.timings.is_none() {
            self.timings = Invocation::of(run)?.timings;
        }
        let json = serde_json::to_vec_pretty(&self).map_err(|e| Error::Input(e.to_string()))?;
        run.put_derived(INVOCATION_KEY, json)
    }
}

/// Makes the report of a run and puts all its forms into the run's directory.
pub fn write(store: &Store, run: &RunDir) -> Result<Report> {
    let report = report(store, run)?;
    run.put_derived("report.html", render_html(&report)?)?;
    run.put_derived("report.md", render_markdown(&report))?;
    run.put_derived("report.json", render_json(&report))?;
    if !report.summary.arms.is_empty() {
        run.put_derived("metrics.parquet", part::metrics::encode(&rows(&report))?)?;
    }
    Ok(report)
}

fn rows(report: &Report) -> Vec<part::metrics::Row> {
    let row = |row: crate::report::MetricRow| part::metrics::Row {
        texts: [row.arm, row.metric, row.slice_dimension, row.slice_label],
        figures: [
            Some(row.mean),
            Some(row.low),
            Some(row.high),
            row.difference,
            row.difference_low,
            row.difference_high,
        ],
        users: row.users,
    };
    metric_rows(report).into_iter().map(row).collect()
}

/// The report of a run.
pub fn report(store: &Store, run: &RunDir) -> Result<Report> {
    let manifest = run.manifest();
    let commits = run.commits()?;
    let invocation = Invocation::of(run)?;
    let mut report = Report {
        title: manifest.job.to_string(),
        job: manifest.job.clone(),
        kind: manifest.kind.clone(),
        run: run.name().to_owned(),
        code: manifest.code_version.clone(),
        spec: manifest.spec_hash.clone(),
        commands: command(&invocation).into_iter().collect(),
        facts: Facts {
            epochs: commits.len() as u64,
            rows_read: commits.values().map(|commit| commit.rows_read).sum(),
            rows_written: commits.values().map(|commit| commit.rows_written).sum(),
            rows_faulted: commits.values().map(|commit| commit.rows_faulted).sum(),
            ..Facts::default()
        },
        faults: faults(&commits),
        timings: invocation.timings.clone(),
        ..Report::default()
    };
    for (role, name) in &manifest.upstream {
        report.upstream.push(upstream(store, role, name)?);
    }
    match manifest.kind.as_str() {
        "rerank" => reranked(store, run, &mut report)?,
        "train-retriever" => trained(run, &mut report)?,
        "train-reranker" => trained_reranker(run, &mut report)?,
        "label" => labelled(run, &mut report)?,
        "train-encoder" => trained_encoder(run, &mut report)?,
        "embed" => embedded(run, &mut report)?,
        "reachability" => report.sheets = reachability::sheets(&reachability::facts(run)?),
        _ => prepared(run, &mut report)?,
    }
    report.expectations = expectations(&invocation.expect, &report);
    Ok(report)
}

/// How the run is made again; none where that is not known, since another job needed it.
fn command(invocation: &Invocation) -> Option<String> {
    let sets = invocation.sets.iter().map(|set| format!(" --set '{set}'"));
    let job = invocation.job.display();
    let known = !invocation.job.as_os_str().is_empty();
    known.then(|| format!("steerage run {job}{}", sets.collect::<String>()))
}

fn faults(commits: &BTreeMap<Epoch, Commit>) -> Vec<FaultGroup> {
    let mut groups: BTreeMap<(StageName, String), FaultGroup> = BTreeMap::new();
    for commit in commits.values() {
        for (stage, kinds) in &commit.faults {
            for (reason, count) in kinds {
                let group = groups.entry((*stage, reason.clone())).or_insert_with(|| FaultGroup {
                    stage: *stage,
                    reason: reason.clone(),
                    count: 0,
                    keys: Vec::new(),
                });
                group.count += count;
                group.keys.extend(commit.fault_part.iter().map(|part| part.key.clone()));
            }
        }
    }
    groups.into_values().collect()
}

fn upstream(store: &Store, role: &str, name: &str) -> Result<Upstream> {
    let run = RunDir::open(store, name)?;
    let result = match run.manifest().kind.as_str() {
        "train-retriever" => {
            let facts = train_retriever::finished(run.clone())?.facts;
            let best = facts.curve.iter().map(|(_, ndcg)| *ndcg).fold(0.0, f64::max);
            format!("{} epochs, validation NDCG@10 {best:.4}", facts.epochs)
        }
        "train-reranker" => {
            let facts = train_reranker::facts(&run)?;
            let [before, model, mixed] = facts.tried;
            let alike = facts
                .control_cosine
                .map(|cosine| format!("; mean cosine of its control tokens {cosine:.4}"));
            let told = format!(
                "validation NDCG@10 of what was asked for: {:.4} as retrieved, {:.4} by the model, \
                 {:.4} with weight {}; of what came next: {:.4}, {:.4}, {:.4}",
                before.relevance,
                model.relevance,
                mixed.relevance,
                mixed.weight,
                before.next,
                model.next,
                mixed.next
            );
            told + &alike.unwrap_or_default()
        }
        "label" => label::facts(&run)?.to_string(),
        "train-encoder" => report_encoder::line(&train_encoder::facts(&run)?),
        "embed" => {
            let items: u64 = run.commits()?.values().map(|commit| commit.rows_written).sum();
            format!("{items} items")
        }
        _ => {
            let facts = prepare::facts(&run)?;
            format!("{} users, {} items, {} rows read", facts.users, facts.items, facts.rows_read)
        }
    };
    Ok(Upstream { job: format!("{role}: {}", run.manifest().job), run: name.to_owned(), result })
}

fn reranked(store: &Store, run: &RunDir, report: &mut Report) -> Result<()> {
    let (spec, prepared, retrieved) = reopen(store, run)?;
    let plan = metric_plan(&spec, &prepared, retrieved)?;
    let (sums, exposure) = rerank::sums(run)?;
    let items = prepared.catalogue.len();
    report.summary = summarise(&plan, &sums.tally, &exposure, items);
    report.conflicts = sums.conflicts;
    let points = spec.points();
    report.costs = arm_costs(&plan, &sums.costs);
    report.sheets = report_walks::sheets(&spec, &sums.walks, &sums.costs);
    report.cosines = arm_cosines(store, run, &spec)?;
    let costs = sums.sweep_costs.iter().map(Vec::as_slice).chain(std::iter::repeat(&[][..]));
    report.sweep = spec.sweep.as_ref().map(|_| Sweep {
        arms: spec.swept_arms().into_iter().map(swept_arm).collect(),
        points: points
            .iter()
            .zip(sums.sweep.iter().zip(costs))
            .map(|(point, sums)| swept_point(&spec, &plan, point, sums))
            .collect(),
    });
    report.published = spec.arms.get(spec.published()).map(|arm| arm.name.clone());
    report.facts.users = sums.tally.rows();
    report.facts.items = items as u64;
    report.facts.interactions = prepared.facts.rows_read;
    if let (Some(spec), Some(name)) = (&spec.inferred, run.manifest().upstream.get("inferred")) {
        let labels = RunDir::open(store, name)?;
        report.warnings.append(&mut rerank::told(spec, &prepared.catalogue, &labels)?);
    }
    Ok(())
}

/// The costs with the names of their arms.
fn arm_costs(plan: &MetricPlan, costs: &[Cost]) -> Vec<ArmCost> {
    let named = plan.arms.iter().cloned().zip(costs);
    named.map(|(arm, cost)| ArmCost { arm, cost: *cost }).collect()
}

/// How alike the control tokens are of the models that arms have, as far as something was learned.
fn arm_cosines(store: &Store, run: &RunDir, spec: &RerankSpec) -> Result<Vec<ArmCosine>> {
    let mut found = Vec::new();
    for arm in &spec.arms {
        let learned = arm.steps.iter().find_map(|step| match step {
            StepSpec::TokenControl { reranker, adapter: true, .. } => Some(reranker),
            _ => None,
        });
        let Some(name) = learned
            .and_then(|name| run.manifest().upstream.get(&format!("reranker {name}")).cloned())
        else {
            continue;
        };
        let facts = train_reranker::facts(&RunDir::open(store, &name)?)?;
        let arm = arm.name.clone();
        found.extend(facts.control_cosine.map(|cosine| ArmCosine { arm, cosine }));
    }
    Ok(found)
}

fn swept_arm(swept: spec::SweptArm) -> SweptArm {
    SweptArm { name: swept.arm.name, family: swept.family, weight: swept.weight }
}

/// What the sums and costs of a point come to.
fn swept_point(
    spec: &RerankSpec,
    lists: &MetricPlan,
    point: &Point,
    (sums, costs): (&Tally, &[Cost]),
) -> SweepPoint {
    let plan = point_plan(spec, lists, point);
    let summarised = |plan: &MetricPlan| {
        let summary = summarise(plan, sums, &Exposure::default(), 0);
        let controls = point.controls.map(|count| count as u64);
        SweepPoint::new(point.k as u64, controls, point.theta.map(u64::from), summary)
    };
    let learned = |(learned, zero): (usize, usize)| {
        let beside = summarised(&MetricPlan { baseline: zero, ..plan.clone() });
        let arms = beside.summary.arms;
        Learned {
            arm: arms[learned].arm.clone(),
            zero_shot: arms[zero].arm.clone(),
            difference: arms[learned].versus_baseline.clone(),
        }
    };
    let learned = spec.adapter_pairs().into_iter().map(learned).collect();
    SweepPoint { learned, costs: arm_costs(&plan, costs), ..summarised(&plan) }
}

/// A rerank run's job and what it read, from the run's directory alone.
fn reopen(store: &Store, run: &RunDir) -> Result<(RerankSpec, Prepared, bool)> {
    let manifest = run.manifest();
    let spec: RerankSpec = serde_json::from_value(manifest.spec.clone()).map_err(|e| {
        Error::Input(format!("{}: the manifest's job cannot be read: {e}", run.name()))
    })?;
    let Some(sequences) = manifest.upstream.get("sequences") else {
        return Err(Error::Input(format!(
            "{}: expected upstream sequences, found none",
            run.name()
        )));
    };
    let prepared = prepare::finished(RunDir::open(store, sequences)?)?;
    Ok((spec, prepared, manifest.upstream.contains_key("retriever")))
}

fn trained(run: &RunDir, report: &mut Report) -> Result<()> {
    let facts = train_retriever::finished(run.clone())?.facts;
    report.facts.users = report.facts.rows_read;
    report.training = course(facts.losses, &facts.curve.into_iter().collect());
    Ok(())
}

/// Each pass with its loss and, if it was validated, its quality.
fn course(losses: Vec<f64>, validations: &BTreeMap<u64, f64>) -> Vec<TrainingPoint> {
    let point = |(epoch, loss): (u64, f64)| TrainingPoint {
        epoch: epoch as u32,
        loss: Some(loss).filter(|loss| loss.is_finite()),
        validation_ndcg: validations.get(&epoch).copied(),
    };
    (1..).zip(losses).map(point).collect()
}

fn trained_reranker(run: &RunDir, report: &mut Report) -> Result<()> {
    let facts = train_reranker::facts(run)?;
    let pass = facts.steps[0].max(1);
    let curve = facts.curve.into_iter().map(|(step, ndcg)| (step.div_ceil(pass), ndcg));
    report.training = course(facts.losses, &curve.collect());
    Ok(())
}

fn labelled(run: &RunDir, report: &mut Report) -> Result<()> {
    let facts = label::facts(run)?;
    report.facts.users = facts.sums.users;
    report.sheets = report_label::sheets(&facts);
    Ok(())
}

fn trained_encoder(run: &RunDir, report: &mut Report) -> Result<()> {
    let facts = train_encoder::facts(run)?;
    let pass = facts.steps[0].max(1);
    let curve = facts.curve.iter().map(|(step, auc)| (step.div_ceil(pass), *auc));
    report.training = course(facts.losses.clone(), &curve.collect());
    report.sheets = report_encoder::sheets(&facts);
    Ok(())
}

fn embedded(run: &RunDir, report: &mut Report) -> Result<()> {
    report.facts.items = report.facts.rows_written;
    if let Some(reused) = embed::reused(run)? {
        report.warnings.push(format!(
            "{reused} of the vectors were taken from earlier runs of the same encoder: their texts \
             are the same."
        ));
    }
    Ok(())
}

fn prepared(run: &RunDir, report: &mut Report) -> Result<()> {
    let facts = prepare::facts(run)?;
    report.facts = Facts {
        users: facts.users,
        items: facts.items,
        interactions: facts.rows_read,
        rows_read: facts.rows_read,
        rows_written: facts.users,
        ..report.facts
    };
    Ok(())
}

/// What the job expects beside what was found: of the arm that is named, or the published one; of a
/// training its best validation.
fn expectations(expect: &BTreeMap<String, Expect>, report: &Report) -> Vec<Expectation> {
    let line = |(metric, expect): (&String, &Expect)| {
        let arm = expect.arm.clone().or(report.published.clone()).unwrap_or_default();
        let found = match report.training.as_slice() {
            [] => {
                let of_arm = report.summary.arms.iter().find(|a| a.arm == arm);
                of_arm.and_then(|a| a.metrics.get(metric)).map(|estimate| estimate.mean)
            }
            points => points.iter().filter_map(|p| p.validation_ndcg).reduce(f64::max),
        };
        let met = found.is_some_and(|found| (found - expect.value).abs() <= expect.tolerance);
        Expectation {
            metric: metric.clone(),
            arm,
            expected: expect.value,
            tolerance: expect.tolerance,
            found,
            met,
        }
    };
    expect.iter().map(line).collect()
}
