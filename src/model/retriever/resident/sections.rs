//! What is trained of a retriever, all of it, and where it lies on a device.

use crate::error::Result;
use crate::model::resident::{Heads, Laid, Multiplied, Sections, TrainedSite, counted};
use crate::model::retriever::Retriever;
use std::ops::Range;

/// Where all that is trained lies.
pub struct Places {
    /// Rows of items, and of positions.
    pub tables: [Range<usize>; 2],
    pub blocks: Vec<TrainedBlock>,
    pub last_norm: Range<usize>,
}

/// Where a block's products and norms lie.
pub struct TrainedBlock {
    pub sites: Vec<TrainedSite>,
    pub norms: [Range<usize>; 2],
}

/// Lays out a retriever's parameters. `multiplied` is what products read while it learns,
/// `scored` what scores are multiplied with, if all items are: the items' rows, filled up.
///
/// Errors: those of [`Sections::add_weight`].
pub fn lay(
    (heads, multiplied): (Heads, &[[Multiplied; 4]]),
    retriever: &Retriever,
    scored: Option<&Multiplied>,
) -> Result<(Sections, Places)> {
    let (mut sections, layout) = (Sections::default(), &retriever.layout);
    let rounded = scored.map(|scored| scored.adapters.weight().cloned()).transpose()?;
    let mut items = counted(layout.items.clone());
    items.resize(rounded.as_ref().map_or(items.len(), |rounded| rounded.len()), 0);
    let items = sections.add(items, true, rounded);
    let positions = sections.add(counted(layout.positions.clone()), true, None);
    let mut blocks = Vec::with_capacity(layout.blocks.len());
    for (at, multiplied) in layout.blocks.iter().zip(multiplied) {
        let mut sites = Vec::with_capacity(multiplied.len());
        for (site, with) in multiplied.iter().enumerate() {
            let [weight, bias] = at.weight_and_bias(site, retriever.config.hidden);
            let parts = std::iter::once((weight, Some(bias)));
            sites.push(sections.add_weight(Laid { heads, site }, with, parts)?);
        }
        let norms = [&at.attention_norm, &at.forward_norm];
        let norms = norms.map(|norm| sections.add(counted(norm.clone()), true, None));
        blocks.push(TrainedBlock { sites, norms });
    }
    let last_norm = sections.add(counted(layout.last_norm.clone()), true, None);
    sections.decay_all(); // as on the processor
    Ok((sections, Places { tables: [items, positions], blocks, last_norm }))
}
