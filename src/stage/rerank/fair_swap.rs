//! The same rank on average for two groups of items: small swaps, the cheapest first.

use super::facts::Facts;
use super::relevance::{best, normalised};
use crate::control::met;
use crate::error::{Error, Result};
use crate::types::{ArmList, Candidates, Control, ItemId, Relation};

/// The parameters of [`fair_swap`].
#[derive(Clone, Debug, PartialEq)]
pub struct FairSwap {
    /// The items that meet it are one group, the other items whose value is known the other.
    pub group: Control,
    /// The places that are made fair.
    pub top: usize,
    /// The greatest gap that is left alone, in [0, 1]. See [`gap`].
    pub gap_max: f32,
}

impl FairSwap {
    pub(super) fn check(&self, facts: &Facts) -> Result<()> {
        let attributes = facts.catalogue.attributes.len();
        if usize::from(self.group.attribute) >= attributes {
            return Err(Error::Input(format!(
                "fair-swap: expected one of the catalogue's {attributes} attributes, \
                 found index {}",
                self.group.attribute
            )));
        }
        if !(0.0..=1.0).contains(&self.gap_max) {
            return Err(Error::Input(format!(
                "fair-swap: expected a gap_max from 0 to 1, found {}",
                self.gap_max
            )));
        }
        Ok(())
    }

    /// Which group an item is in; `None` where its value is unknown.
    fn group(&self, facts: &Facts, item: ItemId) -> Option<bool> {
        let attribute = &facts.catalogue.attributes[usize::from(self.group.attribute)];
        let known = match self.group.relation {
            Relation::Is | Relation::Not => !attribute.codes(item).is_empty(),
            Relation::AtMost | Relation::AtLeast => !attribute.number(item).is_nan(),
        };
        known.then(|| met(&facts.catalogue, &self.group, item))
    }
}

impl FairSwap {
    /// The [`gap`] over the first places of an order of a row's items.
    pub fn gap(&self, row: &Candidates, order: &[u32], facts: &Facts) -> f32 {
        let group = |at: &u32| self.group(facts, row.items[*at as usize]);
        gap(&order.iter().take(self.top).map(group).collect::<Vec<Option<bool>>>())
    }
}

/// How far apart two groups' mean places are, over the first places of a list.
///
/// Formula: with the places' scores 1 − j/(n−1), j = 0 … n−1, the difference of the two groups'
/// mean scores, without its sign. 0 where a group has no item there.
/// Source: the mean absolute difference of LLM4Rerank (arXiv 2406.12433), for one list.
pub fn gap(groups: &[Option<bool>]) -> f32 {
    Lead::of(groups).gap(groups.len())
}

/// Swaps neighbouring items of different groups among the first `top` places until the [`gap`] is
/// at most `gap_max`, or no such swap makes it smaller.
///
/// Neighbours are two places with none but items of unknown group between them. Of the swaps that
/// make the gap smaller, the one is taken that loses least discounted relevance:
/// (r(i) − r(j)) · (1/log2(i+2) − 1/log2(j+2)) for places i < j; then the earlier one. The scores
/// stay with their places.
pub fn fair_swap(step: &FairSwap, row: &Candidates, mut list: ArmList, facts: &Facts) -> ArmList {
    let top = step.top.min(list.order.len());
    let group = |&at: &u32| step.group(facts, row.items[at as usize]);
    let mut groups: Vec<Option<bool>> = list.order[..top].iter().map(group).collect();
    let mut relevance = normalised(&list.scores);
    let discount: Vec<f64> = (0..top).map(|place| 1.0 / (place as f64 + 2.0).log2()).collect();
    let mut lead = Lead::of(&groups);
    while lead.gap(top) > step.gap_max {
        let ahead = lead.by > 0; // which group is
        let mut last = None; // the latest place of a known group
        let mut swaps = Vec::new();
        for place in (0..top).filter(|&place| groups[place].is_some()) {
            if let Some(above) = last
                && groups[above] == Some(ahead)
                && groups[place] == Some(!ahead)
                && lead.narrows(place - above)
            {
                let loss = f64::from(relevance[above]) - f64::from(relevance[place]);
                swaps.push(((above, place), -loss * (discount[above] - discount[place])));
            }
            last = Some(place);
        }
        let gains = swaps.iter().map(|&(_, gain)| gain);
        let Some((at, _)) = best(gains.enumerate()) else { break };
        let (above, below) = swaps[at].0;
        list.order.swap(above, below);
        groups.swap(above, below);
        relevance.swap(above, below);
        lead = lead.after(below - above);
    }
    list
}

/// How far the group `true` is ahead, in whole numbers: their order decides when to stop, and must
/// not depend on rounding.
struct Lead {
    /// Members of the groups `false` and `true`.
    members: [i64; 2],
    /// mean place of `false` − mean place of `true`, times both groups' members.
    by: i64,
}

impl Lead {
    fn of(groups: &[Option<bool>]) -> Lead {
        let (mut members, mut places) = ([0i64; 2], [0i64; 2]);
        for (place, group) in (0..).zip(groups) {
            if let Some(group) = *group {
                members[usize::from(group)] += 1;
                places[usize::from(group)] += place;
            }
        }
        Lead { members, by: places[0] * members[1] - places[1] * members[0] }
    }

    /// The lead as a difference of mean scores over this many places: see [`gap`].
    fn gap(&self, places: usize) -> f32 {
        let unit = (self.members[0] * self.members[1]) as f64 * places.saturating_sub(1) as f64;
        if unit == 0.0 { 0.0 } else { (self.by.abs() as f64 / unit) as f32 }
    }

    /// The lead after a swap over this distance, in favour of the group behind.
    fn after(&self, distance: usize) -> Lead {
        let step = distance as i64 * (self.members[0] + self.members[1]);
        Lead { members: self.members, by: self.by - step * self.by.signum() }
    }

    /// Whether such a swap makes the lead smaller.
    fn narrows(&self, distance: usize) -> bool {
        self.after(distance).by.abs() < self.by.abs()
    }
}
