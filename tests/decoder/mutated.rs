//! Sound files of others' programs, changed at random: loaders answer, whatever they find.

use crate::decoder::golden;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::json;
use std::fs;
use std::sync::OnceLock;
use steerage::device::{Cpu, Precision};
use steerage::model::adapter::{Adapter, AdapterConfig};
use steerage::model::decoder::{Decoder, DecoderConfig, DecoderFiles, Prompt};
use steerage::model::tensors::Tensors;
use steerage::model::tokenizer::Tokenizer;
use steerage::model::words;

/// Numbers that something may be multiplied, allocated or cast by.
const NUMBERS: [&str; 14] = [
    "0",
    "-1",
    "1",
    "7",
    "0.5",
    "1e300",
    "-1e-300",
    "1e999",
    "65536",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
];

/// A change of a file.
#[derive(Clone, Debug)]
enum Change {
    /// A byte becomes another.
    Byte(Index, u8),
    /// The rest is gone.
    Cut(Index),
    /// The next number becomes one of [`NUMBERS`].
    Number(Index, usize),
    /// A piece is there twice.
    Again(Index, usize),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let at = any::<Index>;
    let number = || (at(), 0..NUMBERS.len()).prop_map(|(at, which)| Change::Number(at, which));
    let one = prop_oneof![
        2 => (at(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        1 => at().prop_map(Change::Cut),
        5 => number(),
        1 => (at(), 1usize..40).prop_map(|(at, length)| Change::Again(at, length)),
    ];
    proptest::collection::vec(one, 1..4)
}

/// The file with the changes, each before `end`.
fn changed(mut bytes: Vec<u8>, end: usize, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        if bytes.is_empty() {
            break;
        }
        let within = bytes.len().min(end);
        match change {
            Change::Byte(at, byte) => bytes[at.index(within)] = *byte,
            Change::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Change::Number(at, which) => {
                let from = at.index(within);
                let digit = |x: &u8| x.is_ascii_digit() || b".-".contains(x);
                let Some(start) = bytes[from..within].iter().position(digit) else { continue };
                let start = from + start;
                let length = bytes[start..].iter().position(|x| !digit(x)).unwrap_or(0);
                bytes.splice(start..start + length, NUMBERS[*which].bytes());
            }
            Change::Again(at, length) => {
                let from = at.index(within);
                let piece = bytes[from..(from + length).min(bytes.len())].to_vec();
                bytes.splice(from..from, piece);
            }
        }
    }
    bytes
}

fn file(model: &str, name: &str) -> Vec<u8> {
    fs::read(golden(model).join(name)).unwrap()
}

/// Whole words, and byte pairs with a splitter, a normaliser and added tokens.
fn tokenizers() -> [Vec<u8>; 2] {
    let words =
        words::tokenizer(["red lamp 10 20 blue chair"].into_iter(), std::iter::empty(), 20, 8)
            .unwrap();
    let characters: serde_json::Map<_, _> =
        (' '..='~').map(String::from).zip((0..).map(|at| json!(at))).collect();
    let added = |id: u32, content: &str, special: bool| {
        json!({"id": id, "content": content, "special": special, "single_word": false,
            "lstrip": false, "rstrip": false, "normalized": false})
    };
    let pairs = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [added(95, "<s>", true), added(96, "<pad>", false)],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"},
            {"type": "Replace", "pattern": {"String": "  "}, "content": " "}]},
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "\\p{N}{1,3}| ?\\p{L}+"},
            "behavior": "Isolated", "invert": false},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}},
                {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [95], "tokens": ["<s>"]}}},
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "dropout": null, "unk_token": null,
            "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false,
            "byte_fallback": false, "ignore_merges": false, "vocab": characters, "merges": []},
    });
    [words, pairs.to_string().into_bytes()]
}

/// The golden model that adapters are tried on.
fn base() -> &'static Decoder {
    static BASE: OnceLock<Decoder> = OnceLock::new();
    BASE.get_or_init(|| Decoder::open(&golden("qwen2"), None).unwrap())
}

/// Reads a model, and scores a prompt with what was read.
fn try_model(config: &[u8], weights: &[u8]) {
    let Ok(config) = DecoderConfig::parse("config.json", config) else { return };
    let Ok(tensors) = Tensors::of("model.safetensors", &weights.to_vec().into()) else { return };
    let files = DecoderFiles::of(config, tensors);
    let Ok(decoder) = files.and_then(|files| files.kept_in(Some(Precision::Bf16)).load()) else {
        return;
    };
    let prompt = Prompt { tokens: vec![0, 3, 5], adapter: None };
    let _ = decoder.logits(&Cpu, &[prompt], decoder.head(), 1);
}

fn try_adapter(config: &[u8], weights: &[u8]) {
    let Ok(tensors) = Tensors::of("adapter_model.safetensors", &weights.to_vec().into()) else {
        return;
    };
    let parsed = AdapterConfig::parse("adapter_config.json", config, tensors.names());
    let Ok(parsed) = parsed else { return };
    let mut decoder = base().clone();
    let Ok(adapter) = Adapter::read(parsed, decoder.config(), &tensors) else { return };
    let prompt = Prompt { tokens: vec![9, 3, 20], adapter: Some(decoder.attach(&adapter)) };
    let _ = decoder.logits(&Cpu, &[prompt], decoder.head(), 1);
}

fn try_tokenizer(bytes: &[u8]) {
    let Ok(mut tokenizer) = Tokenizer::parse("tokenizer.json", bytes) else { return };
    let _ = tokenizer.add_controls(&["<price>", "<brand>"], tokenizer.vocabulary());
    let _ = tokenizer.labels(30);
    for text in ["red lamp 12345", "", "<s> <pad><price>", "é  \u{0}\u{10ffff}"] {
        let _ = tokenizer.encode(text);
        let _ = tokenizer.encode_said(text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_changed_model_is_read_or_refused(changes in changes(), of_config in any::<bool>()) {
        let mut config = file("llama2", "config.json");
        let mut weights = file("llama2", "model.safetensors");
        let header = 8 + u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
        match of_config {
            true => config = changed(config, usize::MAX, &changes),
            false => weights = changed(weights, header, &changes),
        }
        try_model(&config, &weights);
    }

    #[test]
    fn a_changed_adapter_is_read_or_refused(changes in changes(), of_config in any::<bool>()) {
        let mut config = file("qwen2", "adapter-rows/adapter_config.json");
        let mut weights = file("qwen2", "adapter-rows/adapter_model.safetensors");
        let header = 8 + u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
        match of_config {
            true => config = changed(config, usize::MAX, &changes),
            false => weights = changed(weights, header, &changes),
        }
        try_adapter(&config, &weights);
    }

    #[test]
    fn a_changed_tokenizer_is_read_or_refused(changes in changes(), which in 0usize..2) {
        try_tokenizer(&changed(tokenizers()[which].clone(), usize::MAX, &changes));
    }
}
