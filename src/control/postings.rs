//! The items behind each label and each bound: the inverse of the catalogue's columns.
//!
//! A set of controls is answered by walking the shortest list among them, so a check costs as much
//! as the rarest thing asked for, whatever the size of the catalogue. Lists, and not one bit set
//! for each control: a million items would be 125 kB a control, written once for each brand and
//! bound that anybody ever asks for, while the lists are made once for all of them.

use super::met::all_met;
use crate::types::{Attribute, Catalogue, Control, ItemId, Relation};
use std::sync::Arc;

/// A catalogue with the items of each label and in the order of each number. Read-only, so that
/// one copy serves every thread.
pub struct Postings {
    catalogue: Arc<Catalogue>,
    lists: Vec<Lists>,
}

struct Lists {
    /// `items[offsets[c]..offsets[c + 1]]` have label c, ascending.
    offsets: Vec<u32>,
    items: Vec<ItemId>,
    /// The items whose number is known, by (number, id).
    by_number: Vec<ItemId>,
    /// No item has two labels.
    single_valued: bool,
}

impl Postings {
    /// Inverts every attribute: O(labels + codes + items · log items), 4 bytes a code and a number.
    pub fn new(catalogue: Arc<Catalogue>) -> Postings {
        let items = catalogue.len() as u32;
        let lists = catalogue.attributes.iter().map(|a| Lists::new(a, items)).collect();
        Postings { catalogue, lists }
    }

    /// The catalogue that was inverted.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Whether no item has two labels of this attribute.
    pub fn single_valued(&self, attribute: u16) -> bool {
        self.lists[usize::from(attribute)].single_valued
    }

    /// The items that have a label, ascending.
    ///
    /// Panics: if the catalogue does not have it.
    pub fn labelled(&self, attribute: u16, code: u32) -> &[ItemId] {
        self.lists[usize::from(attribute)].with(code)
    }

    /// Whether at least one item meets all the controls.
    ///
    /// Panics: if a control was resolved against another catalogue.
    pub fn any_meets(&self, controls: &[Control]) -> bool {
        let lists = |(c, control)| Some((c, self.items(control)?));
        let size = |(_, parts): &(usize, Vec<&[ItemId]>)| parts.iter().map(|p| p.len()).sum();
        let shortest = controls.iter().enumerate().filter_map(lists).min_by_key::<usize, _>(size);
        let Some((c, parts)) = shortest else {
            let mut all = 0..self.catalogue.len() as ItemId;
            return all.any(|item| all_met(&self.catalogue, controls, item));
        };
        // Its own items need not be asked again, which halves the look-ups at random places.
        let (before, after) = (&controls[..c], &controls[c + 1..]);
        let others = |&item: &ItemId| {
            all_met(&self.catalogue, before, item) && all_met(&self.catalogue, after, item)
        };
        parts.into_iter().flatten().any(others)
    }

    /// The items that meet all the controls, ascending: walks the shortest list among them, or
    /// every item where all of them are `Not`.
    ///
    /// Panics: if a control was resolved against another catalogue.
    pub fn meeting(&self, controls: &[Control]) -> Vec<ItemId> {
        let size = |parts: &Vec<&[ItemId]>| parts.iter().map(|p| p.len()).sum::<usize>();
        let mut items = match controls.iter().filter_map(|c| self.items(c)).min_by_key(size) {
            None => (0..self.catalogue.len() as ItemId).collect(),
            Some(parts) => parts.into_iter().flatten().copied().collect::<Vec<ItemId>>(),
        };
        items.retain(|item| all_met(&self.catalogue, controls, *item));
        items.sort_unstable();
        items.dedup(); // an item may have two of the labels
        items
    }

    /// The items that meet a control, in parts; `None` for `Not`, which nearly all items meet.
    fn items(&self, control: &Control) -> Option<Vec<&[ItemId]>> {
        let attribute = &self.catalogue.attributes[usize::from(control.attribute)];
        let lists = &self.lists[usize::from(control.attribute)];
        let by_number = &lists.by_number;
        match control.relation {
            Relation::Is => Some(control.codes.iter().map(|&code| lists.with(code)).collect()),
            Relation::Not => None,
            Relation::AtMost => {
                let within = |&i: &ItemId| attribute.number(i) <= control.bound;
                Some(vec![&by_number[..by_number.partition_point(within)]])
            }
            Relation::AtLeast => {
                let below = |&i: &ItemId| attribute.number(i) < control.bound;
                Some(vec![&by_number[by_number.partition_point(below)..]])
            }
        }
    }
}

impl Lists {
    fn new(attribute: &Attribute, items: u32) -> Lists {
        let mut offsets = vec![0u32; attribute.labels.len() + 1];
        for &code in &attribute.codes {
            offsets[code as usize + 1] += 1;
        }
        for at in 1..offsets.len() {
            offsets[at] += offsets[at - 1];
        }
        let mut next = offsets.clone();
        let mut of_label = vec![0; attribute.codes.len()];
        let mut single_valued = true;
        for item in 0..items {
            let codes = attribute.codes(item);
            single_valued &= codes.len() <= 1;
            for &code in codes {
                of_label[next[code as usize] as usize] = item;
                next[code as usize] += 1;
            }
        }
        let known = |item: &ItemId| !attribute.number(*item).is_nan();
        let mut by_number: Vec<ItemId> = (0..items).filter(known).collect();
        let order = |a: &ItemId, b: &ItemId| {
            attribute.number(*a).total_cmp(&attribute.number(*b)).then(a.cmp(b))
        };
        by_number.sort_unstable_by(order);
        Lists { offsets, items: of_label, by_number, single_valued }
    }

    fn with(&self, code: u32) -> &[ItemId] {
        let at = code as usize;
        &self.items[self.offsets[at] as usize..self.offsets[at + 1] as usize]
    }
}
