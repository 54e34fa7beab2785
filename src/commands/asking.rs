//! What asking models takes, before anything is spent: texts measured on some people and items, and
//! rates for knowing minutes from days.

use super::prepare::Prepared;
use crate::error::Result;
use crate::model::decoder::DecoderConfig;
use crate::remote::Usage;
use crate::spec::HttpTeacherSpec;
use crate::stage::texts::Texts;
use crate::store::part;
use crate::types::Catalogue;

/// Multiply-adds a second and thread of reading prompts.
const PRODUCTS_PER_S: f64 = 4e10;
/// Seconds that a server takes for an answer, where nothing else is known.
const ANSWER_S: f64 = 3.0;
/// Items and users whose texts are measured.
const MEASURED: usize = 200;
/// Letters of a token.
pub const LETTERS: u64 = 4;

/// The mean letters of some items in words.
pub fn item_letters(catalogue: &Catalogue, texts: &Texts) -> u64 {
    let step = (catalogue.len() / MEASURED).max(1);
    let some = (0..catalogue.len()).step_by(step);
    mean(some.map(|item| texts.item(item as u32).len()))
}

/// The mean letters of some people in words.
///
/// Errors: those of reading sequences.
pub fn person_letters(prepared: &Prepared, texts: &Texts) -> Result<u64> {
    let Some(part) = prepared.sequences.first() else { return Ok(0) };
    let bytes = prepared.run.get_part(part)?;
    let some = part::sequences::decode(&part.key, bytes)?.into_iter().take(MEASURED);
    Ok(mean(some.map(|user| texts.context(&user.items[..user.train as usize]).len())))
}

fn mean(lengths: impl Iterator<Item = usize>) -> u64 {
    let (count, sum) = lengths.fold((0, 0), |(count, sum), length| (count + 1, sum + length));
    (sum as u64).checked_div(count).unwrap_or(0)
}

/// The seconds of one thread in which a decoder reads so many tokens.
pub fn decoder_seconds(config: &DecoderConfig, tokens: u64) -> f64 {
    let (width, inner) = (config.hidden as f64, config.inner as f64);
    let products = config.layers as f64 * (4.0 * width * width + 3.0 * width * inner);
    tokens as f64 * products / PRODUCTS_PER_S
}

/// The seconds in which a server answers so many prompts, within the job's rates.
pub fn server_seconds(server: &HttpTeacherSpec, prompts: u64, usage: Usage) -> f64 {
    let rated = |all: u64, rate: f64| if rate > 0.0 { all as f64 / rate } else { 0.0 };
    let at_once = prompts as f64 * ANSWER_S / server.at_once as f64;
    at_once
        .max(rated(prompts, server.requests_per_second))
        .max(rated(usage.tokens_in + usage.tokens_out, server.tokens_per_minute as f64 / 60.0))
}
