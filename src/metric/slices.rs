//! Which parts of the users a user belongs to.

use super::plan::MetricPlan;
use crate::types::{Catalogue, Query};

/// Lower bounds of the history lengths; the last has no upper bound.
const HISTORY: [(usize, &str); 6] =
    [(1, "1-4"), (5, "5-9"), (10, "10-19"), (20, "20-49"), (50, "50-199"), (200, "200+")];
/// By the (first) target's rank among the items by popularity, ties to the lower id.
const POPULARITY: [&str; 4] = ["top 1%", "1-10%", "10-50%", "bottom 50%"];
const CONTROLS: [&str; 4] = ["0", "1", "2", "3+"];
/// Lower bounds of how far the controls agree with the history, from 0 to 1; of a sweep's points.
const AGREEMENT: [(f32, &str); 4] =
    [(0.0, "none"), (f32::MIN_POSITIVE, "under 10%"), (0.1, "10-50%"), (0.5, "50% or more")];

/// The parts, numbered through: dimension after dimension, label after label.
pub(super) fn names(plan: &MetricPlan) -> Vec<(String, String)> {
    if plan.point {
        let name = |(_, label): (f32, &str)| ("history-agreement".to_owned(), label.to_owned());
        return AGREEMENT.map(name).into();
    }
    let fixed = [
        ("history-length", HISTORY.map(|(_, label)| label).as_slice()),
        ("target-popularity", POPULARITY.as_slice()),
        ("controls", CONTROLS.as_slice()),
    ]
    .map(|(name, labels)| (name.to_owned(), labels.iter().map(|&l| l.to_owned()).collect()));
    let segments = plan.segments.iter().map(|s| (s.name.clone(), s.labels.clone()));
    let dimensions = fixed.into_iter().chain(segments);
    dimensions
        .flat_map(|(name, labels): (String, Vec<String>)| {
            labels.into_iter().map(move |label| (name.clone(), label))
        })
        .collect()
}

/// Finds a user's parts.
#[derive(Clone)]
pub(super) struct Slicer {
    /// Whether by agreement alone.
    point: bool,
    /// Each item's index into [`POPULARITY`].
    popularity: Vec<u8>,
    /// Each segment's first part and how many it has.
    segments: Vec<(usize, usize)>,
}

impl Slicer {
    /// Ranks the catalogue by popularity.
    pub(super) fn new(plan: &MetricPlan, catalogue: &Catalogue) -> Self {
        if plan.point {
            return Slicer { point: true, popularity: Vec::new(), segments: Vec::new() };
        }
        let items = catalogue.len();
        let mut order: Vec<u32> = (0..items as u32).collect();
        order.sort_by_key(|&item| (std::cmp::Reverse(catalogue.popularity[item as usize]), item));
        let mut popularity = vec![0; items];
        for (rank, &item) in order.iter().enumerate() {
            let above = |&percent: &usize| rank * 100 >= items * percent;
            popularity[item as usize] = [1, 10, 50].iter().filter(|p| above(p)).count() as u8;
        }
        let mut at = HISTORY.len() + POPULARITY.len() + CONTROLS.len();
        let place = |segment: &super::Segment| {
            let first = at;
            at += segment.labels.len();
            (first, segment.labels.len())
        };
        Slicer { point: false, popularity, segments: plan.segments.iter().map(place).collect() }
    }

    /// The numbers of the user's parts; at most one of each dimension.
    pub(super) fn of(&self, query: &Query, out: &mut Vec<usize>) {
        out.clear();
        if self.point {
            let bin =
                |agreement: f32| AGREEMENT.iter().filter(|(from, _)| agreement >= *from).count();
            out.extend(query.standing.and_then(|s| bin(s.agreement).checked_sub(1)));
            return;
        }
        let bins = HISTORY.iter().filter(|(from, _)| query.history.len() >= *from).count();
        out.extend(bins.checked_sub(1));
        let target = query.targets.first();
        let target = target.and_then(|&item| self.popularity.get(item as usize));
        out.extend(target.map(|&bin| HISTORY.len() + usize::from(bin)));
        out.push(HISTORY.len() + POPULARITY.len() + query.controls.len().min(CONTROLS.len() - 1));
        for (&code, &(first, labels)) in query.segments.iter().zip(&self.segments) {
            out.extend(((code as usize) < labels).then_some(first + code as usize));
        }
    }
}
