//! What is trained of a decoder, as it lies on a device: one after the other the factors of each
//! site, or its weight, in the device's heads, and what else there is.
//!
//! A number that fills up a head or a rank is 0, and so are its gradient and its moments: it stays.

use super::{Laid, Resident};
use crate::device::cuda::{Bf16, Buffer};
use crate::error::{Error, Result};
use crate::model::decoder::Learner;
use crate::model::decoder::layout::{self, Projection, SITES};
use std::ops::Range;

/// Sections begin at multiples of so many numbers: of 256 bytes, as products like it.
const ALIGNED: usize = 64;

/// Numbers that the optimiser treats alike.
pub struct Section {
    pub place: Range<usize>,
    pub decays: bool,
    /// Where products read them.
    pub rounded: Option<Buffer<Bf16>>,
}

/// What is trained of a site.
pub enum TrainedSite {
    /// Nothing.
    Fixed,
    /// (ranks, inputs) and (outputs, ranks), and the parts of the latter.
    Adapter { down: Range<usize>, up: Range<usize>, parts: Vec<Part> },
    /// (outputs, inputs), and (outputs).
    Weight { weight: Range<usize>, bias: Option<Range<usize>> },
}

/// What one projection's change has of those that are kept as one.
#[derive(Clone, Debug)]
pub struct Part {
    pub outputs: Range<usize>,
    pub ranks: Range<usize>,
}

/// What is trained of a layer.
pub struct TrainedLayer {
    pub sites: Vec<TrainedSite>,
    /// Before attention, and before the forward layer.
    pub norms: Option<[Range<usize>; 2]>,
}

/// All that is trained.
pub struct Sections {
    pub all: Vec<Section>,
    pub layers: Vec<TrainedLayer>,
    pub last_norm: Option<Range<usize>>,
    /// (rows, hidden): all embeddings, or those that an adapter replaces.
    pub embeddings: Option<Range<usize>>,
    /// (rows, hidden), of which some are labels': the embeddings or another matrix.
    pub scored: Option<Range<usize>>,
    /// What the product of factors is multiplied by.
    pub scale: f32,
    /// For each number on the device which parameter it is, from 1; 0 for none.
    numbers: Vec<u32>,
}

impl Sections {
    /// Lays out what a learner trains.
    ///
    /// Errors: [`Error::Device`] for more parameters than kernels can count.
    pub fn of(resident: &Resident, learner: &Learner) -> Result<Self> {
        let mut sections = Self {
            all: Vec::new(),
            layers: Vec::new(),
            last_norm: None,
            embeddings: None,
            scored: None,
            scale: learner.adapter().map_or(1.0, |adapter| adapter.config().scale()),
            numbers: Vec::new(),
        };
        let weights = &resident.weights;
        for l in 0..weights.layers.len() {
            let mut sites = Vec::with_capacity(SITES.len());
            for site in 0..SITES.len() {
                sites.push(sections.site(resident, learner, (l, site))?);
            }
            let norms = [layout::attention_norm(l), layout::forward_norm(l)];
            let [attention, forward] = norms.map(|name| sections.tensor(learner, &name, None));
            let norms = attention.zip(forward).map(|(a, b)| [a, b]);
            sections.layers.push(TrainedLayer { sites, norms });
        }
        sections.last_norm = sections.tensor(learner, layout::LAST_NORM, None);
        match learner.adapter() {
            None => {
                let table = Some(weights.embeddings.clone());
                sections.embeddings = sections.tensor(learner, layout::EMBEDDINGS, table);
                sections.scored = sections.tensor(learner, layout::HEAD, weights.head.clone());
            }
            Some(adapter) => {
                let all = adapter.weights().len();
                let rows = counted(all - adapter.rows().1.len()..all);
                let own = weights.own.buffer.clone();
                sections.embeddings = own.map(|own| sections.add(rows, true, Some(own)));
            }
        }
        if weights.head.is_none() {
            sections.scored = sections.embeddings.clone();
        }
        match sections.numbers.len() > i32::MAX as usize {
            true => Err(Error::Device(format!(
                "training: {} numbers are more than kernels can count",
                sections.numbers.len()
            ))),
            false => Ok(sections),
        }
    }

    /// Parameters as they lie on the device.
    pub fn laid(&self, parameters: &[f32]) -> Vec<f32> {
        let number = |at: &u32| at.checked_sub(1).map_or(0.0, |at| parameters[at as usize]);
        self.numbers.iter().map(number).collect()
    }

