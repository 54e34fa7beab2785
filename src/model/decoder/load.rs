//! A decoder's weights, from files or from a function, into packed matrices.

use super::layout::{self, Projection, SITES};
use super::table::{Rows, Table};
use super::{Decoder, DecoderConfig, Layer, Site};
use crate::device::{Lora, Matrix, Precision};
use crate::error::Result;
use crate::model::adapter::Adapter;
use crate::model::tensors::{TensorFiles, Tensors};
use std::path::Path;

/// Where weights come from: writes a row of a tensor by its name.
type Fill<'a> = dyn Fn(&str, usize, &mut [f32]) -> Result<()> + 'a;

impl Decoder {
    /// Loads a folder in Hugging Face layout: `config.json` and the weights. Without a precision, a
    /// file in f32 is kept in f32 and others in bf16.
    ///
    /// Errors: [`Error::Io`] for what cannot be opened, [`Error::Model`] for what is not
    /// implemented, missing, extra, mis-shaped or not finite.
    pub fn open(folder: &Path, precision: Option<Precision>) -> Result<Self> {
        Self::open_extended(folder, precision, &[])
    }

    /// As [`Decoder::open`], with more tokens: the rows of each, in the embeddings and in the
    /// logits' matrix, are the means of those of the tokens that say what it means.
    ///
    /// Errors: those of [`Decoder::open`]; a token that says something and is not there.
    pub fn open_extended(
        folder: &Path,
        precision: Option<Precision>,
        meanings: &[Vec<u32>],
    ) -> Result<Self> {
        let mut config = DecoderConfig::open(folder)?;
        let files = TensorFiles::open(folder)?;
        let tensors = files.tensors(&folder.display().to_string())?;
        let kept = if tensors.all_f32() { Precision::F32 } else { Precision::Bf16 };
        let expected = layout::tensors(&config);
        tensors.check(&expected, |name| layout::tolerated(&config, name))?;
        let before = config.vocabulary;
        config.vocabulary += meanings.len();
        let fill = |name: &str, row: usize, to: &mut [f32]| {
            let table = name == layout::EMBEDDINGS || name == layout::HEAD;
            match row.checked_sub(before).filter(|_| table).map(|added| &meanings[added]) {
                None => tensors.row(name, row, to),
                Some(tokens) => mean_row(&tensors, name, tokens, to),
            }
        };
        Self::fill(config, precision.unwrap_or(kept), &fill)
    }

    /// As [`Decoder::open`], with the adapter in PEFT's folder if there is one, and the number by
    /// which prompts choose it. Tokens that the adapter adds have its rows; in the logits' matrix
    /// of a model that is not tied they have rows of zeros, since the layout has no place for them.
    ///
    /// Errors: those of [`Decoder::open`] and [`Adapter::open`].
    pub fn open_adapted(
        folder: &Path,
        precision: Option<Precision>,
        adapter: Option<&Path>,
    ) -> Result<(Self, Option<u32>)> {
        let Some(adapter) = adapter else { return Ok((Self::open(folder, precision)?, None)) };
        let mut config = DecoderConfig::open(folder)?;
        let before = config.vocabulary;
        let adapter = Adapter::open_growing(adapter, &mut config)?;
        let meanings = vec![Vec::new(); config.vocabulary - before];
        let mut decoder = Self::open_extended(folder, precision, &meanings)?;
        let number = decoder.attach(&adapter);
        Ok((decoder, Some(number)))
    }

    /// Packs the tensors of a model.
    ///
    /// Errors: see [`Tensors::check`] and [`Tensors::row`].
    pub fn read(
        config: DecoderConfig,
        tensors: &Tensors<'_>,
        precision: Precision,
    ) -> Result<Self> {
        let expected = layout::tensors(&config);
        tensors.check(&expected, |name| layout::tolerated(&config, name))?;
        Self::fill(config, precision, &|name, row, to| tensors.row(name, row, to))
    }

