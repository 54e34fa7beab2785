//! One hop of many ways: each visits the node where it stands.

use super::{Crew, Graph, Guide, Stand, State};
use crate::error::Result;
use crate::stage::arms::{Arms, Memory};
use crate::stage::{Outcomes, Stage};
use crate::types::{
    ArmList, Candidates, FaultKind, NodeId, Ranked, Reach, ReplyClass, StageName, Walk,
};
use std::sync::Arc;
use std::time::Instant;

/// The graphs of a job, in the order of their arms.
pub type Graphs = Arc<[Arc<Graph>]>;

/// A user on their ways.
#[derive(Clone, Debug, PartialEq)]
pub struct Walker {
    /// Whose, and what is ranked.
    pub row: Candidates,
    /// One way for each graph.
    pub ways: Vec<State>,
}

impl Walker {
    /// At the start of each graph, with the list that comes in.
    pub fn new(row: Candidates, graphs: &Graphs, lists: Vec<ArmList>) -> Walker {
        let begun = graphs.iter().zip(lists);
        let ways = begun.map(|(graph, list)| graph.begin(&row.query, list)).collect();
        Walker { row, ways }
    }

    /// Whether every way has ended.
    pub fn ended(&self) -> bool {
        self.ways.iter().all(|way| way.ended)
    }

    /// What came of its ways.
    pub fn into_walks(self) -> Vec<Walk> {
        self.ways.into_iter().map(State::into_walk).collect()
    }

    /// The row with what came of its ways.
    pub fn into_row(mut self) -> Candidates {
        let mut row = std::mem::take(&mut self.row);
        let found = row.reach.get_or_insert_with(Box::<Reach>::default);
        found.walks = self.into_walks();
        row
    }
}

/// [`Candidates`] → [`Walker`]: the lists that the ways begin with are those of the steps before
/// them.
#[derive(Clone)]
pub struct Begin {
    /// Of each graph what its arm does before it.
    pub before: Arc<Arms>,
    /// The graphs.
    pub graphs: Graphs,
}

impl Begin {
    /// Rows with what came of their ways: the loop without a dataflow.
    pub fn walk(
        &mut self,
        rows: Vec<Candidates>,
        out: &mut Outcomes<Candidates>,
    ) -> Vec<Candidates> {
        let mut begun = Outcomes::new(Self::NAME);
        self.run(rows, &mut begun);
        let (walkers, setbacks) = begun.into_parts();
        setbacks.into_iter().for_each(|setback| out.setback(setback));
        let ended = VisitNodes(Arc::clone(&self.graphs)).to_the_end(walkers, out);
        ended.into_iter().map(Walker::into_row).collect()
    }
}

impl Stage for Begin {
    type In = Candidates;
    type Out = Walker;
    const NAME: StageName = StageName::Walk;

    fn run(&mut self, rows: Vec<Candidates>, out: &mut Outcomes<Walker>) {
        for ranked in self.before.rank(rows, &mut Memory::default(), out) {
            let Ranked { candidates, arms, costs } = ranked;
            let mut walker = Walker::new(candidates, &self.graphs, arms);
            walker.ways.iter_mut().zip(costs).for_each(|(way, cost)| way.cost += cost);
            out.ok(walker);
        }
    }
}

/// [`Walker`] → [`Walker`], one visit further.
pub struct VisitNodes(pub Graphs);

/// Which way of which row.
type Place = (usize, usize);

impl Stage for VisitNodes {
    type In = Walker;
    type Out = Walker;
    const NAME: StageName = StageName::Walk;

    fn run(&mut self, mut rows: Vec<Walker>, out: &mut Outcomes<Walker>) {
        if self.hop(&mut rows, out) {
            out.append(rows);
        }
    }
}

impl VisitNodes {
    /// Visits until every way has ended: the loop without a dataflow. Each hop ends or shortens
    /// every way, so that there are no more than the graphs' limits, twice where models go again.
    /// None are left where the job must stop.
    pub fn to_the_end<T>(&self, mut rows: Vec<Walker>, out: &mut Outcomes<T>) -> Vec<Walker> {
        while rows.iter().any(|walker| !walker.ended()) {
            if !self.hop(&mut rows, out) {
                return Vec::new();
            }
        }
        rows
    }

    /// One visit of every way that has not ended. Whether the job may go on.
    fn hop<T>(&self, rows: &mut [Walker], out: &mut Outcomes<T>) -> bool {
        match self.visit(rows) {
            Err(error) => {
                out.fail(&error);
                return false;
            }
            Ok(faults) => {
                let origin = |row: usize| rows[row].row.query.origin;
                faults.into_iter().for_each(|(row, fault)| out.fault(origin(row), fault));
            }
        }
        for walker in rows.iter().filter(|walker| walker.ended()) {
            for guide in self.0.iter().filter_map(|graph| graph.models.as_ref()) {
                guide.crew.ranker.left(&walker.row);
                guide.crew.navigator.left(&walker.row);
            }
        }
        true
    }

    /// Takes every way that has not ended one visit further. Gives the rows' faults.
    fn visit(&self, rows: &mut [Walker]) -> Result<Vec<(usize, FaultKind)>> {
        let mut hop = Hop::new(&self.0, rows);
        hop.rank()?;
        hop.next()?;
        Ok(hop.step())
    }
}

