//! Asking a server for answers of a form: from what is kept, or once, and once more where the
//! answer is of another form. Every answer that can be read is kept before it is used.

use super::Spent;
use super::answers::{Answers, Kept};
use super::budget::Account;
use super::form::Form;
use super::wording::again;
use crate::error::Result;
use crate::remote::{Chat, Message, Refusal, Usage};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// Answers that are tried for one prompt: the first, and one after it was told what is wrong.
const ASKED_MAX: usize = 2;

/// What an answer says, or what is wrong with it; and what it took.
pub type Said<T> = (Result<Vec<T>, String>, Spent);

/// What came of asking.
struct Asked<T> {
    /// What the last answer says, or what is wrong with it.
    said: Result<T, String>,
    /// The last answer.
    text: String,
    usage: Usage,
    /// How often there was an answer.
    asked: u64,
}

/// Asks a server, within a budget.
pub struct Asking {
    /// The server.
    pub chat: Chat,
    /// What was answered before.
    pub answers: Answers,
    /// What may be spent.
    pub account: Arc<Account>,
}

impl Asking {
    /// An answer that can be read. `form` says how answers should look.
    ///
    /// Errors: what must stop the job: a server that does not answer, a budget that is spent.
    pub fn answer<T>(
        &self,
        messages: &[Message],
        form: &Form,
        read: &dyn Fn(&str) -> Result<Vec<T>, String>,
    ) -> Result<Said<T>> {
        if let Some(kept) = self.answers.get(messages)?
            && let Ok(answer) = read(&kept.text)
        {
            self.account.cached();
            return Ok((Ok(answer), spent(kept.asked, kept.usage)));
        }
        let Asked { said, text, usage, asked } = self.ask(messages, form, read)?;
        match said {
            Ok(answer) => {
                let kept = Kept { text, usage, asked, run: self.answers.run().to_owned() };
                self.keep(messages, kept, answer, read)
            }
            Err(wrong) => Ok((Err(wrong), spent(asked, usage))),
        }
    }

    /// The text of an answer, whatever it says: the server is asked once more if `ok` says that
    /// something is wrong with it, and the last answer is kept and given. Empty where there is
    /// none that could be received.
    ///
    /// Errors: what must stop the job.
    pub fn text(
        &self,
        messages: &[Message],
        form: &Form,
        ok: &dyn Fn(&str) -> Result<(), String>,
    ) -> Result<(String, Spent)> {
        if let Some(kept) = self.answers.get(messages)? {
            self.account.cached();
            return Ok((kept.text, spent(kept.asked, kept.usage)));
        }
        let Asked { text, usage, asked, .. } = self.ask(messages, form, ok)?;
        let kept = Kept { text, usage, asked, run: self.answers.run().to_owned() };
        let kept = self.answers.put(messages, kept)?;
        Ok((kept.text, spent(kept.asked, kept.usage)))
    }

    /// Asks until an answer can be read, so often as is allowed.
    fn ask<T>(
        &self,
        messages: &[Message],
        form: &Form,
        read: &dyn Fn(&str) -> Result<T, String>,
    ) -> Result<Asked<T>> {
        let (mut usage, mut asked, mut text) = (Usage::default(), 0, String::new());
        let (mut prompt, mut wrong) = (messages.to_vec(), String::new());
        for _ in 0..ASKED_MAX {
            let about = self.chat.about(&prompt);
            self.account.promise(about)?;
            let reply = self.chat.ask(&prompt, &form.schema);
            self.account.settle(about, reply.as_ref().ok().map(|reply| reply.usage));
            match reply {
                Err(Refusal::Stopped(error)) => return Err(error),
                Err(Refusal::Unusable(why)) => wrong = why,
                Ok(reply) => {
                    usage.tokens_in += reply.usage.tokens_in;
                    usage.tokens_out += reply.usage.tokens_out;
                    asked += 1;
                    text = reply.text;
                    match read(&text) {
                        Ok(answer) => return Ok(Asked { said: Ok(answer), text, usage, asked }),
                        Err(why) => {
                            prompt = again(messages, &text, form);
                            wrong = why;
                        }
                    }
                }
            }
        }
        Ok(Asked { said: Err(wrong), text, usage, asked })
    }

    /// Keeps an answer. Gives what the one says that is kept: somebody may have been faster.
    fn keep<T>(
        &self,
        messages: &[Message],
        kept: Kept,
        answer: Vec<T>,
        read: &dyn Fn(&str) -> Result<Vec<T>, String>,
    ) -> Result<Said<T>> {
        let kept = self.answers.put(messages, kept)?;
        let answer = read(&kept.text).unwrap_or(answer);
        Ok((Ok(answer), spent(kept.asked, kept.usage)))
    }

    /// Does `count` things, as many at once as the server is asked. The first that must stop the
    /// job keeps others from being begun; those that were are waited for, since they are paid.
    ///
    /// Errors: the first thing's that has one.
    pub fn all<T: Send>(
        &self,
        count: usize,
        one: impl Fn(usize) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        let threads = self.chat.settings().at_once.min(count);
        let (next, stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
        let done: Mutex<Vec<(usize, Result<T>)>> = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while !stopped.load(Relaxed) {
                        let at = next.fetch_add(1, Relaxed);
                        if at >= count {
                            break;
                        }
                        let said = one(at);
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
}

fn spent(prompts: u64, usage: Usage) -> Spent {
    Spent { prompts, tokens_in: usage.tokens_in, tokens_out: usage.tokens_out }
}
