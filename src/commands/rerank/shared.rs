//! What the stages of all workers share, made once in a process.

use super::super::train_retriever::Trained;
use super::Opened;
use super::models::Models;
use super::settings::{asks, method_of, point_plan, resolved};
use super::sums::put_sums;
use crate::control::{describe, met, met_mask};
use crate::device::cpu::top_k::BitSet;
use crate::error::{Error, Result};
use crate::flow::commit::Record;
use crate::flow::rerank::{RerankStages, Source};
use crate::flow::{ArmMeters, Walks};
use crate::metric::{Embeddings, Judge, MetricPlan};
use crate::spec::{ArmSpec, Point, RerankSpec, StepSpec};
use crate::stage::Meter;
use crate::stage::arms::{Arms, Method, Rerank};
use crate::stage::ask::{Ask, Asks};
use crate::stage::judge::Account;
use crate::stage::language::{LanguageControl, Search};
use crate::stage::node_graph::{Begin, Graph, Graphs};
use crate::stage::rerank as methods;
use crate::stage::retrieve::Encode;
use crate::stage::sweep::{Pool, Sweep};
use crate::stage::write::{EncodeLists, Measure, WriteLists};
use crate::store::{input, part};
use crate::types::{Asked, Catalogue, Control, ItemId, Key};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Users whose ways models guide at once: enough to fill a decoder's batch.
const WALKERS_AT_ONCE: usize = 32;

/// What every worker's stages share.
pub struct Shared {
    /// The items.
    pub catalogue: Arc<Catalogue>,
    asks: Arc<Asks>,
    arms: Arc<Arms>,
    searches: Vec<LanguageControl>,
    search: Option<Arc<Search>>,
    before: Arc<Arms>,
    graphs: Graphs,
    /// What guides behind servers have spent, if there are any.
    pub account: Option<Arc<Account>>,
    metrics: MetricPlan,
    sweep: Option<Grid>,
    embeddings: Option<Embeddings>,
    devices: usize,
    encode: EncodeLists,
    record: Record,
}

/// What the sweeps of all workers share.
struct Grid {
    arms: Arc<Arms>,
    pools: Arc<[Pool]>,
    /// One for each threshold.
    plans: Vec<MetricPlan>,
}

/// Items that are never recommended: to anybody, and to some.
pub struct Barred {
    /// Items that nobody is recommended.
    pub everybody: BitSet,
    /// Items that a user is not recommended.
    pub by_user: HashMap<Key, Vec<ItemId>>,
}

impl Shared {
    /// Looks everything up that the job names.
    pub fn new(spec: &RerankSpec, opened: &Opened, record: Record) -> Result<Shared> {
        let catalogue = Arc::clone(&opened.prepared.catalogue);
        let embeddings = opened.trained.as_ref().map(|trained| {
            let values = trained.item_embeddings();
            methods::Embeddings::new(trained.width(), values.to_vec()).map(Arc::new)
        });
        let facts = methods::Facts {
            catalogue: Arc::clone(&catalogue),
            embeddings: embeddings.transpose()?,
        };
        let mut models = Models::new(spec, opened);
        let mut method = |step: &StepSpec| method_of(step, &facts, &mut models);
        let mut chains = |arms: &[ArmSpec]| -> Result<Vec<Vec<Method>>> {
            let mut chain =
                |arm: &ArmSpec| arm.steps.iter().map(&mut method).collect::<Result<Vec<Method>>>();
            arms.iter().map(&mut chain).collect()
        };
        let arms = |chains: Vec<Vec<Method>>, graphs: &[Arc<Graph>]| {
            // What rules do on ways that were gone before is the arm's own work.
            let walked = |method: &Method| match method {
                Method::Walked(number, _) => Some(Arc::clone(&graphs[*number].meter)),
                _ => None,
            };
            let meter = |chain: &Vec<Method>| chain.iter().find_map(walked).unwrap_or_default();
            let meters = chains.iter().map(meter).collect();
            Arc::new(Arms { chains, facts: facts.clone(), meters })
        };
        let sweep = spec.sweep.as_ref().map(|_| {
            let swept: Vec<ArmSpec> =
                spec.swept_arms().into_iter().map(|swept| swept.arm).collect();
            let (pools, plans) = grid(spec, &opened.metrics);
            Ok::<_, Error>(Grid { arms: arms(chains(&swept)?, &[]), pools, plans })
        });
        let (sweep, mut of_arms) = (sweep.transpose()?, chains(&spec.arms)?);
        let (before, graphs) = walked_before(&mut of_arms);
        let (arms, before) = (arms(of_arms, &graphs), arms(before, &[]));
        let (searches, account) = (models.searches, models.account);
        let names = spec.arms.iter().map(|arm| arm.name.as_str());
        let meters = names.zip(&*arms.chains).zip(&arms.meters);
        let meters = meters.map(|arm| arm_meters(arm, &graphs)).collect();
        record.meters.arms.get_or_init(|| meters);
        let asks = asks(spec, opened, &catalogue)?;
        let embeddings = opened.trained.as_ref().map(|trained| Embeddings {
            values: trained.item_embeddings().into(),
            width: trained.width(),
        });
        Ok(Shared {
            arms,
            searches,
            search: None,
            before,
            graphs,
            account,
            sweep,
            asks: Arc::new(asks),
            metrics: opened.metrics.clone(),
            embeddings,
            devices: spec.device.count(),
            encode: encoder(spec, &catalogue),
            catalogue,
            record,
        })
    }

