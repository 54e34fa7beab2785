//! A report as a night's job would make it: seeded figures in plausible proportions.

use std::collections::BTreeMap;
use steerage::metric::{ArmSummary, Estimate, SliceSummary, Summary};
use steerage::report::{
    Expectation, Facts, FaultGroup, Learned, Report, StageTime, Sweep, SweepPoint, SweptArm,
    Timings, TrainingPoint, Upstream,
};
use steerage::types::{StageName, mix64, unit_f64};

const USERS: u64 = 6_040;

fn estimate(mean: f64, half: f64, users: u64) -> Estimate {
    Estimate { mean, low: mean - half, high: mean + half * 1.06, users }
}

/// Accuracy and control levels of each arm: what the other figures are derived from.
const ARMS: [(&str, f64, f64, f64); 5] = [
    // name, NDCG@10, CP@3, ILD@10
    ("retrieval-order", 0.1784, 0.412, 0.621),
    ("hard-filter", 0.1502, 0.874, 0.588),
    ("mmr", 0.1731, 0.405, 0.742),
    ("dpp", 0.1779, 0.409, 0.668),
    ("fair-swap-then-control-boost", 0.1768, 0.706, 0.634),
];

fn metrics(ndcg: f64, cp: f64, ild: f64, users: u64) -> BTreeMap<String, Estimate> {
    let wide = 0.0064 * (USERS as f64 / users as f64).sqrt();
    let mut all = BTreeMap::new();
    let mut put = |name: &str, mean: f64, half: f64| {
        all.insert(name.to_owned(), estimate(mean, half, users));
    };
    for (k, part) in [(1, 0.45), (5, 0.84), (10, 1.0), (20, 1.16)] {
        put(&format!("ndcg@{k}"), ndcg * part, wide * part);
        put(&format!("hit@{k}"), ndcg * part * (1.0 + f64::from(k).log10()), wide * 1.7);
        put(&format!("mrr@{k}"), ndcg * 0.8 * part, wide * 0.9);
        put(&format!("recall@{k}"), ndcg * part * (1.0 + f64::from(k).log10()), wide * 1.7);
        put(&format!("ild@{k}"), ild - 0.01 / f64::from(k), 0.0021);
        put(&format!("coverage@{k}"), (0.09 * f64::from(k).sqrt() * ild / 0.6).min(1.0), 0.0);
        put(&format!("gini@{k}"), 0.93 - ild / 10.0, 0.0011);
    }
    for (k, part) in [(1, 1.08), (3, 1.0), (5, 0.95), (10, 0.88)] {
        put(&format!("cp@{k}"), (cp * part).min(1.0), 0.0097);
        put(&format!("oracle-cp@{k}"), (cp * part * 0.8).min(1.0), 0.0091);
        put(&format!("ncp@{k}"), (cp * part - 0.25) / 0.7, 0.0121);
    }
    put("cd", 6.2 - 5.0 * cp, 0.041);
    put("oracle-cd", 6.6 - 5.0 * cp, 0.043);
    put("random-cp@3", 0.2481, 0.0);
    put("ceiling-cp@3", 0.9512, 0.0);
    put("empty-pool", 0.0311, 0.0);
    put("retrieval-ceiling", 0.6127, 0.0123);
    put("alpha-ndcg-attribute@10", ild * 1.2, 0.0026);
    put("alpha-ndcg@10", ndcg * 1.3, wide * 1.1);
    put("mad-user", 1.9 - ild, 0.0211);
    put("novelty@10", 7.1 + ild * 2.0, 0.0132);
    all
}

/// Label, users, level of accuracy.
type Labels = &'static [(&'static str, u64, f64)];

fn slices(ndcg: f64, cp: f64, seed: u64) -> Vec<SliceSummary> {
    let parts: [(&str, Labels); 3] = [
        (
            "history-length",
            &[
                ("5-9", 212, 0.71),
                ("10-49", 2_204, 0.9),
                ("50-199", 2_391, 1.05),
                ("200+", 1_233, 1.14),
            ],
        ),
        (
            "target-popularity",
            &[("head", 3_102, 1.4), ("middle", 2_120, 0.66), ("tail", 818, 0.21)],
        ),
        (
            "controls",
            &[("none", 0, 1.0), ("1", 3_020, 1.0), ("2", 2_016, 0.99), ("3+", 1_004, 0.96)],
        ),
    ];
    let mut all = Vec::new();
    for (dimension, labels) in parts {
        for (at, (label, users, level)) in labels.iter().enumerate().filter(|(_, l)| l.1 > 0) {
            let noise = 0.97 + 0.06 * unit_f64(mix64(seed ^ (at as u64) << 8 ^ users));
            let n = *users as f64;
            let metrics = BTreeMap::from([
                ("ndcg@10".into(), estimate(ndcg * level * noise, 0.5 / n.sqrt(), *users)),
                ("cp@3".into(), estimate((cp * noise).min(1.0), 0.75 / n.sqrt(), *users)),
            ]);
            let (dimension, label) = (dimension.into(), (*label).into());
            all.push(SliceSummary { dimension, label, users: *users, metrics });
        }
    }
    all
}

