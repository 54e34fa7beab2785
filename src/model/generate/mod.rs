//! Answers: a decoder reads prompts and goes on, token by token, until a stop token, a limit, or
//! until what binds the answer allows nothing more.
//!
//! Prompts are read together. An answer depends on its prompt, its constraint and the settings
//! alone: other prompts change no bit of its logits, and no draw.

mod constraint;
mod reads;
mod sampling;
mod stops;

pub use constraint::{Constraint, Free, Next, OneOf, Permutation};
pub use reads::{OnCpu, Reads};
pub use sampling::{Draw, Sampling};
pub use stops::stops;

use super::decoder::{Ask, KeyValues, Prompt};
use crate::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Tables of at least this part of the vocabulary are not made: the whole one is there.
const TABLE_PART: usize = 4;

/// A prompt that is to be answered.
pub struct Question<'a> {
    /// What is read first.
    pub prompt: &'a Prompt,
    /// What is kept of it; afterwards, of what was read of its answer, too.
    pub kept: &'a mut KeyValues,
    /// What draws for it depend on.
    pub identity: u64,
    /// What the answer may be.
    pub constraint: &'a dyn Constraint,
}

/// How prompts are answered.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Tokens of an answer, at least 1.
    pub tokens_max: usize,
    /// What ends an answer, and is no part of it.
    pub stops: Vec<u32>,
    /// How tokens are chosen.
    pub sampling: Sampling,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With this token.
    Stopped(u32),
    /// Nothing more was allowed: it is whole.
    Whole,
    /// By the limit of tokens, or of the model's context.
    Full,
}

/// What a decoder said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Without the stop token.
    pub tokens: Vec<u32>,
    /// Why there are no more.
    pub end: End,
}

/// What was read, and how long that took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// Tokens.
    pub tokens: usize,
    /// In this time.
    pub time: Duration,
}

/// Answers, one for each prompt.
#[derive(Clone, Debug)]
pub struct Generated {
    /// In the order of the prompts.
    pub answers: Vec<Answer>,
    /// Reading the prompts.
    pub prefill: Pace,
    /// Reading the answers.
    pub decode: Pace,
}

/// An answer on its way.
struct Going {
    /// Of which question.
    at: usize,
    /// The question's prompt, and what has been said.
    prompt: Prompt,
    /// Tokens of the question's prompt.
    start: usize,
    /// Tokens of the answer, at most.
    tokens_max: usize,
    next: Next,
}

impl Going {
    fn said(&self) -> &[u32] {
        &self.prompt.tokens[self.start..]
    }
}

