//! A BERT's weights: from files, from a function or drawn at random into packed matrices, and back.

use super::BertConfig;
use super::layout::{self, Projection, SITES};
use crate::device::{Lora, Matrix, Precision};
use crate::error::Result;
use crate::model::tensors::Tensors;
use crate::model::weights::places;
use crate::types::{mix64, normal};
use std::ops::Range;

/// Where weights come from: writes a row of a tensor by its name.
pub type Fill<'a> = dyn Fn(&str, usize, &mut [f32]) -> Result<()> + 'a;

/// Standard deviation of what is added to the stream, as in BERT.
const ADDED: f64 = 0.02;

/// An encoder of text as Devlin et al. (2018) have it, which normalises after each sum.
#[derive(Clone, Debug)]
pub struct Bert {
    pub(super) config: BertConfig,
    pub(super) precision: Precision,
    /// Rows of tokens, positions and kinds: always f32, since they are looked up and not
    /// multiplied.
    pub(super) tables: [Vec<f32>; 3],
    /// Weight, then bias, like the other norms.
    pub(super) first_norm: Vec<f32>,
    pub(super) layers: Vec<Layer>,
}

#[derive(Clone, Debug)]
pub(super) struct Layer {
    /// Its products, in the order of [`SITES`].
    pub sites: [Site; 4],
    pub attention_norm: Vec<f32>,
    pub last_norm: Vec<f32>,
}

/// Weights that are kept as one, and what is learned beside them.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub weight: Matrix,
    pub bias: Vec<f32>,
    /// None, or one.
    pub changes: Vec<Option<Lora>>,
}

impl Bert {
    /// Its dimensions.
    pub fn config(&self) -> &BertConfig {
        &self.config
    }

    /// In what its weights are kept.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Packs the tensors of a model, whose names may begin with `bert.`.
    ///
    /// Errors: see [`Tensors::check`] and [`Tensors::row`].
    pub fn read(config: BertConfig, tensors: &Tensors, precision: Precision) -> Result<Self> {
        let prefixed = tensors.names().any(|name| {
            name.strip_prefix(layout::PREFIX).is_some_and(|name| name == layout::TABLES[0])
        });
        let prefix = if prefixed { layout::PREFIX } else { "" };
        let mut expected = layout::tensors(&config);
        expected.iter_mut().for_each(|tensor| tensor.name.insert_str(0, prefix));
        tensors.check(&expected, layout::tolerated)?;
        Self::fill(config, precision, &|name, row, to| {
            tensors.row(&format!("{prefix}{name}"), row, to)
        })
    }

    /// Packs what `fill(tensor, row, to)` writes, row by row; vectors are one row.
    ///
    /// Errors: the first one of `fill`.
    pub fn fill(config: BertConfig, precision: Precision, fill: &Fill<'_>) -> Result<Self> {
        let BertConfig { vocabulary, hidden, context_max, kinds, .. } = config;
        let table = |at: usize, rows: usize| {
            let mut table = vec![0.0; rows * hidden];
            for (row, to) in table.chunks_exact_mut(hidden).enumerate() {
                fill(layout::TABLES[at], row, to)?;
            }
            Ok(table)
        };
        let tables = [table(0, vocabulary)?, table(1, context_max)?, table(2, kinds)?];
        let norm = |name: &str| {
            let mut both = vec![0.0; 2 * hidden];
            let (weight, bias) = both.split_at_mut(hidden);
            fill(&format!("{name}.weight"), 0, weight)?;
            fill(&format!("{name}.bias"), 0, bias).map(|()| both)
        };
        let layer = |l: usize| {
            let site = |at: usize| site(&config, l, SITES[at], precision, fill);
            Ok(Layer {
                sites: [site(0)?, site(1)?, site(2)?, site(3)?],
                attention_norm: norm(&layout::attention_norm(l))?,
                last_norm: norm(&layout::last_norm(l))?,
            })
        };
        let layers = (0..config.layers).map(layer).collect::<Result<Vec<Layer>>>()?;
        let first_norm = norm(layout::FIRST_NORM)?;
        Ok(Self { config, precision, tables, first_norm, layers })
    }

