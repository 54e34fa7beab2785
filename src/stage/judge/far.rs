//! A server as a teacher: several items a prompt, many prompts at once, every answer kept before it
//! is used.

use super::answers::{Answers, Kept};
use super::budget::Account;
use super::wording::{again, prompt, scores};
use super::{Question, Spent, Teacher, Verdict};
use crate::error::Result;
use crate::remote::{Chat, Message, Refusal, Usage};
use crate::stage::texts::Texts;
use crate::types::{FaultKind, ItemId};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// Answers that are tried for one prompt: the first, and one after it was told what is wrong.
const ASKED_MAX: usize = 2;

/// A model behind a server.
pub struct Far {
    /// The server.
    pub chat: Chat,
    /// What was answered before.
    pub answers: Answers,
    /// What may be spent.
    pub account: Arc<Account>,
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
        let said = self.ask_all(&pieces)?;
        let mut verdicts = vec![Verdict::default(); questions.len()];
        for (piece, (mut scores, spent)) in pieces.iter().zip(said) {
            verdicts[piece.at].scores.append(&mut scores);
            verdicts[piece.at].spent += spent;
        }
        Ok(verdicts)
    }
}

type Said = (Vec<Result<f32, FaultKind>>, Spent);

impl Far {
    /// Asks all pieces, as many at once as the server is asked. The first that stops the job keeps
    /// others from being begun; those that were are waited for, since they are paid.
    fn ask_all(&self, pieces: &[Piece<'_>]) -> Result<Vec<Said>> {
        let threads = self.chat.settings().at_once.min(pieces.len());
        let (next, stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
        let done: Mutex<Vec<(usize, Result<Said>)>> = Mutex::default();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while !stopped.load(Relaxed) {
                        let at = next.fetch_add(1, Relaxed);
                        let Some(piece) = pieces.get(at) else { break };
                        let said = self.piece(piece);
                        stopped.fetch_or(said.is_err(), Relaxed);
                        done.lock().expect("nothing panics with this lock").push((at, said));
                    }
                });
            }
        });
        let mut done = done.into_inner().expect("nothing panics with this lock");
        done.sort_by_key(|(at, _)| *at);
        done.into_iter().map(|(_, said)| said).collect()
    }

    fn piece(&self, piece: &Piece<'_>) -> Result<Said> {
        let items: Vec<String> = piece.items.iter().map(|item| self.texts.item(*item)).collect();
        let request = &piece.question.request.text;
        let messages = prompt(piece.question.context, request, &items);
        if let Some(kept) = self.answers.get(&messages)?
            && let Ok(scores) = scores(&kept.text, items.len())
        {
            self.account.cached();
            return Ok((scores.into_iter().map(Ok).collect(), spent(kept.asked, kept.usage)));
        }
        self.ask(&messages, items.len(), request)
    }

    /// Asks, and once more where the answer cannot be used; then it is a fault of all its items.
    fn ask(&self, messages: &[Message], items: usize, request: &str) -> Result<Said> {
        let (mut usage, mut asked) = (Usage::default(), 0);
        let (mut said, mut wrong) = (messages.to_vec(), String::new());
        for _ in 0..ASKED_MAX {
            let about = self.chat.about(&said);
            self.account.promise(about)?;
            let reply = self.chat.ask(&said);
            self.account.settle(about, reply.as_ref().ok().map(|reply| reply.usage));
            match reply {
                Err(Refusal::Stopped(error)) => return Err(error),
                Err(Refusal::Unusable(why)) => wrong = why,
                Ok(reply) => {
                    usage.tokens_in += reply.usage.tokens_in;
                    usage.tokens_out += reply.usage.tokens_out;
                    asked += 1;
                    match scores(&reply.text, items) {
                        Ok(scores) => {
                            let run = self.answers.run().to_owned();
                            let kept = Kept { text: reply.text, usage, asked, run };
                            return self.keep(messages, kept, scores);
                        }
                        Err(why) => {
                            said = again(messages, &reply.text);
                            wrong = why;
                        }
                    }
                }
            }
        }
        let fault = FaultKind::Unjudged { request: request.to_owned(), found: wrong };
        Ok((vec![Err(fault); items], spent(asked, usage)))
    }

    /// Keeps an answer. Gives the scores of the one that is kept: somebody may have been faster.
    fn keep(&self, messages: &[Message], kept: Kept, read: Vec<f32>) -> Result<Said> {
        let kept = self.answers.put(messages, kept)?;
        let scores = scores(&kept.text, read.len()).unwrap_or(read);
        Ok((scores.into_iter().map(Ok).collect(), spent(kept.asked, kept.usage)))
    }
}

fn spent(prompts: u64, usage: Usage) -> Spent {
    Spent { prompts, tokens_in: usage.tokens_in, tokens_out: usage.tokens_out }
}
