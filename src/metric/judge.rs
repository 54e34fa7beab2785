//! Measures rows: every metric of every arm, user by user, into a tally.

use super::Tally;
use super::bootstrap::{BLOCK_USERS, Weights, stride};
use super::control::ControlMetrics;
use super::diversity::AlphaNdcg;
use super::exposure::{Exposure, Novelty};
use super::fairness::Fairness;
use super::ild::{Embeddings, Ild};
use super::layout::{Column, Layout, PANELS, Panel};
use super::plan::{Distance, MetricPlan};
use super::ranking::Ranking;
use super::request::Satisfaction;
use super::slices::{self, Slicer};
use super::sum::square_shift;
use super::tally::columns_of;
use crate::error::{Error, Result};
use crate::types::{ArmList, Candidates, Catalogue, ControlSource, ItemId, Ranked};
use std::sync::Arc;

/// Measures rows by a plan. Holds tables and working space alone: what it adds to a tally does not
/// depend on what it measured before.
#[derive(Clone)]
pub struct Judge {
    families: Families,
    layout: Layout,
    cutoffs: Vec<usize>,
    arms: usize,
    stride: usize,
    items: usize,
    parts: usize,
    slicer: Slicer,
    exposes: bool,
    weights: Weights,
    block: Block,
    row: RowFacts,
}

/// The metrics, by family.
#[derive(Clone)]
struct Families {
    ranking: Ranking,
    control: ControlMetrics,
    alpha: Option<AlphaNdcg>,
    ild: Option<Ild>,
    fairness: Option<Fairness>,
    satisfaction: Option<Satisfaction>,
    novelty: Novelty,
}

/// The values of up to [`BLOCK_USERS`] users.
#[derive(Clone)]
struct Block {
    /// By subject (the candidates, then each arm) and panel.
    panels: Vec<[PanelRows; PANELS]>,
    /// The parts that the user at each slot belongs to.
    parts: [Vec<usize>; BLOCK_USERS],
    /// Of the values of the user at hand.
    squares: Vec<u64>,
}

/// The users of a block who are in one panel.
#[derive(Clone, Default)]
struct PanelRows {
    /// Their slots.
    members: Vec<u8>,
    /// Members × columns.
    values: Vec<u32>,
}

/// What the arms of a row share, and the list at hand.
#[derive(Clone, Default)]
struct RowFacts {
    slot: u8,
    targets: usize,
    /// The targets' positions among the candidates.
    relevant: Vec<u32>,
    /// Whose controls they are; none without controls.
    control: Option<Panel>,
    ideal_relevant: Vec<f64>,
    ideal_any: Vec<f64>,
    /// The list's items, and where it has targets.
    items: Vec<ItemId>,
    places: Vec<u32>,
}

impl Judge {
    /// Builds the tables of a plan. `embeddings` are read by ILD alone.
    ///
    /// # Errors
    /// [`Error::Input`] when the plan names an attribute or a baseline that is not there, its
    /// cutoffs do not ascend from 1, or ILD is to use embeddings and there is not one for each
    /// item.
    pub fn new(
        plan: &MetricPlan,
        catalogue: &Arc<Catalogue>,
        embeddings: Option<Embeddings>,
    ) -> Result<Judge> {
        check(plan, catalogue)?;
        let cutoffs = plan.cutoffs.clone();
        let families = Families {
            ranking: Ranking::new(&cutoffs),
            control: ControlMetrics::new(plan),
            alpha: AlphaNdcg::new(plan, catalogue),
            ild: Ild::new(plan, catalogue, embeddings)?,
            fairness: plan.fairness.as_ref().map(|groups| Fairness::new(groups, catalogue)),
            satisfaction: plan.requests.then(|| Satisfaction::new(plan, catalogue)),
            novelty: Novelty::new(&cutoffs, catalogue),
        };
        let subjects = plan.arms.len() + 1;
        Ok(Judge {
            families,
            layout: Layout::new(plan),
            cutoffs,
            arms: plan.arms.len(),
            stride: stride(plan.replicates),
            items: catalogue.len(),
            parts: slices::names(plan).len(),
            slicer: Slicer::new(plan, catalogue),
            exposes: !plan.point,
            weights: Weights::new(plan.seed, plan.replicates),
            block: Block {
                panels: vec![Default::default(); subjects],
                parts: Default::default(),
                squares: Vec::new(),
            },
            row: RowFacts::default(),
        })
    }

