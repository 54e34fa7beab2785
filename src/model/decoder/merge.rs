//! What an adapter learned, merged into the weights: a decoder like any other.

use super::Decoder;
use super::layout::{self, Projection};
use crate::error::Result;
use crate::model::adapter::Adapter;
use crate::model::weights::places;

impl Decoder {
    /// weight + scale · B · A of every projection that an adapter changes, and the adapter's own
    /// rows of the embeddings; kept in the same precision, without adapters.
    ///
    /// Errors: none that finite weights can cause.
    pub fn merged(&self, adapter: &Adapter) -> Result<Self> {
        let config = &self.config;
        let (mut weights, places) = (self.weights(), places(&layout::tensors(config)));
        let (rank, scale) = (adapter.config().rank, adapter.config().scale());
        for (l, part) in (0..config.layers).flat_map(|l| Projection::ALL.map(|part| (l, part))) {
            let Some((down, up)) = adapter.factors(l, part) else { continue };
            let inputs = part.shape(config)[1];
            let weight = &mut weights[places[&format!("{}.weight", part.name(l))].clone()];
            for (row, factors) in weight.chunks_exact_mut(inputs).zip(up.chunks_exact(rank)) {
                for (factor, down) in factors.iter().zip(down.chunks_exact(inputs)) {
                    let change = row.iter_mut().zip(down);
                    change.for_each(|(to, x)| *to = (scale * factor).mul_add(*x, *to));
                }
            }
        }
        let (tokens, rows) = adapter.rows();
        for (token, row) in tokens.iter().zip(rows.chunks_exact(config.hidden)) {
            let start = places[layout::EMBEDDINGS].start + *token as usize * config.hidden;
            weights[start..start + config.hidden].copy_from_slice(row);
        }
        self.with_weights(&weights)
    }

    /// The same with other weights, in the order of [`Decoder::weights`], and without adapters.
    ///
    /// Errors: none that finite weights can cause.
    ///
    /// Panics: if they are too few.
    pub fn with_weights(&self, weights: &[f32]) -> Result<Self> {
        let places = places(&layout::tensors(&self.config));
        Self::fill(self.config.clone(), self.precision, &|name, row, to| {
            let start = places[name].start + row * to.len();
            to.copy_from_slice(&weights[start..start + to.len()]);
            Ok(())
        })
    }
}
