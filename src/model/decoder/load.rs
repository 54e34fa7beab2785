//! A decoder's weights, from files or from a function, into packed matrices.

use super::layout::{Projection, SITES};
use super::source::{Fill, Named, Place, Source};
use super::table::{Rows, Table};
use super::{Decoder, DecoderConfig, DecoderFiles, Layer, Site};
use crate::device::{Lora, Matrix, Precision};
use crate::error::Result;
use crate::model::adapter::Adapter;
use std::path::Path;

impl Decoder {
    /// Loads a folder, see [`DecoderFiles::open`] and [`DecoderFiles::load`].
    ///
    /// Errors: theirs.
    pub fn open(folder: &Path, precision: Option<Precision>) -> Result<Self> {
        DecoderFiles::open(folder)?.kept_in(precision).load()
    }

    /// Packs what `fill(tensor, row, to)` writes, row by row; vectors are one row.
    ///
    /// Errors: the first one of `fill`.
    pub fn fill(config: DecoderConfig, precision: Precision, fill: &Fill<'_>) -> Result<Self> {
        let from = Named { config: &config, fill, precision, adapters: &[] };
        let table = |place: Place| {
            let size = [config.vocabulary, config.hidden];
            Matrix::pack(precision.apart(), size, from.matrix(place))
        };
        let embeddings = table(Place::Embeddings)?;
        let (untied, head) = match config.tied {
            true => (None, embeddings),
            false => (Some(embeddings), table(Place::Head)?),
        };
        let head = Table::plain(head);
        let site = |layer: usize, at: usize| {
            let size = size(&config, SITES[at]);
            let weight = Matrix::pack(precision, size, from.matrix(Place::Site { layer, at }))?;
            Ok(Site { weight, bias: from.bias(layer, at)?, adapters: Vec::new() })
        };
        let layer = |l: usize| {
            let [attention_norm, forward_norm] = from.norms(l)?;
            Ok(Layer {
                attention_norm,
                qkv: site(l, 0)?,
                output: site(l, 1)?,
                forward_norm,
                gate_up: site(l, 2)?,
                down: site(l, 3)?,
            })
        };
        let layers = (0..config.layers).map(layer).collect::<Result<Vec<Layer>>>()?;
        let last_norm = from.last_norm()?;
        Ok(Self { config, precision, untied, head, layers, last_norm, rows: Vec::new() })
    }

    /// Adds an adapter that prompts may choose, by the number that is returned.
    ///
    /// Panics: if it was read for another configuration.
    pub fn attach(&mut self, adapter: &Adapter) -> u32 {
        let number = self.adapters();
        for (l, layer) in self.layers.iter_mut().enumerate() {
            let sites = [&mut layer.qkv, &mut layer.output, &mut layer.gate_up, &mut layer.down];
            for (site, parts) in sites.into_iter().zip(SITES) {
                site.adapters.push(change(&self.config, adapter, l, parts, self.precision));
            }
        }
        let rows = Rows::of(adapter, self.config.hidden, self.precision.apart());
        self.head.replaced.push(rows.clone().filter(|_| self.config.tied));
        self.rows.push(rows);
        number
    }

    /// Takes the adapter that was attached last away.
    pub(super) fn detach(&mut self) {
        for layer in &mut self.layers {
            for site in [&mut layer.qkv, &mut layer.output, &mut layer.gate_up, &mut layer.down] {
                site.adapters.pop();
            }
        }
        self.head.replaced.pop();
        self.rows.pop();
    }
}

/// Which part an output of weights that are kept as one belongs to, and its row there.
pub(super) fn locate(shapes: &[[usize; 2]], mut output: usize) -> (usize, usize) {
    for (part, [outputs, _]) in shapes.iter().enumerate() {
        if output < *outputs {
            return (part, output);
        }
        output -= outputs;
    }
    unreachable!("an output of one of the parts")
}

/// Outputs and inputs of weights that are kept as one.
pub(super) fn size(config: &DecoderConfig, parts: &[Projection]) -> [usize; 2] {
    let shapes = || parts.iter().map(|part| part.shape(config));
    [shapes().map(|shape| shape[0]).sum(), shapes().map(|shape| shape[1]).max().unwrap_or(0)]
}

/// What an adapter does to weights that are kept as one: its ranks one after the other, each of
/// which reaches the outputs of its own part alone.
pub(super) fn change(
    config: &DecoderConfig,
    adapter: &Adapter,
    layer: usize,
    parts: &[Projection],
    precision: Precision,
) -> Option<Lora> {
    let rank = adapter.config().rank;
    let shapes: Vec<[usize; 2]> = parts.iter().map(|part| part.shape(config)).collect();
    let factors: Vec<_> = parts.iter().map(|part| adapter.factors(layer, *part)).collect();
    let mut ranks = 0;
    let starts: Vec<usize> = factors
        .iter()
        .map(|factors| {
            let start = ranks;
            ranks += if factors.is_some() { rank } else { 0 };
            start
        })
        .collect();
    if ranks == 0 {
        return None;
    }
    let [outputs, inputs] = size(config, parts);
    let downs: Vec<&[f32]> = factors.iter().flatten().map(|(down, _)| *down).collect();
    let down = |row: usize, to: &mut [f32]| {
        to.copy_from_slice(&downs[row / rank][row % rank * inputs..][..inputs]);
        Ok::<(), std::convert::Infallible>(())
    };
    let up = |output: usize, to: &mut [f32]| {
        let (part, row) = locate(&shapes, output);
        to.fill(0.0);
        if let Some((_, up)) = factors[part] {
            to[starts[part]..][..rank].copy_from_slice(&up[row * rank..][..rank]);
        }
        Ok::<(), std::convert::Infallible>(())
    };
    let (Ok(down), Ok(up)) = (
        Matrix::pack(precision, [ranks, inputs], down),
        Matrix::pack(precision.apart(), [outputs, ranks], up),
    );
    Some(Lora::new(down, up, adapter.config().scale()))
}
