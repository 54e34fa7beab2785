//! Controls in plain words, for reports and for `explain`.

use crate::types::{Catalogue, Control, Relation};

/// The control in plain words: `price is 10 to under 15`, `brand is not Acme`, `price at most 20`.
///
/// Panics: if the control was resolved against another catalogue.
pub fn describe(catalogue: &Catalogue, control: &Control) -> String {
    let attribute = &catalogue.attributes[usize::from(control.attribute)];
    let name = &attribute.name;
    let labels = || {
        let words = control.codes.iter().map(|&code| attribute.labels[code as usize].as_str());
        words.collect::<Vec<_>>().join(" or ")
    };
    match control.relation {
        Relation::Is => format!("{name} is {}", labels()),
        Relation::Not => format!("{name} is not {}", labels()),
        Relation::AtMost => format!("{name} at most {}", control.bound),
        Relation::AtLeast => format!("{name} at least {}", control.bound),
    }
}
