//! Text to tokens and back, as `tokenizer.json` says.
//!
//! A prompt is put together from text, which is data, and from tokens by name. Text goes through
//! the normaliser, the splitter and the model alone, which know nothing of added tokens; and since
//! some models hold them in their own vocabulary too, a token that is special or added is never
//! taken from text, whatever the text holds.

use super::spelling::{Speller, Spelling};
use crate::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tokenizers::{ModelWrapper, Normalizer, NormalizerWrapper, PreTokenizer, PreTokenizerWrapper};

/// The tokenizer without its added tokens.
type Plain = tokenizers::TokenizerImpl<
    ModelWrapper,
    NormalizerWrapper,
    PreTokenizerWrapper,
    tokenizers::PostProcessorWrapper,
    tokenizers::DecoderWrapper,
>;

/// A tokenizer.
pub struct Tokenizer {
    what: String,
    plain: Plain,
    /// Tokens that text never gives.
    reserved: BTreeSet<u32>,
    /// Tokens by name, added after the file was read.
    controls: BTreeMap<String, u32>,
    named: tokenizers::Tokenizer,
    /// For text after a special token, where only the first word of all is given a space.
    inner: Option<Plain>,
    /// How tokens are spelled, or what of that is not implemented.
    spelling: Result<Spelling, String>,
}

