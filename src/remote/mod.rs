//! Who answers from far away? A chat with a model behind an OpenAI-compatible server: messages in,
//! a text and what it took out.
//!
//! Owns everything between a prompt and its answer: limits on how much is asked at once and in a
//! while, tries again with growing waits, how long anybody is waited for, and that the key is in no
//! message. What prompts say and what answers mean is its callers' affair. It blocks: its callers
//! run on engines.

mod chat;
mod limits;
mod wire;

pub use chat::{AnswerFormat, Chat, ChatSettings, Refusal, Secret};
pub use wire::{Message, Reply, Role, Usage};
