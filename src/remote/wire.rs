//! What goes over the wire: the part of the chat protocol that every server has.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// What the model is for.
    System,
    /// What is asked.
    User,
    /// What the model answered.
    Assistant,
}

impl Role {
    /// As servers and chat templates know it.
    pub fn name(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        }
    }
}

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// What an answer took, in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens that were read.
    pub tokens_in: u64,
    /// Tokens that were written.
    pub tokens_out: u64,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What was said.
    pub text: String,
    /// What it took: as the server counts, or about that where it does not.
    pub usage: Usage,
}

#[derive(Serialize)]
pub struct Ask<'a> {
    pub model: &'a str,
    pub messages: &'a [Message],
    pub temperature: f32,
    pub max_tokens: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_format: Option<Format<'a>>,
}

/// What the server is told of the answer's form.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Format<'a> {
    JsonObject,
    JsonSchema { json_schema: Schema<'a> },
}

#[derive(Serialize)]
pub struct Schema<'a> {
    pub name: &'static str,
    pub strict: bool,
    pub schema: &'a Value,
}

#[derive(Deserialize)]
struct Answer {
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<Counted>,
}

#[derive(Deserialize)]
struct Choice {
    message: Said,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    content: Option<String>,
}

#[derive(Deserialize)]
struct Counted {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
}

/// About how many tokens a text has, where nobody counts them: one for each four letters.
pub fn about(text: &str) -> u64 {
    (text.len() as u64).div_ceil(4)
}

/// The first answer of a reply's body.
pub fn reply(body: &str, asked: &[Message]) -> Result<Reply, String> {
    let answer: Answer = serde_json::from_str(body).map_err(|e| e.to_string())?;
    let first = answer.choices.into_iter().next().ok_or("expected a choice, found none")?;
    let text = first.message.content.ok_or("expected a message's content, found none")?;
    let usage = match answer.usage {
        Some(Counted { prompt_tokens, completion_tokens }) => {
            Usage { tokens_in: prompt_tokens, tokens_out: completion_tokens }
        }
        None => Usage {
            tokens_in: asked.iter().map(|message| about(&message.content)).sum(),
            tokens_out: about(&text),
        },
    };
    Ok(Reply { text, usage })
}
