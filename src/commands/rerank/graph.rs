//! From what the job says of a graph of nodes to the graph: names become positions in the
//! catalogue, and what is not there is refused.

use super::settings::attribute;
use crate::error::{Error, Result};
use crate::spec::{FairnessSpec, NodeGraphSpec, NodeMetric, NodeSpec, RULES, RerankSpec};
use crate::stage::node_graph::{Along, Aspect, Crew, Graph, Guide, Models, Node, Rules};
use crate::stage::rerank::Facts;
use crate::types::{Catalogue, Control, NodeId, Relation};
use std::sync::Arc;

/// Beginnings of words that name the nodes which need no declaration.
const STEMS: [(&str, &[&str]); 4] = [
    (
        "accuracy",
        &["accura", "relevan", "match", "precis", "prefer", "click", "engag", "taste", "personal"],
    ),
    ("diversity", &["divers", "variet", "varied", "various", "mix", "broad", "heterogen"]),
    ("fairness", &["fair", "balanc", "parity", "unbias", "equit", "equal treat"]),
    ("novelty", &["novel", "unpopular", "niche", "serendip", "surpris", "discover", "long-tail"]),
];

/// Who guides, by the names of `[[guide]]`.
pub type Guides<'a> = dyn FnMut(&str) -> Result<Arc<dyn Guide>> + 'a;

/// The graph of a step.
///
/// Errors: an attribute that the catalogue lacks; a guide that cannot be had.
pub fn graph_of(
    step: &NodeGraphSpec,
    spec: &RerankSpec,
    facts: &Facts,
    guides: &mut Guides<'_>,
) -> Result<Graph> {
    let diversity = step.diversity.as_ref().or(spec.metrics.diversity.as_ref());
    let fairness = step.fairness.as_ref().or(spec.metrics.fairness.as_ref());
    let names = step.node_names(diversity.is_some(), fairness.is_some());
    let (mut nodes, mut aspects, mut backward) = (Vec::new(), Vec::new(), None);
    for name in names {
        if name == "backward" {
            backward = Some(nodes.len() as NodeId);
            let prompt = "the latest list is dropped, and the way goes on from the one before";
            nodes.push(Node { name, prompt: prompt.into(), stems: Vec::new() });
            continue;
        }
        let declared = step.declared.iter().find(|node| node.name == name);
        let (aspect, prompt) = match declared {
            Some(node) => (declared_aspect(node, &facts.catalogue)?, node.prompt.clone()),
            None => known_aspect(&name, &facts.catalogue, diversity, fairness)?,
        };
        aspects.push(aspect);
        nodes.push(Node { stems: stems(&name, declared), name, prompt });
    }
    let stop = nodes.len() as NodeId;
    let prompt = "the way ends, and the latest list is what the person gets";
    nodes.push(Node { name: "stop".into(), prompt: prompt.into(), stems: Vec::new() });
    let place = |name: &String| {
        let at = nodes.iter().position(|node| node.name == *name);
        at.map(|at| at as NodeId).ok_or_else(|| {
            Error::Input(format!("arm node-graph: path: the graph has no node {name:?}"))
        })
    };
    let path = step.path.as_ref().map(|path| path.iter().map(place).collect::<Result<Vec<_>>>());
    let path = path.transpose()?;
    let start = path.as_ref().and_then(|path| path.first().copied()).unwrap_or_default();
    let (rules, models) = crews(step, path, guides)?;
    Ok(Graph {
        nodes,
        aspects,
        start,
        backward,
        stop,
        hops_max: step.hops_max,
        candidates: step.candidates,
        depth: step.depth,
        pool: step.pool,
        goal: step.goal.clone(),
        facts: facts.clone(),
        rules,
        models,
        meter: Arc::default(),
    })
}

