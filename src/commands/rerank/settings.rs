//! From what the job file says to what the stages and metrics take: names become positions in the
//! catalogue, and what is not there is refused.

use super::Opened;
use super::graph::{at_least, graph_of};
use super::models::Models;
use crate::control::request::{RequestSettings, Requests};
use crate::control::{ControlTable, Names, Postings};
use crate::error::{Error, Result};
use crate::metric::{Distance, FairnessGroups, MetricPlan, Segment, Split, Threshold};
use crate::spec::{
    AskFrom, FilterMode, FusionSpec, Over, Point, QuotaSpec, RerankSpec, Similarity, StepSpec,
};
use crate::stage::arms::Method;
use crate::stage::ask::{Asks, Goals};
use crate::stage::language::{Fusion, LanguageControl};
use crate::stage::rerank as methods;
use crate::stage::token_control::TokenControl;
use crate::stage::told::{Told, labels};
use crate::store::input;
use crate::types::{Asked, Catalogue, Control, Quota, Relation};
use std::collections::HashMap;
use std::sync::Arc;

/// Controls of the job file; what they name must be there.
pub fn resolved(path: &str, names: &Names, asked: &[Asked]) -> Result<Vec<Control>> {
    let (controls, problems) = names.resolve(asked);
    match problems.first() {
        Some(problem) => Err(Error::Input(format!("{path}: {problem}"))),
        None => Ok(controls),
    }
}

/// Where controls come from.
pub fn asks(spec: &RerankSpec, opened: &Opened, catalogue: &Arc<Catalogue>) -> Result<Asks> {
    let names = Names::new(catalogue);
    let controls = &spec.controls;
    let job: Vec<Asked> = controls.asks.iter().map(Asked::from).collect();
    let job = resolved("controls.ask", &names, &job)?;
    let attributes = controls.attributes.iter().map(|name| attribute(catalogue, "controls", name));
    let attributes = attributes.collect::<Result<Vec<usize>>>()?;
    let table = match &opened.controls {
        None => ControlTable::default(),
        Some(path) => {
            let time = input::has_column(path, "time")?.then(|| "time".to_owned());
            let columns = input::ControlColumns {
                user: "user".into(),
                attribute: "attribute".into(),
                relation: "relation".into(),
                value: "value".into(),
                time,
            };
            let rows = input::read_controls(std::slice::from_ref(path), &columns)?.rows;
            let row = |row: input::ControlRow| (row.user, row.time, row.asked);
            ControlTable::new(rows.into_iter().map(row).collect())
        }
    };
    Ok(Asks {
        catalogue: Arc::clone(catalogue),
        names,
        postings: Arc::new(Postings::new(Arc::clone(catalogue))),
        from: controls.from,
        table,
        as_of: controls.as_of,
        job,
        attributes,
        seed: controls.seed,
        told: told(spec, opened, catalogue)?,
        goals: goals(spec, opened)?,
    })
}

/// Where Goals come from.
fn goals(spec: &RerankSpec, opened: &Opened) -> Result<Option<Goals>> {
    let Some(goals) = &spec.goals else { return Ok(None) };
    let mut table = HashMap::new();
    if let Some(path) = &opened.goals {
        let columns =
            input::RequestColumns { user: "user".into(), request: "goal".into(), weight: None };
        for row in input::read_requests(std::slice::from_ref(path), &columns)?.rows {
            table.insert(row.user, row.text.into_boxed_str()); // the last of several
        }
    }
    Ok(Some(Goals { table, others: goals.text.as_deref().map(Into::into) }))
}