/// A rerank job with everything in it.
pub fn rerank() -> Report {
    let base = metrics(ARMS[0].1, ARMS[0].2, ARMS[0].3, USERS);
    let arms = ARMS.iter().enumerate().map(|(at, &(arm, ndcg, cp, ild))| {
        let metrics = metrics(ndcg, cp, ild, USERS);
        let versus = metrics.iter().filter(|_| at > 0).map(|(name, e)| {
            let half = (e.high - e.low) / 5.0;
            (name.clone(), estimate(e.mean - base[name].mean, half, USERS))
        });
        ArmSummary {
            arm: arm.into(),
            versus_baseline: versus.collect(),
            slices: slices(ndcg, cp, at as u64),
            metrics,
        }
    });
    Report {
        title: "ML-1M, nightly re-ranking".into(),
        job: "ml-1m-nightly".into(),
        kind: "rerank".into(),
        run: "ml-1m-nightly-3f9c2a71".into(),
        code: "0.1.0 (6131468)".into(),
        spec: "3f9c2a71d0be44c8".into(),
        commands: vec![
            "steerage run jobs/ml-1m.toml --set data=~/data/ml-1m --workers 2".into(),
            "steerage report ml-1m-nightly-3f9c2a71".into(),
        ],
        published: Some(ARMS[4].0.into()),
        facts: Facts {
            users: USERS,
            items: 3_416,
            interactions: 999_611,
            epochs: 16,
            rows_read: 6_052,
            rows_written: 30_200,
            rows_faulted: 12,
        },
        summary: Summary { baseline: ARMS[0].0.into(), replicates: 200, arms: arms.collect() },
        faults: faults(),
        conflicts: 37,
        costs: Vec::new(),
        cosines: Vec::new(),
        sweep: None,
        sheets: Vec::new(),
        expectations: expectations(),
        training: Vec::new(),
        upstream: upstream(),
        warnings: Vec::new(),
        timings: Some(timings()),
    }
}

/// The same with a sweep: fewer candidates and more wishes make control harder, and weight buys it.
pub fn swept() -> Report {
    let report = rerank();
    let token = |family: &'static str| {
        let name = move |weight: f32| SweptArm {
            name: format!("{family} w={weight}"),
            family: family.into(),
            weight: Some(weight),
        };
        [0.0, 0.25, 0.5, 0.75, 1.0].map(name)
    };
    let plain = |name: &str| SweptArm { name: name.into(), family: name.into(), weight: None };
    let arms: Vec<SweptArm> = [plain(ARMS[0].0), plain(ARMS[1].0)]
        .into_iter()
        .chain(token("token-control"))
        .chain(token("zero-shot"))
        .collect();
    let mut points = Vec::new();
    for k in [10, 20, 50] {
        for (controls, theta) in [(1, 1), (2, 1), (2, 2), (3, 1), (3, 2), (3, 3)] {
            let level = (1.0 - 0.24 * f64::from(theta) + 0.06 * f64::from(controls)).min(1.0);
            let gain = (f64::from(k) / 50.0).sqrt();
            let level = |arm: &SweptArm| {
                let weight = f64::from(arm.weight.unwrap_or(0.0));
                let learned = if arm.family == "zero-shot" { 0.12 } else { 0.44 };
                match arm.family.as_str() {
                    "hard-filter" => (0.131 + 0.01 * gain, 0.91 * level),
                    _ => (
                        0.12 + 0.05 * gain + 0.012 * weight - 0.05 * weight * weight,
                        (0.3 + learned * gain * weight) * level,
                    ),
                }
            };
            let (ndcg, cp) = level(&arms[0]);
            let base = metrics(ndcg, cp, 0.6, USERS);
            let summary = arms.iter().enumerate().map(|(at, arm)| {
                let (ndcg, cp) = level(arm);
                let mut metrics = metrics(ndcg, cp, 0.6, USERS);
                let hard = f64::from(theta) / f64::from(k).sqrt();
                metrics.insert("empty-pool".into(), estimate(0.2 * hard * hard, 0.0, USERS));
                metrics.insert("ceiling-cp@3".into(), estimate(1.0 - 0.3 * hard, 0.0, USERS));
                metrics.insert("unmet-control".into(), estimate(0.1 * hard, 0.0, USERS));
                metrics.insert("target-unmet".into(), estimate(0.2 * f64::from(theta), 0.0, USERS));
                let versus = metrics
                    .iter()
                    .filter(|(name, _)| at > 0 && base.contains_key(*name))
                    .map(|(name, e)| {
                        let half = (e.high - e.low) / 5.0;
                        (name.clone(), estimate(e.mean - base[name].mean, half, USERS))
                    });
                let versus_baseline = versus.collect();
                let slices = agreement(ndcg, cp);
                ArmSummary { arm: arm.name.clone(), versus_baseline, slices, metrics }
            });
            let summary =
                Summary { baseline: ARMS[0].0.into(), replicates: 200, arms: summary.collect() };
            let (controls, theta) = (Some(controls as u64), Some(theta as u64));
            let mut point = SweepPoint::new(k as u64, controls, theta, summary);
            let pair = |weight: usize| {
                let [learned, zero] = [2 + weight, 7 + weight].map(|arm| arms[arm].name.clone());
                let gain = 0.01 * weight as f64 - 0.009;
                let difference = BTreeMap::from([("cp@3".into(), estimate(gain, 0.004, USERS))]);
                Learned { arm: learned, zero_shot: zero, difference }
            };
            point.learned = (1..5).map(pair).collect();
            points.push(point);
        }
    }
    let mut report = Report { sweep: Some(Sweep { arms, points }), ..report };
    report.published = Some("token-control".into());
    report.summary.arms[4].arm = "token-control".into();
    report
}

