//! `[sweep]`: the same arms at other settings, each combination judged apart.

use super::step::{Over, StepSpec};
use super::{ArmSpec, ControlFrom, Problems, RerankSpec};
use serde::{Deserialize, Serialize};

/// `[sweep]`: a grid of settings. Every combination of `k`, `controls` and `theta` is a point, at
/// which the arms are ranked and judged apart; no list that is written depends on it. Controls that
/// are `sampled` are drawn from the point's own candidates, so that they differ from k to k.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SweepSpec {
    /// The best of what was retrieved that are the candidates, ascending. `retrieve.k` when left
    /// out.
    pub k: Option<Vec<usize>>,
    /// How many controls are asked for, ascending: the first of `controls.attributes`, of
    /// `controls.ask`, or of a user's rows in the table. All of them when left out.
    pub controls: Option<Vec<usize>>,
    /// Controls an item must meet to count for CP and CD, ascending; never more than the point's
    /// controls, and points that come to the same are there once. `metrics.theta` when left out.
    pub theta: Option<Vec<u32>>,
    /// The weight of every token-control step, ascending: an arm each, `NAME w=WEIGHT`, instead of
    /// the one that is written. The arms as written when left out.
    pub weight: Option<Vec<f32>>,
    /// Visits of every node-graph step, at most, ascending: an arm each, `NAME h=VISITS`, instead
    /// of what is written. The arms as written when left out.
    #[serde(skip_serializing_if = "Option::is_none")] // a job without it keeps its run
    pub hops: Option<Vec<usize>>,
}

/// Settings at which the arms are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Candidates of a user.
    pub k: usize,
    /// How many controls are asked for; none for all of them.
    pub controls: Option<usize>,
    /// Controls an item must meet; none for all of them.
    pub theta: Option<u32>,
}

/// An arm of a sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct SweptArm {
    /// What it does, under a name of its own.
    pub arm: ArmSpec,
    /// The name of the job's arm that it is made of.
    pub family: String,
    /// Its weight, where arms differ in that.
    pub weight: Option<f32>,
}

/// Arms of all points together.
const LISTS_MAX: usize = 512;
/// Controls that a user of a table can have.
const ASKED_MAX: usize = 32;

impl RerankSpec {
    /// The points of the sweep, by k, then controls, then theta; none without a sweep.
    pub fn points(&self) -> Vec<Point> {
        let Some(sweep) = &self.sweep else { return Vec::new() };
        let mut points = Vec::new();
        for k in sweep.k.as_ref().unwrap_or(&vec![self.retrieve.k]) {
            for controls in each(sweep.controls.as_ref()) {
                for theta in each(sweep.theta.as_ref()) {
                    let theta = theta.or(self.metrics.theta);
                    let most = controls.map_or(u32::MAX, |count| count as u32);
                    let point = Point { k: *k, controls, theta: theta.map(|t| t.min(most)) };
                    if !points.contains(&point) {
                        points.push(point);
                    }
                }
            }
        }
        points
    }

    /// The arms of every point of the sweep.
    pub fn swept_arms(&self) -> Vec<SweptArm> {
        let weights = self.sweep.as_ref().and_then(|sweep| sweep.weight.as_ref());
        let as_written = |arm: &ArmSpec| {
            vec![SweptArm { arm: arm.clone(), family: arm.name.clone(), weight: None }]
        };
        let expanded = |arm: &ArmSpec| match weights {
            Some(weights) if has_weight(arm) => weights.iter().map(|w| weighted(arm, *w)).collect(),
            _ => as_written(arm),
        };
        let hops = self.sweep.as_ref().and_then(|sweep| sweep.hops.as_ref());
        let with_hops = |swept: SweptArm| match hops {
            Some(hops) if has_graph(&swept.arm) => {
                hops.iter().map(|most| limited(&swept, *most)).collect()
            }
            _ => vec![swept],
        };
        self.arms.iter().flat_map(expanded).flat_map(with_hops).collect()
    }

    /// Of the sweep's arms those that differ in whether what was learned is used: the one with it,
    /// and the one without. Arms that give the model no weight are alike either way.
    pub fn adapter_pairs(&self) -> Vec<(usize, usize)> {
        let arms = self.swept_arms();
        let bare: Vec<Vec<StepSpec>> = arms.iter().map(|swept| unlearned(&swept.arm)).collect();
        let pair = |zero: usize| {
            let same = |learned: &usize| *learned != zero && bare[*learned] == bare[zero];
            let learned = (0..arms.len()).find(same)?;
            Some((learned, zero)).filter(|_| arms[zero].arm.steps == bare[zero])
        };
        let with_model =
            |zero: &usize| has_decoder(&arms[*zero].arm) && arms[*zero].weight != Some(0.0);
        (0..arms.len()).filter(with_model).filter_map(pair).collect()
    }

