//! A decoder of our own as a teacher: one prompt an item, the answer read from the logits of five
//! marks after it. No text is made, and none has to be understood.

use super::{Question, Spent, Teacher, Verdict};
use crate::error::{Error, Result};
use crate::model::decoder::Prompt;
use crate::model::tokenizer::Tokenizer;
use crate::stage::reader::Reader;
use crate::stage::texts::Texts;
use crate::types::FaultKind;
use std::sync::Arc;

/// The marks, from "not at all" to "exactly".
pub const MARKS: [&str; 5] = ["0", "1", "2", "3", "4"];

/// What a decoder is asked where the job does not say it.
pub const TEMPLATE: &str = "You judge recommendations: how well does an item answer what a person \
    asks for? 0 is not at all, or what they do not want; 4 is exactly what they asked for.\n\
    The person: {person}\nThey ask: {request}\nThe item: {item}\nFrom 0 to 4:";

/// A prompt's words, and where the person, the request and the item go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wording(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Said(String),
    Person,
    Request,
    Item,
}

impl Wording {
    /// A template with `{person}`, `{request}` and `{item}` in it.
    ///
    /// Errors: no place for the request or the item.
    pub fn parse(template: &str) -> Result<Wording> {
        let places =
            [("{person}", Piece::Person), ("{request}", Piece::Request), ("{item}", Piece::Item)];
        let (mut pieces, mut rest) = (Vec::new(), template);
        loop {
            let found = places.iter().filter_map(|(name, p)| Some((rest.find(name)?, name, p)));
            let Some((at, name, piece)) = found.min_by_key(|(at, ..)| *at) else { break };
            pieces.extend([Piece::Said(rest[..at].to_owned()), piece.clone()]);
            rest = &rest[at + name.len()..];
        }
        pieces.push(Piece::Said(rest.to_owned()));
        pieces.retain(|piece| *piece != Piece::Said(String::new()));
        for (name, piece) in &places[1..] {
            if !pieces.contains(piece) {
                let what = format!("teacher.template: expected {name} in it, found none");
                return Err(Error::Input(what));
            }
        }
        Ok(Wording(pieces))
    }
}

/// A decoder that judges.
pub struct Near {
    wording: Wording,
    tokenizer: Tokenizer,
    reader: Reader,
    texts: Arc<Texts>,
    tokens_max: usize,
}

impl Near {
    /// The tokens of the marks, whose logits the reader reads.
    ///
    /// Errors: a mark that is no single token.
    pub fn marks(tokenizer: &Tokenizer) -> Result<Vec<u32>> {
        let token = |mark: &&str| {
            let spaced = tokenizer.single(&format!(" {mark}"));
            tokenizer.single(mark).or(spaced).ok_or_else(|| {
                Error::Model(format!(
                    "expected {mark:?} to be a single token of the model, found none: use another \
                     model as the teacher"
                ))
            })
        };
        MARKS.iter().map(token).collect()
    }

    /// Over a reader of the logits of [`Near::marks`]; prompts have at most so many tokens.
    pub fn new(
        wording: Wording,
        tokenizer: Tokenizer,
        reader: Reader,
        texts: Arc<Texts>,
        tokens_max: usize,
    ) -> Near {
        Near { wording, tokenizer, reader, texts, tokens_max }
    }

    fn tokens(&self, question: &Question<'_>, item: u32) -> Result<Vec<u32>> {
        let mut tokens = Vec::new();
        for piece in &self.wording.0 {
            tokens.extend(match piece {
                Piece::Said(words) => self.tokenizer.encode_said(words)?,
                Piece::Person => self.tokenizer.encode(question.context)?,
                Piece::Request => self.tokenizer.encode(&question.request.text)?,
                Piece::Item => self.tokenizer.encode(&self.texts.item(item))?,
            });
        }
        Ok(tokens)
    }

