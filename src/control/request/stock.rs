//! What there is to ask for: labels with enough items, and where numbers lie.

use super::draws::Draws;
use super::phrases::Phrases;
use super::words::phrase;
use crate::control::Postings;
use crate::types::{Attribute, Catalogue, Control, Relation};
use std::collections::{BTreeMap, BTreeSet};

/// A request that fewer items meet is about next to nothing.
pub const ITEMS_MIN: usize = 5;
/// A request that more items meet says next to nothing.
const SHARE_MAX: f64 = 0.9;
/// A name with more words, or more letters, is none that people say.
const WORDS_MAX: usize = 6;
const LETTERS_MAX: usize = 40;

/// A label that can be asked for; labels that sound alike are one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Its attribute.
    pub attribute: u16,
    /// Its codes, ascending.
    pub codes: Vec<u32>,
}

impl Name {
    /// The control that asks for it, or for anything else.
    pub fn control(&self, relation: Relation) -> Control {
        Control { attribute: self.attribute, relation, codes: self.codes.clone(), bound: 0.0 }
    }
}

/// The labels of the attributes that can be asked for, by what they sound like. A label that sounds
/// like one of an earlier attribute cannot be asked for.
pub fn names(catalogue: &Catalogue, attributes: &[usize]) -> Phrases<Name> {
    let mut names = Phrases::default();
    for &at in attributes {
        let Ok(attribute) = u16::try_from(at) else { continue };
        let mut codes: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for (code, label) in (0..).zip(&catalogue.attributes[at].labels) {
            codes.entry(phrase(label)).or_default().push(code);
        }
        for (said, codes) in codes {
            names.add(&said, Name { attribute, codes });
        }
    }
    names
}

/// The labels of one attribute that are worth asking for.
pub struct Shelf {
    /// The attribute.
    pub attribute: u16,
    names: Vec<Name>,
    /// The sums of weights up to each name.
    ends: Vec<f64>,
}

impl Shelf {
    /// The labels that enough items have, that can be said, and that nothing else is called.
    pub fn new(
        postings: &Postings,
        attribute: usize,
        called: &Phrases<Name>,
        taken: impl Fn(&str) -> bool,
    ) -> Shelf {
        let catalogue = postings.catalogue();
        let (id, mut seen) = (attribute as u16, BTreeSet::new());
        let mut names: Vec<(Name, usize)> = Vec::new();
        for label in &catalogue.attributes[attribute].labels {
            let said = phrase(label);
            let name = called.get(label).filter(|name| name.attribute == id);
            let Some(name) = name.filter(|_| sayable(label, &said) && !taken(label)) else {
                continue;
            };
            let is = [name.control(Relation::Is)];
            let count = postings.meeting(&is).len();
            if seen.insert(said) && worth(&is, count, catalogue.len()) {
                names.push((name.clone(), count));
            }
        }
        // A rare label is drawn as often as one with a quarter of the mean.
        let floor = names.iter().map(|(_, n)| *n as f64).sum::<f64>() / names.len().max(1) as f64;
        let weight = |count: usize| (count as f64).max(floor / 4.0);
        let ends = names.iter().scan(0.0, |sum, (_, count)| {
            *sum += weight(*count);
            Some(*sum)
        });
        let ends = ends.collect();
        Shelf { attribute: id, names: names.into_iter().map(|(name, _)| name).collect(), ends }
    }

    /// Whether there is nothing to ask for.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// One of the labels, in proportion to the items that have it.
    pub fn draw(&self, draws: &mut Draws) -> Option<&Name> {
        let at = draws.share() * self.ends.last().copied()?;
        let found = self.ends.partition_point(|end| *end <= at);
        self.names.get(found).or(self.names.last())
    }
}

/// Whether a label is a name that people say.
fn sayable(label: &str, said: &str) -> bool {
    let letters = said.chars().any(char::is_alphabetic);
    letters && said.split(' ').count() <= WORDS_MAX && label.chars().count() <= LETTERS_MAX
}

/// Whether so many of all items are neither too few nor, exclusions aside, too many.
pub fn worth(controls: &[Control], count: usize, items: usize) -> bool {
    let excludes = controls.iter().all(|control| control.relation == Relation::Not);
    count >= ITEMS_MIN && (excludes || count as f64 <= SHARE_MAX * items as f64)
}

/// The known numbers of an attribute, ascending.
pub struct Numbers {
    /// The attribute.
    pub attribute: u16,
    sorted: Vec<f32>,
}

impl Numbers {
    /// Of an attribute.
    pub fn new(attribute: usize, of: &Attribute) -> Numbers {
        let mut sorted: Vec<f32> = of.numbers.iter().copied().filter(|n| n.is_finite()).collect();
        sorted.sort_unstable_by(f32::total_cmp);
        Numbers { attribute: attribute as u16, sorted }
    }

    /// The number below which that share of the known ones is; none where none is known.
    pub fn quantile(&self, share: f64) -> Option<f32> {
        let last = self.sorted.len().checked_sub(1)?;
        self.sorted.get(((share * last as f64).round() as usize).min(last)).copied()
    }

    /// The least and the greatest.
    pub fn range(&self) -> Option<(f32, f32)> {
        Some((*self.sorted.first()?, *self.sorted.last()?))
    }

    /// The control that wants a number of at most, or at least, a bound.
    pub fn bounded(&self, relation: Relation, bound: f32) -> Control {
        Control { attribute: self.attribute, relation, codes: Vec::new(), bound }
    }
}
