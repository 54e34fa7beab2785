//! What models would be asked at the nodes of a job's graphs, at most, before anything is spent.

use super::super::asking::{
    LETTERS, decoder_seconds, item_letters, person_letters, server_seconds,
};
use super::super::{devices, label, server};
use super::Opened;
use crate::device::Precision;
use crate::error::Result;
use crate::model::adapter::Adapter;
use crate::model::decoder::{DecoderConfig, Memory};
use crate::remote::Usage;
use crate::spec::{
    ArmSpec, DecoderGuideSpec, DeviceSpec, GuideSpec, NodeGraphSpec, RerankSpec, StepSpec,
};
use std::fmt;
use std::path::Path;

/// Letters of a prompt's own words, of a candidate's line around the item, and of one in a list.
const AROUND_LETTERS: u64 = 900;
const LINE_LETTERS: u64 = 20;
const LISTED_LETTERS: u64 = 4;
/// Tokens of a candidate in an answer, and of what is around them.
const ENTRY_TOKENS: u64 = 3;
const AROUND_TOKENS: u64 = 8;

/// What one guide would be asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Guided {
    /// The guide's name.
    pub name: String,
    /// Prompts, at most.
    pub prompts: u64,
    /// Their tokens, and those of the answers.
    pub usage: Usage,
    /// What a server's answers cost.
    pub cost: Option<f64>,
    /// How long it takes.
    pub seconds: f64,
    /// What it takes on its device, unless it computes on the processor.
    pub memory: Option<(DeviceSpec, Memory)>,
}

/// What each guide would be asked: all visits that the ways may have, of all arms and points.
///
/// Errors: texts that do not fit the catalogue; a folder without a decoder; sequences that cannot
/// be read.
pub fn guided(spec: &RerankSpec, opened: &Opened, workers: f64) -> Result<Vec<Guided>> {
    let once = spec.arms.iter().map(|arm| (arm.clone(), spec.retrieve.k));
    let swept = spec.points().into_iter().flat_map(|point| {
        let arms = spec.swept_arms().into_iter();
        arms.map(move |swept| (swept.arm, point.k))
    });
    let arms: Vec<(ArmSpec, usize)> = once.chain(swept).collect();
    let named = spec.guides.iter().map(|guide| one(spec, opened, workers, guide, &arms));
    named.collect()
}

fn one(
    spec: &RerankSpec,
    opened: &Opened,
    workers: f64,
    guide: &GuideSpec,
    arms: &[(ArmSpec, usize)],
) -> Result<Guided> {
    let catalogue = &opened.prepared.catalogue;
    let texts = label::texts(&guide.texts, catalogue)?;
    let item = item_letters(catalogue, &texts) + LINE_LETTERS;
    let person = person_letters(&opened.prepared, &texts)?;
    let mut all = Guided { name: guide.name.clone(), ..Guided::default() };
    for (arm, k) in arms {
        for step in &arm.steps {
            let StepSpec::NodeGraph(step) = step else { continue };
            let users = (opened.plan.rows() as f64 * step.model_share).ceil() as u64;
            let (ranked, turned, visits) = asked(step, guide, *k);
            let shown = guide.window.min(step.candidates).min(*k) as u64;
            let lists = visits / 2 * shown * LISTED_LETTERS;
            let letters = AROUND_LETTERS + person + shown * item + lists;
            all.prompts += users * (ranked + turned);
            all.usage.tokens_in += users * (ranked + turned) * letters / LETTERS;
            if guide.server.is_some() {
                let answer = ranked * shown * ENTRY_TOKENS + (ranked + turned) * AROUND_TOKENS;
                all.usage.tokens_out += users * answer;
            }
        }
    }
    if let Some(server) = &guide.server {
        all.cost = Some(server::budget(&spec.budget).cost(all.usage));
        all.seconds = server_seconds(server, all.prompts, all.usage);
    } else if let Some(decoder) = &guide.decoder {
        let config = DecoderConfig::open(Path::new(&decoder.path))?;
        all.seconds = decoder_seconds(&config, all.usage.tokens_in) / workers;
        let tokens_max = config.batch_tokens(spec.device_tokens_max, decoder.tokens_max);
        all.memory = memory(decoder, config, tokens_max)?;
    }
    Ok(all)
}

/// What a decoder takes on its device, with what is kept of prompts among its batches.
fn memory(
    decoder: &DecoderGuideSpec,
    mut config: DecoderConfig,
    tokens_max: usize,
) -> Result<Option<(DeviceSpec, Memory)>> {
    if decoder.device.is_cpu() {
        return Ok(None);
    }
    let adapter = decoder.adapter.as_deref().map(Path::new);
    let adapter = adapter.map(|folder| Adapter::open_growing(folder, &mut config)).transpose()?;
    let kept = decoder.precision.map_or(Precision::Bf16, devices::precision);
    let adapter = adapter.as_ref().map(Adapter::config);
    let mut memory = Memory::expected(&config, adapter, kept, tokens_max)?;
    memory.batch_bytes += Memory::kept(&config, tokens_max, decoder.kept_mib << 20)?;
    Ok(Some((decoder.device.clone(), memory)))
}

/// Prompts for an order and for the next node of one user, and the visits of the way.
fn asked(step: &NodeGraphSpec, guide: &GuideSpec, k: usize) -> (u64, u64, u64) {
    let visits = step.path.as_ref().map_or(step.hops_max, |path| path.len().min(step.hops_max));
    let candidates = step.candidates.min(k);
    let windows = 1 + candidates.saturating_sub(guide.window).div_ceil(guide.stride);
    let ranks = step.ranker == guide.name;
    // A server says both in one.
    let turns = step.navigator == guide.name && !(ranks && guide.server.is_some());
    let ranked = if ranks { visits * windows } else { 0 };
    (ranked as u64, if turns { visits as u64 } else { 0 }, visits as u64)
}

impl fmt::Display for Guided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Guided { name, prompts, usage: Usage { tokens_in, tokens_out }, cost, .. } = self;
        write!(f, "  guide        {name}: up to {prompts} prompts, about {tokens_in} tokens read")?;
        match cost {
            None => writeln!(f, ", less what is read on")?,
            Some(cost) => writeln!(
                f,
                " and {tokens_out} written, cost {cost:.2}; answers that are there cost nothing"
            )?,
        }
        let Some((device, Memory { weights_bytes, batch_bytes })) = &self.memory else {
            return Ok(());
        };
        let mib = |bytes: &usize| bytes.div_ceil(1 << 20);
        writeln!(
            f,
            "  device       {device}: {} MiB for {name}, {} MiB for its batches and what is kept",
            mib(weights_bytes),
            mib(batch_bytes)
        )
    }
}
