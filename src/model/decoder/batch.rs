//! Prompts, packed one after the other without padding.

/// What is scored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// The adapter that it chooses, by the number of [`super::Decoder::attach`].
    pub adapter: Option<u32>,
}

/// Prompts that are scored together.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Prompt after prompt.
    pub(super) tokens: Vec<u32>,
    /// Each token's place in its prompt.
    pub(super) positions: Vec<u32>,
    /// Prompt p is tokens `offsets[p]..offsets[p + 1]`.
    pub(super) offsets: Vec<u32>,
    /// Each token's adapter.
    pub(super) by_token: Vec<Option<u32>>,
    /// Each prompt's adapter.
    pub(super) by_prompt: Vec<Option<u32>>,
    /// Tokens of the longest prompt.
    pub(super) longest: usize,
}

impl Batch {
    /// Packs prompts, none of which may be empty.
    pub fn of(prompts: &[Prompt]) -> Self {
        let mut batch = Self { offsets: vec![0], ..Self::default() };
        for Prompt { tokens, adapter } in prompts {
            batch.tokens.extend(tokens);
            batch.positions.extend(0..tokens.len() as u32);
            batch.offsets.push(batch.tokens.len() as u32);
            batch.by_token.resize(batch.tokens.len(), *adapter);
            batch.by_prompt.push(*adapter);
            batch.longest = batch.longest.max(tokens.len());
        }
        batch
    }

    /// Where each prompt begins, and where the last one ends.
    pub fn offsets(&self) -> &[u32] {
        &self.offsets
    }
}

/// How many of the first prompts have no more tokens than this together; at least one.
pub fn fitting(prompts: &[Prompt], tokens_max: usize) -> usize {
    let mut tokens = 0;
    let fits = prompts.iter().take_while(|prompt| {
        tokens += prompt.tokens.len();
        tokens <= tokens_max
    });
    fits.count().max(1)
}