/// Who guides: rules, and models where the step names any.
fn crews(
    step: &NodeGraphSpec,
    path: Option<Vec<NodeId>>,
    guides: &mut Guides<'_>,
) -> Result<(Crew, Option<Models>)> {
    let rules: Arc<dyn Guide> = Arc::new(Rules);
    let along = path.map(|path| Arc::new(Along(path)) as Arc<dyn Guide>);
    let lead = along.clone().unwrap_or_else(|| Arc::clone(&rules));
    let cheap = Crew { ranker: Arc::clone(&rules), navigator: lead };
    if step.ranker == RULES && step.navigator == RULES {
        return Ok((cheap, None));
    }
    let mut guide = |name: &str| match name {
        RULES => Ok(Arc::clone(&rules)),
        name => guides(name),
    };
    let ranker = guide(&step.ranker)?;
    let navigator = along.map_or_else(|| guide(&step.navigator), Ok)?;
    let models = Models {
        crew: Crew { ranker, navigator },
        share: step.model_share,
        uncertain_only: step.uncertain_only,
        seed: step.seed,
    };
    Ok((cheap, Some(models)))
}

fn stems(name: &str, declared: Option<&NodeSpec>) -> Vec<String> {
    let known = STEMS.iter().find(|(known, _)| *known == name).map_or(&[][..], |(_, stems)| stems);
    let own = declared.map_or(&[][..], |node| &node.words);
    let all = known.iter().map(|stem| (*stem).to_owned());
    let mut stems: Vec<String> = all.chain(own.iter().map(|word| word.to_lowercase())).collect();
    if stems.is_empty() {
        stems.push(name.to_lowercase());
    }
    stems
}

/// What a node is about that needs no declaration, and what to do there.
fn known_aspect(
    name: &str,
    catalogue: &Catalogue,
    diversity: Option<&String>,
    fairness: Option<&FairnessSpec>,
) -> Result<(Aspect, String)> {
    let lacks = |what: &str| {
        let field = format!("metrics.{what}, or `{what}` of the step");
        Error::Input(format!("arm node-graph: node {what}: expected {field}, found none"))
    };
    match name {
        "diversity" => {
            let name = diversity.ok_or_else(|| lacks("diversity"))?;
            let at = attribute(catalogue, "arm node-graph: diversity", name)?;
            let what = format!("items with many different values of {name} near the top");
            Ok((Aspect::Spread(at), what))
        }
        "fairness" => {
            let FairnessSpec { attribute: name, below } =
                fairness.ok_or_else(|| lacks("fairness"))?;
            let at = attribute(catalogue, "arm node-graph: fairness", name)?;
            let what = format!(
                "items whose {name} is below {below}, and the others, at the same average place"
            );
            Ok((Aspect::Balance(at_least(at, *below)), what))
        }
        "novelty" => Ok((Aspect::Novelty, "items that few people know near the top".into())),
        _ => Ok((Aspect::Relevance, "what this person will want most first".into())),
    }
}

fn declared_aspect(node: &NodeSpec, catalogue: &Catalogue) -> Result<Aspect> {
    let path = format!("arm node-graph: node {}", node.name);
    let at = attribute(catalogue, &path, &node.attribute)?;
    let numbers = || match catalogue.attributes[at].numbers.is_empty() {
        false => Ok(at),
        true => Err(Error::Input(format!(
            "{path}: expected an attribute of numbers, found {}, which has labels alone",
            node.attribute
        ))),
    };
    match node.metric {
        NodeMetric::Spread => Ok(Aspect::Spread(at)),
        NodeMetric::Balance => {
            let below = node.below.unwrap_or_default();
            numbers().map(|at| Aspect::Balance(at_least(at, below)))
        }
        NodeMetric::High => numbers().map(Aspect::High),
        NodeMetric::Low => numbers().map(Aspect::Low),
    }
}

/// At least the bound, or below it: items without a number are in neither group.
pub fn at_least(attribute: usize, bound: f32) -> Control {
    let attribute = attribute as u16;
    Control { attribute, relation: Relation::AtLeast, codes: Vec::new(), bound }
}
