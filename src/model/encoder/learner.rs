//! An encoder that learns: what of it is trained, as one vector of parameters, and what the
//! backward pass multiplies by.

use super::base::{Base, Reader};
use super::bert::{Bert, Layer, Site};
use super::heads::Heads;
use super::layout::{self, Projection, SITES};
use super::{Encoder, Piece};
use crate::device::{Lora, Matrix, Precision};
use crate::error::{Error, Result};
use crate::model::adapter::AdapterConfig;
use crate::model::decoder;
use crate::model::weights::{TensorSpec, places};
use crate::types::{mix64, unit_f64};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::OnceLock;

/// What of an encoder is trained, besides the heads, their scale and their bias.
#[derive(Clone, Debug, PartialEq)]
pub enum Trained {
    /// Nothing: the base stays as it is, and reads each text once.
    Heads,
    /// The factors of a low-rank change of every projection: scale · B · A with scale = alpha /
    /// rank. Of a decoder, too.
    ///
    /// Source: Hu et al., LoRA (2021), eq. 3.
    Lora {
        /// Rows of A, columns of B.
        rank: usize,
        /// The numerator of the scale.
        alpha: f64,
    },
    /// Every weight of the base.
    Full,
}

/// An encoder, and what of it is trained.
#[derive(Clone)]
pub struct Learner {
    pub(super) encoder: Encoder,
    pub(super) trained: Trained,
    tensors: Vec<TensorSpec>,
    pub(super) places: BTreeMap<String, Range<usize>>,
    /// The parameters of the base come first, and so many they are.
    base: usize,
    /// As they were set last.
    parameters: Vec<f32>,
    /// Each layer's products transposed, in the order of [`SITES`]: made when they are needed.
    transposed: OnceLock<Vec<[Site; 4]>>,
}

impl Learner {
    /// Prepares an encoder for training. A new A is uniform within ±1 / √inputs, and its B is 0.
    ///
    /// Errors: [`Error::Model`] for a rank of 0, and for a base whose every weight is to be trained
    /// and which is not in f32.
    pub fn new(mut encoder: Encoder, trained: &Trained, seed: u64) -> Result<Self> {
        let refuse = |why: &str| Err(Error::Model(format!("training an encoder: {why}")));
        if *trained != Trained::Heads {
            encoder.devices = None; // what lies there does not learn
        }
        match trained {
            Trained::Lora { rank: 0, .. } => return refuse("expected a rank of 1 or more"),
            Trained::Full if encoder.precision() != Precision::F32 => {
                return refuse("every weight is to be trained: expected f32: open it in f32");
            }
            _ => encoder.base = learning(encoder.base, trained, seed)?,
        }
        let heads = Heads::tensors(encoder.heads.shape());
        let mut tensors = match (&encoder.base, trained) {
            (Base::Bert(bert), Trained::Lora { rank, .. }) => factors(bert, *rank),
            (Base::Bert(bert), Trained::Full) => layout::tensors(bert.config()),
            (Base::Learning(learner), _) => learner.tensors().to_vec(),
            (_, Trained::Heads) | (Base::Decoder(_), _) => Vec::new(),
        };
        let base = tensors.iter().map(TensorSpec::len).sum();
        let mut parameters = match (&encoder.base, trained) {
            (Base::Bert(bert), Trained::Full) => bert.weights(),
            (Base::Learning(learner), _) => learner.parameters(),
            _ => start(&tensors, seed),
        };
        parameters.extend_from_slice(encoder.heads.values());
        tensors.extend(heads);
        let (trained, transposed) = (trained.clone(), OnceLock::new());
        let places = places(&tensors);
        let mut learner = Self { encoder, trained, tensors, places, base, parameters, transposed };
        if matches!(learner.trained, Trained::Lora { .. }) {
            learner.change();
        }
        Ok(learner)
    }

    /// The encoder as it is now; what is learned beside its weights is not merged into them.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// The encoder, with what was learned merged into its weights: what is read from its files.
    ///
    /// Errors: none that finite weights can cause.
    pub fn into_encoder(mut self) -> Result<Encoder> {
        if self.trained != Trained::Heads {
            self.encoder.devices = None; // what it holds is not merged
        }
        match (&self.encoder.base, &self.trained) {
            (Base::Bert(bert), Trained::Lora { .. }) => {
                let merged = bert.with_weights(bert.precision(), &bert.weights())?;
                self.encoder.base = Base::Bert(merged);
            }
            (Base::Learning(learner), _) => self.encoder.base = Base::Decoder(learner.merged()?),
            _ => {}
        }
        Ok(self.encoder)
    }

