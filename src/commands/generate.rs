//! `steerage generate`: what a decoder says after a prompt.

use super::devices;
use crate::device::{Cpu, Precision};
use crate::error::{Error, Result};
use crate::model::decoder::{DecoderFiles, KeyValues, Prompt, Resident};
use crate::model::generate::{
    self, Constraint, End, Free, Generated, OnCpu, OneOf, Pace, Question, Reads, Sampling, Settings,
};
use crate::model::tokenizer::Tokenizer;
use crate::remote::{Message, Role};
use crate::spec::DeviceSpec;
use crate::stage::prompt::{Chat, Day};
use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::time::SystemTime;

/// Where a prompt's text is.
#[derive(Clone, Debug)]
pub enum PromptText {
    /// Here.
    Given(String),
    /// The whole of a file.
    File(PathBuf),
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct GenerateRequest {
    /// The model's folder.
    pub model: PathBuf,
    /// An adapter's folder.
    pub adapter: Option<PathBuf>,
    /// What is read.
    pub prompt: PromptText,
    /// Whether it is said in a conversation, as the model's chat template has it.
    pub chat: bool,
    /// What the template's system says before.
    pub system: Option<String>,
    /// Tokens of the answer.
    pub tokens_max: usize,
    /// How they are chosen.
    pub sampling: Sampling,
    /// What the answer may be; anything when empty.
    pub one_of: Vec<String>,
    /// In what weights are kept; as in the file, f32 or else bf16, when left out.
    pub precision: Option<Precision>,
    /// On what is computed.
    pub device: DeviceSpec,
}

/// How it went.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// Tokens of the prompt.
    pub tokens_in: usize,
    /// Tokens of the answer.
    pub tokens_out: usize,
    /// How many there might have been.
    pub tokens_max: usize,
    /// Why there were no more.
    pub end: End,
    /// Reading the prompt.
    pub prefill: Pace,
    /// Reading the answer.
    pub decode: Pace,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tokens_in, tokens_out, tokens_max, end, prefill, decode } = self;
        let end = match end {
            End::Stopped(token) => format!("stopped by token {token}"),
            End::Whole => "the answer is whole".into(),
            End::Full if tokens_out == tokens_max => "--tokens-max is reached".into(),
            End::Full => "the model's context is full".into(),
        };
        let rate = |pace: &Pace| pace.tokens as f64 / pace.time.as_secs_f64().max(1e-9);
        write!(f, "{tokens_in} tokens in, {tokens_out} out ({end}); ")?;
        write!(f, "prefill {:.1} tokens/s, ", rate(prefill))?;
        match decode.tokens {
            0 => write!(f, "nothing decoded"),
            _ => write!(f, "decode {:.1} tokens/s", rate(decode)),
        }
    }
}

/// Writes what the decoder says, as it comes.
///
/// Errors: [`Error::Input`] for a file that is not text, [`Error::Model`] for a model, an adapter,
/// a tokenizer or a template that cannot be used and for a prompt or answers that do not fit,
/// [`Error::Device`] for a device, [`Error::Io`] for files that cannot be read or written.
pub fn generate(request: &GenerateRequest, to: &mut dyn Write) -> Result<Told> {
    let model = &request.model;
    request.sampling.check()?;
    let tokenizer = Tokenizer::open(model)?;
    let tokens = read_prompt(request, &tokenizer)?;
    let constraint = constraint(request, &tokenizer)?;
    let stops = generate::stops(model)?;
    let (files, adapter) = DecoderFiles::open_adapted(model, request.adapter.as_deref())?;
    let files = files.kept_in(request.precision);
    let settings = Settings { tokens_max: request.tokens_max, stops, sampling: request.sampling };
    let answering = Answering {
        tokenizer: &tokenizer,
        prompt: Prompt { tokens, adapter },
        constraint: &*constraint,
        settings,
    };
    match devices::open(&request.device, "--device")?.into_iter().next() {
        // One prompt is one thread's.
        None => {
            let decoder = &files.load()?;
            answering.run(&OnCpu { decoder, device: &Cpu, threads: 1 }, to)
        }
        Some(driver) => {
            let most = answering.prompt.tokens.len().saturating_add(request.tokens_max);
            let most = most.min(files.config().context_max);
            answering.run(&Resident::read(driver, &files, most)?.keeping(0)?, to)
        }
    }
}

/// What is answered, and how.
struct Answering<'a> {
    tokenizer: &'a Tokenizer,
    prompt: Prompt,
    constraint: &'a dyn Constraint,
    settings: Settings,
}

impl Answering<'_> {
    fn run<R: Reads>(&self, reads: &R, to: &mut dyn Write) -> Result<Told> {
        let mut speller = self.tokenizer.speller()?;
        let (mut kept, mut written) = (KeyValues::default(), Ok(()));
        let Self { prompt, constraint, .. } = self;
        let question = Question { prompt, kept: &mut kept, identity: 0, constraint: *constraint };
        let mut say = |text: &str| {
            if written.is_ok() {
                written = to.write_all(text.as_bytes()).and_then(|()| to.flush());
            }
        };
        let each = &mut |_, token| say(&self.tokenizer.spell(token, &mut speller));
        let found = generate::generate(reads, &mut [question], &self.settings, each)?;
        say(&(speller.finish() + "\n"));
        written.map_err(Error::io("write", "the answer"))?;
        let Generated { answers, prefill, decode } = found;
        let (tokens_out, end) =
            answers.first().map_or((0, End::Full), |answer| (answer.tokens.len(), answer.end));
        let (tokens_in, tokens_max) = (prompt.tokens.len(), self.settings.tokens_max);
        Ok(Told { tokens_in, tokens_out, tokens_max, end, prefill, decode })
    }
}

fn read_prompt(request: &GenerateRequest, tokenizer: &Tokenizer) -> Result<Vec<u32>> {
    let text = match &request.prompt {
        PromptText::Given(text) => text.clone(),
        PromptText::File(file) => {
            let bytes = std::fs::read(file).map_err(Error::io("read", file))?;
            String::from_utf8(bytes)
                .map_err(|_| Error::Input(format!("{}: not text in UTF-8", file.display())))?
        }
    };
    if !request.chat {
        let mut tokens = tokenizer.before()?;
        tokens.extend(tokenizer.encode(&text)?);
        return Ok(tokens);
    }
    let system = request.system.iter().map(|text| (Role::System, text.clone()));
    let said = system.chain([(Role::User, text)]);
    let messages: Vec<Message> = said.map(|(role, content)| Message { role, content }).collect();
    let today = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok();
    let today = today.map(|time| Day::since_1970(time.as_secs() / (24 * 60 * 60)));
    Chat::open(&request.model, today)?.tokens(tokenizer, &messages)
}

fn constraint(request: &GenerateRequest, tokenizer: &Tokenizer) -> Result<Box<dyn Constraint>> {
    if request.one_of.is_empty() {
        return Ok(Box::new(Free));
    }
    let answers = request.one_of.iter().map(|answer| tokenizer.encode(answer));
    let answers: Vec<Vec<u32>> = answers.collect::<Result<_>>()?;
    let one_of = OneOf::new(&answers);
    Ok(Box::new(one_of.map_err(|error| Error::Model(format!("--one-of: {error}")))?))
}
