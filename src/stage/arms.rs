//! Every arm over the same candidates: each a chain of steps, each step taking a list and giving
//! one.

use super::language::{LanguageControl, Said, Speaker};
use super::node_graph::{Graphs, VisitNodes, Walker};
use super::rerank::{Facts, Step, retrieval_order};
use super::token_control::{Memo, TokenControl};
use super::{Meter, Outcomes, Stage};
use crate::types::{ArmList, Candidates, Cost, Query, Ranked, StageName, Walk};
use std::sync::Arc;

/// The job's arms, each a chain of methods.
pub struct Arms {
    /// One chain an arm; an empty chain is the order of retrieval.
    pub chains: Vec<Vec<Method>>,
    /// What steps may look at besides the row.
    pub facts: Facts,
    /// For each chain its users, and the time of its methods that are no models.
    pub meters: Vec<Arc<Meter>>,
}

/// A link of a chain: a list in, a list out.
#[derive(Clone)]
pub enum Method {
    /// A pure function of one row.
    Step(Step),
    /// A model, which takes many rows at once.
    TokenControl(TokenControl),
    /// What was said, which many rows are heard with at once.
    Language(LanguageControl),
    /// What a search of the whole catalogue found: the search of this number.
    Found(usize),
    /// Ways through a graph of nodes, gone here and now.
    NodeGraph(Graphs),
    /// What came of ways that were gone before: of those of this number, and whether models guide
    /// any.
    Walked(usize, bool),
}

/// What models said of some users, for all that may ask again.
#[derive(Default)]
pub struct Memory {
    /// Decoders, of candidates.
    pub decoders: Memo,
    /// Encoders, of requests.
    pub requests: Said,
}

/// [`Candidates`] → [`Ranked`].
#[derive(Clone)]
pub struct Rerank(pub Arc<Arms>);

impl Rerank {
    /// For each arm that begins with a model the prompt of a row, as people read it and as tokens.
    pub fn prompts(&self, row: &Candidates) -> Vec<(usize, String, Vec<u32>)> {
        let chains = self.0.chains.iter().enumerate();
        let firsts = chains.filter_map(|(arm, chain)| match chain.first()? {
            Method::TokenControl(method) => {
                let (text, tokens) = method.first_prompt(row, &retrieval_order(row)).ok()?;
                Some((arm, text, tokens))
            }
            _ => None,
        });
        firsts.collect()
    }
}

impl Rerank {
    /// A user in words, as the first encoder of the arms reads them.
    pub fn context(&self, query: &Query) -> Option<String> {
        let language = |method: &Method| match method {
            Method::Language(step) => Some((step.speaker.describe)(&query.history)),
            _ => None,
        };
        self.0.chains.iter().flatten().find_map(language)
    }
}

impl Arms {
    /// Every arm's list of each row. What models said is kept in `memory`.
    pub fn rank<T>(
        &self,
        mut rows: Vec<Candidates>,
        memory: &mut Memory,
        out: &mut Outcomes<T>,
    ) -> Vec<Ranked> {
        Speaker::recall(&mut rows, &mut memory.requests);
        let mut arms: Vec<Vec<ArmList>> = Vec::new();
        arms.resize_with(rows.len(), || Vec::with_capacity(self.chains.len()));
        let all = if self.has_model() { self.chains.len() } else { 0 };
        let mut costs: Vec<Vec<Cost>> = vec![Vec::with_capacity(all); rows.len()];
        for (chain, meter) in self.chains.iter().zip(&self.meters) {
            let (lists, of_chain) = self.chain(chain, meter, &rows, memory, out);
            arms.iter_mut().zip(lists).for_each(|(arms, list)| arms.push(list));
            if all > 0 {
                costs.iter_mut().zip(of_chain).for_each(|(costs, cost)| costs.push(cost));
            }
        }
        let ranked = rows.into_iter().zip(arms).zip(costs);
        ranked.map(|((candidates, arms), costs)| Ranked { candidates, arms, costs }).collect()
    }

    /// One arm's list of each row, and what its models read for it.
    fn chain<T>(
        &self,
        chain: &[Method],
        meter: &Meter,
        rows: &[Candidates],
        memory: &mut Memory,
        out: &mut Outcomes<T>,
    ) -> (Vec<ArmList>, Vec<Cost>) {
        let mut costs = vec![Cost::default(); rows.len()];
        let mut lists: Vec<ArmList> =
            meter.time(rows.len(), || rows.iter().map(retrieval_order).collect());
        for method in chain {
            lists = match method {
                Method::TokenControl(method) => {
                    method.apply(rows, lists, &mut costs, &mut memory.decoders, out)
                }
                Method::Language(method) => {
                    let queries = rows.iter().map(|row| &row.query);
                    if let Err(error) = method.speaker.listen(queries, &mut memory.requests) {
                        out.fail(&error);
                    }
                    let said = &memory.requests;
                    each(meter, rows, lists, |row, list| method.apply(row, list, said))
                }
                Method::Found(search) => each(meter, rows, lists, |row, list| {
                    let found = row.reach.as_ref().and_then(|reach| reach.lists.get(*search));
                    found.cloned().unwrap_or(list)
                }),
                Method::NodeGraph(graph) => {
                    let walks = meter.time(0, || walk(graph, rows, lists, out));
                    walked(&walks, &mut costs)
                }
                Method::Walked(number, _) => {
                    let found = rows.iter().filter_map(|row| row.reach.as_ref());
                    let walks = found.filter_map(|reach| reach.walks.get(*number));
                    walked(&walks.cloned().collect::<Vec<Walk>>(), &mut costs)
                }
                Method::Step(step) => {
                    each(meter, rows, lists, |row, list| step.apply(row, list, &self.facts))
                }
            };
        }
        (lists, costs)
    }

    fn has_model(&self) -> bool {
        let model = |method: &Method| match method {
            Method::TokenControl(_) | Method::Walked(_, true) => true,
            Method::NodeGraph(graphs) => graphs.iter().any(|graph| graph.models.is_some()),
            _ => false,
        };
        self.chains.iter().flatten().any(model)
    }
}

/// What came of each row's way through one graph.
fn walk<T>(
    graph: &Graphs,
    rows: &[Candidates],
    lists: Vec<ArmList>,
    out: &mut Outcomes<T>,
) -> Vec<Walk> {
    let pairs = rows.iter().zip(lists);
    let walkers = pairs.map(|(row, list)| Walker::new(row.clone(), graph, vec![list])).collect();
    let ended = VisitNodes(Arc::clone(graph)).to_the_end(walkers, out);
    ended.into_iter().flat_map(Walker::into_walks).collect()
}

/// The lists that came of ways; adds what was read on them.
fn walked(walks: &[Walk], costs: &mut [Cost]) -> Vec<ArmList> {
    walks.iter().zip(costs).for_each(|(walk, cost)| *cost += walk.cost);
    walks.iter().map(|walk| walk.list.clone()).collect()
}

/// Each row's list changed.
fn each(
    meter: &Meter,
    rows: &[Candidates],
    lists: Vec<ArmList>,
    change: impl Fn(&Candidates, ArmList) -> ArmList,
) -> Vec<ArmList> {
    let pairs = rows.iter().zip(lists);
    meter.time(0, || pairs.map(|(row, list)| change(row, list)).collect())
}

impl Stage for Rerank {
    type In = Candidates;
    type Out = Ranked;
    const NAME: StageName = StageName::Rerank;

    fn run(&mut self, rows: Vec<Candidates>, out: &mut Outcomes<Ranked>) {
        let ranked = self.0.rank(rows, &mut Memory::default(), out);
        out.append(ranked);
    }
}
