//! What an encoder learns from: requests with items that were judged, as tokens or, where the base
//! stays as it is, as what the base makes of them.

use crate::error::{Error, Result};
use crate::model::encoder::{Learner, Piece, Trained};
use crate::types::mix64;

/// A request, and how well some items are what was asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lesson {
    /// In the person's own words.
    pub request: String,
    /// About the person; may be empty.
    pub context: String,
    /// Places in the item texts, and scores from 0 (not at all) to 1.
    pub items: Vec<(u32, f32)>,
}

/// Refuses lessons that nothing can be learned from.
///
/// Errors: [`Error::Input`] when there is no pair at all, for a score out of range, and for an item
/// that is not there.
pub fn check(lessons: &[Lesson], item_texts: &[String]) -> Result<()> {
    for (i, lesson) in lessons.iter().enumerate() {
        let refuse = |why: String| Err(Error::Input(format!("lesson {}: {why}", i + 1)));
        for (item, score) in &lesson.items {
            if *item as usize >= item_texts.len() {
                let count = item_texts.len();
                return refuse(format!("item {item}: expected one of {count} item texts"));
            }
            if !(0.0..=1.0).contains(score) {
                return refuse(format!("item {item}: score {score}: expected 0 to 1"));
            }
        }
    }
    match lessons.iter().all(|lesson| lesson.items.is_empty()) {
        false => Ok(()),
        true => Err(Error::Input(format!(
            "training: none of {} lessons has an item: expected requests with judged items",
            lessons.len()
        ))),
    }
}

/// Texts as the training reads them.
pub enum Readings {
    /// As tokens, where the base is trained too.
    Tokens {
        /// Of each lesson's request.
        requests: Vec<Piece>,
        /// Of each item text.
        items: Vec<Piece>,
    },
    /// As rows of the base, (texts, hidden), where it is not.
    Rows {
        /// Of each lesson's request.
        requests: Vec<f32>,
        /// Of each item text.
        items: Vec<f32>,
    },
}

impl Readings {
    /// Reads the texts of all lessons, once.
    ///
    /// Errors: those of the tokenizer; those of [`Learner::pool`].
    pub fn of(
        learner: &Learner,
        trained: &Trained,
        lessons: &[Lesson],
        item_texts: &[String],
        threads: usize,
    ) -> Result<Self> {
        let pair = |lesson: &Lesson| (lesson.request.clone(), lesson.context.clone());
        let pairs: Vec<(String, String)> = lessons.iter().map(pair).collect();
        let requests = learner.encoder().request_pieces(&pairs, threads)?;
        let items = learner.encoder().item_pieces(item_texts, threads)?;
        if *trained != Trained::Heads {
            return Ok(Self::Tokens { requests, items });
        }
        // Requests may be alike: each is encoded once.
        let mut distinct: Vec<&Piece> = requests.iter().collect();
        distinct.sort_unstable_by(|a, b| (&a.tokens, a.second).cmp(&(&b.tokens, b.second)));
        distinct.dedup();
        let pieces: Vec<Piece> = distinct.iter().map(|piece| (*piece).clone()).collect();
        let rows = learner.pool(&pieces, threads)?;
        let hidden = rows.len() / pieces.len().max(1);
        let mut all = Vec::with_capacity(requests.len() * hidden);
        for piece in &requests {
            let key =
                |other: &&Piece| (&other.tokens, other.second).cmp(&(&piece.tokens, piece.second));
            let at = distinct.binary_search_by(key).unwrap_or_default();
            all.extend_from_slice(&rows[at * hidden..(at + 1) * hidden]);
        }
        Ok(Self::Rows { requests: all, items: learner.pool(&items, threads)? })
    }

    /// Tokens of all texts.
    pub fn tokens(&self) -> usize {
        match self {
            Self::Tokens { requests, items } => {
                requests.iter().chain(items).map(|piece| piece.tokens.len()).sum()
            }
            Self::Rows { .. } => 0,
        }
    }

    /// The pooled rows of some requests and of some items, as the base is before training.
    ///
    /// Errors: those of [`Learner::pool`].
    pub fn pooled(
        &self,
        learner: &Learner,
        [asked, told]: [&[usize]; 2],
        threads: usize,
    ) -> Result<[Vec<f32>; 2]> {
        match self {
            Self::Tokens { requests, items } => {
                let pool = |pieces: &[Piece], chosen: &[usize]| {
                    let pieces: Vec<Piece> = chosen.iter().map(|at| pieces[*at].clone()).collect();
                    learner.pool(&pieces, threads)
                };
                Ok([pool(requests, asked)?, pool(items, told)?])
            }
            Self::Rows { requests, items } => {
                Ok([(requests, asked), (items, told)].map(|(rows, chosen)| {
                    let [_, hidden] = learner.encoder().heads().shape();
                    let row = |at: &usize| &rows[at * hidden..(at + 1) * hidden];
                    chosen.iter().flat_map(row).copied().collect()
                }))
            }
        }
    }
}

/// A hash of everything that lessons say.
pub fn hash(lessons: &[Lesson], item_texts: &[String]) -> u64 {
    let mut hash = mix64(lessons.len() as u64);
    let mut text = |text: &str| {
        let length = [text.len() as u64];
        let words = text
            .as_bytes()
            .chunks(8)
            .map(|bytes| bytes.iter().fold(0u64, |word, byte| word << 8 | u64::from(*byte)));
        hash = length.into_iter().chain(words).fold(hash, |hash, word| mix64(hash ^ word));
    };
    item_texts.iter().for_each(|item| text(item));
    for lesson in lessons {
        text(&lesson.request);
        text(&lesson.context);
        for (item, score) in &lesson.items {
            text(&format!("{item} {:08x}", score.to_bits()));
        }
    }
    hash
}
