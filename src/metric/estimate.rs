//! From sums to figures: means, intervals, paired differences, slices.

use super::bootstrap::{interval, stride};
use super::exposure::{Exposure, coverage, gini};
use super::fairness::Fairness;
use super::layout::{Layout, Panel};
use super::plan::MetricPlan;
use super::request::Satisfaction;
use super::slices;
use super::sum::{ONE, square_shift};
use super::summary::{ArmSummary, Estimate, SliceSummary, Summary};
use super::tally::{SliceSums, Tally};
use crate::types::Category;
use std::collections::BTreeMap;

/// Half the width of a 95 % interval, in standard errors.
const NORMAL_95: f64 = 1.959_963_984_540_054;

/// Where a sum is.
#[derive(Clone, Copy)]
struct Source {
    /// Of the candidates, or of the arm.
    pool: bool,
    panel: Panel,
    column: usize,
    unit: u32,
}

/// What a figure is made of.
enum Figure {
    /// Sum over users.
    Mean(Source),
    /// (cp − random) / (ceiling − random), of the means.
    Normalised { cp: Source, random: Source, ceiling: Source },
    /// Sum over some of a panel's users, over how many they are.
    Part { sum: Source, users: Source },
    /// |s₀/n₀ − s₁/n₁|.
    Gap([Source; 4]),
}

impl Figure {
    /// Where the users are counted.
    fn users(&self) -> Source {
        match self {
            Figure::Part { users, .. } => *users,
            Figure::Mean(any) | Figure::Normalised { cp: any, .. } | Figure::Gap([any, ..]) => {
                Source { column: 0, unit: 1, ..*any }
            }
        }
    }

    /// The value over sums in natural units; none where it is undefined.
    fn value(&self, sum: &impl Fn(Source) -> f64) -> Option<f64> {
        let value = match self {
            Figure::Mean(source) => sum(*source) / sum(self.users()),
            Figure::Normalised { cp, random, ceiling } => {
                let gain = sum(*ceiling) - sum(*random);
                // Where nothing can be gained, what is left is rounding.
                let none = gain.abs() * f64::from(ONE) <= sum(self.users());
                if none { f64::NAN } else { (sum(*cp) - sum(*random)) / gain }
            }
            Figure::Part { sum: part, users } => sum(*part) / sum(*users),
            Figure::Gap([s0, n0, s1, n1]) => (sum(*s0) / sum(*n0) - sum(*s1) / sum(*n1)).abs(),
        };
        value.is_finite().then_some(value)
    }
}

/// A figure of one arm: over all users, and in each replicate (NaN where undefined).
struct Drawn {
    mean: f64,
    users: u64,
    replicates: Vec<f64>,
}

/// Turns the merged sums of a plan into figures.
///
/// Metrics over no user are left out. Intervals and differences are by the Poisson bootstrap;
/// within slices mean ± 1.96 standard errors. Ratios of sums (`ncp`, `mad-pooled`) in slices,
/// `coverage` and `gini` have no interval, and what depends on the candidates alone has no
/// difference.
pub fn summarise(
    plan: &MetricPlan,
    tally: &Tally,
    exposure: &Exposure,
    catalogue_len: usize,
) -> Summary {
    let figures = figures(plan, &Layout::new(plan));
    let drawn: Vec<_> = (0..plan.arms.len()).map(|arm| draw(plan, tally, arm, &figures)).collect();
    let names = slices::names(plan);
    let arm_summary = |(arm, name): (usize, &String)| {
        let metrics = drawn[arm].iter().map(|(name, drawn)| (name.clone(), drawn.estimate()));
        let mut metrics: BTreeMap<String, Estimate> = metrics.collect();
        if !plan.point {
            metrics.extend(exposed(plan, tally, exposure, arm, catalogue_len));
        }
        let mut versus_baseline = BTreeMap::new();
        if arm != plan.baseline {
            for (name, (figure, pool)) in &figures {
                let pair = (drawn[arm].get(name), drawn[plan.baseline].get(name));
                if let ((Some(ours), Some(theirs)), false) = (pair, *pool) {
                    debug_assert!(!figure.users().pool);
                    versus_baseline.insert(name.clone(), ours.less(theirs).estimate());
                }
            }
        }
        let slices = tally.slices.iter().zip(&names).filter(|(sums, _)| !sums.is_empty());
        let slices = slices.map(|(sums, name)| slice(sums, arm, name, &figures)).collect();
        ArmSummary { arm: name.clone(), metrics, versus_baseline, slices }
    };
    Summary {
        baseline: plan.arms.get(plan.baseline).cloned().unwrap_or_default(),
        replicates: plan.replicates,
        arms: plan.arms.iter().enumerate().map(arm_summary).collect(),
    }
}

type Figures = BTreeMap<String, (Figure, bool)>;

/// Every figure, and whether it depends on the candidates alone.
fn figures(plan: &MetricPlan, layout: &Layout) -> Figures {
    let mut figures = Figures::new();
    for panel in Panel::ALL {
        for (pool, columns) in [(true, &layout.pool), (false, &layout.arm)] {
            for (column, c) in columns[panel as usize].iter().enumerate() {
                if !c.name.is_empty() {
                    let source = Source { pool, panel, column, unit: c.unit };
                    let name = format!("{}{}", panel.prefix(), c.name);
                    figures.insert(name, (Figure::Mean(source), pool));
                }
            }
        }
    }
    let find = |name: &str, panel: Panel, pool: bool| {
        let columns = if pool { &layout.pool } else { &layout.arm };
        let column = columns[panel as usize].iter().position(|c| c.name == name)?;
        Some(Source { pool, panel, column, unit: columns[panel as usize][column].unit })
    };
    for panel in [Panel::Control, Panel::Oracle] {
        for &k in &plan.cutoffs {
            let sources = (
                find(&format!("cp@{k}"), panel, false),
                find(&format!("random-cp@{k}"), panel, true),
                find(&format!("ceiling-cp@{k}"), panel, true),
            );
            if let (Some(cp), Some(random), Some(ceiling)) = sources {
                let name = format!("{}ncp@{k}", panel.prefix());
                figures.insert(name, (Figure::Normalised { cp, random, ceiling }, false));
            }
        }
    }
    if plan.requests {
        figures.extend(by_category(plan));
    }
    if plan.fairness.is_some() {
        let columns = &layout.arm[Panel::Everyone as usize];
        let first = columns.len() - Fairness::pooled_columns().len();
        let gap = [0, 1, 2, 3].map(|i| {
            let column = first + i;
            Source { pool: false, panel: Panel::Everyone, column, unit: columns[column].unit }
        });
        figures.insert("mad-pooled".into(), (Figure::Gap(gap), false));
    }
    figures
}

