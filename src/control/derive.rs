//! Controls that nobody wrote: read off the target, or drawn from what was retrieved.
//!
//! Both exist to measure how well an arm follows controls. Oracle controls say something about the
//! answer, so [`crate::types::ControlSource`] keeps the two apart in every figure.

use super::resolve::CONTROLS_MAX;
use crate::types::{Catalogue, Control, ItemId, Relation, mix64};

/// The target's own labels, one control for each attribute whose value is known: any of them
/// will do.
///
/// Source: COREC's protocol where the target is in the retrieved pool (arXiv 2511.17913, code).
/// Panics: if an attribute or the target is not in the catalogue.
pub fn oracle(catalogue: &Catalogue, attributes: &[usize], target: ItemId) -> Vec<Control> {
    attributes
        .iter()
        .filter_map(|&attribute| like(catalogue, attribute, target))
        .take(CONTROLS_MAX)
        .collect()
}

/// For each attribute the labels of one retrieved candidate, drawn among those whose value is known
/// by `mix64(seed ^ user_hash ^ attribute)`: it depends on the user alone.
///
/// Source: COREC's protocol where the target is not in the retrieved pool.
/// Panics: if an attribute or a candidate is not in the catalogue.
pub fn sampled(
    catalogue: &Catalogue,
    attributes: &[usize],
    candidates: &[ItemId],
    user_hash: u64,
    seed: u64,
) -> Vec<Control> {
    let draw = |&attribute: &usize| {
        let known = |item: &&ItemId| !catalogue.attributes[attribute].codes(**item).is_empty();
        let hash = mix64(seed ^ user_hash ^ attribute as u64);
        // The high half of the product: a draw below the count without a division's bias in it.
        let count = candidates.iter().filter(known).count();
        let nth = ((u128::from(hash) * count as u128) >> 64) as usize;
        candidates.iter().filter(known).nth(nth).and_then(|&i| like(catalogue, attribute, i))
    };
    attributes.iter().filter_map(draw).take(CONTROLS_MAX).collect()
}

/// The control that asks for any of the item's labels; none where the item has none.
fn like(catalogue: &Catalogue, attribute: usize, item: ItemId) -> Option<Control> {
    let codes = catalogue.attributes[attribute].codes(item).to_vec();
    let attribute = u16::try_from(attribute).ok()?;
    let control = Control { attribute, relation: Relation::Is, codes, bound: 0.0 };
    (!control.codes.is_empty()).then_some(control)
}
