//! A decoder that learns: what of it is trained, as one vector of parameters, and what the
//! backward pass multiplies by.

use super::layout::{self, Projection, SITES};
use super::table::Table;
use super::{Decoder, DecoderConfig, Prompt, Site};
use crate::device::{Lora, Matrix, Precision};
use crate::error::{Error, Result};
use crate::model::adapter::{Adapter, AdapterConfig};
use crate::model::weights::{TensorSpec, places};
use crate::types::{mix64, unit_f64};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::OnceLock;

/// What of a decoder is trained.
#[derive(Clone, Debug, PartialEq)]
pub enum Trained {
    /// The factors of an adapter, and the rows of its tokens. The decoder stays as it is.
    Adapter(AdapterConfig),
    /// Every weight.
    Full,
}

/// A decoder, what of it is trained, and the labels whose logits it learns.
#[derive(Clone, Debug)]
pub struct Learner {
    pub(super) decoder: Decoder,
    /// The parameters' last known values, unless every weight is trained.
    pub(super) adapter: Option<Adapter>,
    tensors: Vec<TensorSpec>,
    pub(super) places: BTreeMap<String, Range<usize>>,
    /// Each layer's products transposed, in the order of [`SITES`]: made when they are needed,
    /// which they are not on a device.
    transposed: OnceLock<Vec<[Site; 4]>>,
    labels: Vec<u32>,
    pub(super) table: Table,
    pub(super) table_transposed: Matrix,
}

impl Learner {
    /// Prepares a decoder for training. A new adapter's A is uniform within ±1 / √inputs, its B is
    /// 0, and its rows are the decoder's.
    ///
    /// Errors: [`Error::Model`] for labels or tokens that are not in the vocabulary, a rank of 0, a
    /// decoder that has adapters already, and one whose weights are to be trained and are not in
    /// f32.
    pub fn new(mut decoder: Decoder, trained: &Trained, labels: &[u32], seed: u64) -> Result<Self> {
        let refuse = |why: &str| Err(Error::Model(format!("training a decoder: {why}")));
        if decoder.adapters() > 0 {
            return refuse("expected one without adapters: open it anew");
        }
        if decoder.precision() == Precision::Fp8 {
            return refuse("expected f32 or bf16, found fp8, which has no gradients");
        }
        if labels.is_empty() {
            return refuse("expected at least one label, found none");
        }
        let (adapter, tensors) = match trained {
            Trained::Full if decoder.precision() != Precision::F32 => {
                return refuse("every weight is to be trained: expected f32: open it in f32");
            }
            Trained::Full => (None, layout::tensors(&decoder.config)),
            Trained::Adapter(config) if config.rank == 0 || config.targets.is_empty() => {
                return refuse("expected an adapter of rank 1 or more that changes a projection");
            }
            Trained::Adapter(config) => {
                let adapter = start(&decoder, config, seed)?;
                let tensors = adapter.tensors().to_vec();
                decoder.attach(&adapter);
                (Some(adapter), tensors)
            }
        };
        let places = places(&tensors);
        let (table, table_transposed) = effective(&decoder, labels)?;
        let (transposed, labels) = (OnceLock::new(), labels.to_vec());
        Ok(Self { decoder, adapter, tensors, places, transposed, labels, table, table_transposed })
    }

    /// The decoder as it is now, with what is trained as its only adapter.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// The decoder, with what was learned merged into its weights.
    ///
    /// Errors: none that finite weights can cause.
    pub fn merged(&self) -> Result<Decoder> {
        match &self.adapter {
            None => Ok(self.decoder.clone()),
            Some(adapter) => self.decoder.merged(adapter),
        }
    }

    /// The adapter as it is now, unless every weight is trained.
    pub fn adapter(&self) -> Option<&Adapter> {
        self.adapter.as_ref()
    }

    /// The labels whose logits it learns.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Names and shapes of the parameters, one after the other.
    pub fn tensors(&self) -> &[TensorSpec] {
        &self.tensors
    }

    /// The parameters as they are now.
    pub fn parameters(&self) -> Vec<f32> {
        match &self.adapter {
            Some(adapter) => adapter.weights().to_vec(),
            None => self.decoder.weights(),
        }
    }

