//! An encoder goes into files and comes out the same; what is wrong with a folder is said by name.

use crate::encoder::{bits, expected, golden, read};
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use steerage::device::Precision;
use steerage::error::{Error, Result};
use steerage::model::encoder::{BertConfig, Encoder, words};
use steerage::types::mix64;

type Files = BTreeMap<&'static str, Vec<u8>>;

fn load(files: &Files, precision: Option<Precision>) -> Result<Encoder> {
    Encoder::from_files("encoder", precision, &|name| {
        let bytes = files.get(name).ok_or_else(|| Error::Model(format!("{name}: missing")))?;
        Ok(Bytes::from(bytes.clone()))
    })
}

/// A copy of the golden folder, with changes to its files.
fn said(change: impl Fn(&std::path::Path)) -> String {
    let copy = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        fs::copy(golden().join(name), copy.path().join(name)).unwrap();
    }
    change(copy.path());
    let error = Encoder::open(copy.path(), None, None, 40, 0).err().unwrap().to_string();
    error.replace(&copy.path().display().to_string(), "FOLDER")
}

fn config(folder: &std::path::Path, changes: &[(&str, Value)]) {
    let path = folder.join("config.json");
    let mut value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    changes.iter().for_each(|(key, change)| value[*key] = change.clone());
    fs::write(path, value.to_string()).unwrap();
}

#[test]
fn files_give_the_encoder_back() {
    let texts: Vec<String> = read(&expected()["texts"]);
    for (precision, width) in [(Precision::F32, None), (Precision::Bf16, Some(20))] {
        let encoder = Encoder::open(&golden(), Some(precision), width, 24, 5).unwrap();
        let files: Files = encoder.to_files().unwrap().into_iter().collect();
        let again = load(&files, None).unwrap();
        assert_eq!((again.precision(), again.tokens_max()), (precision, 24));
        let vectors = |encoder: &Encoder| bits(&encoder.items(&texts, 1).unwrap());
        assert_eq!(vectors(&again), vectors(&encoder));
        assert_eq!(again.to_files().unwrap().into_iter().collect::<Files>(), files);
        assert_eq!(load(&files, Some(Precision::F32)).unwrap().precision(), Precision::F32);
        // The base alone is a folder like others.
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, bytes)| fs::write(folder.path().join(name), bytes).unwrap());
        let opened = Encoder::open(folder.path(), Some(precision), width, 24, 5).unwrap();
        assert_eq!(vectors(&opened), vectors(&encoder));
    }
}

/// A folder with a decoder and words of its own, some of whose letters are those of "toy story x".
pub fn decoder_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let words = words::tokenizer(["toy story", "x"].into_iter(), 10).unwrap();
    let llama = golden().parent().unwrap().join("decoder/llama2");
    for name in ["config.json", "model.safetensors"] {
        fs::copy(llama.join(name), folder.path().join(name)).unwrap();
    }
    fs::write(folder.path().join("tokenizer.json"), words).unwrap();
    folder
}

#[test]
fn a_decoder_can_be_the_base() {
    let texts: Vec<String> = ["toy story", "x", ""].map(str::to_owned).into();
    let pairs: Vec<(String, String)> = texts.iter().map(|t| (t.clone(), "toy".into())).collect();
    let folder = decoder_folder();
    let encoder = Encoder::open(folder.path(), Some(Precision::F32), Some(8), 16, 1).unwrap();
    let (items, asked) = (encoder.items(&texts, 1).unwrap(), encoder.requests(&pairs, 1).unwrap());
    assert_eq!(bits(&encoder.items(&texts, 3).unwrap()), bits(&items));
    let files: Files = encoder.to_files().unwrap().into_iter().collect();
    let again = load(&files, None).unwrap();
    assert_eq!(bits(&again.items(&texts, 2).unwrap()), bits(&items));
    assert_eq!(bits(&again.requests(&pairs, 1).unwrap()), bits(&asked));
    config(folder.path(), &[("bos_token_id", Value::Null), ("eos_token_id", Value::Null)]);
    let error = Encoder::open(folder.path(), None, None, 16, 1).err().unwrap().to_string();
    assert!(error.contains("bos_token_id"), "{error}");
}