    /// With what searches of the whole catalogue need, where arms begin with one.
    pub fn searching(
        mut self,
        spec: &RerankSpec,
        (trained, encode): (&Trained, &Encode),
        barred: &Barred,
    ) -> Result<Shared> {
        if self.searches.is_empty() {
            return Ok(self);
        }
        let items = 0..self.catalogue.len() as ItemId;
        let catalogue = Arc::clone(&self.catalogue);
        self.search = Some(Arc::new(Search {
            encode: Arc::clone(encode),
            items: trained.item_embeddings().to_vec(),
            width: trained.width(),
            steps: std::mem::take(&mut self.searches),
            barred: items.filter(|item| barred.everybody.contains(*item)).collect(),
            excluded: barred.by_user.clone(),
            exclude_seen: spec.retrieve.exclude_seen,
            k: spec.retrieve.k,
            met: Arc::new(move |row, item| met_mask(&catalogue, &row.query.controls, item)),
        }));
        Ok(self)
    }

    /// A worker's stages.
    pub fn stages<R: Source>(&self, source: R) -> RerankStages<R> {
        let judge = |plan: &MetricPlan, embeddings: &Option<Embeddings>| {
            Judge::new(plan, &self.catalogue, embeddings.clone())
                .expect("the plan was checked when the job was opened")
        };
        let sweep = |grid: &Grid| Sweep {
            ask: Ask::new(Arc::clone(&self.asks)),
            arms: Arc::clone(&grid.arms),
            pools: Arc::clone(&grid.pools),
            judges: grid.plans.iter().map(|plan| judge(plan, &None)).collect(),
        };
        let run = self.record.run.clone();
        let write = WriteLists { run: run.clone(), encode: Arc::clone(&self.encode) };
        RerankStages {
            source,
            ask: Ask::new(Arc::clone(&self.asks)),
            search: self.search.clone(),
            walks: self.walks(),
            arms: Rerank(Arc::clone(&self.arms)),
            devices: self.devices,
            sweep: self.sweep.as_ref().map(sweep),
            measure: Measure(judge(&self.metrics, &self.embeddings)),
            write,
            ledger: self.record.ledger(move |epoch, measured| put_sums(&run, epoch, measured)),
        }
    }

    /// What a worker's ways through graphs of nodes need, where an arm goes one.
    fn walks(&self) -> Option<Walks> {
        let (before, graphs) = (Arc::clone(&self.before), Arc::clone(&self.graphs));
        let blocks = graphs.iter().any(|graph| graph.models.is_some());
        let rows_at_once = blocks.then_some(WALKERS_AT_ONCE);
        let devices = graphs.iter().filter_map(|graph| graph.models.as_ref());
        let devices = devices.map(|models| models.crew.devices()).max().unwrap_or(0);
        let begin = Begin { before, graphs: Arc::clone(&graphs) };
        (!graphs.is_empty()).then_some(Walks { begin, graphs, rows_at_once, devices })
    }

    /// The exclusion list, and the items that fail a hard rule.
    pub fn barred(&self, spec: &RerankSpec, exclude: Option<&PathBuf>) -> Result<Barred> {
        let mut everybody = BitSet::new(self.catalogue.len());
        let rules: Vec<Asked> = spec.rules.iter().map(Asked::from).collect();
        let rules = resolved("rule", &self.asks.names, &rules)?;
        for item in 0..self.catalogue.len() as ItemId {
            if !rules.iter().all(|rule| met(&self.catalogue, rule, item)) {
                everybody.insert(item);
            }
        }
        let mut by_user: HashMap<Key, Vec<ItemId>> = HashMap::new();
        if let Some(path) = exclude {
            let user = input::has_column(path, "user")?.then(|| "user".to_owned());
            let columns = input::ExclusionColumns { item: "item".into(), user };
            for row in input::read_exclusions(std::slice::from_ref(path), &columns)?.rows {
                let Some(item) = self.catalogue.find(&row.item) else { continue };
                match row.user {
                    Some(user) => by_user.entry(user).or_default().push(item),
                    None => everybody.insert(item),
                }
            }
        }
        Ok(Barred { everybody, by_user })
    }
}

