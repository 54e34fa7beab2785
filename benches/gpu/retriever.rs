//! How fast a retriever learns: a step over some sequences, from items to parameters.

use std::sync::Arc;
use std::time::Instant;
use steerage::device::cuda::SharedDriver;
use steerage::error::Result;
use steerage::model::retriever::{
    Follow, LossRule, ResidentLearner, Retriever, RetrieverConfig, Tokens, rows_at_once,
};
use steerage::types::mix64;

/// What learns, and from what.
#[derive(Clone, Debug)]
pub struct Setting {
    pub config: RetrieverConfig,
    pub sequences: usize,
    /// Items that each position is scored against beside its target; none for all of them.
    pub negatives: Option<usize>,
    /// Steps that are timed, after one that is not.
    pub repeat: usize,
}

/// SASRec of width 64 over 128 sequences of 200 items: of 20,000 items all are scored, of a million
/// a few.
pub fn settings() -> [Setting; 2] {
    [(20_000, None), (1_000_000, Some(256))].map(|(items, negatives)| Setting {
        config: RetrieverConfig { items, hidden: 64, blocks: 2, heads: 1, length_max: 200 },
        sequences: 128,
        negatives,
        repeat: 10,
    })
}

/// How long a step took.
#[derive(Clone, Copy, Debug)]
pub struct Stepped {
    /// The median, from items to parameters, of the host's clock.
    pub seconds: f64,
    pub positions_per_s: f64,
    /// The mean losses of the first step and of the last one.
    pub losses: [f64; 2],
}

/// Takes steps on the same sequences: each item is the one before it and 7 more.
///
/// # Errors
/// If the device fails.
pub fn step(driver: &SharedDriver, setting: &Setting) -> Result<Stepped> {
    let Setting { config, sequences, negatives, repeat } = setting;
    let (items, length) = (config.items as u64, config.length_max);
    let (mut tokens, mut taught) = (Tokens::default(), Vec::new());
    tokens.dropout = 0.2;
    for sequence in 0..*sequences as u64 {
        let item = |at: usize| ((mix64(sequence) + 7 * at as u64) % items) as u32;
        tokens.push(&(0..length).map(item).collect::<Vec<u32>>(), length);
        for at in 1..=length {
            taught.push(item(at));
            let key = mix64(sequence << 32 | at as u64);
            tokens.keys.push(key);
            let drawn = (0..negatives.unwrap_or(0) as u64).map(|j| mix64(key ^ j) % items);
            taught.extend(drawn.map(|item| item as u32));
        }
    }
    let rule = match negatives {
        None => LossRule::All(rows_at_once(config.items, tokens.len())),
        Some(_) => LossRule::Binary(1.0),
    };
    let retriever = Retriever::random(config.clone(), 7)?;
    let there = ResidentLearner::of(Arc::clone(driver), &retriever, rule, tokens.len())?;
    let (mut seconds, mut losses) = (Vec::new(), Vec::new());
    for step in 1..=*repeat as u64 + 1 {
        let start = Instant::now();
        let learned = there.learn(&tokens, &taught, 1.0 / tokens.len() as f32)?;
        let (rates, betas, decay, norm_max) = (&[1e-3][..], (0.9, 0.98), 0.0, 0.0);
        there.parameters().follow(&Follow { step, rates, betas, decay, norm_max })?;
        losses.push(there.sum(&learned)? / tokens.len() as f64);
        driver.synchronize()?;
        if step > 1 {
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    seconds.sort_by(f64::total_cmp);
    let seconds = seconds[seconds.len() / 2];
    let positions_per_s = tokens.len() as f64 / seconds;
    Ok(Stepped { seconds, positions_per_s, losses: [losses[0], losses[*repeat]] })
}
