//! A tokenizer of whole words for a decoder that is trained from nothing: the words of the texts it
//! will read.

use super::tokenizer::label_names;
use crate::error::{Error, Result};
use serde_json::json;
use std::collections::HashMap;

/// What stands for a word that is not in the vocabulary.
pub const UNKNOWN: &str = "<unk>";

/// `tokenizer.json` of all words of some texts, of the most frequent of others, at most
/// `words_max`, and of the labels that candidates need. A word is a run of letters, digits and
/// underscores, or of other characters between blanks, as the tokenizers library's `Whitespace`
/// cuts.
///
/// Errors: [`Error::Model`] if it cannot be written, which is a fault of ours.
pub fn tokenizer<'a>(
    whole: impl Iterator<Item = &'a str>,
    texts: impl Iterator<Item = &'a str>,
    words_max: usize,
    labels: usize,
) -> Result<Vec<u8>> {
    let mut counts: HashMap<&str, u64> = HashMap::new();
    for text in texts {
        words(text).for_each(|word| *counts.entry(word).or_default() += 1);
    }
    let mut frequent: Vec<(&str, u64)> = counts.into_iter().collect();
    frequent.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let mut vocabulary = serde_json::Map::new();
    let frequent = frequent.into_iter().take(words_max).map(|(word, _)| word);
    let all = whole.flat_map(words).chain(frequent).map(str::to_owned);
    for word in std::iter::once(UNKNOWN.to_owned()).chain(label_names().take(labels)).chain(all) {
        let next = vocabulary.len();
        vocabulary.entry(word).or_insert_with(|| next.into());
    }
    let json = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [],
        "normalizer": null,
        "pre_tokenizer": { "type": "Whitespace" },
        "post_processor": null,
        "decoder": null,
        "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": UNKNOWN },
    });
    serde_json::to_vec(&json).map_err(|e| Error::Model(format!("tokenizer.json: {e}")))
}

/// A text as one word: its letters and digits, and `_` for each run of anything else.
pub fn one_word(text: &str) -> String {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<&str>>().join("_")
}

/// The words of a text.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    text.split_whitespace().flat_map(move |run| {
        let mut rest = run;
        std::iter::from_fn(move || {
            let kind = in_word(rest.chars().next()?);
            let end = rest.find(|c| in_word(c) != kind).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            rest = after;
            Some(word)
        })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::tokenizer::Tokenizer;

    #[test]
    fn frequent_words_and_labels_are_tokens_and_the_rest_is_unknown() {
        let texts = ["red lamp, 10-20", "red chair", "A rare thing"];
        let json = tokenizer(["violet"].into_iter(), texts.into_iter(), 3, 30).unwrap();
        let tokenizer = Tokenizer::parse("words", &json).unwrap();
        assert_eq!(tokenizer.labels(30).unwrap().len(), 30);
        let found = tokenizer.encode("red red zebra").unwrap();
        assert_eq!(found[0], found[1]);
        assert_eq!(found[2], tokenizer.encode(UNKNOWN.trim_matches(['<', '>'])).unwrap()[0]);
        assert_ne!(found[0], found[2]);
        assert_ne!(tokenizer.encode("violet").unwrap()[0], found[2], "however rare");
    }

    #[test]
    fn words_are_cut_as_the_library_cuts() {
        let found: Vec<&str> = words("it's 10-20€, Ünder_x").collect();
        assert_eq!(found, ["it", "'", "s", "10", "-", "20", "€,", "Ünder_x"]);
        assert_eq!(one_word(" FRZN MEAT/MEAT (10-20)"), "FRZN_MEAT_MEAT_10_20");
        assert_eq!(words(&one_word("a-b c")).count(), 1);
    }
}