/// Satisfaction for each category of requests.
fn by_category(plan: &MetricPlan) -> impl Iterator<Item = (String, (Figure, bool))> + '_ {
    let source = |column, unit| Source { pool: false, panel: Panel::Request, column, unit };
    let cuts = plan.cutoffs.len();
    Category::ALL.iter().enumerate().flat_map(move |(at, category)| {
        plan.cutoffs.iter().enumerate().map(move |(cutoff, &k)| {
            // After the panel's own count.
            let [users, sum] = Satisfaction::terms(cuts, at, cutoff).map(|column| column + 1);
            let part = Figure::Part { sum: source(sum, k as u32), users: source(users, 1) };
            (format!("satisfaction-{category}@{k}"), (part, false))
        })
    })
}

/// The figures of one arm.
fn draw(
    plan: &MetricPlan,
    tally: &Tally,
    arm: usize,
    figures: &Figures,
) -> BTreeMap<String, Drawn> {
    let panel = |source: Source| {
        let subject = if source.pool { 0 } else { arm + 1 };
        tally.subjects.get(subject).map(|panels| &panels[source.panel as usize])
    };
    let natural =
        |sum: Option<&u64>, unit: u32| sum.map_or(0.0, |&sum| sum as f64 / f64::from(unit));
    let total = |s: Source| natural(panel(s).and_then(|p| p.sums.get(s.column)), s.unit);
    let replicates = plan.replicates as usize;
    let drawn = figures.iter().filter_map(|(name, (figure, _))| {
        let mean = figure.value(&total)?;
        let replicate = |r: usize| {
            let sum = |s: Source| {
                let at = s.column * stride(plan.replicates) + r;
                natural(panel(s).and_then(|p| p.replicates.get(at)), s.unit)
            };
            figure.value(&sum).unwrap_or(f64::NAN)
        };
        let replicates = (0..replicates).map(replicate).collect();
        Some((name.clone(), Drawn { mean, users: total(figure.users()) as u64, replicates }))
    });
    drawn.collect()
}

impl Drawn {
    fn estimate(&self) -> Estimate {
        let defined = self.replicates.iter().copied().filter(|value| !value.is_nan());
        let (low, high) = interval(defined.collect()).unwrap_or((self.mean, self.mean));
        Estimate { mean: self.mean, low, high, users: self.users }
    }

    /// The paired difference.
    fn less(&self, other: &Drawn) -> Drawn {
        let pairs = self.replicates.iter().zip(&other.replicates);
        Drawn {
            mean: self.mean - other.mean,
            users: self.users.min(other.users),
            replicates: pairs.map(|(a, b)| a - b).collect(),
        }
    }
}

/// Coverage and Gini of one arm.
fn exposed<'a>(
    plan: &'a MetricPlan,
    tally: &'a Tally,
    exposure: &'a Exposure,
    arm: usize,
    items: usize,
) -> impl Iterator<Item = (String, Estimate)> + 'a {
    plan.cutoffs.iter().enumerate().flat_map(move |(cutoff, k)| {
        let shown = exposure.shown(arm, cutoff);
        let figures = [("coverage", coverage(&shown, items)), ("gini", gini(&shown, items))];
        figures.map(|(name, mean)| {
            let certain = Estimate { mean, low: mean, high: mean, users: tally.rows };
            (format!("{name}@{k}"), certain)
        })
    })
}

/// One part's figures of one arm.
fn slice(
    subjects: &[[SliceSums; super::layout::PANELS]],
    arm: usize,
    (dimension, label): &(String, String),
    figures: &Figures,
) -> SliceSummary {
    let panel = |s: Source| &subjects[if s.pool { 0 } else { arm + 1 }][s.panel as usize];
    let sum =
        |s: Source| panel(s).sums.get(s.column).map_or(0.0, |&sum| sum as f64 / f64::from(s.unit));
    let metrics = figures.iter().filter_map(|(name, (figure, _))| {
        let mean = figure.value(&sum)?;
        let users = sum(figure.users());
        let margin = match figure {
            Figure::Mean(s) if users > 1.0 => {
                let unit = f64::from(s.unit >> square_shift(s.unit));
                let squares = panel(*s).squares[s.column] as f64 / (unit * unit);
                let variance = (squares - users * mean * mean) / (users - 1.0);
                NORMAL_95 * (variance.max(0.0) / users).sqrt()
            }
            _ => 0.0,
        };
        let (low, high) = (mean - margin, mean + margin);
        Some((name.clone(), Estimate { mean, low, high, users: users as u64 }))
    });
    let everyone = Source { pool: true, panel: Panel::Everyone, column: 0, unit: 1 };
    SliceSummary {
        dimension: dimension.clone(),
        label: label.clone(),
        users: sum(everyone) as u64,
        metrics: metrics.collect(),
    }
}