    /// A BERT in f32 that has learned nothing yet: matrices normal, biases 0, norms 1. Their
    /// deviation is that of [`crate::model::decoder::Decoder::random`], and for the same reason.
    ///
    /// Errors: see [`BertConfig::check`].
    pub fn random(config: BertConfig, seed: u64) -> Result<Self> {
        config.check()?;
        Self::fill(config, Precision::F32, &|name, row, to| {
            if name.ends_with(".bias") || name.contains("LayerNorm") {
                to.fill(f32::from(!name.ends_with(".bias")));
                return Ok(());
            }
            let deviation = match name.contains("output.dense") {
                true => ADDED,
                false => 1.0 / (to.len() as f64).sqrt(),
            };
            let key = name.bytes().fold(mix64(seed), |key, byte| mix64(key ^ u64::from(byte)));
            let key = mix64(key ^ row as u64);
            for (i, x) in (0..).zip(to) {
                *x = (normal(mix64(key ^ i)) * deviation) as f32;
            }
            Ok(())
        })
    }

    /// All weights, one tensor after the other in the order of [`layout::tensors`], with what was
    /// learned beside them added.
    pub fn weights(&self) -> Vec<f32> {
        let mut all = Vec::new();
        self.tables.iter().for_each(|table| all.extend_from_slice(table));
        all.extend_from_slice(&self.first_norm);
        for layer in &self.layers {
            for (site, parts) in layer.sites.iter().zip(SITES) {
                let mut start = 0;
                for part in parts {
                    let outputs = start..start + part.shape(&self.config)[0];
                    start = outputs.end;
                    site.rows(outputs.clone(), &mut all);
                    all.extend_from_slice(&site.bias[outputs]);
                    if *part == Projection::Output {
                        all.extend_from_slice(&layer.attention_norm);
                    }
                }
            }
            all.extend_from_slice(&layer.last_norm);
        }
        all
    }

    /// The same with other weights, in the order of [`Bert::weights`].
    ///
    /// Errors: none that a finite weight can cause.
    pub fn with_weights(&self, precision: Precision, weights: &[f32]) -> Result<Self> {
        let places = places(&layout::tensors(&self.config));
        Self::fill(self.config.clone(), precision, &|name, row, to| {
            let start = places[name].start + row * to.len();
            to.copy_from_slice(&weights[start..start + to.len()]);
            Ok(())
        })
    }
}

impl Site {
    /// Appends some rows: weight + scale · up · down.
    pub fn rows(&self, rows: Range<usize>, all: &mut Vec<f32>) {
        let inputs = self.weight.inputs();
        let change = self.changes.iter().flatten().next().map(Lora::factors);
        let downs = change.map(|(down, ..)| unpack(down));
        for row in rows {
            let start = all.len();
            all.resize(start + inputs, 0.0);
            self.weight.row(row, &mut all[start..]);
            if let (Some((_, up, scale)), Some(downs)) = (change, &downs) {
                let mut factors = vec![0.0; up.inputs()];
                up.row(row, &mut factors);
                for (factor, down) in factors.iter().zip(downs.chunks_exact(inputs)) {
                    for (to, x) in all[start..].iter_mut().zip(down) {
                        *to = (scale * factor).mul_add(*x, *to);
                    }
                }
            }
        }
    }

    /// What gradients are multiplied by in its place.
    pub fn transposed(&self) -> Self {
        let changes = self.transposed_changes();
        Self { weight: self.weight.transposed(), bias: Vec::new(), changes }
    }

    pub fn transposed_changes(&self) -> Vec<Option<Lora>> {
        self.changes.iter().map(|lora| lora.as_ref().map(Lora::transposed)).collect()
    }
}

fn unpack(matrix: &Matrix) -> Vec<f32> {
    let mut rows = vec![0.0; matrix.outputs() * matrix.inputs()];
    let lines = rows.chunks_exact_mut(matrix.inputs()).enumerate();
    lines.for_each(|(i, row)| matrix.row(i, row));
    rows
}

/// Packs weights that are kept as one.
fn site(
    config: &BertConfig,
    layer: usize,
    parts: &[Projection],
    precision: Precision,
    fill: &Fill<'_>,
) -> Result<Site> {
    let [outputs, inputs] = parts[0].shape(config); // the parts of one are of one shape
    let names: Vec<String> = parts.iter().map(|part| part.name(layer)).collect();
    let weights: Vec<String> = names.iter().map(|name| format!("{name}.weight")).collect();
    let weight = Matrix::pack(precision, [parts.len() * outputs, inputs], |output, to| {
        fill(&weights[output / outputs], output % outputs, to)
    })?;
    let mut bias = vec![0.0; parts.len() * outputs];
    for (name, to) in names.iter().zip(bias.chunks_exact_mut(outputs)) {
        fill(&format!("{name}.bias"), 0, to)?;
    }
    Ok(Site { weight, bias, changes: Vec::new() })
}