/// Where requests come from. They are written and read as the job says that made the arms' encoder
/// learn; without one, as the catalogue alone allows.
fn told(spec: &RerankSpec, opened: &Opened, catalogue: &Arc<Catalogue>) -> Result<Option<Told>> {
    let Some(asked) = &spec.requests else { return Ok(None) };
    let requests = match opened.embeddings.first() {
        Some(embeddings) => embeddings.encoder.labelled.requests(catalogue)?,
        None => Requests::new(Arc::clone(catalogue), RequestSettings::default())?,
    };
    let mut table = HashMap::new();
    if let Some(path) = &opened.requests {
        let weight = input::has_column(path, "weight")?.then(|| "weight".to_owned());
        let columns =
            input::RequestColumns { user: "user".into(), request: "request".into(), weight };
        for row in input::read_requests(std::slice::from_ref(path), &columns)?.rows {
            table.insert(row.user, (row.text, row.weight)); // the last of several
        }
    }
    let supported = requests.supported();
    let wanted = asked.categories.clone().unwrap_or_else(|| supported.clone());
    let missing = wanted.iter().find(|category| !supported.contains(category));
    if let (AskFrom::Sampled, Some(category)) = (asked.from, missing) {
        return Err(Error::Input(format!(
            "requests.categories: expected categories that the data supports, found {category}: \
             name its attributes, or its sayings, in the label job's [requests]"
        )));
    }
    Ok(Some(Told {
        from: asked.from,
        job: asked.text.clone(),
        table,
        requests: Arc::new(requests),
        categories: wanted,
        held_out: asked.held_out,
        seed: asked.seed,
        controls: asked.controls,
    }))
}

/// A share of the list, its names looked up.
fn quota(names: &Names, catalogue: &Catalogue, spec: &QuotaSpec) -> Result<Vec<Quota>> {
    if let Some(most) = spec.each_at_most {
        let attribute = attribute(catalogue, "arm quota", &spec.attribute)? as u16;
        return Ok(vec![Quota::Each { attribute, most }]);
    }
    let (attribute, relation) = (spec.attribute.clone(), Relation::Is);
    let value = spec.value.clone().unwrap_or_default();
    let asked = Asked { attribute, relation, value };
    let control = resolved("arm quota", names, &[asked])?.pop();
    let control = control.ok_or_else(|| Error::Input("arm quota: names nothing".into()))?;
    let least = spec.at_least.map(|share| Quota::AtLeast(control.clone(), share));
    let most = spec.at_most.map(|share| Quota::AtMost(control, share));
    Ok(least.into_iter().chain(most).collect())
}

/// The index of an attribute that the job names.
pub fn attribute(catalogue: &Catalogue, path: &str, name: &str) -> Result<usize> {
    catalogue.attribute(name).ok_or_else(|| {
        let there: Vec<&str> = catalogue.attributes.iter().map(|a| a.name.as_str()).collect();
        Error::Input(format!(
            "{path}: the catalogue has no attribute {name:?}; it has {}",
            there.join(", ")
        ))
    })
}

/// The method of an arm's step, its names looked up and its model loaded.
pub fn method_of(
    step: &StepSpec,
    facts: &methods::Facts,
    models: &mut Models<'_>,
) -> Result<Method> {
    let catalogue = &facts.catalogue;
    let like = |similarity: &Similarity| match similarity {
        Similarity::Embedding => Ok(methods::Similarity::Embedding),
        Similarity::Attribute(name) => {
            let attribute = attribute(catalogue, "arm similarity", name)?;
            Ok(methods::Similarity::Labels { attribute })
        }
    };
    let step = match step {
        StepSpec::RetrievalOrder => methods::Step::RetrievalOrder,
        StepSpec::HardFilter { mode } => methods::Step::HardFilter(match mode {
            FilterMode::First => methods::HardFilter::First,
            FilterMode::Only => methods::HardFilter::Only,
        }),
        StepSpec::Mmr { lambda, similarity, depth } => methods::Step::Mmr(methods::Mmr {
            lambda: *lambda,
            similarity: like(similarity)?,
            depth: *depth,
        }),
        StepSpec::Dpp { theta, similarity, depth } => methods::Step::Dpp(methods::Dpp {
            theta: *theta,
            similarity: like(similarity)?,
            depth: *depth,
        }),
        StepSpec::TokenControl { reranker, weight, permutations, adapter, precision, seed } => {
            let (scorer, fitted) = models.scorer(reranker, (*adapter, *precision))?;
            return Ok(Method::TokenControl(TokenControl {
                scorer,
                weight: weight.unwrap_or(fitted),
                permutations: *permutations,
                seed: *seed,
            }));
        }
        StepSpec::LanguageControl { embeddings, weight, fusion, over } => {
            let step = LanguageControl {
                speaker: models.speaker(embeddings)?,
                weight: *weight,
                fusion: fusion_of(*fusion),
            };
            return Ok(match over {
                Over::Candidates => Method::Language(step),
                Over::Catalogue => Method::Found(models.search(step)),
            });
        }
        StepSpec::NodeGraph(step) => {
            let spec = models.spec;
            let graph = graph_of(step, spec, facts, &mut |name| models.guide(name))?;
            return Ok(Method::NodeGraph(Arc::new([Arc::new(graph)])));
        }
        StepSpec::Quota { quotas, depth } => {
            let names = Names::new(catalogue);
            let all = quotas.iter().map(|spec| quota(&names, catalogue, spec));
            let all = all.collect::<Result<Vec<_>>>()?.concat();
            methods::Step::Quota(methods::Quotas { all, depth: *depth })
        }
        StepSpec::FairSwap { attribute: name, below, gap_max, depth } => {
            let attribute = attribute(catalogue, "arm fair-swap", name)?;
            let group = at_least(attribute, *below);
            methods::Step::FairSwap(methods::FairSwap { group, top: *depth, gap_max: *gap_max })
        }
    };
    step.check(facts)?;
    Ok(Method::Step(step))
}

