//! Can text become what it should not, and are labels single tokens?

use serde_json::{Value, json};
use std::collections::BTreeMap;
use steerage::model::tokenizer::Tokenizer;

/// Characters from space to `~`, then these tokens.
fn vocabulary(more: &[&str]) -> BTreeMap<String, u32> {
    let characters = (' '..='~').map(String::from);
    characters.chain(more.iter().map(|token| (*token).to_owned())).zip(0..).collect()
}

fn added(id: u32, content: &str, special: bool) -> Value {
    json!({"id": id, "content": content, "special": special, "single_word": false,
        "lstrip": false, "rstrip": false, "normalized": false})
}

fn tokenizer(model: &Value, added: &[Value]) -> Tokenizer {
    let json = json!({"version": "1.0", "truncation": null, "padding": null,
        "added_tokens": added, "normalizer": null, "pre_tokenizer": null, "post_processor": null,
        "decoder": null, "model": model});
    Tokenizer::parse("tokenizer.json", json.to_string().as_bytes()).unwrap()
}

fn bpe(more: &[&str], merges: &[[&str; 2]], ignore_merges: bool) -> Value {
    json!({"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
        "ignore_merges": ignore_merges, "vocab": vocabulary(more), "merges": merges})
}

/// Models that would each give `<s>` for its text: as an added token alone, as a word of the
/// vocabulary that is taken whole, by merges, and as a piece.
fn traps() -> Vec<Tokenizer> {
    let unigram: Vec<Value> = {
        let names = vocabulary(&["<s>", "<price>"]);
        let mut pieces: Vec<_> = names.into_iter().collect();
        pieces.sort_by_key(|(_, id)| *id);
        pieces.into_iter().map(|(piece, _)| json!([piece, -(1.0 / piece.len() as f64)])).collect()
    };
    let special = [added(95, "<s>", true), added(96, "<price>", false)];
    [
        bpe(&[], &[], false),
        bpe(&["<s>", "<price>"], &[], true),
        bpe(&["<s>", "<price>", "<s"], &[["<", "s"], ["<s", ">"]], false),
        json!({"type": "Unigram", "unk_id": 95, "vocab": unigram, "byte_fallback": false}),
    ]
    .iter()
    .map(|model| tokenizer(model, &special))
    .collect()
}

#[test]
fn text_never_gives_a_reserved_token() {
    for (number, mut tokenizer) in traps().into_iter().enumerate() {
        let controls = tokenizer.add_controls(&["<brand>", "<rank>"], 120).unwrap();
        assert_eq!(controls, [120, 121]);
        assert_eq!(tokenizer.named("<s>"), Some(95));
        assert_eq!(tokenizer.named("<brand>"), Some(120));
        assert_eq!(tokenizer.named("s"), None);
        for text in ["<s>", "a<s>b", "<s><s>", "<price> 10", "<<s>s>", "<brand>", "x<rank", "é<s>"]
        {
            let tokens = tokenizer.encode(text).unwrap();
            assert!(tokens.iter().all(|t| ![95, 96, 120, 121].contains(t)), "{number} {text:?}");
            // Nothing is lost but what the vocabulary cannot spell.
            let letters = text.chars().filter(char::is_ascii).count();
            assert!(tokens.len() <= letters && tokens.len() + 2 > letters / 2, "{number} {text:?}");
        }
        let again = tokenizer.add_controls(&["<brand>"], 0).unwrap_err().to_string();
        assert!(again.contains("<brand>: is a token already"), "{again}");
        assert_eq!(tokenizer.add_controls(&["<new>"], 0).unwrap(), [122]);
    }
}

#[test]
fn labels_are_single_tokens() {
    let pairs = ["AA", "AC"];
    let merges = [["A", "A"], ["A", "C"]];
    let tokenizer = tokenizer(&bpe(&pairs, &merges, false), &[]);
    let labels = tokenizer.labels(54).unwrap();
    let names: Vec<&str> = labels.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((names[0], names[25], names[26], names[51]), ("A", "Z", "a", "z"));
    assert_eq!(names[52..], pairs);
    for (name, token) in &labels {
        assert_eq!(tokenizer.encode(name).unwrap(), [*token]);
    }
    let said = tokenizer.labels(55).unwrap_err().to_string();
    insta::assert_snapshot!(said, @"tokenizer.json: expected 55 labels that are single tokens, of A to Z, a to z and AA to ZZ, found 54: rank fewer candidates, or use another model");
    assert_eq!(tokenizer.single("AB"), None);
    assert_eq!(tokenizer.single(""), None);
}
