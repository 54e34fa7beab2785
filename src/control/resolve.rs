//! From the words somebody wrote to codes and bounds of this catalogue.

use crate::types::{Asked, Attribute, Catalogue, Control, FaultKind, Relation};
use std::collections::HashMap;

/// The most controls of one row: each has a bit of a 32-bit mask.
pub const CONTROLS_MAX: usize = 32;

/// The names of a catalogue, folded to lower case and indexed once: a job resolves as many rows as
/// there are users, and a shop has tens of thousands of brands.
pub struct Names {
    attributes: HashMap<String, AttributeNames>,
}

struct AttributeNames {
    index: u16,
    numeric: bool,
    /// Several codes where labels differ in case only: whoever asks for one means all of them.
    labels: HashMap<String, Vec<u32>>,
}

impl Names {
    /// Indexes the attributes and labels of a catalogue. Of two attributes whose names differ in
    /// case only, the first is the one that can be asked for.
    pub fn new(catalogue: &Catalogue) -> Names {
        let mut attributes = HashMap::new();
        for (index, attribute) in catalogue.attributes.iter().enumerate() {
            // The first 65,536 attributes; no catalogue has as many columns.
            let Ok(index) = u16::try_from(index) else { break };
            attributes
                .entry(attribute.name.to_lowercase())
                .or_insert_with(|| AttributeNames::new(index, attribute));
        }
        Names { attributes }
    }

    /// Gives each ask its meaning. What cannot be understood is left out and named in the second
    /// list; the others are kept, in their order, at most [`CONTROLS_MAX`] of them.
    ///
    /// Attributes and labels match whole and without regard to case. Where some of the labels of
    /// `a|b` are unknown, the control keeps the known ones; where all are, it is left out.
    pub fn resolve(&self, asked: &[Asked]) -> (Vec<Control>, Vec<FaultKind>) {
        let (mut controls, mut problems) = (Vec::with_capacity(asked.len()), Vec::new());
        for ask in asked {
            let control = self.resolve_one(ask, &mut problems);
            controls.extend(control);
        }
        if controls.len() > CONTROLS_MAX {
            problems.push(FaultKind::Unreadable {
                column: "controls".into(),
                found: format!("{} controls, of which {CONTROLS_MAX} are used", controls.len()),
            });
            controls.truncate(CONTROLS_MAX);
        }
        (controls, problems)
    }

    fn resolve_one(&self, ask: &Asked, problems: &mut Vec<FaultKind>) -> Option<Control> {
        let unknown = |asked: String| FaultKind::UnknownControl { asked };
        let Some(names) = self.attributes.get(&ask.attribute.trim().to_lowercase()) else {
            problems.push(unknown(format!("attribute {:?}", ask.attribute)));
            return None;
        };
        let (attribute, relation) = (names.index, ask.relation);
        if matches!(relation, Relation::AtMost | Relation::AtLeast) {
            if !names.numeric {
                problems.push(unknown(format!("a number of {:?}", ask.attribute)));
                return None;
            }
            let Some(bound) = ask.value.trim().parse().ok().filter(|b: &f32| b.is_finite()) else {
                let (column, found) = (ask.attribute.clone(), ask.value.clone());
                problems.push(FaultKind::Unreadable { column, found });
                return None;
            };
            return Some(Control { attribute, relation, codes: Vec::new(), bound });
        }
        let mut codes = Vec::new();
        for label in ask.value.split('|').map(str::trim) {
            match names.labels.get(&label.to_lowercase()) {
                Some(known) => codes.extend(known),
                None => problems.push(unknown(format!("{} {label:?}", ask.attribute))),
            }
        }
        codes.sort_unstable();
        codes.dedup();
        (!codes.is_empty()).then_some(Control { attribute, relation, codes, bound: 0.0 })
    }
}

impl AttributeNames {
    fn new(index: u16, attribute: &Attribute) -> AttributeNames {
        let mut labels: HashMap<String, Vec<u32>> = HashMap::new();
        for (code, label) in (0..).zip(&attribute.labels) {
            labels.entry(label.trim().to_lowercase()).or_default().push(code);
        }
        AttributeNames { index, numeric: !attribute.numbers.is_empty(), labels }
    }
}

/// [`Names::resolve`] for one list of asks: a job's own controls, say.
pub fn resolve(catalogue: &Catalogue, asked: &[Asked]) -> (Vec<Control>, Vec<FaultKind>) {
    Names::new(catalogue).resolve(asked)
}
