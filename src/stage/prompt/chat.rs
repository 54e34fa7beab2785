//! What an instruction model reads of a conversation: its own chat template, which says who says
//! what with special tokens, around what is said, which is data.
//!
//! The template joins its words and ours as it likes, so that each letter says which it is: see
//! [`super::letters`]. What is said can never become a special token.
//!
//! Source: the templates of Hugging Face tokenizers, with what their renderer offers: trimmed
//! blocks, `raise_exception`, `strftime_now`, and methods of strings and maps.

use super::letters::{Letters, MARK};
use super::methods;
use crate::error::{Error, Result};
use crate::model::tokenizer::{Part, Tokenizer};
use crate::remote::Message;
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, ErrorKind, Value, context};
use std::path::Path;

/// What a template may do before it is stopped: it comes from a file, and may loop.
const FUEL: u64 = 1_000_000;
const NAME: &str = "chat_template";

/// A day, for templates that tell the model which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day {
    /// Such as 2026.
    pub year: u32,
    /// From 1.
    pub month: u32,
    /// From 1.
    pub day: u32,
}

/// A model's chat template.
#[derive(Debug)]
pub struct Chat {
    what: String,
    environment: Environment<'static>,
    bos: Option<String>,
    eos: Option<String>,
}

impl Chat {
    /// Reads a folder's template: `chat_template.jinja`, or the `chat_template` of
    /// `tokenizer_config.json`. A template that asks which day it is without being told finds that
    /// nobody knows.
    ///
    /// Errors: [`Error::Io`] for a file that cannot be read, [`Error::Model`] for a folder without
    /// a template, and for one that is none.
    pub fn open(folder: &Path, day: Option<Day>) -> Result<Chat> {
        let read = |name: &str| -> Result<Option<String>> {
            let path = folder.join(name);
            match path.exists() {
                false => Ok(None),
                true => std::fs::read_to_string(&path).map(Some).map_err(Error::io("read", &path)),
            }
        };
        let own = read("chat_template.jinja")?;
        let path = folder.join("tokenizer_config.json").display().to_string();
        let text = read("tokenizer_config.json")?.unwrap_or_else(|| "{}".into());
        let config: serde_json::Value = serde_json::from_str(&text)
            .map_err(|e| Error::Model(format!("{path}: not JSON: {e}")))?;
        let source = match own {
            Some(source) => source,
            None => template(&config["chat_template"])
                .map_err(|why| Error::Model(format!("{path}: chat_template: {why}")))?,
        };
        let special = |key: &str| {
            let value = &config[key];
            value.as_str().or_else(|| value["content"].as_str()).map(str::to_owned)
        };
        let what = format!("{}: {NAME}", folder.display());
        Self::parse(&what, &source, [special("bos_token"), special("eos_token")], day)
    }

