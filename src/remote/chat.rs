//! Asking: one prompt, one answer, as many tries as are allowed.

use super::limits::Limits;
use super::wire::{Ask, Format, Message, Reply, Schema, Usage, about, reply};
use crate::error::{Error, Result};
use crate::types::{mix64, unit_f64};
use serde_json::Value;
use std::fmt;
use std::io::Read;
use std::time::{Duration, Instant};
use ureq::Agent;
use ureq::http::Response;

/// Letters of a server's words that a message repeats.
const SHOWN_MAX: usize = 200;
/// The longest wait between two tries that nobody asked for.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Something that is in no message and no file.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The value of an environment variable.
    ///
    /// Errors: it is not set, or empty.
    pub fn of_variable(name: &str) -> Result<Secret> {
        match std::env::var(name) {
            Ok(value) if !value.trim().is_empty() => Ok(Secret(value.trim().to_owned())),
            _ => Err(Error::Input(format!(
                "the environment variable {name}: expected the server's key, found nothing: set \
                 it, or leave out the job's `key_variable` if the server asks for none"
            ))),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a server is told of the form that its answers should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerFormat {
    /// Nothing: the prompt says it.
    Text,
    /// That it is a JSON object.
    Json,
    /// Which JSON object.
    Schema,
}

/// Whom to ask, and how.
#[derive(Clone, Debug)]
pub struct ChatSettings {
    /// `http://localhost:8000/v1`: what comes before `/chat/completions`.
    pub base_url: String,
    /// The model's name.
    pub model: String,
    /// What the server knows us by.
    pub key: Option<Secret>,
    /// 0 for the most likely answer.
    pub temperature: f32,
    /// Tokens of an answer, at most.
    pub answer_tokens_max: u32,
    /// Bytes of an answer, at most.
    pub answer_bytes_max: u64,
    /// What the server is told of the answer's form.
    pub format: AnswerFormat,
    /// Prompts at once.
    pub at_once: usize,
    /// Prompts a second.
    pub per_second: Option<f64>,
    /// Tokens a minute.
    pub tokens_per_minute: Option<u64>,
    /// How long one try may take.
    pub timeout: Duration,
    /// Tries of one prompt.
    pub tries_max: u32,
    /// After this no further try of a prompt is started.
    pub tries_time_max: Duration,
    /// The wait before the second try; it doubles from there.
    pub wait: Duration,
    /// Decides the waits' jitter.
    pub seed: u64,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Refusal {
    /// The server answered, and it cannot be used.
    Unusable(String),
    /// Nobody will answer: the job must stop.
    Stopped(Error),
}

/// What became of one try.
enum Tried {
    Answered(Reply),
    /// Another try may help, after the time that the server named.
    Again(String, Option<Duration>),
    Refused(Refusal),
}

/// A model behind a server. Made to be shared between threads.
pub struct Chat {
    settings: ChatSettings,
    agent: Agent,
    limits: Limits,
}

impl Chat {
    /// Nobody is asked yet.
    pub fn new(settings: ChatSettings) -> Chat {
        let config = Agent::config_builder()
            .timeout_global(Some(settings.timeout))
            .http_status_as_error(false)
            .max_redirects(0) // the key is for this server alone
            .max_idle_connections_per_host(settings.at_once)
            .user_agent("steerage")
            .build();
        let limits = Limits::new(settings.at_once, settings.per_second, settings.tokens_per_minute);
        Chat { agent: config.into(), limits, settings }
    }

    /// Whom it asks, and how.
    pub fn settings(&self) -> &ChatSettings {
        &self.settings
    }

    /// About what a prompt takes, with the longest answer.
    pub fn about(&self, messages: &[Message]) -> Usage {
        let tokens_in = messages.iter().map(|message| about(&message.content)).sum();
        Usage { tokens_in, tokens_out: u64::from(self.settings.answer_tokens_max) }
    }

    /// Asks, and waits for the answer, which should be of a schema.
    ///
    /// Errors: see [`Refusal`].
    pub fn ask(&self, messages: &[Message], schema: &Value) -> Result<Reply, Refusal> {
        let body = self.body(messages, schema)?;
        let draw = crate::types::Key::from(body.as_str()).hash64() ^ self.settings.seed;
        let (start, mut tries) = (Instant::now(), 0);
        let about = self.about(messages);
        let about = about.tokens_in + about.tokens_out;
        loop {
            tries += 1;
            let turn = self.limits.wait(about);
            let tried = self.once(&body, messages);
            drop(turn);
            let (why, named) = match tried {
                Tried::Answered(reply) => {
                    let took = reply.usage.tokens_in + reply.usage.tokens_out;
                    self.limits.correct(about, took);
                    return Ok(reply);
                }
                Tried::Refused(refusal) => return Err(refusal),
                Tried::Again(why, named) => (why, named),
            };
            self.limits.correct(about, 0);
            let wait = named.unwrap_or_else(|| self.wait(tries, draw));
            if tries >= self.settings.tries_max
                || start.elapsed() + wait > self.settings.tries_time_max
            {
                return Err(Refusal::Stopped(Error::Incomplete(format!(
                    "{}: no answer in {tries} tries and {:.0} s: {why}; run again when the server \
                     answers: what was answered is kept",
                    self.settings.base_url,
                    start.elapsed().as_secs_f64()
                ))));
            }
            std::thread::sleep(wait);
        }
    }

    /// The wait after so many tries: doubled each time, and of it a drawn share from a half on.
    fn wait(&self, tries: u32, draw: u64) -> Duration {
        let doubled = self.settings.wait.saturating_mul(1 << (tries - 1).min(16)).min(WAIT_MAX);
        doubled.mul_f64(0.5 + unit_f64(mix64(draw ^ u64::from(tries))) / 2.0)
    }

    fn body(&self, messages: &[Message], schema: &Value) -> Result<String, Refusal> {
        let settings = &self.settings;
        let ask = Ask {
            model: &settings.model,
            messages,
            temperature: settings.temperature,
            max_tokens: settings.answer_tokens_max,
            response_format: match settings.format {
                AnswerFormat::Text => None,
                AnswerFormat::Json => Some(Format::JsonObject),
                AnswerFormat::Schema => Some(Format::JsonSchema {
                    json_schema: Schema { name: "answer", strict: true, schema },
                }),
            },
        };
        serde_json::to_string(&ask)
            .map_err(|e| Refusal::Stopped(Error::Incomplete(format!("a prompt: {e}"))))
    }

    fn once(&self, body: &str, messages: &[Message]) -> Tried {
        let url = format!("{}/chat/completions", self.settings.base_url.trim_end_matches('/'));
        let mut request = self.agent.post(&url).header("content-type", "application/json");
        if let Some(Secret(key)) = &self.settings.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let mut response = match request.send(body) {
            Ok(response) => response,
            Err(error) => return self.unsent(&error),
        };
        let (status, named) = (response.status().as_u16(), retry_after(&response));
        let text = match self.read(&mut response) {
            Ok(text) => text,
            Err(tried) => return tried,
        };
        match status {
            200 => match reply(&text, messages) {
                Ok(reply) => Tried::Answered(reply),
                Err(why) => Tried::Again(
                    format!("its answer is no chat completion ({why}): {}", self.shown(&text)),
                    None,
                ),
            },
            408 | 409 | 425 | 429 | 500..=599 => {
                Tried::Again(format!("status {status}: {}", self.shown(&text)), named)
            }
            _ => Tried::Refused(Refusal::Stopped(Error::Incomplete(format!(
                "{url}: expected an answer, found status {status}: {}; check the address, the \
                 model's name and the key",
                self.shown(&text)
            )))),
        }
    }

    /// The body as text, if it is whole and not too long.
    fn read(&self, response: &mut Response<ureq::Body>) -> Result<String, Tried> {
        let (mut bytes, most) = (Vec::new(), self.settings.answer_bytes_max);
        let mut reader = response.body_mut().as_reader().take(most + 1);
        if let Err(error) = reader.read_to_end(&mut bytes) {
            let why = format!("its answer ended early: {}", self.clean(&error));
            return Err(Tried::Again(why, None));
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if bytes.len() as u64 > most {
            let shown = self.shown(&text);
            let why = format!("expected at most {most} bytes, found more: {shown}");
            return Err(Tried::Refused(Refusal::Unusable(why)));
        }
        Ok(text)
    }

    /// What did not get through: an address that is none stops the job, all else may pass.
    fn unsent(&self, error: &ureq::Error) -> Tried {
        match error {
            ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::TlsRequired => {
                Tried::Refused(Refusal::Stopped(Error::Input(format!(
                    "{}: expected the address of a server: {}",
                    self.settings.base_url,
                    self.clean(error)
                ))))
            }
            _ => Tried::Again(self.clean(error), None),
        }
    }

    /// The beginning of a text, on one line, without the key.
    fn shown(&self, text: &str) -> String {
        let words: Vec<&str> = text.split_whitespace().collect();
        let line = self.clean(&words.join(" "));
        let short: String = line.chars().take(SHOWN_MAX).collect();
        format!("{short:?}")
    }

    fn clean(&self, text: &impl ToString) -> String {
        match &self.settings.key {
            Some(Secret(key)) => text.to_string().replace(key, "…"),
            None => text.to_string(),
        }
    }
}

/// What the server says of when to come again, in seconds.
fn retry_after(response: &Response<ureq::Body>) -> Option<Duration> {
    let seconds: f64 = response.headers().get("retry-after")?.to_str().ok()?.trim().parse().ok()?;
    (0.0..86_400.0).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}