    /// Names and shapes of the parameters, one after the other: of the base, and then of
    /// [`Heads::tensors`].
    pub fn tensors(&self) -> &[TensorSpec] {
        &self.tensors
    }

    /// The parameters as they are now.
    pub fn parameters(&self) -> &[f32] {
        &self.parameters
    }

    /// Where the parameters of the base, of the heads, and scale and bias are.
    pub fn groups(&self) -> [Range<usize>; 3] {
        let end = self.parameters.len();
        [0..self.base, self.base..end - 2, end - 2..end]
    }

    /// Goes on with other parameters.
    ///
    /// Errors: none that finite parameters can cause.
    ///
    /// Panics: if they are not as many as [`Learner::parameters`].
    pub fn set(&mut self, parameters: &[f32]) -> Result<()> {
        self.parameters.copy_from_slice(parameters);
        let (base, heads) = parameters.split_at(self.base);
        self.encoder.heads = Heads::of(self.encoder.heads.shape(), heads.to_vec());
        match (&mut self.encoder.base, &self.trained) {
            (Base::Bert(bert), Trained::Full) => {
                *bert = bert.with_weights(Precision::F32, base)?;
                self.transposed = OnceLock::new();
            }
            (Base::Learning(learner), _) => learner.set(base)?,
            (_, Trained::Lora { .. }) => self.change(),
            _ => {}
        }
        Ok(())
    }

    /// Goes on with other parameters of the heads, scale and bias alone.
    ///
    /// Panics: if they are not as many as [`Heads::tensors`] say.
    pub fn set_heads(&mut self, heads: Vec<f32>) {
        self.parameters[self.base..].copy_from_slice(&heads);
        self.encoder.heads = Heads::of(self.encoder.heads.shape(), heads);
    }

    /// Puts the factors beside the weights.
    fn change(&mut self) {
        let Self { encoder: Encoder { base: Base::Bert(bert), .. }, .. } = self else { return };
        let config = bert.config.clone();
        let Trained::Lora { rank, alpha } = self.trained else { return };
        for (l, layer) in bert.layers.iter_mut().enumerate() {
            for (site, parts) in layer.sites.iter_mut().zip(SITES) {
                let factor = |which: &str| -> Vec<&[f32]> {
                    let name = |part: &Projection| format!("{}.{which}", part.name(l));
                    let place = |part| self.places[&name(part)].clone();
                    parts.iter().map(|part| &self.parameters[place(part)]).collect()
                };
                let [outputs, inputs] = parts[0].shape(&config);
                let scale = (alpha / rank as f64) as f32;
                let precision = site.weight.precision();
                let (downs, ups) = (factor("A"), factor("B"));
                let lora = beside(&downs, &ups, [outputs, inputs, rank], precision, scale);
                site.changes = vec![Some(lora)];
            }
        }
        let transposed = self.transposed.get_mut().into_iter().flatten();
        for (to, layer) in transposed.zip(&bert.layers) {
            for (to, site) in to.iter_mut().zip(&layer.sites) {
                to.changes = site.transposed_changes();
            }
        }
    }

    /// What the backward pass multiplies a layer's gradients by.
    pub(super) fn transposed(&self, layers: &[Layer], l: usize) -> &[Site; 4] {
        let all = || {
            let transpose = |layer: &Layer| layer.sites.each_ref().map(Site::transposed);
            layers.iter().map(transpose).collect()
        };
        &self.transposed.get_or_init(all)[l]
    }

    /// The pooled row of each text, (texts, hidden), where the encoder reads texts.
    ///
    /// Errors: [`Error::Device`] if that is a device, and it fails.
    pub fn pool(&self, pieces: &[Piece], threads: usize) -> Result<Vec<f32>> {
        self.encoder.pool(pieces, threads)
    }

    /// Which tensors weight decay leaves alone: norms, biases, the scale, and of a decoder the
    /// matrix of its logits, which nobody reads.
    pub fn undecayed(&self) -> Vec<Range<usize>> {
        let alone = |name: &str| {
            ["LayerNorm", "norm.", decoder::layout::HEAD].iter().any(|part| name.contains(part))
                || name.ends_with("bias")
                || name.starts_with("logit.")
        };
        let ranges = self.places.iter().filter(|(name, _)| alone(name));
        let mut ranges: Vec<Range<usize>> = ranges.map(|(_, range)| range.clone()).collect();
        ranges.sort_unstable_by_key(|range| range.start);
        ranges
    }

