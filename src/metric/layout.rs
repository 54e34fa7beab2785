//! Which column is where: a panel of users has columns, each a value of every user in it.

use super::control::ControlMetrics;
use super::diversity::AlphaNdcg;
use super::exposure::Novelty;
use super::fairness::Fairness;
use super::ild::Ild;
use super::plan::MetricPlan;
use super::ranking::Ranking;
use super::request::Satisfaction;

/// The users that a column is a mean over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Panel {
    /// Users with targets.
    Relevance,
    /// Users with controls that were not read off the target.
    Control,
    /// Users with controls that were: their figures have the prefix `oracle-`.
    Oracle,
    /// Every user.
    Everyone,
    /// Users whose list holds items of both fairness groups.
    BothGroups,
    /// Users with a request whose meaning is known.
    Request,
}

/// How many panels there are.
pub(super) const PANELS: usize = 6;

impl Panel {
    /// All of them, in the order of their numbers.
    pub(super) const ALL: [Panel; PANELS] = [
        Panel::Relevance,
        Panel::Control,
        Panel::Oracle,
        Panel::Everyone,
        Panel::BothGroups,
        Panel::Request,
    ];

    /// What stands before the names of the panel's figures.
    pub(super) fn prefix(self) -> &'static str {
        if self == Panel::Oracle { "oracle-" } else { "" }
    }
}

/// One value of every user of a panel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    /// The figure that is its mean; empty for a term of other figures.
    pub(super) name: String,
    /// The fixed point: see [`super::sum`].
    pub(super) unit: u32,
}

impl Column {
    /// A column whose mean is a figure.
    pub(super) fn new(name: impl Into<String>, unit: u32) -> Self {
        Column { name: name.into(), unit }
    }

    /// `name@k` for each cutoff k, with a unit for each.
    pub(super) fn at_each<'a>(
        name: &'a str,
        cutoffs: &'a [usize],
        unit: impl Fn(usize) -> u32 + 'a,
    ) -> impl Iterator<Item = Column> + 'a {
        cutoffs.iter().map(move |&k| Column::new(format!("{name}@{k}"), unit(k)))
    }
}

/// The columns of every panel. Column 0 of each is the constant 1: its sum counts the users.
pub(super) type Columns = [Vec<Column>; PANELS];

/// The columns of a plan. The candidates' own columns are kept once, apart from the arms'.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// What depends on the user and the candidates alone.
    pub(super) pool: Columns,
    /// What depends on an arm's list.
    pub(super) arm: Columns,
}

impl Layout {
    /// The layout that the plan's tallies have.
    pub(super) fn new(plan: &MetricPlan) -> Layout {
        let k = &plan.cutoffs;
        let pool = [
            Ranking::pool_columns(),
            ControlMetrics::pool_columns(plan),
            ControlMetrics::pool_columns(plan),
            vec![Column::new("conflict", 1)],
            Vec::new(),
            if plan.requests { Satisfaction::pool_columns() } else { Vec::new() },
        ];
        let everyone = [
            Novelty::columns(k),
            AlphaNdcg::list_columns(plan),
            Ild::columns(plan),
            if plan.fairness.is_some() { Fairness::pooled_columns() } else { Vec::new() },
        ];
        let arm = [
            [Ranking::columns(k), AlphaNdcg::relevance_columns(plan)].concat(),
            ControlMetrics::columns(k),
            ControlMetrics::columns(k),
            everyone.concat(),
            if plan.fairness.is_some() { Fairness::user_columns() } else { Vec::new() },
            if plan.requests { Satisfaction::columns(k) } else { Vec::new() },
        ];
        Layout { pool: pool.map(counted), arm: arm.map(counted) }
    }
}

/// Puts the users' own column before a panel's columns; a panel without columns stays empty.
fn counted(columns: Vec<Column>) -> Vec<Column> {
    if columns.is_empty() {
        return columns;
    }
    std::iter::once(Column::new("", 1)).chain(columns).collect()
}
