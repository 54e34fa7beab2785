//! Are tokens spelled as the tokenizers library spells them, as they come?

use super::chat::{expected, golden};
use serde_json::{Value, json};
use steerage::model::tokenizer::Tokenizer;

/// What has come after each token, and at the end.
fn spelled(tokenizer: &Tokenizer, tokens: &[u32]) -> (Vec<String>, String) {
    let mut speller = tokenizer.speller().unwrap();
    let (mut all, mut text) = (Vec::new(), String::new());
    for token in tokens {
        text += &tokenizer.spell(*token, &mut speller);
        all.push(text.clone());
    }
    text += &speller.finish();
    (all, text)
}

#[test]
fn tokens_are_spelled_as_the_library_does() {
    for name in ["bytes", "pieces"] {
        let tokenizer = Tokenizer::open(&golden(name)).unwrap();
        for text in expected(name)["texts"].as_array().unwrap() {
            let tokens: Vec<u32> = serde_json::from_value(text["tokens"].clone()).unwrap();
            let exact: Vec<String> = serde_json::from_value(text["spelled"].clone()).unwrap();
            let (found, end) = spelled(&tokenizer, &tokens);
            assert_eq!(&end, exact.last().unwrap());
            for (found, exact) in found.iter().zip(&exact) {
                // The beginning of a character waits for its end. Where the library sees one, it
                // gives up the whole characters before it, too.
                let whole = exact.trim_end_matches(char::REPLACEMENT_CHARACTER);
                assert!(found.starts_with(whole) && end.starts_with(found), "{name}: {found}");
            }
            let before = tokenizer.before().unwrap();
            let plain = tokenizer.encode(text["text"].as_str().unwrap()).unwrap();
            assert_eq!([before, plain].concat(), tokens, "{name}");
        }
    }
}

#[test]
fn special_tokens_have_no_text_and_broken_characters_one() {
    let tokenizer = Tokenizer::open(&golden("bytes")).unwrap();
    let end = tokenizer.named("<|end|>").unwrap();
    let b = tokenizer.named("<b>").unwrap();
    let tea = tokenizer.encode("茶").unwrap();
    assert_eq!(tea.len(), 3);
    let tokens = [&[end, b][..], &tea[..2], &[b, 9999], &tea, &tea[..1]].concat();
    assert_eq!(spelled(&tokenizer, &tokens).1, "<b>\u{fffd}<b>茶\u{fffd}");
}

#[test]
fn decoders_that_are_not_implemented_are_refused() {
    let parse = |decoder: Value| {
        let json = json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
            "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": decoder,
            "model": {"type": "WordLevel", "vocab": {"▁a": 0, "▁b": 1, "<0x41>": 2}, "unk_token": "a"}});
        Tokenizer::parse("t", json.to_string().as_bytes()).unwrap()
    };
    let said = |decoder| parse(decoder).speller().err().unwrap().to_string();
    insta::assert_snapshot!(said(json!({"type": "CTC"})), @r#"t: decoder: {"type":"CTC"}: not implemented: expected that of a Llama or Qwen2"#);
    for wrong in [
        json!(7),
        json!({"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "WordPiece"}]}),
        json!({"type": "Replace", "pattern": {"Regex": "a"}, "content": ""}),
        json!({"type": "Replace", "pattern": {"String": ""}, "content": ""}),
        json!({"type": "Strip", "content": " ", "start": 1, "stop": 1}),
    ] {
        assert!(said(wrong).contains("not implemented"));
    }
    let spell = |decoder| spelled(&parse(decoder), &[0, 1, 2]).1;
    assert_eq!(spell(Value::Null), "▁a ▁b <0x41>");
    let metaspace = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"});
    assert_eq!(spell(metaspace), "a b<0x41>");
    let each = json!({"type": "Sequence", "decoders": [
        {"type": "ByteFallback"}, {"type": "Strip", "content": "▁", "start": 1, "stop": 0}]});
    assert_eq!(spell(each), "abA");
}