/// Of a text that is partly ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// Our own words, in which special, added and control tokens stand by their names.
    Said(&'a str),
    /// Data, which can never become one.
    Data(&'a str),
}

/// What candidates may be called: A to Z, a to z, then AA, AB and so on.
pub fn label_names() -> impl Iterator<Item = String> {
    let upper = || ('A'..='Z').map(String::from);
    let pairs = upper().flat_map(move |first| upper().map(move |second| first.clone() + &second));
    upper().chain(('a'..='z').map(String::from)).chain(pairs)
}

impl Tokenizer {
    /// Loads a folder's `tokenizer.json`.
    ///
    /// Errors: [`Error::Io`] when it cannot be read, and see [`Tokenizer::parse`].
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join("tokenizer.json");
        let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
        Self::parse(&path.display().to_string(), &bytes)
    }

    /// Reads the JSON of the `tokenizers` library. `what` names the file in messages.
    ///
    /// Errors: [`Error::Model`] when it is not one.
    pub fn parse(what: &str, bytes: &[u8]) -> Result<Self> {
        let wrong =
            |e: &dyn std::fmt::Display| Error::Model(format!("{what}: not a tokenizer: {e}"));
        let mut json: serde_json::Value = serde_json::from_slice(bytes).map_err(|e| wrong(&e))?;
        let spelling = Spelling::of(&json);
        // Nothing is decoded by the library, which panics on some decoders that are none.
        if let Some(decoder) = json.get_mut("decoder") {
            *decoder = serde_json::Value::Null;
        }
        let named: tokenizers::Tokenizer = json.to_string().parse().map_err(|e| wrong(&e))?;
        let plain = plain(&named).map_err(|e| wrong(&e))?;
        let inner = match replace(&mut json["pre_tokenizer"]) {
            false => None,
            true => {
                let inner = json.to_string().parse().map_err(|e| wrong(&e))?;
                Some(self::plain(&inner).map_err(|e| wrong(&e))?)
            }
        };
        let reserved = named.get_added_tokens_decoder().into_keys().collect();
        let (what, controls) = (what.to_owned(), BTreeMap::new());
        Ok(Self { what, plain, reserved, controls, named, inner, spelling })
    }

    /// The tokens of text. What the vocabulary cannot spell without a reserved token is left out.
    ///
    /// Errors: [`Error::Model`] when the model fails, which says why.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let mut tokens = Vec::new();
        self.encode_into(&self.plain, text, &mut tokens)?;
        Ok(tokens)
    }

    fn encode_into(&self, plain: &Plain, text: &str, tokens: &mut Vec<u32>) -> Result<()> {
        let encoding = plain
            .encode_fast(text, false)
            .map_err(|e| Error::Model(format!("{}: {text:?}: {e}", self.what)))?;
        let ids = encoding.get_ids();
        if !ids.iter().any(|id| self.reserved.contains(id)) {
            tokens.extend(ids);
            return Ok(());
        }
        // The text spells a reserved token: its halves do not, or their halves; a single character
        // that does is left out.
        let characters = text.chars().count();
        if characters > 1 {
            let middle = text.char_indices().nth(characters / 2).map_or(0, |(at, _)| at);
            self.encode_into(plain, &text[..middle], tokens)?;
            self.encode_into(plain, &text[middle..], tokens)?;
        } else {
            tokens.extend(ids.iter().filter(|id| !self.reserved.contains(id)));
        }
        Ok(())
    }

    /// Lets text give a token that is reserved, such as that of all that is unknown, if there is
    /// one of this name.
    pub fn allow(&mut self, name: &str) {
        if let Some(token) = self.named(name) {
            self.reserved.remove(&token);
        }
    }

    /// A special token by its name.
    ///
    /// Errors: [`Error::Model`] when there is none.
    pub fn special(&self, name: &str) -> Result<u32> {
        self.named(name).ok_or_else(|| {
            Error::Model(format!("{}: expected an added token {name}, found none", self.what))
        })
    }

    /// What a text is cut into before the model is asked: its words, normalised.
    ///
    /// Errors: [`Error::Model`] when it cannot be cut, which says why.
    pub fn words(&self, text: &str) -> Result<Vec<String>> {
        let wrong = |e| Error::Model(format!("{}: {text:?}: {e}", self.what));
        let mut pieces = tokenizers::PreTokenizedString::from(text);
        if let Some(normalizer) = self.plain.get_normalizer() {
            pieces.normalize(|piece| normalizer.normalize(piece)).map_err(wrong)?;
        }
        if let Some(cutter) = self.plain.get_pre_tokenizer() {
            cutter.pre_tokenize(&mut pieces).map_err(wrong)?;
        }
        let (normalized, bytes) =
            (tokenizers::OffsetReferential::Normalized, tokenizers::OffsetType::Byte);
        let words = pieces.get_splits(normalized, bytes).into_iter();
        Ok(words.map(|(word, ..)| word.to_owned()).filter(|word| !word.is_empty()).collect())
    }

    /// The tokens of words that we say ourselves: special, added and control tokens by their names,
    /// and text between them.
    ///
    /// Errors: [`Error::Model`] when the model fails, which says why.
    pub fn encode_said(&self, text: &str) -> Result<Vec<u32>> {
        let names = self.controls.keys().filter_map(|name| Some((text.find(name)?, name)));
        let Some((at, name)) = names.min_by_key(|(at, name)| (*at, std::cmp::Reverse(name.len())))
        else {
            let encoding = self.named.encode_fast(text, false);
            let failed = |e| Error::Model(format!("{}: {text:?}: {e}", self.what));
            return Ok(encoding.map_err(failed)?.get_ids().to_vec());
        };
        let mut tokens = self.encode_said(&text[..at])?;
        tokens.push(self.controls[name]);
        tokens.extend(self.encode_said(&text[at + name.len()..])?);
        Ok(tokens)
    }

    /// The tokens of a text that is partly ours: words go on over the border of two parts, as if
    /// the text were one, but no data makes or ends a token that stands there by its name.
    ///
    /// Errors: [`Error::Model`] when the model fails, which says why.
    pub fn encode_parts(&self, parts: &[Part<'_>]) -> Result<Vec<u32>> {
        let added = self.named.get_added_tokens_decoder().into_iter();
        let mut names: Vec<(String, u32, [bool; 2])> =
            added.map(|(id, token)| (token.content, id, [token.lstrip, token.rstrip])).collect();
        let controls = self.controls.iter().map(|(name, id)| (name.clone(), *id, [false; 2]));
        names.extend(controls);
        names.retain(|(name, ..)| !name.is_empty());
        let (mut tokens, mut text, mut first, mut strip) = (Vec::new(), String::new(), true, false);
        for part in parts {
            let (mut left, said) = match part {
                Part::Said(text) => (*text, true),
                Part::Data(text) => (*text, false),
            };
            let find = |left: &str| {
                let found = names.iter().filter_map(|name| Some((left.find(&name.0)?, name)));
                found.min_by_key(|(at, name)| (*at, std::cmp::Reverse(name.0.len())))
            };
            loop {
                let name = said.then(|| find(left)).flatten();
                let before = &left[..name.map_or(left.len(), |(at, _)| at)];
                text += if strip && text.is_empty() { before.trim_start() } else { before };
                let Some((at, (name, token, [lstrip, rstrip]))) = name else { break };
                let end = if *lstrip { text.trim_end().len() } else { text.len() };
                self.encode_between(&text[..end], first, &mut tokens)?;
                tokens.push(*token);
                text.clear();
                (first, strip, left) = (false, *rstrip, &left[at + name.len()..]);
            }
        }
        self.encode_between(&text, first, &mut tokens)?;
        Ok(tokens)
    }

    fn encode_between(&self, text: &str, first: bool, tokens: &mut Vec<u32>) -> Result<()> {
        let inner = self.inner.as_ref().filter(|_| !first);
        match text.is_empty() {
            true => Ok(()),
            false => self.encode_into(inner.unwrap_or(&self.plain), text, tokens),
        }
    }

    /// The special tokens that stand before every text, as the file says.
    ///
    /// Errors: [`Error::Model`] when the model fails, which says why.
    pub fn before(&self) -> Result<Vec<u32>> {
        let encoding = self.named.encode_fast("", true);
        let failed = |e| Error::Model(format!("{}: {e}", self.what));
        Ok(encoding.map_err(failed)?.get_ids().to_vec())
    }

    /// Spells tokens.
    ///
    /// Errors: [`Error::Model`] for a file whose decoder is not implemented.
    pub fn speller(&self) -> Result<Speller> {
        let wrong = |why: &String| Error::Model(format!("{}: {why}", self.what));
        self.spelling.as_ref().map(|spelling| Speller::new(spelling.clone())).map_err(wrong)
    }

    /// The text that is there once a token is: nothing of special and control tokens, which are
    /// not text.
    pub fn spell(&self, token: u32, speller: &mut Speller) -> String {
        let added = self.named.get_added_vocabulary();
        match self.named.id_to_token(token) {
            Some(name) if !added.is_special_token(&name) => speller.push(&name),
            _ => String::new(),
        }
    }

    /// One more than the greatest token of the file.
    pub fn vocabulary(&self) -> usize {
        self.named.get_vocab(true).values().max().map_or(0, |last| *last as usize + 1)
    }

    /// A special, added or control token by its name.
    pub fn named(&self, name: &str) -> Option<u32> {
        let added = || self.named.token_to_id(name).filter(|id| self.reserved.contains(id));
        self.controls.get(name).copied().or_else(added)
    }

    /// The token of a text that is a single one and is neither reserved nor what stands for all
    /// that is unknown: its name ends with the text, after whatever marks the beginning of a word.
    pub fn single(&self, text: &str) -> Option<u32> {
        let [token] = self.encode(text).ok()?[..] else { return None };
        let name = self.named.id_to_token(token)?.to_lowercase();
        name.ends_with(&text.to_lowercase()).then_some(token)
    }

    /// The names of `count` candidates, each a single token: A to Z, a to z, then AA, AB and so on,
    /// leaving out what is not a single token.
    ///
    /// Errors: [`Error::Model`] when the vocabulary has not as many, or lacks one of A to Z that is
    /// needed.
    pub fn labels(&self, count: usize) -> Result<Vec<(String, u32)>> {
        let mut labels: Vec<(String, u32)> = Vec::new();
        let mut taken = BTreeSet::new();
        for name in label_names() {
            if labels.len() == count {
                break;
            }
            if let Some(token) = self.single(&name).filter(|token| taken.insert(*token)) {
                labels.push((name, token));
            }
        }
        match labels.len() == count {
            true => Ok(labels),
            false => Err(Error::Model(format!(
                "{}: expected {count} labels that are single tokens, of A to Z, a to z and AA to \
                 ZZ, found {}: rank fewer candidates, or use another model",
                self.what,
                labels.len()
            ))),
        }
    }

    /// Adds tokens for control, such as `<price>`, each with the next number after the vocabulary
    /// and at least `vocabulary`, the rows of the model's embeddings. Returns their numbers.
    ///
    /// Errors: [`Error::Model`] for a name that is a token already, and when no number is left.
    pub fn add_controls(&mut self, names: &[&str], vocabulary: usize) -> Result<Vec<u32>> {
        let known = self.named.get_vocab(true);
        let after =
            known.values().chain(self.controls.values()).max().map_or(0, |id| id.saturating_add(1));
        let first = after.max(u32::try_from(vocabulary).unwrap_or(u32::MAX));
        let mut added = Vec::new();
        for (name, next) in names.iter().zip(first..=u32::MAX) {
            if known.contains_key(*name) || self.controls.contains_key(*name) {
                return Err(Error::Model(format!(
                    "{}: control token {name}: is a token already: choose another name",
                    self.what
                )));
            }
            if next == u32::MAX {
                return Err(Error::Model(format!(
                    "{}: control token {name}: no number is left for it: the vocabulary goes up to \
                     {next}",
                    self.what
                )));
            }
            self.controls.insert((*name).to_owned(), next);
            self.reserved.insert(next);
            added.push(next);
        }
        Ok(added)
    }
}

/// A tokenizer without its added tokens.
fn plain(named: &tokenizers::Tokenizer) -> tokenizers::Result<Plain> {
    let mut plain = Plain::new(named.get_model().clone());
    plain.with_normalizer(named.get_normalizer().cloned())?;
    plain.with_pre_tokenizer(named.get_pre_tokenizer().cloned());
    Ok(plain)
}

/// Replaces every `prepend_scheme` of `first` by `never`; tells whether there was one.
fn replace(json: &mut serde_json::Value) -> bool {
    let mut found = false;
    match json {
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                let first = key == "prepend_scheme" && value == "first";
                if first {
                    *value = "never".into();
                }
                found |= first || replace(value);
            }
        }
        serde_json::Value::Array(list) => list.iter_mut().for_each(|value| found |= replace(value)),
        _ => {}
    }
    found
}
