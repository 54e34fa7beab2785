//! How often each item was taken, as an attribute that can be asked for.

use crate::types::{Attribute, Catalogue};

/// What the attribute is called.
pub const POPULARITY: &str = "popularity";

/// Its labels, each of about a fifth of the items.
const LABELS: [&str; 5] = ["hidden gem", "little known", "known", "well known", "popular"];

/// The catalogue with an attribute `popularity`: the interactions of each item, and labels by
/// fifths of the items, the least known first. Equal counts have equal labels. Unchanged if it has
/// an attribute of that name.
pub fn with_popularity(catalogue: &Catalogue) -> Catalogue {
    let mut catalogue = catalogue.clone();
    if catalogue.attribute(POPULARITY).is_some() || catalogue.popularity.len() != catalogue.len() {
        return catalogue;
    }
    let mut sorted = catalogue.popularity.clone();
    sorted.sort_unstable();
    let label = |count: &u32| {
        let below = sorted.partition_point(|other| other < count);
        (below * LABELS.len() / sorted.len().max(1)) as u32
    };
    let attribute = Attribute {
        name: POPULARITY.to_owned(),
        labels: LABELS.iter().map(|label| (*label).to_owned()).collect(),
        offsets: (0..=catalogue.len() as u32).collect(),
        codes: catalogue.popularity.iter().map(label).collect(),
        numbers: catalogue.popularity.iter().map(|count| *count as f32).collect(),
    };
    catalogue.attributes.push(attribute);
    catalogue
}