    /// Packs what `fill(tensor, row, to)` writes, row by row; vectors are one row.
    ///
    /// Errors: the first one of `fill`.
    pub fn fill(config: DecoderConfig, precision: Precision, fill: &Fill<'_>) -> Result<Self> {
        let DecoderConfig { vocabulary, hidden, .. } = config;
        let table = |name: &str| {
            Matrix::pack(precision.apart(), [vocabulary, hidden], |row, to| fill(name, row, to))
        };
        let embeddings = table(layout::EMBEDDINGS)?;
        let (untied, head) = match config.tied {
            true => (None, embeddings),
            false => (Some(embeddings), table(layout::HEAD)?),
        };
        let head = Table::plain(head);
        let vector = |name: String| {
            let mut to = vec![0.0; hidden];
            fill(&name, 0, &mut to).map(|()| to)
        };
        let layer = |l: usize| {
            let site = |at: usize| site(&config, l, SITES[at], precision, fill);
            Ok(Layer {
                attention_norm: vector(layout::attention_norm(l))?,
                qkv: site(0)?,
                output: site(1)?,
                forward_norm: vector(layout::forward_norm(l))?,
                gate_up: site(2)?,
                down: site(3)?,
            })
        };
        let layers = (0..config.layers).map(layer).collect::<Result<Vec<Layer>>>()?;
        let last_norm = vector(layout::LAST_NORM.into())?;
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
        let (tokens, values) = adapter.rows();
        let width = self.config.hidden;
        let fill = |row: usize, to: &mut [f32]| {
            to.copy_from_slice(&values[row * width..][..width]);
            Ok::<(), std::convert::Infallible>(())
        };
        let Ok(matrix) = Matrix::pack(self.precision.apart(), [tokens.len(), width], fill);
        let rows = Rows { places: tokens.to_vec(), matrix };
        let rows = (!tokens.is_empty()).then_some(rows);
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

/// The mean of some rows of a tensor; zeros of none.
fn mean_row(tensors: &Tensors<'_>, name: &str, rows: &[u32], to: &mut [f32]) -> Result<()> {
    let mut row = vec![0.0; to.len()];
    to.fill(0.0);
    for at in rows {
        tensors.row(name, *at as usize, &mut row)?;
        to.iter_mut().zip(&row).for_each(|(to, x)| *to += x / rows.len() as f32);
    }
    Ok(())
}

/// Which part an output of weights that are kept as one belongs to, and its row there.
fn locate(shapes: &[[usize; 2]], mut output: usize) -> (usize, usize) {
    for (part, [outputs, _]) in shapes.iter().enumerate() {
        if output < *outputs {
            return (part, output);
        }
        output -= outputs;
    }
    unreachable!("an output of one of the parts")
}

fn site(
    config: &DecoderConfig,
    layer: usize,
    parts: &[Projection],
    precision: Precision,
    fill: &Fill<'_>,
) -> Result<Site> {
    let names: Vec<String> = parts.iter().map(|part| part.name(layer)).collect();
    let weights: Vec<String> = names.iter().map(|name| format!("{name}.weight")).collect();
    let shapes: Vec<[usize; 2]> = parts.iter().map(|part| part.shape(config)).collect();
    let outputs = shapes.iter().map(|shape| shape[0]).sum();
    let weight = Matrix::pack(precision, [outputs, shapes[0][1]], |output, to| {
        let (part, row) = locate(&shapes, output);
        fill(&weights[part], row, to)
    })?;
    let mut bias = Vec::new();
    for ((part, name), shape) in parts.iter().zip(&names).zip(&shapes) {
        if part.has_bias(config) {
            let start = bias.len();
            bias.resize(start + shape[0], 0.0);
            fill(&format!("{name}.bias"), 0, &mut bias[start..])?;
        }
    }
    Ok(Site { weight, bias, adapters: Vec::new() })
}

/// What an adapter does to weights that are kept as one: its ranks one after the other, each of
/// which reaches the outputs of its own part alone.
fn change(
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
    let inputs = shapes[0][1];
    let outputs = shapes.iter().map(|shape| shape[0]).sum();
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
