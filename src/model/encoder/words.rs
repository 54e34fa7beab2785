//! A tokenizer for an encoder that is trained from nothing: the words of the texts it will read,
//! and letters to spell the others with.

use crate::error::{Error, Result};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};

/// Special tokens, by the names that BERT's tokenizers give them, from token 0 on.
pub const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// Characters of the longest word that is taken apart; longer ones are unknown.
const CHARACTERS_MAX: usize = 100;

/// `tokenizer.json` of the most frequent words of some texts, at most `words_max`, and of all their
/// characters, which other words are spelled with. As BERT's tokenizers do, it makes letters small,
/// takes marks off them, and cuts at blanks and around every punctuation mark; and it cuts numbers
/// off the letters they are written with: "Under $20!" is `under $ 20 !`, "10-20" is `10 - 20`,
/// "FRZN_MEAT 4oz" is `frzn _ meat 4 oz`.
///
/// Errors: [`Error::Model`] if it cannot be written, which is a fault of ours.
pub fn tokenizer<'a>(texts: impl Iterator<Item = &'a str>, words_max: usize) -> Result<Vec<u8>> {
    let failed = |e: serde_json::Error| Error::Model(format!("tokenizer.json: {e}"));
    // The words of its own tokenizer with an empty vocabulary: cut as they will be.
    let cutter = crate::model::tokenizer::Tokenizer::parse(
        "tokenizer.json",
        &serde_json::to_vec(&file(&[])).map_err(failed)?,
    )?;
    let mut counts: HashMap<String, u64> = HashMap::new();
    for text in texts {
        for word in cutter.words(text)? {
            *counts.entry(word).or_default() += 1;
        }
    }
    let characters: BTreeSet<char> = counts.keys().flat_map(|word| word.chars()).collect();
    let mut frequent: Vec<(&String, &u64)> = counts.iter().collect();
    frequent.sort_unstable_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let spelled = characters.iter().flat_map(|c| [c.to_string(), format!("##{c}")]);
    let words = frequent.into_iter().take(words_max).map(|(word, _)| word.clone());
    serde_json::to_vec(&file(&spelled.chain(words).collect::<Vec<String>>())).map_err(failed)
}

/// The file of a vocabulary that follows the special tokens.
fn file(words: &[String]) -> Value {
    let mut vocabulary = serde_json::Map::new();
    for word in SPECIAL.iter().map(|name| (*name).to_owned()).chain(words.iter().cloned()) {
        let next = vocabulary.len();
        vocabulary.entry(word).or_insert_with(|| next.into());
    }
    let special = |(id, name): (usize, &&str)| {
        json!({
            "id": id, "content": name, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true,
        })
    };
    let named = |name: &str, part: u8| json!({ "SpecialToken": { "id": name, "type_id": part } });
    let text = |name: &str, part: u8| json!({ "Sequence": { "id": name, "type_id": part } });
    let single = [named("[CLS]", 0), text("A", 0), named("[SEP]", 0)];
    let pair = [&single[..], &[text("B", 1), named("[SEP]", 1)]].concat();
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": SPECIAL.iter().enumerate().map(special).collect::<Vec<Value>>(),
        "normalizer": {
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true,
        },
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                { "type": "BertPreTokenizer" },
                { "type": "Digits", "individual_digits": false },
            ],
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single,
            "pair": pair,
            "special_tokens": {
                "[CLS]": { "id": "[CLS]", "ids": [2], "tokens": ["[CLS]"] },
                "[SEP]": { "id": "[SEP]", "ids": [3], "tokens": ["[SEP]"] },
            },
        },
        "decoder": null,
        "model": {
            "type": "WordPiece", "vocab": vocabulary, "unk_token": "[UNK]",
            "continuing_subword_prefix": "##", "max_input_chars_per_word": CHARACTERS_MAX,
        },
    })
}
