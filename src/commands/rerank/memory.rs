//! How much of its device's memory a job will take, before anything is loaded.

use super::Opened;
use crate::error::Result;
use crate::model::decoder::Memory;
use crate::spec::{DeviceSpec, RerankSpec, StepSpec};

/// What stays on the job's device, and what its batches are computed in, in bytes: the models', and
/// the items'. None on the processor.
///
/// Errors: a model whose dimensions cannot be read, or that the device does not take.
pub fn memory(spec: &RerankSpec, opened: &Opened) -> Result<Option<Memory>> {
    if spec.device == DeviceSpec::Cpu {
        return Ok(None);
    }
    let mut all = Memory::default();
    if let (Some(trained), None) = (&opened.trained, &spec.candidates) {
        all.weights_bytes += size_of_val(trained.item_embeddings());
    }
    let (names, swept) = (spec.rerankers(), spec.swept_arms());
    let arms = spec.arms.iter().chain(swept.iter().map(|swept| &swept.arm));
    let mut loaded = Vec::new();
    for step in arms.flat_map(|arm| &arm.steps) {
        let StepSpec::TokenControl { reranker, adapter, .. } = step else { continue };
        if loaded.contains(&(reranker, *adapter)) {
            continue; // loaded once however many arms use it
        }
        loaded.push((reranker, *adapter));
        let Some(at) = names.iter().position(|name| *name == reranker) else { continue };
        let model = opened.rerankers[at].memory(*adapter, spec.device_tokens_max)?;
        all.weights_bytes += model.weights_bytes;
        all.batch_bytes += model.batch_bytes;
    }
    Ok(Some(all))
}