    /// Tells encoders from others: a hash of the dimensions, the norms and the parameters that
    /// training begins with. Not of all weights, which may be many.
    pub fn fingerprint(&self) -> u64 {
        let mut words: Vec<u32> = Vec::new();
        let mut tell = |values: &[f32]| words.extend(values.iter().map(|x| x.to_bits()));
        if let Base::Bert(bert) = &self.encoder.base {
            bert.layers.iter().for_each(|layer| tell(&layer.last_norm));
            tell(&bert.tables[1]);
        }
        tell(self.encoder.heads.values());
        if let Base::Learning(learner) = &self.encoder.base {
            let print = learner.fingerprint();
            words.extend([print as u32, (print >> 32) as u32]);
        }
        let about = match self.encoder.base.reader() {
            Reader::Bert(bert) => format!("{:?} {:?}", bert.config, bert.precision),
            Reader::Decoder(decoder, _) => {
                format!("{:?} {:?}", decoder.config(), decoder.precision())
            }
        };
        words.extend(about.bytes().map(u32::from));
        words.into_iter().fold(0, |hash, word| mix64(hash ^ u64::from(word)))
    }
}

/// A decoder as one that learns, if more than the heads is trained.
fn learning(base: Base, trained: &Trained, seed: u64) -> Result<Base> {
    let trained = match *trained {
        Trained::Heads => return Ok(base),
        Trained::Full => decoder::Trained::Full,
        Trained::Lora { rank, alpha } => decoder::Trained::Adapter(AdapterConfig {
            rank,
            alpha,
            rslora: false,
            targets: decoder::Projection::ALL.to_vec(),
            tokens: Vec::new(),
            base: None,
        }),
    };
    let Base::Decoder(decoder) = base else { return Ok(base) };
    // Nobody reads the label's logit: it is the cheapest table there is.
    let learner = decoder::Learner::new(decoder, &trained, &[0], seed)?;
    Ok(Base::Learning(Box::new(learner)))
}

/// Names and shapes of the factors: projection by projection A, then B.
fn factors(bert: &Bert, rank: usize) -> Vec<TensorSpec> {
    let config = bert.config();
    let layers = (0..config.layers).flat_map(|l| Projection::ALL.map(|part| (l, part)));
    let both = |(l, part): (usize, Projection)| {
        let [outputs, inputs] = part.shape(config);
        [("A", vec![rank, inputs]), ("B", vec![outputs, rank])]
            .map(|(which, shape)| TensorSpec { name: format!("{}.{which}", part.name(l)), shape })
    };
    layers.flat_map(both).collect()
}

/// The factors before training.
fn start(tensors: &[TensorSpec], seed: u64) -> Vec<f32> {
    let mut all = Vec::new();
    for tensor in tensors {
        let bound = match tensor.name.ends_with(".A") {
            true => 1.0 / (tensor.shape[1] as f64).sqrt(),
            false => 0.0,
        };
        let first = all.len();
        all.extend((first..first + tensor.len()).map(|i| {
            let draw = unit_f64(mix64(mix64(seed) ^ i as u64));
            ((2.0 * draw - 1.0) * bound) as f32
        }));
    }
    all
}

/// The changes of weights that are kept as one, as one: their ranks one after the other, each of
/// which reaches the outputs of its own part alone.
fn beside(
    downs: &[&[f32]],
    ups: &[&[f32]],
    [outputs, inputs, rank]: [usize; 3],
    precision: Precision,
    scale: f32,
) -> Lora {
    let (parts, ranks) = (downs.len(), downs.len() * rank);
    let down = |row: usize, to: &mut [f32]| {
        to.copy_from_slice(&downs[row / rank][row % rank * inputs..][..inputs]);
        Ok::<(), std::convert::Infallible>(())
    };
    let up = |output: usize, to: &mut [f32]| {
        let (part, row) = (output / outputs, output % outputs);
        to.fill(0.0);
        to[part * rank..][..rank].copy_from_slice(&ups[part][row * rank..][..rank]);
        Ok::<(), std::convert::Infallible>(())
    };
    let (Ok(down), Ok(up)) = (
        Matrix::pack(precision, [ranks, inputs], down),
        Matrix::pack(precision, [parts * outputs, ranks], up),
    );
    Lora::new(down, up, scale)
}
