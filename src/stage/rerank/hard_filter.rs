//! What was asked for first, whatever it costs in relevance: the most controlled list there is.

use super::relevance::normalised;
use crate::types::{ArmList, Candidates};
use std::cmp::Reverse;

/// What becomes of the items that do not meet every control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HardFilter {
    /// They follow, by the number of controls they meet.
    First,
    /// They are dropped; the list may become empty.
    Only,
}

/// Sorts a list by the number of controls met, or keeps only what meets them all. Within the same
/// number the order stays. A row without controls stays as it is.
///
/// Formula: for `First`, score = controls met + r, with r the relevance mapped to [0, 1];
/// `Only` leaves the scores alone.
pub fn hard_filter(mode: HardFilter, row: &Candidates, list: ArmList) -> ArmList {
    let controls = row.query.controls.len() as u32;
    if controls == 0 {
        return list;
    }
    let count = |&place: &usize| row.met[list.order[place] as usize].count_ones();
    let places = 0..list.order.len();
    match mode {
        HardFilter::First => {
            let relevance = normalised(&list.scores);
            let mut places: Vec<usize> = places.collect();
            places.sort_by_key(|place| Reverse(count(place))); // stable
            let score = |place: &usize| count(place) as f32 + relevance[*place];
            let scores = places.iter().map(score).collect();
            ArmList { order: places.iter().map(|&place| list.order[place]).collect(), scores }
        }
        HardFilter::Only => {
            let kept = places.filter(|place| count(place) == controls);
            let (order, scores) = kept.map(|place| (list.order[place], list.scores[place])).unzip();
            ArmList { order, scores }
        }
    }
}
