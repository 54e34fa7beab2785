//! What a label job would take, before anything is spent.

use super::Opened;
use crate::error::Result;
use crate::model::decoder::DecoderConfig;
use crate::remote::Usage;
use crate::spec::{DecoderTeacherSpec, HttpTeacherSpec, LabelSpec, RequestsFrom, TeacherSpec};
use crate::stage::judge::{TEMPLATE, prompt};
use crate::stage::scatter::require;
use crate::stage::texts::Texts;
use crate::store::part;
use std::fmt;
use std::path::Path;

/// Judgements a second of the catalogue as a teacher.
const JUDGED_PER_S: f64 = 3e5;
/// Multiply-adds a second and thread of reading prompts.
const PRODUCTS_PER_S: f64 = 4e10;
/// Seconds that a server takes for an answer, where nothing else is known.
const ANSWER_S: f64 = 3.0;
/// Items and users whose texts are measured.
const MEASURED: usize = 200;
/// Tokens of one item's entry in an answer, and of what is around them.
const ENTRY_TOKENS: u64 = 10;
const AROUND_TOKENS: u64 = 8;
/// Letters of a token.
const LETTERS: u64 = 4;

/// What a job would take.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// Requests, at most.
    pub requests: u64,
    /// Judgements, at most.
    pub judgements: u64,
    /// Prompts for a teacher that reads, at most.
    pub prompts: u64,
    /// Their tokens, and those of the answers.
    pub usage: Usage,
    /// What they cost.
    pub cost: f64,
    /// How long it takes.
    pub seconds: f64,
}

/// The estimate for a job.
///
/// Errors: those of putting the job's names together with the catalogue, and of reading sequences.
pub fn estimate(spec: &LabelSpec, opened: &Opened) -> Result<Estimate> {
    let requests = opened.plan.rows() * spec.requests.per_user as u64;
    let per_request = spec.items.per_request.min(opened.catalogue.len()) as u64;
    let judgements = requests * per_request;
    super::settings::pose(spec, &super::requests(&spec.requests, &opened.catalogue)?)?;
    let texts = super::texts(&spec.texts, &opened.catalogue)?;
    let all = Estimate { requests, judgements, ..Estimate::default() };
    match &spec.teacher {
        TeacherSpec::Attributes { .. } => {
            Ok(Estimate { seconds: judgements as f64 / JUDGED_PER_S, ..all })
        }
        TeacherSpec::Decoder(decoder) => near(decoder, opened, &texts, all),
        TeacherSpec::Http(server) => far(spec, server, opened, &texts, all),
    }
}

/// What a decoder would read: one prompt an item.
fn near(
    decoder: &DecoderTeacherSpec,
    opened: &Opened,
    texts: &Texts,
    all: Estimate,
) -> Result<Estimate> {
    let config = DecoderConfig::open(Path::new(&decoder.path))?;
    let template = decoder.template.as_deref().unwrap_or(TEMPLATE).len() as u64;
    let letters = template + people(opened, texts)? + items(opened, texts);
    let tokens_in = all.judgements * letters / LETTERS;
    let (width, inner) = (config.hidden as f64, config.inner as f64);
    let products = config.layers as f64 * (4.0 * width * width + 3.0 * width * inner);
    let seconds = tokens_in as f64 * products / PRODUCTS_PER_S;
    let usage = Usage { tokens_in, tokens_out: 0 };
    Ok(Estimate { prompts: all.judgements, usage, seconds, ..all })
}

/// The mean letters of some items in words.
fn items(opened: &Opened, texts: &Texts) -> u64 {
    let step = (opened.catalogue.len() / MEASURED).max(1);
    let some = (0..opened.catalogue.len()).step_by(step);
    mean(some.map(|item| texts.item(item as u32).len()))
}

/// What a server would be asked: with the mean text of some items and people.
fn far(
    spec: &LabelSpec,
    server: &HttpTeacherSpec,
    opened: &Opened,
    texts: &Texts,
    all: Estimate,
) -> Result<Estimate> {
    let per_request = spec.items.per_request.min(opened.catalogue.len());
    let written = match spec.requests.from {
        RequestsFrom::Teacher => opened.plan.rows(), // one prompt a user
        RequestsFrom::Templates | RequestsFrom::Table => 0,
    };
    let judged = all.requests * per_request.div_ceil(server.items_per_prompt) as u64;
    let prompts = judged + written;
    let items = items(opened, texts);
    let empty: u64 = prompt("", "a request of some words", &[]).iter().map(said).sum();
    let read = prompts * (empty + people(opened, texts)?) + all.judgements * (items + LETTERS);
    let usage = Usage {
        tokens_in: read / LETTERS,
        tokens_out: all.judgements * ENTRY_TOKENS + prompts * AROUND_TOKENS,
    };
    let cost = crate::commands::server::budget(&spec.budget).cost(usage);
    let at_once = prompts as f64 * ANSWER_S / server.at_once as f64;
    let rated = |all: u64, rate: f64| if rate > 0.0 { all as f64 / rate } else { 0.0 };
    let tokens = usage.tokens_in + usage.tokens_out;
    let seconds = at_once
        .max(rated(prompts, server.requests_per_second))
        .max(rated(tokens, server.tokens_per_minute as f64 / 60.0));
    Ok(Estimate { prompts, usage, cost, seconds, ..all })
}

fn said(message: &crate::remote::Message) -> u64 {
    message.content.len() as u64
}

/// The mean letters of some people in words.
fn people(opened: &Opened, texts: &Texts) -> Result<u64> {
    let Some(part) = opened.prepared.sequences.first() else { return Ok(0) };
    let bytes = require(&opened.prepared.run, &part.key)?;
    let some = part::sequences::decode(&part.key, bytes)?.into_iter().take(MEASURED);
    Ok(mean(some.map(|user| texts.context(&user.items[..user.train as usize]).len())))
}

fn mean(lengths: impl Iterator<Item = usize>) -> u64 {
    let (count, sum) = lengths.fold((0, 0), |(count, sum), length| (count + 1, sum + length));
    (sum as u64).checked_div(count).unwrap_or(0)
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Estimate { requests, judgements, prompts, usage, cost, .. } = self;
        writeln!(f, "  labels       up to {requests} requests, {judgements} judgements")?;
        if *prompts == 0 {
            return Ok(());
        }
        let Usage { tokens_in, tokens_out } = usage;
        writeln!(
            f,
            "  teacher      {prompts} prompts, about {tokens_in} tokens read and {tokens_out} \
             written, cost {cost:.2}; answers that are there cost nothing"
        )
    }
}