    /// Every rule over the fields of the sweep.
    pub(super) fn check_sweep(&self, problems: &mut Problems) {
        let Some(sweep) = &self.sweep else { return };
        if *sweep == SweepSpec::default() {
            let what = "expected k, controls, theta, weight or hops, found none";
            return problems.add("sweep", what);
        }
        let asked = self.asked_most();
        problems.ascending("sweep.k", sweep.k.as_deref(), 1, 10_000);
        let largest = sweep.k.iter().flatten().max().copied().unwrap_or(0);
        if largest > self.retrieve.k {
            let k = self.retrieve.k;
            let what = format!("expected at least {largest}, the largest of sweep.k, found {k}");
            problems.add("retrieve.k", what);
        }
        if asked == 0 && (sweep.controls.is_some() || sweep.theta.is_some()) {
            problems.add("controls.from", "nobody asks for anything, and `sweep` is about it");
        } else {
            problems.ascending("sweep.controls", sweep.controls.as_deref(), 1, asked);
            problems.ascending("sweep.theta", sweep.theta.as_deref(), 1, asked as u32);
        }
        problems.ascending("sweep.weight", sweep.weight.as_deref(), 0.0, 1.0);
        let told = self.requests.as_ref().is_some_and(|requests| requests.controls);
        if told && self.controls.from != ControlFrom::None {
            let what = "is not defined for what is understood of requests beside other controls: \
                        set requests.controls = false";
            problems.add("sweep", what);
        }
        let over = |step: &StepSpec| {
            matches!(step, StepSpec::LanguageControl { over: Over::Catalogue, .. })
        };
        if self.arms.iter().flat_map(|arm| &arm.steps).any(over) {
            problems.add("sweep", "goes over the candidates, and an arm over the catalogue");
        }
        if sweep.weight.is_some() && !self.arms.iter().any(has_weight) {
            problems.add("sweep.weight", "no arm has a token-control or language-control step");
        }
        problems.ascending("sweep.hops", sweep.hops.as_deref(), 1, 64);
        if sweep.hops.is_some() && !self.arms.iter().any(has_graph) {
            problems.add("sweep.hops", "no arm has a node-graph step");
        }
        let arms = self.swept_arms();
        problems.unique("sweep.weight", arms.iter().map(|swept| swept.arm.name.as_str()));
        let (points, arms) = (self.points().len(), arms.len());
        if points * arms > LISTS_MAX {
            let lists = points * arms;
            let what = format!("{points} points × {arms} arms are {lists}, more than {LISTS_MAX}");
            problems.add("sweep", what);
        }
    }

    /// The most controls that a user can have.
    fn asked_most(&self) -> usize {
        let controls = &self.controls;
        match controls.from {
            ControlFrom::None => 0,
            ControlFrom::Job => controls.asks.len(),
            ControlFrom::Oracle | ControlFrom::Sampled => controls.attributes.len(),
            ControlFrom::Table | ControlFrom::TableThenSampled => ASKED_MAX,
        }
    }
}

/// Each of some values, or none once.
fn each<T: Copy>(values: Option<&Vec<T>>) -> Vec<Option<T>> {
    values.map_or(vec![None], |values| values.iter().copied().map(Some).collect())
}

fn has_weight(arm: &ArmSpec) -> bool {
    let weighs = |step: &StepSpec| matches!(step, StepSpec::LanguageControl { .. });
    has_decoder(arm) || arm.steps.iter().any(weighs)
}

fn has_decoder(arm: &ArmSpec) -> bool {
    arm.steps.iter().any(|step| matches!(step, StepSpec::TokenControl { .. }))
}

/// The steps of an arm without what was learned.
fn unlearned(arm: &ArmSpec) -> Vec<StepSpec> {
    let mut steps = arm.steps.clone();
    for step in &mut steps {
        if let StepSpec::TokenControl { adapter, .. } = step {
            *adapter = false;
        }
    }
    steps
}

fn has_graph(arm: &ArmSpec) -> bool {
    arm.steps.iter().any(|step| matches!(step, StepSpec::NodeGraph(_)))
}

/// The arm with another limit of visits.
fn limited(swept: &SweptArm, most: usize) -> SweptArm {
    let mut changed = swept.clone();
    changed.arm.name = format!("{} h={most}", changed.arm.name);
    for step in &mut changed.arm.steps {
        if let StepSpec::NodeGraph(graph) = step {
            graph.hops_max = most;
        }
    }
    changed
}

/// The arm with a weight in place of its own.
fn weighted(arm: &ArmSpec, to: f32) -> SweptArm {
    let mut changed = arm.clone();
    changed.name = format!("{} w={to}", arm.name);
    for step in &mut changed.steps {
        match step {
            StepSpec::TokenControl { weight, .. } => *weight = Some(to),
            StepSpec::LanguageControl { weight, .. } => *weight = to,
            _ => {}
        }
    }
    SweptArm { arm: changed, family: arm.name.clone(), weight: Some(to) }
}
