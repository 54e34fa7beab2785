//! What a label job would take, before anything is spent.

use super::super::asking::{
    LETTERS, decoder_seconds, item_letters, person_letters, server_seconds,
};
use super::Opened;
use crate::error::Result;
use crate::model::decoder::DecoderConfig;
use crate::remote::Usage;
use crate::spec::{DecoderTeacherSpec, HttpTeacherSpec, LabelSpec, RequestsFrom, TeacherSpec};
use crate::stage::judge::{TEMPLATE, prompt};
use crate::stage::texts::Texts;
use std::fmt;
use std::path::Path;

/// Judgements a second of the catalogue as a teacher.
const JUDGED_PER_S: f64 = 3e5;
/// Tokens of one item's entry in an answer, and of what is around them.
const ENTRY_TOKENS: u64 = 10;
const AROUND_TOKENS: u64 = 8;

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
    let letters = template
        + person_letters(&opened.prepared, texts)?
        + item_letters(&opened.catalogue, texts);
    let tokens_in = all.judgements * letters / LETTERS;
    let seconds = decoder_seconds(&config, tokens_in);
    let usage = Usage { tokens_in, tokens_out: 0 };
    Ok(Estimate { prompts: all.judgements, usage, seconds, ..all })
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
    let items = item_letters(&opened.catalogue, texts);
    let empty: u64 = prompt("", "a request of some words", &[]).iter().map(said).sum();
    let read = prompts * (empty + person_letters(&opened.prepared, texts)?)
        + all.judgements * (items + LETTERS);
    let usage = Usage {
        tokens_in: read / LETTERS,
        tokens_out: all.judgements * ENTRY_TOKENS + prompts * AROUND_TOKENS,
    };
    let cost = crate::commands::server::budget(&spec.budget).cost(usage);
    let seconds = server_seconds(server, prompts, usage);
    Ok(Estimate { prompts, usage, cost, seconds, ..all })
}

fn said(message: &crate::remote::Message) -> u64 {
    message.content.len() as u64
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