fn fusion_of(spec: FusionSpec) -> Fusion {
    match spec {
        FusionSpec::Ranks => Fusion::Ranks,
        FusionSpec::Scores => Fusion::Scores,
        FusionSpec::Reciprocal => Fusion::Reciprocal,
    }
}

/// What a point of the job's sweep is judged by, beside what its lists are.
pub fn point_plan(spec: &RerankSpec, lists: &MetricPlan, point: &Point) -> MetricPlan {
    let visits = spec.sweep.as_ref().is_some_and(|sweep| sweep.hops.is_some());
    MetricPlan {
        cutoffs: lists.cutoffs.clone(),
        threshold: point.theta.map_or(Threshold::All, Threshold::AtLeast),
        replicates: lists.replicates,
        seed: lists.seed,
        arms: spec.swept_arms().into_iter().map(|swept| swept.arm.name).collect(),
        requests: lists.requests,
        // What a list as a whole should be like is what visits are about.
        diversity_attribute: lists.diversity_attribute.filter(|_| visits),
        fairness: lists.fairness.clone().filter(|_| visits),
        point: true,
        ..MetricPlan::default()
    }
}

/// What the job's lists are judged by.
pub fn metric_plan(
    spec: &RerankSpec,
    prepared: &super::super::prepare::Prepared,
    embeddings: bool,
) -> Result<MetricPlan> {
    let catalogue = &prepared.catalogue;
    let metrics = &spec.metrics;
    let diversity = metrics.diversity.as_ref();
    let diversity = diversity.map(|name| attribute(catalogue, "metrics.diversity", name));
    let diversity = diversity.transpose()?;
    let fairness = metrics.fairness.as_ref().map(|fairness| {
        let attribute = attribute(catalogue, "metrics.fairness", &fairness.attribute)?;
        Ok::<_, Error>(FairnessGroups { attribute, first: Split::Below(fairness.below) })
    });
    let segment = |(name, labels): &(String, Vec<String>)| Segment {
        name: name.clone(),
        labels: labels.clone(),
    };
    let of_requests = || Segment { name: "request".into(), labels: labels() };
    let asked = spec.requests.is_some().then(of_requests);
    Ok(MetricPlan {
        cutoffs: metrics.k.clone(),
        threshold: metrics.theta.map_or(Threshold::All, Threshold::AtLeast),
        replicates: metrics.replicates,
        seed: metrics.seed,
        arms: spec.arms.iter().map(|arm| arm.name.clone()).collect(),
        baseline: 0,
        diversity_attribute: diversity,
        distance: match (embeddings, diversity) {
            (true, _) => Some(Distance::Embedding),
            (false, attribute) => attribute.map(Distance::Attribute),
        },
        fairness: fairness.transpose()?,
        segments: prepared.facts.segments.iter().map(segment).chain(asked).collect(),
        requests: spec.requests.is_some(),
        ..MetricPlan::default()
    })
}
