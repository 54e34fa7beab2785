//! How fast a whole decoder scores prompts, next to the products that it cannot do without.

use std::time::Instant;
use steerage::device::cuda::SharedDriver;
use steerage::device::shape::GroupedShape;
use steerage::error::Result;
use steerage::model::decoder::{
    Ask, DecoderConfig, Drawn, KeyValues, Projection, Prompt, Resident, Rope,
};
use steerage::types::mix64;

/// What is scored.
#[derive(Clone, Debug)]
pub struct Setting {
    pub config: DecoderConfig,
    pub prompts: usize,
    pub tokens: usize,
    pub candidates: usize,
    /// R of each of the seven projections.
    pub rank: usize,
    /// Tokens of a batch.
    pub batch: usize,
    pub repeat: usize,
}

/// The dimensions of Llama 3's 8 billion.
pub fn llama_8b() -> Setting {
    let config = DecoderConfig {
        vocabulary: 128_256,
        hidden: 4096,
        inner: 14_336,
        layers: 32,
        heads: 32,
        shared: 8,
        width: 128,
        context_max: 8192,
        epsilon: 1e-5,
        rope: Rope { theta: 500_000.0, scaling: None },
        tied: false,
        qkv_bias: false,
        output_bias: false,
    };
    Setting { config, prompts: 80, tokens: 800, candidates: 20, rank: 8, batch: 16_000, repeat: 5 }
}

/// What an emulated device can do.
pub fn tiny() -> Setting {
    let config = DecoderConfig {
        vocabulary: 40,
        hidden: 16,
        inner: 32,
        layers: 2,
        heads: 2,
        shared: 1,
        width: 8,
        context_max: 64,
        ..llama_8b().config
    };
    Setting { config, prompts: 3, tokens: 9, candidates: 4, rank: 2, batch: 26, repeat: 1 }
}

/// How long it took.
#[derive(Clone, Copy, Debug)]
pub struct Scored {
    /// The median, from prompts to logits, of the host's clock.
    pub seconds: f64,
    pub tokens_per_s: f64,
    pub flops_per_s: f64,
    /// Whether a prompt has the same bits alone as among the others.
    pub alike: bool,
}

/// Scores prompts with so many adapters, which prompts choose in turn; the projections in FP8 or in
/// bf16.
///
/// # Errors
/// If the device fails.
pub fn score(
    driver: SharedDriver,
    setting: &Setting,
    (adapters, fp8): (u32, bool),
) -> Result<Scored> {
    let Setting { config, candidates, rank, batch, repeat, .. } = setting;
    let drawn = Drawn { adapters, rank: *rank, seed: 7, fp8 };
    let decoder = Resident::drawn(driver, config.clone(), drawn, *batch)?;
    let prompts = prompts(setting, adapters);
    let labels: Vec<u32> = (0..*candidates as u32).collect();
    let together = decoder.logits(&prompts, &labels)?;
    let last = prompts.len() - 1;
    let alone = decoder.logits(&prompts[last..], &labels)?;
    let alike = are_alike(&alone, &together[last * candidates..]);
    let mut seconds = Vec::new();
    for _ in 0..*repeat {
        let start = Instant::now();
        decoder.logits(&prompts, &labels)?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    let seconds = seconds[seconds.len() / 2];
    let tokens = (setting.prompts * setting.tokens) as f64;
    let flops_per_s = flops(setting) / seconds;
    Ok(Scored { seconds, tokens_per_s: tokens / seconds, flops_per_s, alike })
}

/// Of as many logits as the first ones are.
fn are_alike(a: &[f32], b: &[f32]) -> bool {
    a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

/// Steps of one token each.
const STEPS: usize = 16;

/// How long reading on took.
#[derive(Clone, Copy, Debug)]
pub struct ReadOn {
    /// A token more of every prompt: the median, of the host's clock.
    pub step_seconds: f64,
    /// What a step cannot do without reading: the weights, and what is kept of the prompts.
    pub step_bytes: usize,
    /// Whether a prompt that was read on has the bits of one that is read whole.
    pub alike: bool,
}

/// Reads prompts, keeps that, and goes on token by token.
///
/// # Errors
/// If the device fails.
pub fn read_on(driver: SharedDriver, setting: &Setting) -> Result<ReadOn> {
    let Setting { config, candidates, batch, tokens, .. } = setting;
    let token_bytes = 4 * config.layers * config.shared * config.width.next_multiple_of(64);
    let kept_bytes = setting.prompts * (tokens + STEPS + 64) * token_bytes;
    let drawn = Drawn { adapters: 0, rank: setting.rank, seed: 7, fp8: false };
    let decoder = Resident::drawn(driver, config.clone(), drawn, *batch)?.keeping(kept_bytes)?;
    let labels: Vec<u32> = (0..*candidates as u32).collect();
    let mut prompts = prompts(setting, 0);
    let mut kept = vec![KeyValues::default(); prompts.len()];
    let (mut seconds, mut last) = (Vec::new(), Vec::new());
    for step in 0..=STEPS {
        let pairs = prompts.iter().zip(&mut kept);
        let mut asks: Vec<Ask<'_>> = pairs.map(|(prompt, kept)| Ask { prompt, kept }).collect();
        let start = Instant::now();
        last = decoder.logits_on(&mut asks, &labels)?;
        if step > 0 {
            seconds.push(start.elapsed().as_secs_f64());
        }
        if step < STEPS {
            prompts.iter_mut().for_each(|prompt| prompt.tokens.push(step as u32));
        }
    }
    let whole = decoder.logits(&prompts[..1], &labels)?;
    let alike = are_alike(&whole, &last);
    seconds.sort_by(f64::total_cmp);
    let size = |part: &Projection| part.shape(config).iter().product::<usize>();
    let weights = 2 * config.layers * Projection::ALL.iter().map(size).sum::<usize>();
    let step_bytes = weights + setting.prompts * (tokens + STEPS / 2) * token_bytes;
    Ok(ReadOn { step_seconds: seconds[seconds.len() / 2], step_bytes, alike })
}

/// Tokens that look random, none shared.
pub fn prompts(setting: &Setting, adapters: u32) -> Vec<Prompt> {
    let Setting { config, tokens, .. } = setting;
    let token = |p: usize, t: usize| mix64((p * tokens + t) as u64) % config.vocabulary as u64;
    let prompt = |p: usize| Prompt {
        tokens: (0..*tokens).map(|t| token(p, t) as u32).collect(),
        adapter: (adapters > 0).then(|| p as u32 % adapters.max(1)),
    };
    (0..setting.prompts).map(prompt).collect()
}

/// Operations of the base model's products and of attention, without adapters and logits. In the
/// last layer only last tokens go on after the keys and values.
pub fn flops(setting: &Setting) -> f64 {
    let Setting { config, prompts, tokens, .. } = setting;
    let size = |part: &Projection| part.shape(config).iter().product::<usize>() as f64;
    let (first, after) = Projection::ALL.split_at(3);
    let [first, after] = [first, after].map(|parts| parts.iter().map(size).sum::<f64>());
    let [all, ends] = [prompts * tokens, *prompts].map(|count| count as f64);
    let layers = config.layers as f64;
    let offsets = &[0, *tokens as u32];
    let DecoderConfig { heads, shared, width, .. } = *config;
    let shape = GroupedShape { offsets, parents: &[], heads, shared, width };
    let attention = *prompts as f64 * shape.flops() as f64;
    let products = layers * all * first + ((layers - 1.0) * all + ends) * after;
    2.0 * products + (layers - 1.0) * attention
}