/// What tells how long an arm takes.
fn arm_meters(
    ((arm, chain), methods): ((&str, &Vec<Method>), &Arc<Meter>),
    graphs: &[Arc<Graph>],
) -> ArmMeters {
    let guides = |graph: &Arc<Graph>| {
        let crew = graph.models.as_ref().map(|models| &models.crew);
        let guides = crew.into_iter().flat_map(|crew| [&crew.ranker, &crew.navigator]);
        guides.filter_map(|guide| guide.meter()).collect()
    };
    let models_of = |method: &Method| match method {
        Method::TokenControl(step) => vec![Arc::clone(&step.scorer.meter)],
        Method::Walked(number, _) => graphs.get(*number).map(guides).unwrap_or_default(),
        Method::Language(_) | Method::Found(_) | Method::NodeGraph(_) | Method::Step(_) => vec![],
    };
    let mut models: Vec<Arc<Meter>> = Vec::new();
    for meter in chain.iter().flat_map(models_of) {
        if !models.iter().any(|other| Arc::ptr_eq(other, &meter)) {
            models.push(meter);
        }
    }
    ArmMeters { arm: arm.to_owned(), methods: Arc::clone(methods), models }
}

/// Takes the graphs of nodes out of the arms, and what comes before them: ways are gone in a loop
/// of their own, before the arms, which take what came of them.
fn walked_before(chains: &mut [Vec<Method>]) -> (Vec<Vec<Method>>, Graphs) {
    let (mut before, mut graphs) = (Vec::new(), Vec::new());
    for chain in chains {
        let graph = |method: &Method| match method {
            Method::NodeGraph(graphs) => graphs.first().cloned(),
            _ => None,
        };
        let Some((at, graph)) = chain.iter().enumerate().find_map(|(at, m)| Some((at, graph(m)?)))
        else {
            continue;
        };
        let after = chain.split_off(at + 1);
        chain.pop(); // the graph
        let walked = Method::Walked(graphs.len(), graph.models.is_some());
        before.push(std::mem::replace(chain, vec![walked]));
        chain.extend(after);
        graphs.push(graph);
    }
    (before, graphs.into())
}

/// The points of a sweep by what they share: candidates and controls, and thresholds.
fn grid(spec: &RerankSpec, lists: &MetricPlan) -> (Arc<[Pool]>, Vec<MetricPlan>) {
    let (mut pools, mut plans): (Vec<Pool>, Vec<MetricPlan>) = (Vec::new(), Vec::new());
    for (number, point) in spec.points().iter().enumerate() {
        let Point { k, controls, .. } = *point;
        let plan = point_plan(spec, lists, point);
        let judge = plans.iter().position(|other| *other == plan).unwrap_or_else(|| {
            plans.push(plan);
            plans.len() - 1
        });
        match pools.iter_mut().find(|pool| (pool.k, pool.controls) == (k, controls)) {
            Some(pool) => pool.points.push((number, judge)),
            None => pools.push(Pool { k, controls, points: vec![(number, judge)] }),
        }
    }
    (pools.into(), plans)
}

/// How lists become parts: the arms that are written, their names, and the controls in words.
fn encoder(spec: &RerankSpec, catalogue: &Arc<Catalogue>) -> EncodeLists {
    let catalogue = Arc::clone(catalogue);
    let (published, depth) = (spec.published(), spec.output.depth);
    let only = spec.output.published_only;
    let names = spec.arms.iter().map(|arm| arm.name.clone());
    let names: Vec<String> =
        if only { names.skip(published).take(1).collect() } else { names.collect() };
    Arc::new(move |rows| {
        let words = |control: &Control| describe(&catalogue, control);
        let encoder = part::lists::Encoder::new(&catalogue, &names, depth, &words)?;
        let count = (rows.len() * names.len()) as u64;
        if !only {
            return Ok((encoder.encode(rows)?, count));
        }
        let mut rows = rows.to_vec();
        rows.iter_mut().for_each(|row| row.arms = vec![row.arms.swap_remove(published)]);
        Ok((encoder.encode(&rows)?, count))
    })
}
