//! `steerage generate`: what it prints, and what it says to what it cannot do.

use super::chat;
use crate::support::{Shop, copy};
use std::fs;
use steerage::model::decoder::{Decoder, DecoderConfig, Rope};

const CONFIG: DecoderConfig = DecoderConfig {
    vocabulary: 420,
    hidden: 32,
    inner: 48,
    layers: 2,
    heads: 4,
    shared: 2,
    width: 8,
    context_max: 96,
    epsilon: 1e-5,
    rope: Rope { theta: 10_000.0, scaling: None },
    tied: true,
    qkv_bias: false,
    output_bias: false,
};

/// A folder with a random model and the byte-level tokenizer.
fn shop() -> Shop {
    let shop = Shop::empty();
    copy(&chat::golden("bytes"), &shop.path("model"));
    let decoder = Decoder::random(CONFIG, 5).unwrap();
    for (name, bytes) in decoder.to_files().unwrap() {
        fs::write(shop.path("model").join(name), bytes).unwrap();
    }
    shop
}

#[test]
fn an_answer_is_printed_and_its_pace_told() {
    let shop = shop();
    let generate = ["generate", "--model", "model", "--prompt", "Rank the films", "--tokens-max"];
    let said = shop.say(&[&generate[..], &["12"]].concat());
    assert_eq!(said.code, Some(0), "{}", said.err);
    let end = " tokens in, 12 out (--tokens-max is reached); prefill ";
    assert!(said.err.contains(end), "{}", said.err);
    let whole = shop.say(&[&generate[..], &["1000"]].concat());
    let end = " out (the model's context is full); prefill ";
    assert!(whole.err.contains(end), "{}", whole.err);
    let (reads, closed) = std::io::pipe().unwrap();
    drop(reads);
    let unread = shop.steerage(&[&generate[..], &["12"]].concat()).stdout(closed).output();
    assert_eq!(unread.unwrap().status.code(), Some(0), "nobody has to read on");
    assert!(said.err.contains("decode ") && said.out.ends_with('\n'));
    assert_eq!(shop.say(&[&generate[..], &["12"]].concat()).out, said.out, "the same again");
    let draw = |seed: &str| {
        let more =
            ["12", "--temperature", "1.5", "--top-k", "50", "--top-p", "0.9", "--seed", seed];
        shop.say(&[&generate[..], &more].concat()).out
    };
    assert!(draw("1") == draw("1") && draw("1") != draw("2"));
    shop.write("prompt.txt", "Rank the films");
    let file = ["generate", "--model", "model", "--file", "prompt.txt", "--tokens-max", "12"];
    assert_eq!(shop.say(&file).out, said.out, "a file says what the line says");
    let chat = shop.say(&[&generate[..], &["12", "--chat", "--system", "be brief"]].concat());
    assert!(chat.code == Some(0) && chat.out != said.out);
    for model_says in ["0", "1", "2"] {
        let one_of = ["16", "--one-of", "best films,lamp,the person", "--temperature", "3"];
        let said = shop.say(&[&generate[..], &one_of, &["--seed", model_says]].concat());
        assert!(
            ["best films\n", "lamp\n", "the person\n"].contains(&&said.out[..]),
            "{}",
            said.out
        );
        assert!(said.err.contains("the answer is whole"), "{}", said.err);
    }
}

#[test]
fn what_cannot_be_generated_is_refused() {
    let shop = shop();
    let said = |more: &[&str]| {
        let said = shop.say(&[&["generate", "--model", "model"], more].concat());
        assert_eq!((said.code, &said.out[..]), (Some(2), ""), "{}", said.err);
        said.err.lines().next().unwrap_or_default().to_owned()
    };
    insta::assert_snapshot!(said(&["--prompt", ""]), @"steerage: prompt 1: expected at least one token, found none");
    insta::assert_snapshot!(said(&["--file", "nowhere"]), @"steerage: read nowhere: No such file or directory (os error 2)");
    shop.write("raw", b"\xff\xfe");
    insta::assert_snapshot!(said(&["--file", "raw"]), @"steerage: raw: not text in UTF-8");
    insta::assert_snapshot!(said(&["--prompt", "a", "--temperature", "0"]), @"steerage: temperature: expected a positive number, found 0");
    insta::assert_snapshot!(said(&["--prompt", "a", "--temperature", "1", "--top-p", "2"]), @"steerage: top_p: expected a number above 0 and at most 1, found 2");
    insta::assert_snapshot!(said(&["--prompt", "a", "--tokens-max", "0"]), @"steerage: prompt 1: tokens_max: expected at least 1, found 0");
    insta::assert_snapshot!(said(&["--prompt", "a", "--one-of", "a,,b"]), @"steerage: --one-of: answer 2: expected at least one token, found none");
    insta::assert_snapshot!(said(&["--prompt", "a", "--one-of", "zzzz,qqqq", "--tokens-max", "3"]), @"steerage: prompt 1: tokens_max: expected at least 4, the longest answer, found 3");
    insta::assert_snapshot!(said(&["--prompt", &"z".repeat(97)]), @"steerage: prompt 1: expected at most 96 tokens, the model's context, found 97");
    insta::assert_snapshot!(said(&["--prompt", &"z".repeat(96)]), @"steerage: prompt 1: its 96 tokens leave no room for an answer");
    insta::assert_snapshot!(said(&["--prompt", "a", "--adapter", "nowhere"]), @"steerage: read nowhere/adapter_config.json: No such file or directory (os error 2)");
    insta::assert_snapshot!(said(&["--prompt", "a", "--seed", "1"]), @"error: the following required arguments were not provided:");
    insta::assert_snapshot!(said(&["--prompt", "a", "--file", "b"]), @"error: the argument '--prompt <TEXT>' cannot be used with '--file <FILE>'");
    insta::assert_snapshot!(said(&[]), @"error: the following required arguments were not provided:");
    let absent = said(&["--prompt", "a", "--device", "cuda:65535"]);
    assert!(absent.starts_with("steerage: --device cuda:65535: "), "{absent}");
    assert!(absent.ends_with(" or use --device cpu"), "{absent}");
    fs::remove_file(shop.path("model/tokenizer_config.json")).unwrap();
    insta::assert_snapshot!(said(&["--prompt", "a", "--chat"]), @"steerage: model/tokenizer_config.json: chat_template: missing: expected a template: is it an instruction model?");
    fs::write(shop.path("model/generation_config.json"), r#"{"eos_token_id": "x"}"#).unwrap();
    insta::assert_snapshot!(said(&["--prompt", "a"]), @r#"steerage: model/generation_config.json: eos_token_id = "x": expected a token, or a list"#);
    fs::remove_file(shop.path("model/tokenizer.json")).unwrap();
    insta::assert_snapshot!(said(&["--prompt", "a"]), @"steerage: read model/tokenizer.json: No such file or directory (os error 2)");
}
