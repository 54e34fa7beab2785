//! A decoder's weights wherever they lie: whoever packs them for the processor and whoever copies
//! them to a device asks for the same rows, one at a time.

use super::layout::{self, Projection, SITES};
use super::resident::grown;
use super::table::Rows;
use super::{Decoder, DecoderConfig, load};
use crate::device::{Lora, Matrix, Precision};
use crate::error::Result;
use crate::model::adapter::Adapter;
use crate::model::resident::{Read, filled};

/// Where weights come from: writes a row of a tensor by its name.
pub type Fill<'a> = dyn Fn(&str, usize, &mut [f32]) -> Result<()> + 'a;

/// A matrix of a decoder.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    Embeddings,
    /// Of a decoder that is not tied.
    Head,
    /// Weights that are kept as one, the site's place in [`SITES`].
    Site {
        layer: usize,
        at: usize,
    },
}

/// A decoder's weights and adapters.
pub trait Source {
    fn config(&self) -> &DecoderConfig;
    /// In what the projections are kept.
    fn precision(&self) -> Precision;
    /// What writes a matrix's rows.
    fn matrix(&self, place: Place) -> Box<Read<'_>>;
    /// (outputs) of a site, or none.
    fn bias(&self, layer: usize, at: usize) -> Result<Vec<f32>>;
    /// Before a layer's attention, and before its forward products.
    fn norms(&self, layer: usize) -> Result<[Vec<f32>; 2]>;
    fn last_norm(&self) -> Result<Vec<f32>>;
    /// What each adapter does to a site.
    fn changes(&self, layer: usize, at: usize) -> Vec<Option<Lora>>;
    /// Of each adapter, the embeddings that it replaces.
    fn rows(&self) -> Vec<Option<Rows>>;
    /// What all adapters add to a device's weights: ranks of each site, rows of the embeddings.
    fn grown(&self) -> ([usize; 4], usize);
}

/// Weights by the names of their tensors; vectors are one row.
pub struct Named<'a> {
    pub config: &'a DecoderConfig,
    pub fill: &'a Fill<'a>,
    pub precision: Precision,
    pub adapters: &'a [Adapter],
}

impl Named<'_> {
    fn vector(&self, name: &str, length: usize) -> Result<Vec<f32>> {
        let mut to = vec![0.0; length];
        (self.fill)(name, 0, &mut to).map(|()| to)
    }

    /// What writes the rows of weights that are kept as one.
    fn site(&self, layer: usize, parts: &[Projection]) -> Box<Read<'_>> {
        let names: Vec<String> =
            parts.iter().map(|part| format!("{}.weight", part.name(layer))).collect();
        let shapes: Vec<[usize; 2]> = parts.iter().map(|part| part.shape(self.config)).collect();
        Box::new(move |output, to| {
            let (part, row) = load::locate(&shapes, output);
            (self.fill)(&names[part], row, to)
        })
    }
}

impl Source for Named<'_> {
    fn config(&self) -> &DecoderConfig {
        self.config
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn matrix(&self, place: Place) -> Box<Read<'_>> {
        match place {
            Place::Embeddings => Box::new(|row, to| (self.fill)(layout::EMBEDDINGS, row, to)),
            Place::Head => Box::new(|row, to| (self.fill)(layout::HEAD, row, to)),
            Place::Site { layer, at } => self.site(layer, SITES[at]),
        }
    }

    fn bias(&self, layer: usize, at: usize) -> Result<Vec<f32>> {
        let mut bias = Vec::new();
        for part in SITES[at].iter().filter(|part| part.has_bias(self.config)) {
            let name = format!("{}.bias", part.name(layer));
            bias.extend(self.vector(&name, part.shape(self.config)[0])?);
        }
        Ok(bias)
    }

    fn norms(&self, layer: usize) -> Result<[Vec<f32>; 2]> {
        let vector = |name: String| self.vector(&name, self.config.hidden);
        Ok([vector(layout::attention_norm(layer))?, vector(layout::forward_norm(layer))?])
    }

    fn last_norm(&self) -> Result<Vec<f32>> {
        self.vector(layout::LAST_NORM, self.config.hidden)
    }

    fn changes(&self, layer: usize, at: usize) -> Vec<Option<Lora>> {
        let change = |adapter| load::change(self.config, adapter, layer, SITES[at], Precision::F32);
        self.adapters.iter().map(change).collect()
    }

    fn rows(&self) -> Vec<Option<Rows>> {
        let hidden = self.config.hidden;
        self.adapters.iter().map(|adapter| Rows::of(adapter, hidden, Precision::F32)).collect()
    }

    fn grown(&self) -> ([usize; 4], usize) {
        grown(self.adapters.iter().map(Adapter::config))
    }
}

impl Source for Decoder {
    fn config(&self) -> &DecoderConfig {
        &self.config
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn matrix(&self, place: Place) -> Box<Read<'_>> {
        let matrix: &Matrix = match place {
            Place::Embeddings => self.embeddings(),
            Place::Head => &self.head.matrix,
            Place::Site { layer, at } => &self.layers[layer].sites()[at].weight,
        };
        Box::new(|row, to| {
            matrix.row(row, to);
            Ok(())
        })
    }

    fn bias(&self, layer: usize, at: usize) -> Result<Vec<f32>> {
        Ok(self.layers[layer].sites()[at].bias.clone())
    }

    fn norms(&self, layer: usize) -> Result<[Vec<f32>; 2]> {
        let layer = &self.layers[layer];
        Ok([layer.attention_norm.clone(), layer.forward_norm.clone()])
    }

    fn last_norm(&self) -> Result<Vec<f32>> {
        Ok(self.last_norm.clone())
    }

    fn changes(&self, layer: usize, at: usize) -> Vec<Option<Lora>> {
        self.layers[layer].sites()[at].adapters.clone()
    }

    fn rows(&self) -> Vec<Option<Rows>> {
        self.rows.clone()
    }

    fn grown(&self) -> ([usize; 4], usize) {
        let mut ranks = [0; 4];
        for layer in &self.layers {
            for (most, site) in ranks.iter_mut().zip(layer.sites()) {
                let changes = site.adapters.iter().flatten();
                let own = changes.map(|lora| filled(lora.factors().0.outputs())).sum::<usize>();
                *most = own.max(*most);
            }
        }
        (ranks, self.rows.iter().flatten().map(|rows| rows.places.len()).sum())
    }
}
