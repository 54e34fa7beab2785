//! Answers that were paid for, kept under the root of the runs: by the hash of what was asked, so
//! that nothing is paid twice, by whichever run.
//!
//! An answer is kept before it is used. A process that is killed in between has it next time.

use crate::error::{Error, Result};
use crate::remote::{Message, Usage};
use crate::store::Store;
use serde::{Deserialize, Serialize};

/// Counts up when the same prompt should be asked again.
const VERSION: u32 = 1;
const FOLDER: &str = "answers";

/// An answer that could be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// What was said.
    pub text: String,
    /// What it took, earlier answers that could not be used included.
    pub usage: Usage,
    /// How often the server answered until it could be used.
    pub asked: u64,
    /// The run that paid.
    pub run: String,
}

/// The answers of one model at one setting.
#[derive(Clone)]
pub struct Answers {
    store: Store,
    model: String,
    run: String,
}

impl Answers {
    /// Those of a model, for a run; `model` says everything that answers depend on.
    pub fn new(store: Store, model: String, run: String) -> Answers {
        Answers { store, model, run }
    }

    /// The run that pays.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// The answer to a prompt, if there is one.
    ///
    /// Errors: a file that is no answer; those of the store.
    pub fn get(&self, prompt: &[Message]) -> Result<Option<Kept>> {
        let key = self.key(prompt);
        self.store.get(&key)?.map(|bytes| self.parse(&key, &bytes)).transpose()
    }

    /// Keeps an answer. Gives the one that is kept: somebody may have been faster.
    ///
    /// Errors: those of the store.
    pub fn put(&self, prompt: &[Message], kept: Kept) -> Result<Kept> {
        let key = self.key(prompt);
        let json = serde_json::to_vec(&kept).map_err(|e| Error::Incomplete(e.to_string()))?;
        match self.store.put_once(&key, json) {
            Err(Error::Conflict { .. }) => Ok(self.get(prompt)?.unwrap_or(kept)),
            done => done.map(|()| kept),
        }
    }

    /// What a run has paid for, as far as it is kept: answers and their tokens.
    ///
    /// Errors: a file that is no answer; those of the store.
    pub fn paid(&self) -> Result<(u64, Usage)> {
        let (mut asked, mut usage) = (0, Usage::default());
        for listed in self.store.list(FOLDER)? {
            let Some(bytes) = self.store.get(&listed.key)? else { continue };
            let kept = self.parse(&listed.key, &bytes)?;
            if kept.run == self.run {
                asked += kept.asked;
                usage.tokens_in += kept.usage.tokens_in;
                usage.tokens_out += kept.usage.tokens_out;
            }
        }
        Ok((asked, usage))
    }

    fn parse(&self, key: &str, bytes: &[u8]) -> Result<Kept> {
        serde_json::from_slice(bytes).map_err(|e| {
            let path = self.store.root().join(key);
            Error::Input(format!("{}: expected an answer: {e}: remove it", path.display()))
        })
    }

    fn key(&self, prompt: &[Message]) -> String {
        let mut hash = blake3::Hasher::new();
        let mut add = |text: &str| {
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        add(&VERSION.to_string());
        add(&self.model);
        for message in prompt {
            add(&format!("{:?}", message.role));
            add(&message.content);
        }
        let hash = hash.finalize().to_hex();
        format!("{FOLDER}/{}/{}.json", &hash[..2], &hash[..32])
    }
}
