//! What the steps may look up besides the row: the same for every row of the run.

use crate::error::{Error, Result};
use crate::types::{Catalogue, ItemId};
use std::sync::Arc;

/// What the steps may look up besides the row.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The items' attributes.
    pub catalogue: Arc<Catalogue>,
    /// The items' vectors, where the run has a model that gives them.
    pub embeddings: Option<Arc<Embeddings>>,
}

/// One vector for each item, of length one, so that a product of two is their cosine.
#[derive(Debug)]
pub struct Embeddings {
    width: usize,
    vectors: Vec<f32>,
}

impl Embeddings {
    /// Normalises the rows of a matrix; a row of zeros (an item that was never learned) stays.
    ///
    /// Shapes: vectors (V, width) row-major, by item id.
    /// Errors: a length that is no multiple of the width, or a value that is not finite.
    pub fn new(width: usize, mut vectors: Vec<f32>) -> Result<Embeddings> {
        if width == 0 || !vectors.len().is_multiple_of(width) {
            return Err(Error::Model(format!(
                "item embeddings: expected rows of width {width}, found {} values",
                vectors.len()
            )));
        }
        for (item, row) in vectors.chunks_exact_mut(width).enumerate() {
            // In f64, where the square of no finite f32 overflows or vanishes.
            let norm = row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
            if !norm.is_finite() {
                return Err(Error::Model(format!(
                    "item embeddings: expected finite values, found NaN or ±∞ in item {item}'s row"
                )));
            }
            if norm > 0.0 {
                row.iter_mut().for_each(|x| *x = (f64::from(*x) / norm) as f32);
            }
        }
        Ok(Embeddings { width, vectors })
    }

    /// An item's vector.
    #[inline]
    pub fn row(&self, item: ItemId) -> &[f32] {
        let at = item as usize * self.width;
        &self.vectors[at..at + self.width]
    }

    /// How many items have a vector.
    pub fn len(&self) -> usize {
        self.vectors.len() / self.width
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.vectors.is_empty()
    }
}