/// A hop: the ways that have not ended, and what is said of each so far.
struct Hop<'a> {
    graphs: &'a [Arc<Graph>],
    rows: &'a mut [Walker],
    going: Vec<Place>,
    turns: Vec<Option<NodeId>>,
    replies: Vec<ReplyClass>,
    faults: Vec<(usize, FaultKind)>,
}

impl<'a> Hop<'a> {
    fn new(graphs: &'a [Arc<Graph>], rows: &'a mut [Walker]) -> Hop<'a> {
        let ways = rows.iter().enumerate().flat_map(|(row, walker)| {
            let going = walker.ways.iter().enumerate().filter(|(_, way)| !way.ended);
            going.map(move |(graph, _)| (row, graph))
        });
        let going: Vec<Place> = ways.collect();
        let (turns, replies) = (vec![None; going.len()], vec![ReplyClass::Exact; going.len()]);
        Hop { graphs, rows, going, turns, replies, faults: Vec::new() }
    }

    fn stand(&self, at: usize) -> Stand<'_> {
        let (row, graph) = self.going[at];
        let Walker { row, ways } = &self.rows[row];
        Stand { graph: &self.graphs[graph], row, state: &ways[graph] }
    }

    fn way(&mut self, at: usize) -> &mut State {
        let (row, graph) = self.going[at];
        &mut self.rows[row].ways[graph]
    }

    /// Asks each of the ways' guides once, for all of its ways. Rules are timed here, as their
    /// graphs' own work; models time themselves.
    fn ask<T>(
        &self,
        members: impl Iterator<Item = usize>,
        guide: fn(&Crew) -> &Arc<dyn Guide>,
        ask: impl Fn(&dyn Guide, &[Stand<'_>]) -> Result<Vec<T>>,
    ) -> Result<Vec<(usize, T)>> {
        let mut groups: Vec<(&Arc<dyn Guide>, Vec<usize>)> = Vec::new();
        for at in members {
            let guide = guide(self.graphs[self.going[at].1].crew(self.stand(at).state));
            match groups.iter_mut().find(|(other, _)| Arc::ptr_eq(other, guide)) {
                Some((_, members)) => members.push(at),
                None => groups.push((guide, vec![at])),
            }
        }
        let mut all = Vec::new();
        for (guide, members) in groups {
            let stands: Vec<Stand<'_>> = members.iter().map(|at| self.stand(*at)).collect();
            let start = Instant::now();
            let said = ask(guide.as_ref(), &stands)?;
            if guide.meter().is_none() {
                let each = start.elapsed() / stands.len() as u32;
                stands.iter().for_each(|stand| stand.graph.meter.add(0, each));
            }
            all.extend(members.into_iter().zip(said));
        }
        Ok(all)
    }

    /// The lists at aspects' nodes go into the pools; at backward the last one is dropped.
    fn rank(&mut self) -> Result<()> {
        let aspects = |stand: &Stand<'_>| stand.graph.aspects.len();
        let (ranked, others): (Vec<usize>, Vec<usize>) = (0..self.going.len())
            .partition(|at| usize::from(self.stand(*at).state.node) < aspects(&self.stand(*at)));
        for at in others {
            if Some(self.stand(at).state.node) == self.stand(at).graph.backward {
                self.way(at).back();
            }
        }
        let said = self.ask(ranked.into_iter(), |crew| &crew.ranker, |guide, at| guide.rank(at))?;
        for (at, ranking) in said {
            let way = self.way(at);
            way.put(ranking.list);
            way.cost += ranking.cost;
            (self.replies[at], self.turns[at]) = (ranking.reply, ranking.next);
            self.faults.extend(ranking.fault.map(|fault| (self.going[at].0, fault)));
        }
        Ok(())
    }

    /// Where each way goes next that was not told that with its list.
    fn next(&mut self) -> Result<()> {
        let unsaid: Vec<usize> =
            (0..self.going.len()).filter(|at| self.turns[*at].is_none()).collect();
        let said =
            self.ask(unsaid.into_iter(), |crew| &crew.navigator, |guide, at| guide.next(at))?;
        for (at, turn) in said {
            self.way(at).cost += turn.cost;
            self.replies[at] = self.replies[at].max(turn.reply);
            self.turns[at] = Some(turn.next);
            self.faults.extend(turn.fault.map(|fault| (self.going[at].0, fault)));
        }
        Ok(())
    }

    /// Every way goes on; where rules leave doubts, it starts again with models.
    fn step(self) -> Vec<(usize, FaultKind)> {
        let Hop { graphs, rows, going, turns, replies, faults } = self;
        for (((row, graph), turn), reply) in going.into_iter().zip(turns).zip(replies) {
            let Walker { row, ways } = &mut rows[row];
            let (graph, way) = (&graphs[graph], &mut ways[graph]);
            way.step(graph, turn.unwrap_or(graph.stop), reply);
            if way.ended && graph.doubts(&row.query, way) {
                way.again(graph);
            }
        }
        faults
    }
}
