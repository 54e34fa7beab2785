//! Requests and items as tokens.
//!
//! ```text
//! BERT:    [CLS] request [SEP] context [SEP]      the second part from the context on
//!          [CLS] item [SEP]
//! decoder: <bos> request, a new line, context <eos>
//!          <bos> item <eos>
//! ```
//!
//! Text is data: whatever it holds, it never gives a special token.

use super::batch::Piece;
use crate::device::parallel::for_each;
use crate::error::{Error, Result};
use crate::model::tokenizer::Tokenizer;
use std::sync::Arc;

/// Texts that a thread takes at a time.
const TAKEN: usize = 256;

/// What texts are cut into, and what is put around them.
#[derive(Clone)]
pub struct Texts {
    tokenizer: Arc<Tokenizer>,
    tokens_max: usize,
    begin: Vec<u32>,
    between: Vec<u32>,
    end: Vec<u32>,
    /// Whether the second part is told from the first.
    parts: bool,
}

impl Texts {
    /// For a BERT.
    ///
    /// Errors: [`Error::Model`] when the tokenizer has no `[CLS]` or `[SEP]`.
    pub fn bert(mut tokenizer: Tokenizer, tokens_max: usize) -> Result<Self> {
        tokenizer.allow("[UNK]");
        let [begin, end] = [tokenizer.special("[CLS]")?, tokenizer.special("[SEP]")?];
        Ok(Self {
            tokenizer: Arc::new(tokenizer),
            tokens_max,
            begin: vec![begin],
            between: vec![end],
            end: vec![end],
            parts: true,
        })
    }

    /// For a decoder, with the tokens that its configuration begins and ends texts with.
    ///
    /// Errors: [`Error::Model`] when there are none of either.
    pub fn decoder(
        tokenizer: Tokenizer,
        tokens_max: usize,
        [begin, end]: [Option<u32>; 2],
    ) -> Result<Self> {
        if begin.or(end).is_none() {
            return Err(Error::Model(
                "config.json: bos_token_id, eos_token_id: expected one of them, so that no text is \
                 without a token"
                    .into(),
            ));
        }
        let between = tokenizer.encode("\n")?;
        let (begin, end) = (begin.into_iter().collect(), end.into_iter().collect());
        let tokenizer = Arc::new(tokenizer);
        Ok(Self { tokenizer, tokens_max, begin, between, end, parts: false })
    }

    /// Tokens of the longest text.
    pub fn tokens_max(&self) -> usize {
        self.tokens_max
    }

    /// Refuses a limit that leaves no room for text, or is more than the model takes.
    pub fn check(&self, context_max: usize) -> Result<()> {
        let least = self.begin.len() + self.between.len() + self.end.len() + 1;
        match (least..=context_max).contains(&self.tokens_max) {
            true => Ok(()),
            false => Err(Error::Model(format!(
                "encoder: tokens_max = {}: expected from {least} to {context_max}, the model's \
                 longest text",
                self.tokens_max
            ))),
        }
    }

    /// Refuses a tokenizer with tokens that the model has no rows for.
    pub fn check_vocabulary(&self, vocabulary: usize) -> Result<()> {
        let most = [&self.begin, &self.between, &self.end].into_iter().flatten().max();
        let tokens = self.tokenizer.vocabulary().max(most.map_or(0, |most| *most as usize + 1));
        match tokens <= vocabulary {
            true => Ok(()),
            false => Err(Error::Model(format!(
                "tokenizer.json: has {tokens} tokens and the model {vocabulary}: expected no more: \
                 is it the tokenizer of this model?"
            ))),
        }
    }

    /// A request and, unless it is empty, its context. What is too long is cut at its end, the
    /// context first.
    fn pair(&self, request: &str, context: &str) -> Result<Piece> {
        let mut first = self.tokenizer.encode(request)?;
        let room = self.tokens_max - self.begin.len() - self.end.len();
        let left = room.saturating_sub(first.len() + self.between.len());
        let mut second = if left > 0 { self.tokenizer.encode(context)? } else { Vec::new() };
        second.truncate(left);
        let mut tokens = self.begin.clone();
        first.truncate(room);
        tokens.extend(first);
        let whole = second.is_empty();
        if !whole {
            tokens.extend(&self.between);
        }
        let middle = tokens.len();
        tokens.extend(second);
        tokens.extend(&self.end);
        let second = if whole || !self.parts { tokens.len() } else { middle };
        Ok(Piece { tokens, second })
    }

    /// Requests with their contexts, in their order.
    ///
    /// Errors: [`Error::Model`] when the tokenizer fails, which says why.
    pub fn requests(&self, pairs: &[(String, String)], threads: usize) -> Result<Vec<Piece>> {
        self.all(pairs, threads, |(request, context)| self.pair(request, context))
    }

    /// Items, in their order.
    ///
    /// Errors: [`Error::Model`] when the tokenizer fails, which says why.
    pub fn items(&self, items: &[String], threads: usize) -> Result<Vec<Piece>> {
        self.all(items, threads, |item| self.pair(item, ""))
    }

    fn all<T: Sync>(
        &self,
        texts: &[T],
        threads: usize,
        piece: impl Fn(&T) -> Result<Piece> + Sync,
    ) -> Result<Vec<Piece>> {
        let mut parts: Vec<(&[T], Result<Vec<Piece>>)> =
            texts.chunks(TAKEN).map(|texts| (texts, Ok(Vec::new()))).collect();
        for_each(threads, &mut parts, |_, (texts, pieces)| {
            *pieces = texts.iter().map(&piece).collect();
        });
        let mut all = Vec::with_capacity(texts.len());
        for (_, pieces) in parts {
            all.extend(pieces?);
        }
        Ok(all)
    }
}