/// Answers questions. `each(question, token)` is told every token as it comes.
///
/// Errors: [`Error::Model`] for a prompt that cannot be read, an answer that might not fit,
/// settings out of range, tokens that are not in the vocabulary, and logits that are not finite.
pub fn generate<R: Reads>(
    reads: &R,
    questions: &mut [Question<'_>],
    settings: &Settings,
    each: &mut dyn FnMut(usize, u32),
) -> Result<Generated> {
    settings.sampling.check()?;
    let mut going = Vec::with_capacity(questions.len());
    for (at, question) in questions.iter().enumerate() {
        let begun = begin(reads, question, settings);
        let (prompt, tokens_max) =
            begun.map_err(|why| Error::Model(format!("prompt {}: {why}", at + 1)))?;
        let (start, next) = (prompt.tokens.len(), Next::Any);
        going.push(Going { at, prompt, start, tokens_max, next });
    }
    let some = some_tokens(reads.vocabulary(), questions, &settings.stops);
    let table = reads.table(some.as_deref())?;
    let places: Option<BTreeMap<u32, usize>> = some.map(|some| some.into_iter().zip(0..).collect());
    let mut answers: Vec<Option<Answer>> = vec![None; questions.len()];
    let (mut prefill, mut decode, mut passes) = (Pace::default(), Pace::default(), 0);
    loop {
        going.retain_mut(|going| {
            let end = go_without_asking(going, questions[going.at].constraint, each);
            let answer = |end| Answer { tokens: going.said().to_vec(), end };
            answers[going.at] = end.map(answer);
            end.is_none()
        });
        if going.is_empty() {
            break;
        }
        let start = Instant::now();
        let (logits, tokens) = read(reads, &going, questions, &table)?;
        let pace = if passes == 0 { &mut prefill } else { &mut decode };
        (pace.tokens, pace.time) = (pace.tokens + tokens, pace.time + start.elapsed());
        passes += 1;
        let mut rows = logits.chunks_exact((logits.len() / going.len()).max(1));
        going.retain_mut(|going| {
            let row = rows.next().unwrap_or_default();
            let identity = questions[going.at].identity;
            let stopped = say(going, row, places.as_ref(), settings, identity);
            match stopped {
                None => each(going.at, going.prompt.tokens[going.prompt.tokens.len() - 1]),
                Some(stop) => {
                    let (tokens, end) = (going.said().to_vec(), End::Stopped(stop));
                    answers[going.at] = Some(Answer { tokens, end });
                }
            }
            stopped.is_none()
        });
    }
    let answers = answers.into_iter().flatten().collect();
    Ok(Generated { answers, prefill, decode })
}

/// The prompt, and how many tokens its answer may have.
fn begin<R: Reads>(
    reads: &R,
    question: &Question<'_>,
    settings: &Settings,
) -> Result<(Prompt, usize), String> {
    if let Some(why) = reads.refusal(question.prompt) {
        return Err(why);
    }
    if settings.tokens_max == 0 {
        return Err("tokens_max: expected at least 1, found 0".into());
    }
    let mut tokens = question.constraint.tokens().unwrap_or_default().iter().chain(&settings.stops);
    let vocabulary = reads.vocabulary();
    if let Some(token) = tokens.find(|token| **token as usize >= vocabulary) {
        let last = vocabulary - 1;
        return Err(format!("token {token}: expected one of the vocabulary, 0 to {last}"));
    }
    let (length, context) = (question.prompt.tokens.len(), reads.tokens_max());
    let room = context.saturating_sub(length);
    match question.constraint.longest() {
        Some(longest) if longest > settings.tokens_max => Err(format!(
            "tokens_max: expected at least {longest}, the longest answer, found {}",
            settings.tokens_max
        )),
        Some(longest) if longest > room => Err(format!(
            "expected a prompt of at most {} tokens, which leaves room for an answer of \
             {longest}, found {length}",
            context.saturating_sub(longest)
        )),
        _ if room == 0 => Err(format!("its {length} tokens leave no room for an answer")),
        _ => Ok((question.prompt.clone(), settings.tokens_max.min(room))),
    }
}

/// The tokens that any answer may hold or end with; none if they are a good part of the vocabulary.
fn some_tokens(vocabulary: usize, questions: &[Question<'_>], stops: &[u32]) -> Option<Vec<u32>> {
    let mut some: BTreeSet<u32> = stops.iter().copied().collect();
    for question in questions {
        some.extend(question.constraint.tokens()?);
    }
    let few = some.len() <= vocabulary / TABLE_PART;
    few.then(|| some.into_iter().collect())
}

/// Says what is the only thing allowed; tells why an answer ends, if it does.
fn go_without_asking(
    going: &mut Going,
    constraint: &dyn Constraint,
    each: &mut dyn FnMut(usize, u32),
) -> Option<End> {
    loop {
        going.next = constraint.next(going.said());
        match &going.next {
            Next::Of { tokens, .. } if tokens.is_empty() => return Some(End::Whole),
            _ if going.said().len() == going.tokens_max => return Some(End::Full),
            Next::Of { tokens, end: false } if tokens.len() == 1 => {
                going.prompt.tokens.push(tokens[0]);
                each(going.at, tokens[0]);
            }
            _ => return None,
        }
    }
}

/// The logits of those that go on, and how many tokens were read for them.
fn read<R: Reads>(
    reads: &R,
    going: &[Going],
    questions: &mut [Question<'_>],
    table: &R::Table,
) -> Result<(Vec<f32>, usize)> {
    let mut ways = going.iter().peekable();
    let mut asks = Vec::with_capacity(going.len());
    for (at, question) in questions.iter_mut().enumerate() {
        if let Some(going) = ways.next_if(|going| going.at == at) {
            asks.push(Ask { prompt: &going.prompt, kept: &mut *question.kept });
        }
    }
    let left = |ask: &Ask<'_>| ask.prompt.tokens.len() - ask.kept.shared(ask.prompt);
    let tokens = asks.iter().map(left).sum();
    Ok((reads.logits_on(&mut asks, table)?, tokens))
}

/// Says a token; or tells which stop token was chosen instead.
fn say(
    going: &mut Going,
    logits: &[f32],
    places: Option<&BTreeMap<u32, usize>>,
    settings: &Settings,
    identity: u64,
) -> Option<u32> {
    let logit = |token: &u32| {
        let place = places.map_or(Some(*token as usize), |places| places.get(token).copied());
        Some((*token, *logits.get(place?)?))
    };
    let (among, part): (Vec<(u32, f32)>, &[u32]) = match &going.next {
        Next::Any => match places {
            None => ((0..).zip(logits.iter().copied()).collect(), &[]),
            Some(places) => (places.keys().filter_map(logit).collect(), &[]),
        },
        Next::Of { tokens, end } => {
            let stops = if *end { &settings.stops[..] } else { &[] };
            let others = stops.iter().filter(|stop| !tokens.contains(stop));
            (tokens.iter().chain(others).filter_map(logit).collect(), tokens)
        }
    };
    let chosen = settings.sampling.choose(among, (identity, going.said().len()));
    // What is allowed as a part of the answer ends nothing.
    if settings.stops.contains(&chosen) && !part.contains(&chosen) {
        return Some(chosen);
    }
    going.prompt.tokens.push(chosen);
    None
}