    /// Reads a template in Jinja's language, with the texts of the tokens for beginning and end.
    /// `what` names it in messages.
    ///
    /// Errors: [`Error::Model`] with the place, if it is none.
    pub fn parse(
        what: &str,
        source: &str,
        [bos, eos]: [Option<String>; 2],
        day: Option<Day>,
    ) -> Result<Chat> {
        let mut environment = Environment::new();
        let wrong = |e: &dyn std::fmt::Display| Error::Model(format!("{what}: {e:#}"));
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|e| wrong(&e))?);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        methods::add(&mut environment);
        environment.add_function("raise_exception", |said: String| -> Result<(), _> {
            let said: String = said.chars().filter(|c| *c != MARK).collect();
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, said))
        });
        if let Some(day) = day {
            environment.add_function("strftime_now", move |format: &str| day.written(format));
        }
        if source.contains(MARK) {
            return Err(wrong(&"holds a private character (U+E000): leave it out"));
        }
        environment.add_template_owned(NAME, source.to_owned()).map_err(|e| wrong(&e))?;
        Ok(Chat { what: what.to_owned(), environment, bos, eos })
    }

    /// What the model reads: the messages, and that it is its turn to answer.
    ///
    /// Errors: [`Error::Model`] for what the template does not take, such as a role it does not
    /// know, and when the tokenizer fails.
    pub fn tokens(&self, tokenizer: &Tokenizer, messages: &[Message]) -> Result<Vec<u32>> {
        let runs: Vec<(bool, String)> = self.letters(messages)?.runs().collect();
        let parts = runs.iter().map(|run| match run.0 {
            true => Part::Data(&run.1),
            false => Part::Said(&run.1),
        });
        tokenizer.encode_parts(&parts.collect::<Vec<Part<'_>>>())
    }

    /// The text of a conversation as people read it.
    ///
    /// Errors: as [`Chat::tokens`].
    pub fn text(&self, messages: &[Message]) -> Result<String> {
        Ok(self.letters(messages)?.runs().map(|(_, text)| text).collect())
    }

    fn letters(&self, messages: &[Message]) -> Result<Letters> {
        let wrong = |e: minijinja::Error| Error::Model(format!("{}: {e:#}", self.what));
        let message = |message: &Message| {
            let content = Letters::data(&message.content).marked();
            context!(role => message.role.name(), content)
        };
        let messages: Vec<Value> = messages.iter().map(message).collect();
        let word = |word: &Option<String>| word.as_ref().map_or(Value::UNDEFINED, Value::from);
        let context = context!(
            messages,
            add_generation_prompt => true,
            bos_token => word(&self.bos),
            eos_token => word(&self.eos),
            tools => (),
            documents => (),
        );
        let template = self.environment.get_template(NAME).map_err(wrong)?;
        Ok(Letters::of(&template.render(context).map_err(wrong)?))
    }
}

/// The template itself, or that of several which is for conversations.
fn template(value: &serde_json::Value) -> Result<String, String> {
    let named = |list: &Vec<serde_json::Value>| {
        let default = list.iter().find(|entry| entry["name"] == "default")?;
        default["template"].as_str().map(str::to_owned)
    };
    match value {
        serde_json::Value::String(template) => Ok(template.clone()),
        serde_json::Value::Null => {
            Err("missing: expected a template: is it an instruction model?".into())
        }
        serde_json::Value::Array(list) => {
            named(list).ok_or_else(|| "expected one with the name \"default\" among them".into())
        }
        _ => Err("expected a string, or a list of templates with names".into()),
    }
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

impl Day {
    /// The day so many days after 1970-01-01.
    ///
    /// Source: the Gregorian calendar, whose rules repeat every 400 years of 146,097 days.
    pub fn since_1970(days: u64) -> Day {
        let long = |year: u64| {
            year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400)
        };
        let (mut year, mut left) = (1970 + days / 146_097 * 400, days % 146_097);
        while left >= 365 + u64::from(long(year)) {
            left -= 365 + u64::from(long(year));
            year += 1;
        }
        let lengths = [31, 28 + u64::from(long(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let mut month = 1;
        for length in lengths {
            if left < length {
                break;
            }
            left -= length;
            month += 1;
        }
        Day { year: year as u32, month, day: left as u32 + 1 }
    }

    /// As a format of `strftime` says.
    fn written(self, format: &str) -> Result<String, minijinja::Error> {
        let Day { year, month, day } = self;
        let name = MONTHS[(month as usize).clamp(1, 12) - 1];
        let (mut text, mut letters) = (String::new(), format.chars());
        while let Some(letter) = letters.next() {
            if letter != '%' {
                text.push(letter);
                continue;
            }
            match letters.next() {
                Some('d') => text += &format!("{day:02}"),
                Some('m') => text += &format!("{month:02}"),
                Some('Y') => text += &format!("{year:04}"),
                Some('y') => text += &format!("{:02}", year % 100),
                Some('B') => text += name,
                Some('b' | 'h') => text += &name[..3],
                Some('F') => text += &format!("{year:04}-{month:02}-{day:02}"),
                Some('%') => text.push('%'),
                other => {
                    let other = other.map_or(String::new(), String::from);
                    let why =
                        format!("strftime_now: %{other}: only %d %m %Y %y %B %b %F are known");
                    return Err(minijinja::Error::new(ErrorKind::InvalidOperation, why));
                }
            }
        }
        Ok(text)
    }
}
