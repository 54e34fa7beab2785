//! What is trained of a model, as it lies on a device: one after the other the factors of each
//! site, or its weight, in the device's heads, and what else there is.
//!
//! A number that fills up a head or a rank is 0, and so are its gradient and its moments: it stays.

use super::{Laid, Multiplied, Parameters};
use crate::device::cuda::{Bf16, Buffer};
use crate::error::{Error, Result};
use std::ops::Range;

/// Sections begin at multiples of so many numbers: of 256 bytes, as products like it.
const ALIGNED: usize = 64;

/// Numbers that the optimiser treats alike.
pub struct Section {
    pub place: Range<usize>,
    pub decays: bool,
    /// Which of the learning rates is theirs.
    pub rate: usize,
    /// Where products read them.
    pub rounded: Option<Buffer<Bf16>>,
}

/// What is trained of a site.
pub enum TrainedSite {
    /// Nothing.
    Fixed,
    /// (ranks, inputs) and (outputs, ranks), the parts of the latter, and what the product of both
    /// is multiplied by.
    Adapter { down: Range<usize>, up: Range<usize>, parts: Vec<Part>, scale: f32 },
    /// (outputs, inputs), and (outputs).
    Weight { weight: Range<usize>, bias: Option<Range<usize>> },
}

/// What is trained of a layer.
pub struct TrainedLayer {
    pub sites: Vec<TrainedSite>,
    /// Of its attention, and of its forward products.
    pub norms: Option<[Range<usize>; 2]>,
}

impl TrainedLayer {
    /// Makes kernels read the layer's norms and biases where they are trained.
    pub fn read(
        &self,
        parameters: &Parameters,
        norms: [&mut Buffer<f32>; 2],
        sites: &mut [Multiplied],
    ) -> Result<()> {
        for (norm, place) in norms.into_iter().zip(self.norms.iter().flatten()) {
            *norm = parameters.weights(place)?;
        }
        for (site, trained) in sites.iter_mut().zip(&self.sites) {
            if let TrainedSite::Weight { bias: Some(bias), .. } = trained {
                site.bias = Some(parameters.weights(bias)?);
            }
        }
        Ok(())
    }
}

/// What one projection's change has of those that are kept as one.
#[derive(Clone, Debug)]
pub struct Part {
    pub outputs: Range<usize>,
    pub ranks: Range<usize>,
}

/// A projection of a site, and where the parameters of its change are: A (rank, inputs) and B
/// (outputs, rank).
pub struct TrainedPart {
    pub outputs: usize,
    pub factors: Option<[Range<usize>; 2]>,
}

/// All that is trained.
#[derive(Default)]
pub struct Sections {
    pub(super) all: Vec<Section>,
    /// For each number on the device which parameter it is, from 1; 0 for none.
    numbers: Vec<u32>,
}

impl Sections {
    /// Adds a section, of parameters by their numbers from 1.
    pub fn add(
        &mut self,
        numbers: Vec<u32>,
        decays: bool,
        rounded: Option<Buffer<Bf16>>,
    ) -> Range<usize> {
        self.add_apart(numbers, decays, 0, rounded)
    }

    /// As [`Sections::add`], with a learning rate of its own.
    pub fn add_apart(
        &mut self,
        numbers: Vec<u32>,
        decays: bool,
        rate: usize,
        rounded: Option<Buffer<Bf16>>,
    ) -> Range<usize> {
        let start = self.numbers.len();
        self.numbers.extend(numbers);
        let place = start..self.numbers.len();
        self.numbers.resize(place.end.next_multiple_of(ALIGNED), 0);
        self.all.push(Section { place: place.clone(), decays, rate, rounded });
        place
    }

    /// Adds a site whose weight is trained: where each projection's weight and bias are.
    ///
    /// Errors: [`Error::Device`] for a weight in FP8.
    pub fn add_weight(
        &mut self,
        laid: Laid,
        with: &Multiplied,
        parts: impl Iterator<Item = (Range<usize>, Option<Range<usize>>)>,
    ) -> Result<TrainedSite> {
        let (mut weight, mut bias) = (Vec::new(), Vec::new());
        for (of_weight, of_bias) in parts {
            weight.extend(counted(of_weight));
            bias.extend(of_bias.into_iter().flat_map(counted));
        }
        // Where outputs are laid in heads, inputs are as they were.
        let weight = laid.outputs(laid.inputs(weight), with.adapters.inputs());
        let bias = laid.outputs(bias, 1);
        let weight = self.add(weight, true, Some(with.adapters.weight()?.clone()));
        let bias = (!bias.is_empty()).then(|| self.add(bias, false, None));
        Ok(TrainedSite::Weight { weight, bias })
    }

    /// Adds a site whose change is trained, the only one that the weight has.
    ///
    /// Errors: [`Error::Device`] for a weight in FP8.
    pub fn add_adapter(
        &mut self,
        laid: Laid,
        with: &Multiplied,
        (rank, scale): (usize, f32),
        parts: &[TrainedPart],
    ) -> Result<TrainedSite> {
        let Some((down, up, parts)) = factors(laid, with, rank, parts) else {
            return Ok(TrainedSite::Fixed);
        };
        let down = self.add(down, true, Some(with.adapters.downs()?));
        let up = self.add(up, true, Some(with.adapters.ups().clone()));
        Ok(TrainedSite::Adapter { down, up, parts, scale })
    }

    /// Makes everything decay.
    pub fn decay_all(&mut self) {
        self.all.iter_mut().for_each(|section| section.decays = true);
    }

    /// Errors: [`Error::Device`] for more numbers than kernels can count.
    pub fn check(&self) -> Result<()> {
        match self.numbers.len() > i32::MAX as usize {
            true => Err(Error::Device(format!(
                "training: {} numbers are more than kernels can count",
                self.numbers.len()
            ))),
            false => Ok(()),
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
}

/// Numbers of parameters, from 1.
pub fn counted(range: Range<usize>) -> Vec<u32> {
    range.map(|at| at as u32 + 1).collect()
}

/// The numbers of a site's downs and ups as [`crate::device::cuda::kernels::Adapters`] lays them
/// out, and the parts of its ups.
fn factors(
    laid: Laid,
    with: &Multiplied,
    rank: usize,
    projections: &[TrainedPart],
) -> Option<(Vec<u32>, Vec<u32>, Vec<Part>)> {
    let with = &with.adapters;
    let (filled, wide) = (with.columns() - with.outputs(), with.outputs());
    let (mut down, mut up, mut parts) = (Vec::new(), Vec::new(), Vec::new());
    let (mut output, mut ranks) = (0, 0);
    let whole: usize = projections.iter().map(|part| part.outputs).sum();
    for TrainedPart { outputs, factors } in projections {
        let on_device = |output: usize| output * wide / whole;
        if let Some([a, b]) = factors {
            down.extend(counted(a.clone()));
            up.resize(output * filled, 0);
            for row in counted(b.clone()).chunks_exact(rank) {
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
