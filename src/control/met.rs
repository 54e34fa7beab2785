//! Whether an item meets a control: the definition that everything else here is derived from.

use crate::types::{Attribute, Catalogue, Control, ItemId, Relation};

/// Whether the item meets the control. An item whose value is unknown meets no control but `Not`.
///
/// Panics: if the control's attribute or the item is not in the catalogue.
#[inline]
pub fn met(catalogue: &Catalogue, control: &Control, item: ItemId) -> bool {
    let attribute = &catalogue.attributes[usize::from(control.attribute)];
    match control.relation {
        Relation::Is => has_any(attribute, &control.codes, item),
        Relation::Not => !has_any(attribute, &control.codes, item),
        // NaN, the unknown number, compares false with every bound.
        Relation::AtMost => attribute.number(item) <= control.bound,
        Relation::AtLeast => attribute.number(item) >= control.bound,
    }
}

/// Bit c of the result says that the item meets control c.
///
/// Panics: as [`met`]; and in debug builds if there are more than 32 controls.
#[inline]
pub fn met_mask(catalogue: &Catalogue, controls: &[Control], item: ItemId) -> u32 {
    debug_assert!(controls.len() <= 32, "a mask has 32 bits, found {} controls", controls.len());
    controls
        .iter()
        .enumerate()
        .fold(0, |mask, (c, control)| mask | u32::from(met(catalogue, control, item)) << c)
}

/// Whether the item meets every control.
#[inline]
pub fn all_met(catalogue: &Catalogue, controls: &[Control], item: ItemId) -> bool {
    controls.iter().all(|control| met(catalogue, control, item))
}

/// Both lists are short and mostly of length one: a plain scan beats a merge, a search, and the
/// blocks that `contains` compares.
#[inline]
fn has_any(attribute: &Attribute, wanted: &[u32], item: ItemId) -> bool {
    attribute.codes(item).iter().any(|code| wanted.iter().any(|w| w == code))
}
