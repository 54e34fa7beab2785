//! Values that a teacher inferred, where the catalogue has none.

use crate::types::{Attribute, Catalogue, Inferred, ItemId};
use std::collections::BTreeMap;

/// How sure a teacher is of the values that it inferred, by attribute and item.
pub type Inferences = BTreeMap<(usize, ItemId), f32>;

/// A catalogue with values that nobody wrote down.
#[derive(Clone, Debug, PartialEq)]
pub struct Filled {
    /// The catalogue, with them.
    pub catalogue: Catalogue,
    /// How sure the teacher is of each value that is one of them.
    pub inferred: Inferences,
}

/// Gives items the labels that were inferred with at least such confidence, where they have none of
/// the attribute. Of several labels for one item the surest is taken, and of equally sure ones the
/// first. What the catalogue does not have, an attribute, a label or an item, is left out.
pub fn fill_in(catalogue: &Catalogue, inferred: &[Inferred], confidence_min: f32) -> Filled {
    let mut best: BTreeMap<(usize, ItemId), (f32, u32)> = BTreeMap::new();
    for guess in inferred.iter().filter(|guess| guess.confidence >= confidence_min) {
        let Some(at) = catalogue.attribute(&guess.attribute) else { continue };
        let attribute = &catalogue.attributes[at];
        let label = attribute.labels.iter().position(|label| *label == guess.label);
        let there = (guess.item as usize) < catalogue.len();
        let (Some(code), true) = (label, there) else { continue };
        if !attribute.codes(guess.item).is_empty() {
            continue;
        }
        let held = best.entry((at, guess.item)).or_insert((f32::NEG_INFINITY, 0));
        if guess.confidence > held.0 {
            *held = (guess.confidence, code as u32);
        }
    }
    let mut filled = catalogue.clone();
    for (at, attribute) in filled.attributes.iter_mut().enumerate() {
        let guess = |item: ItemId| best.get(&(at, item)).map(|(_, code)| *code);
        if best.range((at, 0)..=(at, ItemId::MAX)).next().is_some() {
            *attribute = with(attribute, guess);
        }
    }
    let sure = |(at, (confidence, _)): ((usize, ItemId), (f32, u32))| (at, confidence);
    Filled { catalogue: filled, inferred: best.into_iter().map(sure).collect() }
}

/// The attribute with one label more for some items that have none.
fn with(attribute: &Attribute, guess: impl Fn(ItemId) -> Option<u32>) -> Attribute {
    let items = attribute.offsets.len().saturating_sub(1) as ItemId;
    let (mut offsets, mut codes) = (vec![0], Vec::with_capacity(attribute.codes.len()));
    for item in 0..items {
        codes.extend(attribute.codes(item));
        codes.extend(guess(item));
        offsets.push(codes.len() as u32);
    }
    Attribute { offsets, codes, ..attribute.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Key;

    #[test]
    fn only_what_is_missing_is_filled_in_and_marked() {
        let attribute = Attribute {
            name: "genre".into(),
            labels: vec!["Comedy".into(), "Drama".into()],
            offsets: vec![0, 1, 1, 1, 3],
            codes: vec![0, 0, 1],
            numbers: Vec::new(),
        };
        let catalogue = Catalogue {
            keys: (0..4).map(Key::Int).collect(),
            titles: vec![Box::default(); 4],
            popularity: vec![0; 4],
            attributes: vec![attribute],
            ..Catalogue::default()
        };
        let guess = |item, label: &str, confidence| Inferred {
            item,
            attribute: "genre".into(),
            label: label.into(),
            confidence,
            known: false,
        };
        let inferred = [
            guess(0, "Drama", 1.0),
            guess(1, "Comedy", 0.6),
            guess(1, "Drama", 0.9),
            guess(2, "Drama", 0.4),
            guess(2, "Western", 0.9),
            guess(9, "Drama", 0.9),
        ];
        let filled = fill_in(&catalogue, &inferred, 0.5);
        assert_eq!(filled.inferred, Inferences::from([((0, 1), 0.9)]));
        let codes: Vec<&[u32]> = (0..4).map(|i| filled.catalogue.attributes[0].codes(i)).collect();
        assert_eq!(codes, [&[0][..], &[1], &[], &[0, 1]]);
        assert_eq!(fill_in(&catalogue, &inferred, 0.95).catalogue, catalogue);
    }
}
