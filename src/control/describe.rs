//! Controls in plain words, for reports and for `explain`.

use crate::types::{Catalogue, Control, Relation};

/// The control in plain words: `price is 10 to under 15`, `brand is not Acme`, `price at most 20`.
///
/// Panics: if the control was resolved against another catalogue.
pub fn describe(catalogue: &Catalogue, control: &Control) -> String {
    let name = &catalogue.attributes[usize::from(control.attribute)].name;
    let is = matches!(control.relation, Relation::Is | Relation::Not);
    format!("{name} {}{}", if is { "is " } else { "" }, wanted(catalogue, control))
}

/// What the control wants of its attribute: `10 to under 15`, `not Acme`, `at most 20`.
///
/// Panics: if the control was resolved against another catalogue.
pub fn wanted(catalogue: &Catalogue, control: &Control) -> String {
    let attribute = &catalogue.attributes[usize::from(control.attribute)];
    let labels = || {
        let words = control.codes.iter().map(|&code| attribute.labels[code as usize].as_str());
        words.collect::<Vec<_>>().join(" or ")
    };
    match control.relation {
        Relation::Is => labels(),
        Relation::Not => format!("{} {}", relation(Relation::Not), labels()),
        bounded => format!("{} {}", relation(bounded), control.bound),
    }
}

/// A comparison in plain words.
pub fn relation(relation: Relation) -> &'static str {
    match relation {
        Relation::Is => "is",
        Relation::Not => "not",
        Relation::AtMost => "at most",
        Relation::AtLeast => "at least",
    }
}
