//! Controls that cannot be met: found before anything is ranked, so that a poor list can be told
//! from an impossible wish.

use super::postings::Postings;
use crate::types::{Catalogue, Conflict, Control, Relation};
use std::collections::HashMap;
use std::sync::Arc;

/// How many answers are remembered before the memory is emptied. What is asked for repeats itself
/// from user to user; a table where it does not must not grow without bound.
const SETS_MAX: usize = 1 << 16;

/// Finds conflicts for many users over one catalogue.
#[derive(Clone)]
pub struct ConflictIndex {
    postings: Arc<Postings>,
    /// The answer for each list of controls seen, by its words (see [`write_words`]).
    known: HashMap<Box<[u32]>, Option<Conflict>>,
    words: Vec<u32>,
}

impl ConflictIndex {
    /// An index over inverted columns, which several threads share.
    pub fn new(postings: Arc<Postings>) -> ConflictIndex {
        ConflictIndex { postings, known: HashMap::new(), words: Vec::new() }
    }

    /// Why no item meets all the controls; `None` when some item does, or there are no controls.
    ///
    /// The most telling reason there is: first a pair that is a contradiction whatever the
    /// catalogue, the lowest indices first; then the first control that no item meets; then that
    /// no item meets them jointly.
    ///
    /// Panics: if a control was resolved against another catalogue.
    pub fn conflict(&mut self, controls: &[Control]) -> Option<Conflict> {
        self.words.clear();
        controls.iter().for_each(|control| write_words(&mut self.words, control));
        if let Some(conflict) = self.known.get(self.words.as_slice()) {
            return conflict.clone();
        }
        let conflict = find(&self.postings, controls);
        if self.known.len() == SETS_MAX {
            self.known.clear();
        }
        self.known.insert(self.words.as_slice().into(), conflict.clone());
        conflict
    }
}

/// [`ConflictIndex::conflict`] for one list of controls: a job's own, say.
pub fn conflict(catalogue: &Arc<Catalogue>, controls: &[Control]) -> Option<Conflict> {
    ConflictIndex::new(Arc::new(Postings::new(catalogue.clone()))).conflict(controls)
}

fn find(postings: &Postings, controls: &[Control]) -> Option<Conflict> {
    if controls.is_empty() || postings.any_meets(controls) {
        return None; // the usual case, and the cheap one: some item is proof enough
    }
    for (i, a) in controls.iter().enumerate() {
        for (j, b) in controls.iter().enumerate().skip(i + 1) {
            if a.attribute == b.attribute && (excludes(postings, a, b) || excludes(postings, b, a))
            {
                return Some(Conflict::Contradiction(i as u8, j as u8));
            }
        }
    }
    let alone = |control: &Control| !postings.any_meets(std::slice::from_ref(control));
    let unmet = controls.iter().position(alone);
    Some(unmet.map_or(Conflict::Jointly, |c| Conflict::Unsatisfiable(c as u8)))
}

/// Whether two controls of one attribute exclude each other by what they say. A bin says which
/// numbers it holds by the items in it, so an empty bin contradicts no bound.
fn excludes(postings: &Postings, a: &Control, b: &Control) -> bool {
    use Relation::{AtLeast, AtMost, Is, Not};
    let pair = || [a.clone(), b.clone()];
    let nothing = |control: &Control| control.relation == Is && control.codes.is_empty();
    if nothing(a) || nothing(b) {
        return false; // no item meets it, with or without the other
    }
    match (a.relation, b.relation) {
        (Is, Is) => {
            postings.single_valued(a.attribute) && !a.codes.iter().any(|c| b.codes.contains(c))
        }
        (Is, Not) => a.codes.iter().all(|code| b.codes.contains(code)),
        (Is, AtMost | AtLeast) => {
            postings.any_meets(std::slice::from_ref(a)) && !postings.any_meets(&pair())
        }
        (AtLeast, AtMost) => a.bound > b.bound,
        _ => false,
    }
}

/// Appends a control as words, so that equal words mean equal controls.
fn write_words(words: &mut Vec<u32>, control: &Control) {
    let relation = control.relation as u32;
    let (attribute, codes) = (u32::from(control.attribute), control.codes.len() as u32);
    words.extend([attribute, relation, control.bound.to_bits(), codes]);
    words.extend(&control.codes);
}
