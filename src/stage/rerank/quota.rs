//! Wishes about a list as a whole: "a third documentaries, nothing twice from one brand".

use super::facts::Facts;
use super::relevance::{chosen_first, normalised};
use crate::control::met;
use crate::types::{ArmList, Candidates, ItemId, Quota};

/// The parameters of [`quota`].
#[derive(Clone, Debug, PartialEq)]
pub struct Quotas {
    /// Everybody's, before those of each user's request.
    pub all: Vec<Quota>,
    /// How many places are filled so; the other items follow in the order they had.
    pub depth: usize,
}

/// Fills the first `depth` places one after the other, each with the first item of the list that
/// the quotas allow there.
///
/// Formula: with c(j) items so far that meet a quota's control, place j + 1 must be filled by one
/// that does where c(j) < ⌊share · (j + 1)⌋ for an `AtLeast`, and must not where
/// c(j) + 1 > ⌈share · (j + 1)⌉, or ⌊share · depth⌋, for an `AtMost`. So each prefix of the list
/// keeps its share, and not only the whole. Where no item does as it must, what has to be there
/// gives way before what must not be, and an item is placed all the same: no item is lost.
/// Cost: depth × items.
pub fn quota(step: &Quotas, row: &Candidates, list: ArmList, facts: &Facts) -> ArmList {
    let own = row.query.request.iter().flat_map(|request| &request.quotas);
    let quotas: Vec<&Quota> = step.all.iter().chain(own).collect();
    if quotas.is_empty() {
        return list;
    }
    let depth = step.depth.min(list.order.len());
    let mut counts = Counts { facts, depth, of: quotas.iter().map(|q| Count::new(q)).collect() };
    let mut left: Vec<usize> = (0..list.order.len()).collect();
    let item = |place: &usize| row.items[list.order[*place] as usize];
    let relevance = normalised(&list.scores);
    let mut chosen: Vec<(usize, f32)> = Vec::with_capacity(depth);
    for place in 0..depth {
        let allowed = |at: &usize| counts.allows(item(at), place);
        let wanted = |at: &usize| allowed(at) && counts.owed(item(at), place);
        let first = left.iter().position(wanted);
        let first = first.or_else(|| left.iter().position(allowed)).unwrap_or(0);
        let at = left.remove(first);
        counts.add(item(&at));
        // A score that never rises, whatever was passed over.
        chosen.push((at, 1.0 - place as f32 / depth as f32));
    }
    chosen_first(&list, &relevance, &chosen)
}

struct Counts<'a> {
    facts: &'a Facts,
    depth: usize,
    of: Vec<Count<'a>>,
}

/// What a quota has so far.
struct Count<'a> {
    quota: &'a Quota,
    met: usize,
    labels: Vec<(u32, u32)>,
}

impl<'a> Count<'a> {
    fn new(quota: &'a Quota) -> Self {
        Count { quota, met: 0, labels: Vec::new() }
    }

    fn label(&self, code: u32) -> u32 {
        self.labels.iter().find(|(label, _)| *label == code).map_or(0, |(_, count)| *count)
    }
}

impl Counts<'_> {
    /// Whether an item may stand at a place.
    fn allows(&self, item: ItemId, place: usize) -> bool {
        let catalogue = &self.facts.catalogue;
        self.of.iter().all(|count| match count.quota {
            Quota::AtLeast(..) => true,
            Quota::AtMost(control, share) => {
                let share = f64::from(*share);
                let whole = (share * self.depth as f64).floor();
                let most = (share * (place + 1) as f64).ceil().min(whole) as usize;
                count.met < most || !met(catalogue, control, item)
            }
            Quota::Each { attribute, most } => {
                let codes = catalogue.attributes[usize::from(*attribute)].codes(item);
                codes.iter().all(|code| count.label(*code) < *most)
            }
        })
    }

    /// Whether an item gives every quota what it is behind with at a place.
    fn owed(&self, item: ItemId, place: usize) -> bool {
        self.of.iter().all(|count| match count.quota {
            Quota::AtLeast(control, share) => {
                let least = (f64::from(*share) * (place + 1) as f64).floor() as usize;
                count.met >= least || met(&self.facts.catalogue, control, item)
            }
            _ => true,
        })
    }

    fn add(&mut self, item: ItemId) {
        let catalogue = &self.facts.catalogue;
        for count in &mut self.of {
            match count.quota {
                Quota::AtLeast(control, _) | Quota::AtMost(control, _) => {
                    count.met += usize::from(met(catalogue, control, item));
                }
                Quota::Each { attribute, .. } => {
                    for code in catalogue.attributes[usize::from(*attribute)].codes(item) {
                        match count.labels.iter_mut().find(|(label, _)| label == code) {
                            Some((_, times)) => *times += 1,
                            None => count.labels.push((*code, 1)),
                        }
                    }
                }
            }
        }
    }
}

impl Quotas {
    /// Errors: a quota whose share is none, or that names an attribute that is not there.
    pub(super) fn check(&self, facts: &Facts) -> crate::error::Result<()> {
        let attributes = facts.catalogue.attributes.len();
        for quota in &self.all {
            let (attribute, share) = match quota {
                Quota::AtLeast(control, share) | Quota::AtMost(control, share) => {
                    (control.attribute, *share)
                }
                Quota::Each { attribute, .. } => (*attribute, 1.0),
            };
            if usize::from(attribute) >= attributes || !(0.0..=1.0).contains(&share) {
                return Err(crate::error::Error::Input(format!(
                    "quota: expected a share from 0 to 1 and one of {attributes} attributes, found \
                     a share of {share} and attribute {attribute}"
                )));
            }
        }
        Ok(())
    }
}