/// By how much of the history meets the controls.
fn agreement(ndcg: f64, cp: f64) -> Vec<SliceSummary> {
    let parts = [("none", 2_500, 0.7), ("under 10%", 900, 0.9), ("10-50%", 1_800, 1.1)];
    let parts = parts.into_iter().chain([("50% or more", 840, 1.4)]);
    let slice = |(label, users, level): (&str, u64, f64)| {
        let half = 0.5 / (users as f64).sqrt();
        let metrics = BTreeMap::from([
            ("ndcg@10".into(), estimate(ndcg * level, half, users)),
            ("cp@3".into(), estimate((cp * level).min(1.0), half, users)),
        ]);
        let (dimension, label) = ("history-agreement".into(), label.into());
        SliceSummary { dimension, label, users, metrics }
    };
    parts.map(slice).collect()
}

fn faults() -> Vec<FaultGroup> {
    let group = |stage, reason: &str, count, epochs: &[u32]| FaultGroup {
        stage,
        reason: reason.into(),
        count,
        keys: epochs.iter().map(|e| format!("faults/epoch={e:06}.parquet")).collect(),
    };
    vec![
        group(StageName::Read, "column \"price\" is not a finite number", 7, &[2, 3, 9, 11]),
        group(StageName::Control, "nothing in the catalogue is called genre=Westrn", 4, &[3]),
        group(
            StageName::Rerank,
            "every item is seen, excluded or ruled out: nothing to rank",
            1,
            &[15],
        ),
    ]
}

fn expectations() -> Vec<Expectation> {
    let line = |metric: &str, arm: &str, expected, tolerance, found, met| Expectation {
        metric: metric.into(),
        arm: arm.into(),
        expected,
        tolerance,
        found,
        met,
    };
    vec![
        line("ndcg@10", ARMS[0].0, 0.178, 0.004, Some(0.1784), true),
        line("cp@3", ARMS[4].0, 0.70, 0.02, Some(0.706), true),
        line("ndcg@10", "token-control", 0.18, 0.004, None, false),
    ]
}

fn upstream() -> Vec<Upstream> {
    let run = |job: &str, run: &str, result: &str| Upstream {
        job: job.into(),
        run: run.into(),
        result: result.into(),
    };
    vec![
        run("prepare-ml-1m", "prepare-ml-1m-91c07be2", "6 040 users, 3 416 items, k-core 5"),
        run("retriever-ml-1m", "retriever-ml-1m-0be144c8", "validation NDCG 0.1872 at epoch 23"),
    ]
}

fn timings() -> Timings {
    let rows = [
        ("read", 6_052, 0.21),
        ("retrieve", 6_051, 3.42),
        ("rerank", 6_047, 1.38),
        ("tally", 30_200, 0.77),
        ("write", 30_200, 0.30),
        ("not stages", 0, 0.19),
    ];
    let total: f64 = rows.iter().map(|r| r.2).sum();
    let stage = |(stage, rows, seconds): (&str, u64, f64)| StageTime {
        stage: stage.into(),
        rows,
        seconds,
        rows_per_second: rows as f64 / seconds,
        share: seconds / total,
    };
    Timings {
        seconds: 3.31,
        workers: 2,
        machine: "2 cores, AVX2, 8 GiB".into(),
        stages: rows.map(stage).to_vec(),
        ..Timings::default()
    }
}

/// A training job.
pub fn training() -> Report {
    let point = |epoch: u32| {
        let t = f64::from(epoch);
        let ndcg = 0.187 * (1.0 - (-t / 6.0).exp()) - 0.00004 * (t - 24.0).max(0.0).powi(2);
        TrainingPoint {
            epoch,
            loss: Some(5.1 + 3.1 * (-t / 5.0).exp() - 0.004 * t),
            validation_ndcg: Some(ndcg - 0.002 * unit_f64(mix64(u64::from(epoch)))),
        }
    };
    Report {
        title: "SASRec on ML-1M".into(),
        job: "retriever-ml-1m".into(),
        kind: "train-retriever".into(),
        run: "retriever-ml-1m-0be144c8".into(),
        code: "0.1.0 (6131468)".into(),
        spec: "0be144c8aa01".into(),
        facts: Facts { users: USERS, items: 3_416, interactions: 999_611, ..Facts::default() },
        training: (1..=32).map(point).collect(),
        ..Report::default()
    }
}
