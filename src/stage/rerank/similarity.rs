//! How alike two items are, by their vectors or by what they are labelled with.

use super::facts::{Embeddings, Facts};
use crate::error::{Error, Result};
use crate::types::{Attribute, ItemId};

/// Which similarity a step goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Similarity {
    /// The cosine of the items' embeddings, in [−1, 1].
    Embedding,
    /// The Jaccard index of an attribute's labels, in [0, 1]: |A ∩ B| / |A ∪ B|. An item without
    /// labels is like no other.
    Labels {
        /// Index into [`crate::types::Catalogue::attributes`].
        attribute: usize,
    },
}

/// A similarity with what it is computed from.
pub(super) enum Space<'a> {
    Vectors(&'a Embeddings),
    Labels(&'a Attribute),
}

impl Similarity {
    pub(super) fn check(self, facts: &Facts) -> Result<()> {
        let attributes = facts.catalogue.attributes.len();
        match self {
            Similarity::Labels { attribute } if attribute >= attributes => {
                Err(Error::Input(format!(
                    "similarity: expected one of the catalogue's {attributes} attributes, \
                     found index {attribute}"
                )))
            }
            Similarity::Labels { .. } => Ok(()),
            Similarity::Embedding => {
                let (found, items) =
                    (facts.embeddings.as_ref().map_or(0, |e| e.len()), facts.catalogue.len());
                if found == items && facts.embeddings.is_some() {
                    return Ok(());
                }
                Err(Error::Input(format!(
                    "similarity: expected embeddings of {items} items, found {found}: name a \
                     retriever, or use the labels of an attribute"
                )))
            }
        }
    }

    pub(super) fn of(self, facts: &Facts) -> Space<'_> {
        match self {
            Similarity::Embedding => {
                Space::Vectors(facts.embeddings.as_deref().expect("`Step::check` saw them"))
            }
            Similarity::Labels { attribute } => {
                Space::Labels(&facts.catalogue.attributes[attribute])
            }
        }
    }
}

impl Space<'_> {
    /// The similarity of two items: symmetric bit for bit, and of an item to itself not below
    /// that to any copy of it.
    #[inline]
    pub(super) fn between(&self, a: ItemId, b: ItemId) -> f32 {
        match self {
            Space::Vectors(vectors) => dot(vectors.row(a), vectors.row(b)),
            Space::Labels(attribute) => jaccard(attribute.codes(a), attribute.codes(b)),
        }
    }
}

/// In eight partial sums, which the compiler keeps in one register: the same order everywhere.
#[inline]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 8;
    let ((a, a_tail), (b, b_tail)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let tail: f32 = a_tail.iter().zip(b_tail).map(|(x, y)| x * y).sum();
    let mut sums = [0f32; LANES];
    for (x, y) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += x[lane] * y[lane];
        }
    }
    sums.iter().sum::<f32>() + tail
}

fn jaccard(a: &[u32], b: &[u32]) -> f32 {
    let (mut i, mut j, mut both) = (0, 0, 0);
    while i < a.len() && j < b.len() {
        match a[i].cmp(&b[j]) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => (i, j, both) = (i + 1, j + 1, both + 1),
        }
    }
    let either = a.len() + b.len() - both;
    if either == 0 { 0.0 } else { both as f32 / either as f32 }
}