    /// Adds a question's prompts, one for each item that can be asked about. Gives why others
    /// cannot, and what it takes.
    fn ask(&self, question: &Question<'_>, prompts: &mut Vec<Prompt>) -> Result<Asked> {
        let mut asked = Asked::default();
        for item in question.items {
            let prompt = Prompt { tokens: self.tokens(question, *item)?, adapter: None };
            let tokens = prompt.tokens.len();
            let fault = if tokens > self.tokens_max {
                let (tokens, tokens_max) = (tokens as u64, self.tokens_max as u64);
                Some(FaultKind::PromptTooLong { tokens, tokens_max })
            } else {
                let unjudged = |found| {
                    let request = question.request.text.clone();
                    FaultKind::Unjudged { request, found }
                };
                self.reader.refusal(&prompt).map(unjudged)
            };
            if fault.is_none() {
                asked.spent.prompts += 1;
                asked.spent.tokens_in += tokens as u64;
                prompts.push(prompt);
            }
            asked.refused.push(fault);
        }
        Ok(asked)
    }
}

/// What became of a question's items before anybody was asked.
#[derive(Default)]
struct Asked {
    /// For each item why it is not asked about; none if it is.
    refused: Vec<Option<FaultKind>>,
    spent: Spent,
}

impl Teacher for Near {
    /// All prompts together: those of a question stand beside each other, so that what they begin
    /// with is computed once, and a device gets full batches.
    fn judge(&self, questions: &[Question<'_>]) -> Result<Vec<Verdict>> {
        let mut prompts = Vec::new();
        let asked = questions.iter().map(|question| self.ask(question, &mut prompts));
        let asked = asked.collect::<Result<Vec<Asked>>>()?;
        let logits = self.reader.logits(&prompts)?;
        let mut marks = logits.chunks(MARKS.len()).map(expected);
        let mut score = |fault: Option<FaultKind>| match fault {
            Some(fault) => Err(fault),
            None => marks.next().flatten().ok_or(FaultKind::NonFiniteScore),
        };
        let mut verdict = |Asked { refused, spent }: Asked| Verdict {
            scores: refused.into_iter().map(&mut score).collect(),
            spent,
        };
        Ok(asked.into_iter().map(&mut verdict).collect())
    }
}

/// The mark that is expected, as a share of the best: Σ softmax(logits)[m] · m / 4. None where a
/// logit is not finite.
fn expected(logits: &[f32]) -> Option<f32> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = logits.iter().map(|logit| f64::from(logit - most).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let mark: f64 = (0..).zip(&weights).map(|(mark, weight)| f64::from(mark) * weight).sum();
    let score = (mark / sum / (MARKS.len() - 1) as f64) as f32;
    score.is_finite().then_some(score.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expected_mark_is_the_mean_under_the_softmax() {
        assert_eq!(expected(&[0.0; 5]), Some(0.5));
        assert_eq!(expected(&[-1e30, -1e30, -1e30, -1e30, 5.0]), Some(1.0));
        let two = expected(&[0.0, f32::ln(3.0), -1e30, -1e30, -1e30]);
        assert!((two.unwrap_or(0.0) - 0.75 / 4.0).abs() < 1e-6, "{two:?}");
        assert_eq!(expected(&[f32::NAN, 0.0, 0.0, 0.0, 0.0]), None);
    }

    #[test]
    fn a_template_has_places() {
        let Wording(pieces) = Wording::parse("{person} asks {request}: {item}?").expect("it has");
        let said = |text: &str| Piece::Said(text.into());
        let expected =
            [Piece::Person, said(" asks "), Piece::Request, said(": "), Piece::Item, said("?")];
        assert_eq!(pieces, expected);
        assert!(Wording::parse(TEMPLATE).is_ok());
        let refused = Wording::parse("{request}?").map_err(|e| e.to_string());
        assert_eq!(refused, Err("teacher.template: expected {item} in it, found none".into()));
    }
}
