//! A server as a teacher: several items a prompt, many prompts at once.

use super::asking::Asking;
use super::wording::{form, prompt, scores};
use super::{Question, Spent, Teacher, Verdict};
use crate::error::Result;
use crate::stage::texts::Texts;
use crate::types::{FaultKind, ItemId};
use std::sync::Arc;

/// A model behind a server.
pub struct Far {
    /// The server, and what may be spent.
    pub asking: Arc<Asking>,
    /// Puts items in words.
    pub texts: Arc<Texts>,
    /// Items of a prompt.
    pub items_per_prompt: usize,
}

/// One prompt: some items of a question.
struct Piece<'a> {
    question: &'a Question<'a>,
    at: usize,
    items: &'a [ItemId],
}

impl Teacher for Far {
    fn judge(&self, questions: &[Question<'_>]) -> Result<Vec<Verdict>> {
        let pieces: Vec<Piece<'_>> = questions
            .iter()
            .enumerate()
            .flat_map(|(at, question)| {
                let chunks = question.items.chunks(self.items_per_prompt.max(1));
                chunks.map(move |items| Piece { question, at, items })
            })
            .collect();
        let said = self.asking.all(pieces.len(), |at| self.piece(&pieces[at]))?;
        let mut verdicts = vec![Verdict::default(); questions.len()];
        for (piece, (mut scores, spent)) in pieces.iter().zip(said) {
            verdicts[piece.at].scores.append(&mut scores);
            verdicts[piece.at].spent += spent;
        }
        Ok(verdicts)
    }
}

impl Far {
    /// What cannot be read is a fault of all the prompt's items.
    fn piece(&self, piece: &Piece<'_>) -> Result<(Vec<Result<f32, FaultKind>>, Spent)> {
        let items: Vec<String> = piece.items.iter().map(|item| self.texts.item(*item)).collect();
        let request = &piece.question.request.text;
        let messages = prompt(piece.question.context, request, &items);
        let read = |answer: &str| scores(answer, items.len());
        let (said, spent) = self.asking.answer(&messages, &form(items.len()), &read)?;
        let scores = match said {
            Ok(scores) => scores.into_iter().map(Ok).collect(),
            Err(found) => {
                let fault = FaultKind::Unjudged { request: request.clone(), found };
                vec![Err(fault); items.len()]
            }
        };
        Ok((scores, spent))
    }
}
