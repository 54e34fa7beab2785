//! A decoder of our own as a guide. The order is read from the logits of the candidates' labels
//! after one prompt, or written label by label; the next node is one of the nodes' names. Neither
//! can be malformed: only what is allowed can be said.
//!
//! What the prompts of a way begin with alike (the person, the candidates, earlier lists) is read
//! once, as long as the memory for it lasts.

use super::kept::{KeptWays, WayKey};
use super::reading::Reading;
use super::windows::Windows;
use super::wording::{Piece, Wanted, prefix, suffix, text};
use super::{Guide, Node, Ranking, Stand, Turn};
use crate::error::{Error, Result};
use crate::model::decoder::{Ask, DecoderFiles, KeyValues, Prompt, SharedDriver};
use crate::model::generate::{Constraint, OneOf, Permutation, Question, Sampling, Settings};
use crate::model::tokenizer::{Part, Tokenizer};
use crate::remote::{Message, Role};
use crate::stage::Meter;
use crate::stage::prompt::Chat;
use crate::stage::texts::Texts;
use crate::types::{ArmList, Candidates, Cost, FaultKind, NodeId, ReplyClass, mix64};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

const BEST: &str = "The label of the best candidate, then of the next best, and so on:";
const NEXT: &str = "The next to look at:";

/// How a decoder is asked.
#[derive(Clone, Debug)]
pub struct NearSettings {
    /// Candidates of one prompt.
    pub window: usize,
    /// Candidates by which windows move on.
    pub stride: usize,
    /// Tokens of a prompt, at most.
    pub tokens_max: usize,
    /// Whether the order is written label by label, and not read from the first label's logits.
    pub written: bool,
    /// How labels and nodes are chosen.
    pub sampling: Sampling,
    /// Bytes in which what was read of ways is kept.
    pub kept_bytes_max: usize,
}

/// A decoder that guides.
pub struct Near {
    settings: NearSettings,
    reading: Reading,
    adapter: Option<u32>,
    tokenizer: Tokenizer,
    chat: Option<Chat>,
    texts: Arc<Texts>,
    labels: Vec<(String, u32)>,
    kept: KeptWays,
    /// Tokens of the prompts, and the time that reading them took; those not read again.
    pub meter: Arc<Meter>,
}

/// A prompt on its way.
struct Asked {
    way: usize,
    range: Range<usize>,
    shown: usize,
    prompt: Prompt,
    kept: KeyValues,
}

impl Near {
    /// A decoder and the number of its adapter that is asked, on a device with room for batches of
    /// so many tokens, or on the processor; with a chat template, prompts are what its user says.
    ///
    /// Errors: a vocabulary without as many labels as candidates are shown; weights that are not
    /// finite; a device that does not take the decoder.
    pub fn new(
        settings: NearSettings,
        (files, adapter): (&DecoderFiles, Option<u32>),
        device: Option<(SharedDriver, usize)>,
        tokenizer: Tokenizer,
        chat: Option<Chat>,
        texts: Arc<Texts>,
    ) -> Result<Near> {
        let labels = tokenizer.labels(settings.window)?;
        let tokens: Vec<u32> = labels.iter().map(|(_, token)| *token).collect();
        let reading = match device {
            None => Reading::here(files, &tokens)?,
            Some((device, tokens_max)) => {
                let room = [tokens_max, settings.kept_bytes_max];
                Reading::there(device, files, &tokens, room)?
            }
        };
        let kept = KeptWays::new(settings.kept_bytes_max);
        let meter = Arc::default();
        Ok(Near { settings, reading, adapter, tokenizer, chat, texts, labels, kept, meter })
    }

    /// What is asked of a way: the places of its list that are shown, under their labels. The
    /// answer has so many tokens at most.
    fn prompt(
        &self,
        stand: &Stand<'_>,
        shown: &[u32],
        (wanted, answer): (Wanted, usize),
    ) -> Result<Prompt, FaultKind> {
        let names: Vec<String> = self.labels.iter().map(|(name, _)| name.clone()).collect();
        let mut told = prefix(stand, &self.texts, shown, &names);
        let place = |at: u32| shown.iter().position(|other| *other == at);
        told.extend(suffix(stand, wanted, &|at| place(at).map(|place| names[place].clone())));
        let asked = if wanted == Wanted::Next { NEXT } else { BEST };
        told.push(Piece::Said(asked.to_owned()));
        let unreadable = |found| FaultKind::Unreadable { column: "prompt".into(), found };
        let tokens = self.tokens(&told).map_err(|e| unreadable(e.to_string()))?;
        let tokens_max = self.settings.tokens_max.min(self.reading.tokens_max());
        if tokens.len() + answer > tokens_max {
            let (tokens, tokens_max) = (tokens.len() as u64, tokens_max as u64);
            return Err(FaultKind::PromptTooLong { tokens, tokens_max });
        }
        let prompt = Prompt { tokens, adapter: self.adapter };
        match self.reading.refusal(&prompt) {
            None => Ok(prompt),
            Some(why) => Err(unreadable(why)),
        }
    }