    /// Adds rows to the sums. Which rows share a call does not matter to the result.
    ///
    /// # Panics
    /// If a row has fewer lists than the plan has arms: a bug of the stage before.
    pub fn add(&mut self, rows: &[Ranked], tally: &mut Tally, exposure: &mut Exposure) {
        tally.lengthen(self.arms + 1, self.parts);
        tally.rows += rows.len() as u64;
        for block in rows.chunks(BLOCK_USERS) {
            for (slot, row) in block.iter().enumerate() {
                let query = &row.candidates.query;
                assert!(row.arms.len() >= self.arms, "a row without a list for every arm");
                self.weights.draw(slot, query.user.hash64());
                self.slicer.of(query, &mut self.block.parts[slot]);
                self.row.slot = slot as u8;
                self.families.measure_pool(
                    &row.candidates,
                    &mut self.row,
                    &mut self.block.panels[0],
                );
                for (arm, list) in row.arms[..self.arms].iter().enumerate() {
                    self.row.take_up(&row.candidates, list);
                    let rows = &mut self.block.panels[arm + 1];
                    self.families.measure_list(&row.candidates, list, &mut self.row, rows);
                    if self.exposes {
                        self.expose(arm, exposure);
                    }
                }
            }
            self.flush(tally);
        }
    }

    /// Counts the list at hand.
    fn expose(&self, arm: usize, exposure: &mut Exposure) {
        let cuts = self.cutoffs.len();
        let counts = exposure.arm(arm, cuts, self.items * cuts);
        let mut from = 0;
        for (cutoff, &k) in self.cutoffs.iter().enumerate() {
            let to = k.min(self.row.items.len());
            for &item in &self.row.items[from..to] {
                counts[item as usize * cuts + cutoff] += 1;
            }
            from = to;
        }
    }

    /// Adds the block's values to the sums.
    fn flush(&mut self, tally: &mut Tally) {
        for (subject, panels) in self.block.panels.iter_mut().enumerate() {
            let columns = columns_of(&self.layout, subject);
            for (panel, rows) in panels.iter_mut().enumerate() {
                if rows.members.is_empty() {
                    continue;
                }
                let columns = &columns[panel];
                debug_assert_eq!(rows.values.len(), rows.members.len() * columns.len());
                let sums = &mut tally.subjects[subject][panel];
                sums.sums.resize(columns.len(), 0);
                sums.replicates.resize(columns.len() * self.stride, 0);
                self.weights.add(&rows.members, &rows.values, &mut sums.replicates);
                let users = rows.values.chunks_exact(columns.len());
                for (&member, values) in rows.members.iter().zip(users) {
                    sums.sums.iter_mut().zip(values).for_each(|(sum, &v)| *sum += u64::from(v));
                    let wide = values.iter().zip(columns);
                    let square =
                        |(&v, c): (&u32, &Column)| u64::from(v >> square_shift(c.unit)).pow(2);
                    self.block.squares.clear();
                    self.block.squares.extend(wide.map(square));
                    for &part in &self.block.parts[usize::from(member)] {
                        let slice = &mut tally.slices[part];
                        slice.resize_with(self.arms + 1, Default::default);
                        slice[subject][panel].add(values, &self.block.squares);
                    }
                }
                rows.members.clear();
                rows.values.clear();
            }
        }
    }
}

impl Families {
    /// Takes up a row: what the candidates alone decide.
    fn measure_pool(&mut self, row: &Candidates, facts: &mut RowFacts, out: &mut [PanelRows]) {
        let query = &row.query;
        let position = |target: &ItemId| row.items.iter().position(|item| item == target);
        facts.targets = query.targets.len();
        facts.relevant.clear();
        facts.relevant.extend(query.targets.iter().filter_map(position).map(|at| at as u32));
        facts.control = match query.source {
            _ if query.controls.is_empty() => None,
            ControlSource::Oracle => Some(Panel::Oracle),
            _ => Some(Panel::Control),
        };
        if facts.targets > 0 {
            let values = out[Panel::Relevance as usize].begin(facts.slot);
            let pool = row.retrieved() as u32;
            let found = facts.relevant.iter().filter(|at| **at < pool).count();
            self.ranking.measure_pool(found, facts.targets, values);
        }
        if let Some(panel) = facts.control {
            self.control.measure_pool(row, out[panel as usize].begin(facts.slot));
        }
        if let (Some(satisfaction), Some((meaning, _))) =
            (&self.satisfaction, Satisfaction::judged(row))
        {
            let values = out[Panel::Request as usize].begin(facts.slot);
            satisfaction.measure_pool(row, meaning, values);
        }
        out[Panel::Everyone as usize].begin(facts.slot).push(u32::from(query.conflict.is_some()));
        if let Some(alpha) = &mut self.alpha {
            alpha.take_up(&row.items);
            alpha.ideal(facts.relevant.iter().copied(), &mut facts.ideal_relevant);
            alpha.ideal(0..row.items.len() as u32, &mut facts.ideal_any);
        }
    }

