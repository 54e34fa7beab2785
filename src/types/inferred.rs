//! What somebody thinks of an item's attribute, where nobody wrote it down.

use super::ItemId;

/// A label that a teacher gives an item.
#[derive(Clone, Debug, PartialEq)]
pub struct Inferred {
    /// The item.
    pub item: ItemId,
    /// The attribute's name.
    pub attribute: String,
    /// One of the attribute's labels.
    pub label: String,
    /// How sure the teacher is, 0 to 1.
    pub confidence: f32,
    /// Whether the item has a value, and was asked about to measure the teacher.
    pub known: bool,
}