    /// What is told, as tokens.
    fn tokens(&self, told: &[Piece]) -> Result<Vec<u32>> {
        if let Some(chat) = &self.chat {
            let message = Message { role: Role::User, content: text(told) };
            return chat.tokens(&self.tokenizer, &[message]);
        }
        self.tokenizer.encode_parts(&told.iter().map(Part::from).collect::<Vec<Part<'_>>>())
    }

    /// The prompts of a round of windows, and the ways that cannot be asked.
    fn round(
        &self,
        at: &[Stand<'_>],
        windows: &Windows,
        round: Vec<(usize, Range<usize>)>,
        rankings: &mut [Ranking],
    ) -> Vec<Asked> {
        let mut asked = Vec::with_capacity(round.len());
        for (way, range) in round {
            let shown = &windows.lists[way][range.clone()];
            match self.prompt(&at[way], shown, (Wanted::Order, self.settings.window)) {
                Ok(prompt) => {
                    let (shown, kept) = (shown.len(), KeyValues::default());
                    rankings[way].cost += Cost { prompts: 1, tokens: prompt.tokens.len() as u64 };
                    asked.push(Asked { way, range, shown, prompt, kept });
                }
                Err(fault) => rankings[way].fault = Some(fault),
            }
        }
        asked
    }

    /// Asks about prompts in turns, each with what is kept of its way: `ask` is given some of them
    /// and the number of the first.
    fn in_turns<T>(
        &self,
        at: &[Stand<'_>],
        asked: &mut [Asked],
        ask: impl Fn(&mut [Asked], usize) -> Result<Vec<T>>,
    ) -> Result<Vec<T>> {
        let mut answers = Vec::with_capacity(asked.len());
        let mut left = asked;
        while !left.is_empty() {
            let tokens = left.iter().map(|asked| asked.prompt.tokens.len() + self.settings.window);
            let (some, after) = left.split_at_mut(self.reading.together(tokens));
            let _turn = self.reading.turn();
            some.iter_mut().for_each(|asked| asked.kept = self.kept.take(key(&at[asked.way])));
            // On a device at most: pages are whole, and there may be no room.
            let reused = some.iter().map(|asked| asked.kept.shared(&asked.prompt) as u64).sum();
            self.meter.reuse(reused);
            answers.extend(ask(some, answers.len())?);
            for asked in some {
                self.kept.put(key(&at[asked.way]), std::mem::take(&mut asked.kept));
            }
            left = after;
        }
        Ok(answers)
    }

    /// The orders that are said, as places of what is shown.
    fn orders(&self, at: &[Stand<'_>], asked: &mut [Asked]) -> Result<Vec<Vec<u32>>> {
        if self.settings.written {
            return self.written(at, asked);
        }
        let mut asks: Vec<Ask<'_>> = asked
            .iter_mut()
            .map(|asked| Ask { prompt: &asked.prompt, kept: &mut asked.kept })
            .collect();
        let logits = self.reading.logits(&mut asks)?;
        let rows = asked.iter().zip(logits.chunks_exact(self.reading.labels()));
        Ok(rows.map(|(asked, logits)| descending(&logits[..asked.shown])).collect())
    }

    /// Orders written label by label.
    fn written(&self, at: &[Stand<'_>], asked: &mut [Asked]) -> Result<Vec<Vec<u32>>> {
        let labels: Vec<u32> = self.labels.iter().map(|(_, token)| *token).collect();
        let constraint = |asked: &Asked| Permutation::new(&labels[..asked.shown], &[], asked.shown);
        let constraints = asked.iter().map(constraint).collect::<Result<Vec<Permutation>>>()?;
        let bound: Vec<&dyn Constraint> = constraints.iter().map(|c| c as _).collect();
        let answers = self.answers(at, asked, &bound)?;
        let places = constraints.iter().zip(&answers).map(|(constraint, said)| {
            constraint.order(said).into_iter().map(|place| place as u32).collect()
        });
        Ok(places.collect())
    }

    /// What is said to prompts, each within its constraint.
    fn answers(
        &self,
        at: &[Stand<'_>],
        asked: &mut [Asked],
        constraints: &[&dyn Constraint],
    ) -> Result<Vec<Vec<u32>>> {
        let longest = constraints.iter().filter_map(|constraint| constraint.longest()).max();
        let settings = Settings {
            tokens_max: longest.unwrap_or(1).max(1),
            stops: Vec::new(),
            sampling: self.settings.sampling,
        };
        let identity = |asked: &Asked| {
            let stand = &at[asked.way];
            let visit = (stand.state.path.len() as u64) << 32 | asked.range.start as u64;
            mix64(stand.row.query.user.hash64() ^ mix64(visit))
        };
        let mut questions: Vec<Question<'_>> = Vec::with_capacity(asked.len());
        for (asked, constraint) in asked.iter_mut().zip(constraints) {
            questions.push(Question {
                identity: identity(asked),
                prompt: &asked.prompt,
                kept: &mut asked.kept,
                constraint: *constraint,
            });
        }
        let generated = self.reading.answers(&mut questions, &settings)?;
        Ok(generated.answers.into_iter().map(|answer| answer.tokens).collect())
    }

    /// Meters what was asked since.
    fn meter(&self, asked: &[Asked], start: Instant) {
        let tokens = asked.iter().map(|asked| asked.prompt.tokens.len()).sum();
        if tokens > 0 {
            self.meter.add(tokens, start.elapsed());
        }
    }
}

/// Ways of one user through several graphs are kept apart.
fn key(stand: &Stand<'_>) -> WayKey {
    (stand.row.query.origin, std::ptr::from_ref(stand.graph) as usize)
}

/// Places by their logits, the greatest first; equal ones as they are shown.
fn descending(logits: &[f32]) -> Vec<u32> {
    let mut places: Vec<u32> = (0..logits.len() as u32).collect();
    places.sort_by(|a, b| logits[*b as usize].total_cmp(&logits[*a as usize]));
    places
}

impl<'a> From<&'a Piece> for Part<'a> {
    fn from(piece: &'a Piece) -> Part<'a> {
        match piece {
            Piece::Said(text) => Part::Said(text),
            Piece::Data(text) => Part::Data(text),
        }
    }
}

impl Guide for Near {
    fn devices(&self) -> usize {
        self.reading.devices()
    }

    fn rank(&self, at: &[Stand<'_>]) -> Result<Vec<Ranking>> {
        let mut windows = Windows::new(at, self.settings.window, self.settings.stride);
        let mut rankings = vec![Ranking::default(); at.len()];
        loop {
            let round = windows.next();
            if round.is_empty() {
                break;
            }
            let start = Instant::now();
            let mut asked = self.round(at, &windows, round, &mut rankings);
            let orders = self.in_turns(at, &mut asked, |some, _| self.orders(at, some))?;
            for (asked, order) in asked.iter().zip(orders) {
                windows.put(asked.way, asked.range.clone(), &order);
            }
            self.meter(&asked, start);
        }
        for ((ranking, order), stand) in rankings.iter_mut().zip(windows.lists).zip(at) {
            ranking.list = ArmList { order, scores: Vec::new() };
            if ranking.fault.is_some() {
                ranking.list = stand.list().clone();
                ranking.next = Some(stand.graph.stop);
            }
        }
        Ok(rankings)
    }

    fn next(&self, at: &[Stand<'_>]) -> Result<Vec<Turn>> {
        let stop = |stand: &Stand<'_>| Turn { next: stand.graph.stop, ..Turn::default() };
        let mut turns: Vec<Turn> = at.iter().map(stop).collect();
        let (mut asked, mut choices) = (Vec::new(), Vec::new());
        let start = Instant::now();
        for (way, stand) in at.iter().enumerate() {
            let shown: Vec<u32> =
                stand.state.incoming.order.iter().take(self.settings.window).copied().collect();
            let choice = self.nodes(stand)?;
            let answer = choice.longest().unwrap_or(0).max(self.settings.window);
            match self.prompt(stand, &shown, (Wanted::Next, answer)) {
                Ok(prompt) => {
                    turns[way].cost = Cost { prompts: 1, tokens: prompt.tokens.len() as u64 };
                    let (shown, kept) = (shown.len(), KeyValues::default());
                    asked.push(Asked { way, range: 0..shown, shown, prompt, kept });
                    choices.push(choice);
                }
                Err(fault) => turns[way].fault = Some(fault),
            }
        }
        let bound: Vec<&dyn Constraint> = choices.iter().map(|c| c as &dyn Constraint).collect();
        let answers = self.in_turns(at, &mut asked, |some, first| {
            self.answers(at, some, &bound[first..][..some.len()])
        })?;
        for ((asked, choice), said) in asked.iter().zip(&choices).zip(answers) {
            let named = choice.which(&said).map(|node| node as NodeId);
            turns[asked.way].next = named.unwrap_or(at[asked.way].graph.stop);
            turns[asked.way].reply = ReplyClass::Exact;
        }
        self.meter(&asked, start);
        Ok(turns)
    }

    fn meter(&self) -> Option<Arc<Meter>> {
        Some(Arc::clone(&self.meter))
    }

    fn left(&self, row: &Candidates) {
        self.kept.forget(row.query.origin);
    }
}

impl Near {
    /// The names of a graph's nodes, as answers.
    fn nodes(&self, stand: &Stand<'_>) -> Result<OneOf> {
        let names = stand.graph.nodes.iter();
        let spelled = |node: &Node| {
            let tokens = self.tokenizer.encode(&format!(" {}", node.name))?;
            match tokens.is_empty() {
                false => Ok(tokens),
                true => Err(Error::Model(format!(
                    "node {:?}: the model has no tokens to say it: name it otherwise",
                    node.name
                ))),
            }
        };
        OneOf::new(&names.map(spelled).collect::<Result<Vec<Vec<u32>>>>()?)
    }
}