    /// Goes on with other parameters.
    ///
    /// Panics: if they are not as many as [`Learner::parameters`].
    pub fn set(&mut self, parameters: &[f32]) -> Result<()> {
        match &mut self.adapter {
            Some(adapter) => {
                adapter.weights_mut().copy_from_slice(parameters);
                self.decoder.detach();
                self.decoder.attach(adapter);
                let transposed = self.transposed.get_mut().into_iter().flatten();
                for (to, layer) in transposed.zip(&self.decoder.layers) {
                    for (to, site) in to.iter_mut().zip(layer.sites()) {
                        to.adapters = transpose_adapters(site);
                    }
                }
            }
            None => {
                self.decoder = self.decoder.with_weights(parameters)?;
                self.transposed = OnceLock::new();
            }
        }
        (self.table, self.table_transposed) = effective(&self.decoder, &self.labels)?;
        Ok(())
    }

    /// What the backward pass multiplies a layer's gradients by.
    pub(super) fn transposed(&self, layer: usize) -> &[Site; 4] {
        let layers = self.decoder.layers.iter();
        let all = || layers.map(|layer| layer.sites().map(transpose)).collect();
        &self.transposed.get_or_init(all)[layer]
    }

    /// The adapter of prompts that choose what is trained.
    pub fn choice(&self) -> Option<u32> {
        self.adapter.is_some().then_some(0)
    }

    /// Prompts that choose what is trained.
    pub fn prompts<'a>(&self, tokens: impl Iterator<Item = &'a [u32]>) -> Vec<Prompt> {
        let adapter = self.choice();
        tokens.map(|tokens| Prompt { tokens: tokens.to_vec(), adapter }).collect()
    }

    /// The part of a gradient that belongs to a tensor; empty when it is not trained.
    pub(super) fn part<'a>(&self, gradient: &'a mut [f32], name: &str) -> &'a mut [f32] {
        match self.places.get(name) {
            Some(range) => &mut gradient[range.clone()],
            None => &mut [],
        }
    }

    /// The part of a gradient that belongs to a projection, as the weight and its bias, or as A and
    /// B; none when it is not trained.
    pub(super) fn projection<'a>(
        &self,
        gradient: &'a mut [f32],
        layer: usize,
        projection: Projection,
    ) -> Option<[&'a mut [f32]; 2]> {
        let [first, second] = match &self.adapter {
            Some(adapter) => adapter.places(layer, projection)?,
            None => {
                let name = projection.name(layer);
                let weight = self.places[&format!("{name}.weight")].clone();
                let bias = self.places.get(&format!("{name}.bias")).cloned();
                let none = weight.end..weight.end;
                [weight, bias.unwrap_or(none)]
            }
        };
        let (a, b) = gradient[first.start..second.end].split_at_mut(first.len());
        Some([a, b])
    }

    /// Which row of [`Learner::embeddings`] a token is.
    pub(super) fn row(&self, token: u32) -> Option<u32> {
        match &self.adapter {
            None => Some(token),
            Some(adapter) => {
                let place = adapter.config().tokens.iter().position(|trained| *trained == token);
                place.map(|place| place as u32)
            }
        }
    }

    /// Where a token's embedding is among the parameters, if it is trained.
    pub fn place(&self, token: u32) -> Option<Range<usize>> {
        let config = &self.decoder.config;
        let first = match &self.adapter {
            None => self.places.get(layout::EMBEDDINGS)?.start,
            Some(adapter) => adapter.weights().len() - adapter.rows().1.len(),
        };
        let row = self.row(token).filter(|_| (token as usize) < config.vocabulary)?;
        let start = first + row as usize * config.hidden;
        Some(start..start + config.hidden)
    }

    /// The part of a gradient that belongs to the embeddings, or to those that are trained.
    pub(super) fn embeddings<'a>(&self, gradient: &'a mut [f32]) -> &'a mut [f32] {
        match &self.adapter {
            None => self.part(gradient, layout::EMBEDDINGS),
            Some(adapter) => {
                let start = gradient.len() - adapter.rows().1.len();
                &mut gradient[start..]
            }
        }
    }

    /// Which tensors weight decay leaves alone: norms and biases.
    pub fn undecayed(&self) -> Vec<Range<usize>> {
        let alone = |name: &str| name.contains("norm") || name.ends_with(".bias");
        let ranges = self.places.iter().filter(|(name, _)| alone(name));
        let mut ranges: Vec<Range<usize>> = ranges.map(|(_, range)| range.clone()).collect();
        ranges.sort_unstable_by_key(|range| range.start);
        ranges
    }

    /// Tells decoders and labels from others: a hash of the dimensions, the labels with their rows,
    /// and the norms. Not of all weights, which may be many.
    pub fn fingerprint(&self) -> u64 {
        let decoder = &self.decoder;
        let mut row = vec![0.0; decoder.config.hidden];
        let mut words: Vec<u32> = format!("{:?}", decoder.config).bytes().map(u32::from).collect();
        for (place, label) in self.labels.iter().enumerate() {
            self.table.matrix.row(place, &mut row);
            words.push(*label);
            words.extend(row.iter().map(|x| x.to_bits()));
        }
        let norms = decoder.layers.iter().map(|layer| &layer.forward_norm);
        words.extend(norms.flatten().map(|x| x.to_bits()));
        words.into_iter().fold(0, |hash, word| mix64(hash ^ u64::from(word)))
    }

    /// Multiply-adds of learning from so many tokens in so many prompts, counted twice each: the
    /// forward pass, and the gradients by rows and by weights. Attention, norms and what is
    /// computed again are left out.
    pub fn flops(&self, tokens: usize, prompts: usize) -> u64 {
        let config: &DecoderConfig = &self.decoder.config;
        let weights = |parts: &[Projection]| -> usize {
            parts.iter().map(|part| part.shape(config).iter().product::<usize>()).sum()
        };
        let (all, early) = (weights(&Projection::ALL), weights(SITES[0]));
        let last = early * tokens + (all - early) * prompts;
        let multiplied = (config.layers - 1) * all * tokens + last;
        let passes = if self.adapter.is_some() { 2 } else { 3 };
        2 * passes * multiplied as u64
    }
}