    /// Parameters of which `numbers` lie on the device.
    pub fn parameters(&self, numbers: &[f32], to: &mut [f32]) {
        for (at, number) in self.numbers.iter().zip(numbers) {
            if let Some(at) = at.checked_sub(1) {
                to[at as usize] = *number;
            }
        }
    }

    /// Adds a section.
    fn add(
        &mut self,
        numbers: Vec<u32>,
        decays: bool,
        rounded: Option<Buffer<Bf16>>,
    ) -> Range<usize> {
        let start = self.numbers.len();
        self.numbers.extend(numbers);
        let place = start..self.numbers.len();
        self.numbers.resize(place.end.next_multiple_of(ALIGNED), 0);
        self.all.push(Section { place: place.clone(), decays, rounded });
        place
    }

    /// A tensor that lies as in the file, if it is trained: decays if products read it.
    fn tensor(
        &mut self,
        learner: &Learner,
        name: &str,
        rounded: Option<Buffer<Bf16>>,
    ) -> Option<Range<usize>> {
        let numbers = counted(learner.places.get(name)?.clone());
        Some(self.add(numbers, rounded.is_some(), rounded))
    }

    fn site(
        &mut self,
        resident: &Resident,
        learner: &Learner,
        (l, site): (usize, usize),
    ) -> Result<TrainedSite> {
        let laid = Laid { heads: resident.heads, site };
        let with = &resident.weights.layers[l].sites[site].adapters;
        if learner.adapter().is_none() {
            let of = |end: &str| -> Vec<u32> {
                let names = SITES[site].iter().map(|part| format!("{}.{end}", part.name(l)));
                names
                    .filter_map(|name| learner.places.get(&name))
                    .cloned()
                    .flat_map(counted)
                    .collect()
            };
            let columns = SITES[site][0].shape(&resident.config)[1];
            let weight = laid.outputs(laid.inputs(of("weight")), columns);
            let bias = laid.outputs(of("bias"), 1);
            let weight = self.add(weight, true, Some(with.weight()?.clone()));
            let bias = (!bias.is_empty()).then(|| self.add(bias, false, None));
            return Ok(TrainedSite::Weight { weight, bias });
        }
        let Some((down, up, parts)) = factors(resident, learner, laid, (l, site)) else {
            return Ok(TrainedSite::Fixed);
        };
        let down = self.add(down, true, Some(with.downs()?));
        let up = self.add(up, true, Some(with.ups().clone()));
        Ok(TrainedSite::Adapter { down, up, parts })
    }
}

/// Numbers of parameters, from 1.
fn counted(range: Range<usize>) -> Vec<u32> {
    range.map(|at| at as u32 + 1).collect()
}

/// The numbers of a site's downs and ups as [`crate::device::cuda::kernels::Adapters`] lays them
/// out, and the parts of its ups.
fn factors(
    resident: &Resident,
    learner: &Learner,
    laid: Laid,
    (l, site): (usize, usize),
) -> Option<(Vec<u32>, Vec<u32>, Vec<Part>)> {
    let with = &resident.weights.layers[l].sites[site].adapters;
    let (filled, wide) = (with.columns() - with.outputs(), with.outputs());
    let adapter = learner.adapter()?;
    let rank = adapter.config().rank;
    let (mut down, mut up, mut parts) = (Vec::new(), Vec::new(), Vec::new());
    let (mut output, mut ranks) = (0, 0);
    let outputs_of = |part: &Projection| part.shape(&resident.config)[0];
    let whole: usize = SITES[site].iter().map(outputs_of).sum();
    for part in SITES[site] {
        let outputs = outputs_of(part);
        let on_device = |output: usize| output * wide / whole;
        if let Some([a, b]) = adapter.places(l, *part) {
            down.extend(counted(a));
            up.resize(output * filled, 0);
            for row in counted(b).chunks_exact(rank) {
                let start = up.len();
                up.resize(start + filled, 0);
                up[start + ranks..][..rank].copy_from_slice(row);
            }
            let outputs = on_device(output)..on_device(output + outputs);
            parts.push(Part { outputs, ranks: ranks..ranks + rank });
            ranks += rank;
        }
        output += outputs;
    }
    if parts.is_empty() {
        return None;
    }
    up.resize(whole * filled, 0);
    let (mut down, up) = (laid.inputs(down), laid.outputs(up, filled));
    down.resize(filled * with.inputs(), 0);
    Some((down, up, parts))
}
