//! How fast a decoder's adapters learn: a step over some prompts, from tokens to parameters.

use super::decoder::{Setting, flops, llama_8b, prompts};
use std::sync::Arc;
use std::time::Instant;
use steerage::device::Precision;
use steerage::device::cuda::SharedDriver;
use steerage::error::Result;
use steerage::model::adapter::AdapterConfig;
use steerage::model::decoder::{
    Batch, Decoder, DecoderConfig, Follow, Learner, Projection, ResidentLearner, Trained, fitting,
};
use steerage::train::rank_net::{pairs, rank_net};
use steerage::types::mix64;

/// What layers may keep for the backward pass.
const KEPT_BYTES_MAX: usize = 40 << 30;

/// Eight of the 32 layers of Llama 3's 8 billion: each takes the same time, and what the host draws
/// stays small.
pub fn llama_8b_layers() -> Setting {
    let all = llama_8b();
    let config = DecoderConfig { layers: 8, ..all.config.clone() };
    Setting { config, prompts: 16, batch: 6400, repeat: 5, ..all }
}

/// How long a step took.
#[derive(Clone, Copy, Debug)]
pub struct Stepped {
    /// The median, from prompts to parameters, of the host's clock.
    pub seconds: f64,
    pub tokens_per_s: f64,
    /// Of the products with base weights alone, forward and backward.
    pub flops_per_s: f64,
    /// The losses before the first step and before the last one.
    pub losses: [f64; 2],
}

/// Takes steps of RankNet over the labels of all prompts, batch by batch, and AdamW.
///
/// # Errors
/// If the device fails.
pub fn step(driver: &SharedDriver, setting: &Setting) -> Result<Stepped> {
    let Setting { config, candidates, rank, batch, repeat, .. } = setting;
    let labels: Vec<u32> = (0..*candidates as u32).collect();
    let adapter = AdapterConfig {
        rank: *rank,
        alpha: 2.0 * *rank as f64,
        rslora: false,
        targets: Projection::ALL.to_vec(),
        tokens: Vec::new(),
        base: None,
    };
    let learner = Learner::new(drawn(config.clone())?, &Trained::Adapter(adapter), &labels, 7)?;
    let mut there = ResidentLearner::of(Arc::clone(driver), &learner, *batch, KEPT_BYTES_MAX)?;
    let tokens = prompts(setting, 0);
    let tokens = learner.prompts(tokens.iter().map(|prompt| &prompt.tokens[..]));
    let relevance: Vec<f32> = labels.iter().rev().map(|label| *label as f32).collect();
    let scale = 1.0 / (pairs(&relevance) * tokens.len() as u64) as f32;
    let (mut seconds, mut losses) = (Vec::new(), Vec::new());
    for step in 0..=*repeat as u64 {
        let (start, mut left, mut loss) = (Instant::now(), &tokens[..], 0.0);
        while !left.is_empty() {
            let (some, after) = left.split_at(fitting(left, *batch));
            left = after;
            there.learn(&learner, &Batch::of(some), &mut |logits, d_logits| {
                let rows = logits.chunks(labels.len()).zip(d_logits.chunks_mut(labels.len()));
                for (logits, d_logits) in rows {
                    loss += rank_net(logits, &relevance, scale, d_logits) * f64::from(scale);
                }
            })?;
        }
        let betas = (0.9, 0.999);
        let step = step + 1;
        there.parameters().follow(&Follow {
            step,
            rates: &[1e-3],
            betas,
            decay: 0.0,
            norm_max: 1.0,
        })?;
        driver.synchronize()?;
        if step > 1 {
            seconds.push(start.elapsed().as_secs_f64());
        }
        losses.push(loss);
    }
    seconds.sort_by(f64::total_cmp);
    let seconds = seconds[seconds.len() / 2];
    Ok(Stepped {
        seconds,
        tokens_per_s: (setting.prompts * setting.tokens) as f64 / seconds,
        flops_per_s: 2.0 * flops(setting) / seconds,
        losses: [losses[0], losses[*repeat]],
    })
}

/// A decoder whose weights look random and take no time to draw.
fn drawn(config: DecoderConfig) -> Result<Decoder> {
    Decoder::fill(config, Precision::Bf16, &|name, row, to| {
        if name.contains("norm") {
            to.fill(1.0);
            return Ok(());
        }
        let scale = (12.0 / to.len() as f32).sqrt() / (1u64 << 32) as f32;
        let mut state = name.bytes().fold(row as u64, |key, byte| mix64(key ^ u64::from(byte)));
        for x in to {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *x = ((state >> 32) as f32 - (1u64 << 31) as f32) * scale;
        }
        Ok(())
    })
}
