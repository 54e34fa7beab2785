//! What is trained of an encoder, and where it lies on a device: of its base, and its heads.

use super::Resident;
use crate::error::Result;
use crate::model::encoder::layout::{self, Projection, SITES};
use crate::model::encoder::{Heads, Learner, Trained};
use crate::model::resident::{Laid, Sections, TrainedLayer, TrainedPart, TrainedSite, counted};
use std::ops::Range;

/// Which learning rate is the heads', and which that of scale and bias of the logit; the first is
/// the base's.
const HEADS: usize = 1;
const LOGIT: usize = 2;

/// Where all that is trained lies.
pub struct Places {
    pub layers: Vec<TrainedLayer>,
    pub first_norm: Option<Range<usize>>,
    /// Rows of tokens, positions and kinds.
    pub tables: Option<[Range<usize>; 3]>,
    /// The tensors of the heads, one after the other.
    pub heads: Vec<Range<usize>>,
}

/// Lays out what a learner trains.
///
/// Errors: those of [`Sections::add_weight`].
pub fn lay(resident: &Resident, learner: &Learner) -> Result<(Sections, Places)> {
    let mut sections = Sections::default();
    let tables = match learner.trained {
        Trained::Full => Some(layout::TABLES.map(|name| {
            let numbers = counted(learner.places[name].clone());
            sections.add(numbers, true, None)
        })),
        _ => None,
    };
    let first_norm = norm(&mut sections, learner, layout::FIRST_NORM);
    let mut layers = Vec::with_capacity(resident.weights.layers.len());
    for l in 0..resident.weights.layers.len() {
        let mut sites = Vec::with_capacity(SITES.len());
        for site in 0..SITES.len() {
            sites.push(lay_site(&mut sections, resident, learner, (l, site))?);
        }
        let norms = [layout::attention_norm(l), layout::last_norm(l)];
        let [attention, last] = norms.map(|name| norm(&mut sections, learner, &name));
        layers.push(TrainedLayer { sites, norms: attention.zip(last).map(|(a, b)| [a, b]) });
    }
    let heads = Heads::tensors(learner.encoder.heads.shape());
    let heads = heads.iter().map(|tensor| {
        let rate = if tensor.name.starts_with("logit.") { LOGIT } else { HEADS };
        let numbers = counted(learner.places[&tensor.name].clone());
        sections.add_apart(numbers, tensor.name.ends_with(".weight"), rate, None)
    });
    let heads = heads.collect();
    Ok((sections, Places { layers, first_norm, tables, heads }))
}

/// A norm's weight and bias, which follow each other, if they are trained.
fn norm(sections: &mut Sections, learner: &Learner, name: &str) -> Option<Range<usize>> {
    let [weight, bias] =
        ["weight", "bias"].map(|end| learner.places.get(&format!("{name}.{end}")).cloned());
    let (weight, bias) = weight.zip(bias)?;
    Some(sections.add(counted(weight.start..bias.end), false, None))
}

fn lay_site(
    sections: &mut Sections,
    resident: &Resident,
    learner: &Learner,
    (l, site): (usize, usize),
) -> Result<TrainedSite> {
    let laid = Laid { heads: resident.heads, site };
    let with = &resident.weights.layers[l].sites[site];
    let place = |part: &Projection, end: &str| {
        learner.places.get(&format!("{}.{end}", part.name(l))).cloned()
    };
    match learner.trained {
        Trained::Heads => Ok(TrainedSite::Fixed),
        Trained::Full => {
            let part = |part: &Projection| Some((place(part, "weight")?, place(part, "bias")));
            sections.add_weight(laid, with, SITES[site].iter().filter_map(part))
        }
        Trained::Lora { rank, alpha } => {
            let part = |part: &Projection| TrainedPart {
                outputs: part.shape(&resident.config)[0],
                factors: place(part, "A").zip(place(part, "B")).map(|(a, b)| [a, b]),
            };
            let parts: Vec<TrainedPart> = SITES[site].iter().map(part).collect();
            sections.add_adapter(laid, with, (rank, (alpha / rank as f64) as f32), &parts)
        }
    }
}
