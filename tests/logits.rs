//! What does `steerage logits` say to what it cannot score?

use crate::decoder::golden;
use std::fs;
use std::path::{Path, PathBuf};
use steerage::commands::{LogitsRequest, logits};
use steerage::spec::DeviceSpec;

/// What is said of a file of tokens for the golden Llama 2, which has 50 tokens and reads 64.
fn said(tokens: impl AsRef<[u8]>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    fs::write(&path, tokens).unwrap();
    refused(&golden("llama2"), None, path, folder.path())
}

/// The error, with the folder as DIR.
fn refused(model: &Path, adapter: Option<PathBuf>, tokens: PathBuf, folder: &Path) -> String {
    let model = model.to_owned();
    let device = DeviceSpec::Cpu;
    let request = LogitsRequest { model, adapter, tokens, precision: None, device, threads: 1 };
    let error = logits(&request, false, &mut std::io::sink()).expect_err("this to be refused");
    error.to_string().replace(&folder.display().to_string(), "DIR")
}

#[test]
fn token_files_that_cannot_be_scored_are_refused_with_their_line() {
    insta::assert_snapshot!(said("[1, 2"), @r#"DIR/tokens:1: expected a JSON array of token numbers: EOF while parsing a list at line 1 column 5"#);
    insta::assert_snapshot!(said("[1]\n{\"tokens\": [1]}\n"), @r#"DIR/tokens:2: "{\"tokens\":": expected token numbers, as a JSON array or with blanks between them"#);
    insta::assert_snapshot!(said("[1, -2]"), @r#"DIR/tokens:1: expected a JSON array of token numbers: invalid value: integer `-2`, expected u32 at line 1 column 6"#);
    insta::assert_snapshot!(said("1 -2"), @r#"DIR/tokens:1: "-2": expected token numbers, as a JSON array or with blanks between them"#);
    insta::assert_snapshot!(said("[1.5]"), @r#"DIR/tokens:1: expected a JSON array of token numbers: invalid type: floating point `1.5`, expected u32 at line 1 column 4"#);
    insta::assert_snapshot!(said("[\"1\"]"), @r#"DIR/tokens:1: expected a JSON array of token numbers: invalid type: string "1", expected u32 at line 1 column 4"#);
    insta::assert_snapshot!(said("[49]\n[50]"), @r#"DIR/tokens:2: token 50: expected one of the vocabulary, 0 to 49"#);
    insta::assert_snapshot!(said("[4294967296]"), @r#"DIR/tokens:1: expected a JSON array of token numbers: invalid value: integer `4294967296`, expected u32 at line 1 column 11"#);
    insta::assert_snapshot!(said("99999999999999999999"), @r#"DIR/tokens:1: "99999999999999999999": expected token numbers, as a JSON array or with blanks between them"#);
    insta::assert_snapshot!(said("1 2\n\n3"), @r#"DIR/tokens:2: expected at least one token, found none"#);
    insta::assert_snapshot!(said("[]"), @r#"DIR/tokens:1: expected at least one token, found none"#);
    insta::assert_snapshot!(said(""), @r#"DIR/tokens: expected one prompt a line, found none"#);
    insta::assert_snapshot!(said("\n"), @r#"DIR/tokens:1: expected at least one token, found none"#);
    insta::assert_snapshot!(said(b"1 \xff"), @r#"DIR/tokens: not text in UTF-8"#);
    insta::assert_snapshot!(said(format!("{:?}", [7; 65])), @r#"DIR/tokens:1: expected at most 64 tokens, the model's context, found 65"#);
    let nowhere = PathBuf::from("/nowhere/tokens");
    insta::assert_snapshot!(refused(&golden("llama2"), None, nowhere, Path::new("DIR")), @r#"read /nowhere/tokens: No such file or directory (os error 2)"#);
}

#[test]
fn adapters_of_other_models_and_damaged_weights_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    fs::write(&tokens, "1 2").unwrap();
    let other = golden("llama3").join("adapter-qv");
    let text = refused(&golden("llama2"), Some(other), tokens.clone(), &golden("llama3"));
    let (first, last) = (text.split("; ").next().unwrap(), text.rsplit("; ").next().unwrap());
    insta::assert_snapshot!(format!("{first}\n{last}"), @r#"
DIR/adapter-qv/adapter_model.safetensors: tensor base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight: expected [3, 40], found [3, 48]
tensor base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight: not part of this model: is the adapter of this base model, and whole?
"#);
    // The base, with its last weight replaced by NaN: the norm's.
    for name in ["config.json", "model.safetensors"] {
        fs::copy(golden("llama2").join(name), folder.path().join(name)).unwrap();
    }
    let path = folder.path().join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[end - 2..].copy_from_slice(&0x7e00u16.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    insta::assert_snapshot!(refused(folder.path(), None, tokens.clone(), folder.path()), @r#"DIR: tensor model.norm.weight: row 0 holds NaN or infinity: the file is damaged, or training diverged"#);
    // An adapter of the base, its first weight infinite.
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        let from = golden("llama2").join("adapter-mlp").join(name);
        fs::copy(from, folder.path().join(name)).unwrap();
    }
    let path = folder.path().join("adapter_model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let start = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[start..start + 4].copy_from_slice(&f32::INFINITY.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    let adapter = Some(folder.path().to_owned());
    insta::assert_snapshot!(refused(&golden("llama2"), adapter, tokens, folder.path()), @r#"DIR/adapter_model.safetensors: tensor base_model.model.model.layers.0.mlp.down_proj.lora_A.weight: row 0 holds NaN or infinity: the file is damaged, or training diverged"#);
}