#[test]
fn what_is_wrong_is_said_by_name() {
    for (expected, change) in [
        ("model_type: expected", vec![("model_type", json!("roberta"))]),
        ("hidden_act: only \"gelu\" is implemented", vec![("hidden_act", json!("gelu_new"))]),
        ("position_embedding_type: only", vec![("position_embedding_type", json!("relative_key"))]),
        ("is_decoder = true", vec![("is_decoder", json!(true))]),
        ("num_attention_heads = 5: expected a divisor", vec![("num_attention_heads", json!(5))]),
        ("hidden_size: missing", vec![("hidden_size", Value::Null)]),
        ("expected [72, 32]", vec![("intermediate_size", json!(71)), ("hidden_size", json!(32))]),
        ("encoder.layer.2", vec![("num_hidden_layers", json!(3))]),
        ("encoder.layer.1", vec![("num_hidden_layers", json!(1))]),
        ("quantization_config", vec![("quantization_config", json!({ "bits": 4 }))]),
    ] {
        let found = said(|folder| config(folder, &change));
        let expected = match expected {
            "expected [72, 32]" => "expected [71, 32], found [72, 32]",
            other => other,
        };
        assert!(found.contains(expected), "{expected}: {found}");
    }
    let found = said(|folder| {
        fs::rename(folder.join("tokenizer.json"), folder.join("vocab.txt")).unwrap();
    });
    assert!(found.contains("found vocab.txt alone: make it with"), "{found}");
    let found = said(|folder| fs::remove_file(folder.join("model.safetensors")).unwrap());
    assert!(found.contains("model.safetensors"), "{found}");
    let found = said(|folder| {
        let path = folder.join("tokenizer.json");
        let text = fs::read_to_string(&path).unwrap().replace("[CLS]", "[cls]");
        fs::write(path, text).unwrap();
    });
    assert!(found.contains("expected an added token [CLS]"), "{found}");
    let small = BertConfig {
        vocabulary: 4,
        hidden: 8,
        inner: 8,
        layers: 1,
        heads: 2,
        context_max: 16,
        kinds: 2,
        epsilon: 1e-12,
    };
    let words = words::tokenizer(["a b"].into_iter(), 10).unwrap();
    let error = Encoder::random(small.clone(), &words, None, 16, 0).err().unwrap().to_string();
    assert!(error.contains("tokens and the model 4"), "{error}");
    let odd = BertConfig { vocabulary: 40, heads: 3, ..small };
    let error = Encoder::random(odd, &words, None, 16, 0).err().unwrap().to_string();
    assert!(error.contains("heads that divide the width"), "{error}");
}

#[test]
fn sizes_out_of_range_are_refused_before_anything_is_made() {
    for (width, said) in [(0, "width = 0"), (usize::MAX, "expected from 1 to 65536")] {
        let error = Encoder::open(&golden(), None, Some(width), 24, 5).err().unwrap().to_string();
        assert!(error.contains(said), "{error}");
    }
}

/// Whatever bytes change, there is an encoder or an error.
#[test]
fn changed_bytes_never_panic() {
    let texts = ["a lamp".to_owned()];
    let encoder = Encoder::open(&golden(), None, Some(8), 24, 5).unwrap();
    let files: Files = encoder.to_files().unwrap().into_iter().collect();
    for name in ["config.json", "heads.safetensors", "model.safetensors"] {
        for draw in 0..150u64 {
            let (mut files, key) = (files.clone(), mix64(draw));
            let bytes = files.get_mut(name).unwrap();
            let at = key as usize % bytes.len().min(700);
            bytes[at] = [b'9', b'-', 0xff, b'"', 0][(key >> 32) as usize % 5];
            if let Ok(encoder) = load(&files, None) {
                let _ = encoder.items(&texts, 1);
            }
        }
    }
}

#[test]
fn damaged_files_are_refused() {
    let encoder = Encoder::open(&golden(), None, None, 24, 5).unwrap();
    let files: Files = encoder.to_files().unwrap().into_iter().collect();
    for name in ["config.json", "model.safetensors", "heads.safetensors", "tokenizer.json"] {
        for cut in [0, 1, 9, 100, files[name].len() / 2] {
            let mut files = files.clone();
            files.get_mut(name).unwrap().truncate(cut);
            assert!(load(&files, None).is_err(), "{name} cut to {cut}");
        }
        let mut files = files.clone();
        files.remove(name);
        assert!(load(&files, None).is_err(), "without {name}");
    }
    let mut nan = files.clone();
    let heads = nan.get_mut("heads.safetensors").unwrap();
    let end = heads.len();
    heads[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let error = load(&nan, None).err().unwrap().to_string();
    assert!(error.contains("NaN"), "{error}");
}
