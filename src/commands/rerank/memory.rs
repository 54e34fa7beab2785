//! How much of its device's memory a job will take, before anything is loaded.

use super::Opened;
use crate::device::cpu::top_k::TopKShape;
use crate::device::cuda::Items;
use crate::error::{Error, Result};
use crate::model::decoder::Memory;
use crate::spec::{DeviceSpec, RerankSpec, StepSpec};
use crate::stage::retrieve::USERS_AT_ONCE;

/// What stays on each of the job's devices, and what its batches are computed in, in bytes: the
/// models', and those of the search, of one worker. None on the processor.
///
/// Errors: a model whose dimensions cannot be read; a decoder that the device does not take.
pub fn memory(spec: &RerankSpec, opened: &Opened) -> Result<Option<Memory>> {
    if spec.device == DeviceSpec::Cpu {
        return Ok(None);
    }
    let mut all = Memory::default();
    let tokens_max = spec.device_tokens_max;
    if let (Some(trained), None) = (&opened.trained, &spec.candidates) {
        let (width, k) = (trained.width(), spec.retrieve.k);
        let items = trained.item_embeddings().len() / width.max(1);
        let shape = TopKShape { users: USERS_AT_ONCE, items, width, k };
        [all.weights_bytes, all.batch_bytes] = Items::bytes(&shape);
        all.batch_bytes *= 2; // a worker's engine has one thread more than there are devices
        all += trained.memory(tokens_max);
    }
    let (names, swept) = (spec.rerankers(), spec.swept_arms());
    let arms = spec.arms.iter().chain(swept.iter().map(|swept| &swept.arm));
    let mut loaded = Vec::new();
    for step in arms.flat_map(|arm| &arm.steps) {
        let StepSpec::TokenControl { reranker, adapter, precision, .. } = step else { continue };
        let how = (*adapter, *precision);
        if loaded.contains(&(reranker, how)) {
            continue; // loaded once however many arms use it
        }
        loaded.push((reranker, how));
        let Some(at) = names.iter().position(|name| *name == reranker) else { continue };
        let model = opened.rerankers[at].memory(how, tokens_max)?;
        all += model;
    }
    for embeddings in &opened.embeddings {
        match embeddings.encoder.memory(tokens_max) {
            Ok(encoder) => all += encoder,
            Err(Error::Device(_)) => {} // requests are read on the processor
            Err(error) => return Err(error),
        }
    }
    Ok(Some(all))
}
