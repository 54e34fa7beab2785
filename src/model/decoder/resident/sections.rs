//! What is trained of a decoder, and where it lies on a device.

use super::Resident;
use crate::device::cuda::{Bf16, Buffer};
use crate::error::Result;
use crate::model::decoder::Learner;
use crate::model::decoder::layout::{self, Projection, SITES};
use crate::model::resident::{Laid, Sections, TrainedLayer, TrainedPart, TrainedSite, counted};
use std::ops::Range;

/// Where all that is trained lies.
pub struct Places {
    pub layers: Vec<TrainedLayer>,
    pub last_norm: Option<Range<usize>>,
    /// (rows, hidden): all embeddings, or those that an adapter replaces.
    pub embeddings: Option<Range<usize>>,
    /// (rows, hidden), of which some are labels': the embeddings or another matrix.
    pub scored: Option<Range<usize>>,
}

/// Lays out what a learner trains.
///
/// Errors: those of [`Sections::add_weight`].
pub fn lay(resident: &Resident, learner: &Learner) -> Result<(Sections, Places)> {
    let mut sections = Sections::default();
    let weights = &resident.weights;
    let mut layers = Vec::with_capacity(weights.layers.len());
    for l in 0..weights.layers.len() {
        let mut sites = Vec::with_capacity(SITES.len());
        for site in 0..SITES.len() {
            sites.push(lay_site(&mut sections, resident, learner, (l, site))?);
        }
        let norms = [layout::attention_norm(l), layout::forward_norm(l)];
        let [attention, forward] = norms.map(|name| tensor(&mut sections, learner, &name, None));
        let norms = attention.zip(forward).map(|(a, b)| [a, b]);
        layers.push(TrainedLayer { sites, norms });
    }
    let last_norm = tensor(&mut sections, learner, layout::LAST_NORM, None);
    let (embeddings, mut scored) = match learner.adapter() {
        None => {
            let table = Some(weights.embeddings.clone());
            let embeddings = tensor(&mut sections, learner, layout::EMBEDDINGS, table);
            let head = weights.head.clone();
            (embeddings, tensor(&mut sections, learner, layout::HEAD, head))
        }
        Some(adapter) => {
            let all = adapter.weights().len();
            let rows = counted(all - adapter.rows().1.len()..all);
            let own = weights.own.buffer.clone();
            (own.map(|own| sections.add(rows, true, Some(own))), None)
        }
    };
    if weights.head.is_none() {
        scored = embeddings.clone();
    }
    Ok((sections, Places { layers, last_norm, embeddings, scored }))
}

/// A tensor that lies as in the file, if it is trained: decays if products read it.
fn tensor(
    sections: &mut Sections,
    learner: &Learner,
    name: &str,
    rounded: Option<Buffer<Bf16>>,
) -> Option<Range<usize>> {
    let numbers = counted(learner.places.get(name)?.clone());
    Some(sections.add(numbers, rounded.is_some(), rounded))
}

fn lay_site(
    sections: &mut Sections,
    resident: &Resident,
    learner: &Learner,
    (l, site): (usize, usize),
) -> Result<TrainedSite> {
    let laid = Laid { heads: resident.heads, site };
    let with = &resident.weights.layers[l].sites[site];
    let Some(adapter) = learner.adapter() else {
        let place = |part: &Projection, end| learner.places.get(&format!("{}.{end}", part.name(l)));
        let parts = SITES[site].iter().filter_map(|part| {
            Some((place(part, "weight")?.clone(), place(part, "bias").cloned()))
        });
        return sections.add_weight(laid, with, parts);
    };
    let part = |part: &Projection| TrainedPart {
        outputs: part.shape(&resident.config)[0],
        factors: adapter.places(l, *part),
    };
    let parts: Vec<TrainedPart> = SITES[site].iter().map(part).collect();
    let change = (adapter.config().rank, adapter.config().scale());
    sections.add_adapter(laid, with, change, &parts)
}