/// A new adapter of a decoder.
fn start(decoder: &Decoder, config: &AdapterConfig, seed: u64) -> Result<Adapter> {
    let Decoder { config: base, .. } = decoder;
    config.check(base)?;
    let mut adapter = Adapter::new(config.clone(), base, |_| 0.0);
    for layer in 0..base.layers {
        for target in &config.targets {
            let [down, _] = adapter.places(layer, *target).unwrap_or_default();
            let bound = 1.0 / (target.shape(base)[1] as f64).sqrt();
            for i in down {
                let draw = unit_f64(mix64(mix64(seed) ^ i as u64));
                adapter.weights_mut()[i] = ((2.0 * draw - 1.0) * bound) as f32;
            }
        }
    }
    let start = adapter.weights().len() - adapter.rows().1.len();
    let rows = adapter.weights_mut()[start..].chunks_exact_mut(base.hidden);
    for (row, token) in rows.zip(&config.tokens) {
        decoder.embeddings().row(*token as usize, row);
    }
    Ok(adapter)
}

/// What gradients are multiplied by in a weight's place.
fn transpose(site: &Site) -> Site {
    let adapters = transpose_adapters(site);
    Site { weight: site.weight.transposed(), bias: Vec::new(), adapters }
}

fn transpose_adapters(site: &Site) -> Vec<Option<Lora>> {
    site.adapters.iter().map(|lora| lora.as_ref().map(Lora::transposed)).collect()
}

/// The labels' matrix with the rows that the only adapter replaces, and its transpose.
fn effective(decoder: &Decoder, labels: &[u32]) -> Result<(Table, Matrix)> {
    let Table { matrix, replaced } = decoder.labels(labels)?;
    let replaced = replaced.first().and_then(Option::as_ref);
    let size = [labels.len(), matrix.inputs()];
    let matrix = Matrix::pack(decoder.precision, size, |place, row| {
        matrix.row(place, row);
        replaced.iter().for_each(|rows| rows.read(place as u32, row));
        Ok::<(), Error>(())
    })?;
    let transposed = matrix.transposed();
    Ok((Table::plain(matrix), transposed))
}