    /// Measures the list at hand, in the order of [`Layout`]'s columns.
    fn measure_list(
        &mut self,
        row: &Candidates,
        list: &ArmList,
        facts: &mut RowFacts,
        out: &mut [PanelRows],
    ) {
        let items = facts.items.as_slice();
        if facts.targets > 0 {
            let values = out[Panel::Relevance as usize].begin(facts.slot);
            self.ranking.measure(&facts.places, facts.targets, values);
            if let Some(alpha) = &mut self.alpha {
                let hits = facts.places.iter().map(|&p| (p as usize, list.order[p as usize]));
                alpha.measure(hits, &facts.ideal_relevant, values);
            }
        }
        if let Some(panel) = facts.control {
            self.control.measure(&list.order, out[panel as usize].begin(facts.slot));
        }
        if let (Some(satisfaction), Some(judged)) = (&self.satisfaction, Satisfaction::judged(row))
        {
            let values = out[Panel::Request as usize].begin(facts.slot);
            satisfaction.measure(items, judged, values);
        }
        let values = out[Panel::Everyone as usize].begin(facts.slot);
        self.novelty.measure(items, values);
        if let Some(alpha) = &mut self.alpha {
            alpha.measure(list.order.iter().copied().enumerate(), &facts.ideal_any, values);
        }
        if let Some(ild) = &mut self.ild {
            ild.measure(items, values);
        }
        if let Some(fairness) = &self.fairness {
            let sums = fairness.sums(items.iter().copied());
            sums.measure_pooled(values);
            if let Some(difference) = sums.difference() {
                out[Panel::BothGroups as usize].begin(facts.slot).push(difference);
            }
        }
    }
}

impl PanelRows {
    /// A new member; its values follow the constant 1 that counts it.
    fn begin(&mut self, slot: u8) -> &mut Vec<u32> {
        self.members.push(slot);
        self.values.push(1);
        &mut self.values
    }
}

impl RowFacts {
    /// Takes up one arm's list of the row at hand.
    fn take_up(&mut self, row: &Candidates, list: &ArmList) {
        self.items.clear();
        self.items.extend(list.order.iter().map(|&at| row.items[at as usize]));
        self.places.clear();
        let place = |at: &u32| list.order.iter().position(|other| other == at);
        self.places.extend(self.relevant.iter().filter_map(place).map(|place| place as u32));
        self.places.sort_unstable();
    }
}

/// Whether the plan fits the catalogue.
fn check(plan: &MetricPlan, catalogue: &Catalogue) -> Result<()> {
    let ascend = plan.cutoffs.windows(2).all(|pair| pair[0] < pair[1]);
    if !ascend || plan.cutoffs.first().is_none_or(|&k| k == 0) {
        return Err(Error::Input(format!(
            "the metric cutoffs: expected ascending numbers from 1, found {:?}",
            plan.cutoffs
        )));
    }
    if plan.baseline >= plan.arms.len() {
        return Err(Error::Input(format!(
            "the metrics' baseline: expected one of {} arms, found number {}",
            plan.arms.len(),
            plan.baseline
        )));
    }
    let distance = match plan.distance {
        Some(Distance::Attribute(attribute)) => Some(attribute),
        _ => None,
    };
    let fairness = plan.fairness.as_ref().map(|groups| groups.attribute);
    let named = [plan.diversity_attribute, distance, fairness];
    match named.into_iter().flatten().find(|&at| at >= catalogue.attributes.len()) {
        None => Ok(()),
        Some(at) => Err(Error::Input(format!(
            "the metrics' attributes: expected one of the catalogue's {}, found number {at}",
            catalogue.attributes.len()
        ))),
    }
}
