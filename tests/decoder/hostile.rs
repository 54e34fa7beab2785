//! What is said of models, adapters, tokenizers and token files that are not what they should be.

use crate::decoder::golden;
use insta::assert_snapshot;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use steerage::device::Precision;
use steerage::model::adapter::{Adapter, AdapterConfig};
use steerage::model::decoder::{Decoder, DecoderConfig, DecoderFiles};
use steerage::model::tensors::Tensors;
use steerage::model::tokenizer::Tokenizer;

/// A copy of the golden model, to be spoilt.
struct Copy(tempfile::TempDir);

impl Copy {
    fn of(model: &str) -> Copy {
        let copy = Copy(tempfile::tempdir().unwrap());
        for entry in fs::read_dir(golden(model)).unwrap() {
            let from = entry.unwrap().path();
            if from.is_file() {
                fs::copy(&from, copy.path(from.file_name().unwrap().to_str().unwrap())).unwrap();
            }
        }
        copy
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn spoil(&self, name: &str, change: impl Fn(&mut Vec<u8>)) {
        let mut bytes = fs::read(self.path(name)).unwrap();
        change(&mut bytes);
        fs::write(self.path(name), bytes).unwrap();
    }

    fn config(&self, changes: &[(&str, Value)]) {
        let mut value: Value =
            serde_json::from_slice(&fs::read(self.path("config.json")).unwrap()).unwrap();
        for (key, change) in changes {
            value[*key] = change.clone();
        }
        fs::write(self.path("config.json"), value.to_string()).unwrap();
    }

    /// What is said when it is loaded.
    fn said(&self) -> String {
        told(self.0.path(), Decoder::open(self.0.path(), Some(Precision::F32)))
    }
}

/// The error, with the folder as DIR.
fn told<T>(folder: &Path, result: steerage::error::Result<T>) -> String {
    let error = result.err().expect("this to be refused");
    error.to_string().replace(&folder.display().to_string(), "DIR").replace("; ", ";\n")
}

#[test]
fn damaged_weights() {
    let copy = Copy::of("llama2");
    copy.spoil("model.safetensors", |bytes| bytes.truncate(bytes.len() / 2));
    assert_snapshot!(copy.said(), @"DIR/model.safetensors: 16060 bytes are not a whole safetensors file (incomplete metadata, file not fully covered): copy or download it again");
    copy.spoil("model.safetensors", |bytes| bytes.truncate(5));
    assert_snapshot!(copy.said(), @"DIR/model.safetensors: 5 bytes are not a whole safetensors file (header too small): copy or download it again");
    copy.spoil("model.safetensors", |bytes| {
        bytes.splice(..5, (1u64 << 40).to_le_bytes());
    });
    assert_snapshot!(copy.said(), @"DIR/model.safetensors: 8 bytes are not a whole safetensors file (header too large): copy or download it again");
    copy.spoil("model.safetensors", Vec::clear);
    assert_snapshot!(copy.said(), @"DIR/model.safetensors: 0 bytes are not a whole safetensors file (header too small): copy or download it again");
    fs::remove_file(copy.path("model.safetensors")).unwrap();
    assert_snapshot!(copy.said(), @"open DIR/model.safetensors: No such file or directory (os error 2)");

    let copy = Copy::of("llama2");
    copy.spoil("model.safetensors", |bytes| {
        let end = bytes.len();
        bytes[end - 2..].copy_from_slice(&0x7e00u16.to_le_bytes());
    });
    assert_snapshot!(copy.said(), @"DIR: tensor model.norm.weight: row 0 holds NaN or infinity: the file is damaged, or training diverged");
    copy.config(&[("intermediate_size", json!(57)), ("num_hidden_layers", json!(2))]);
    assert_snapshot!(copy.said(), @r"
    DIR: tensor model.layers.0.mlp.gate_proj.weight: expected [57, 40], found [56, 40];
    tensor model.layers.0.mlp.up_proj.weight: expected [57, 40], found [56, 40];
    tensor model.layers.0.mlp.down_proj.weight: expected [40, 57], found [40, 56];
    tensor model.layers.1.input_layernorm.weight: missing;
    tensor model.layers.1.self_attn.q_proj.weight: missing;
    tensor model.layers.1.self_attn.q_proj.bias: missing;
    tensor model.layers.1.self_attn.k_proj.weight: missing;
    tensor model.layers.1.self_attn.k_proj.bias: missing;
    tensor model.layers.1.self_attn.v_proj.weight: missing;
    tensor model.layers.1.self_attn.v_proj.bias: missing;
    tensor model.layers.1.self_attn.o_proj.weight: missing;
    tensor model.layers.1.self_attn.o_proj.bias: missing;
    and 4 more
    ");
    copy.config(&[("num_hidden_layers", json!(1)), ("attention_bias", json!(false))]);
    assert_snapshot!(copy.said(), @r"
    DIR: tensor model.layers.0.mlp.gate_proj.weight: expected [57, 40], found [56, 40];
    tensor model.layers.0.mlp.up_proj.weight: expected [57, 40], found [56, 40];
    tensor model.layers.0.mlp.down_proj.weight: expected [40, 57], found [40, 56];
    tensor model.layers.0.self_attn.k_proj.bias: not part of this model;
    tensor model.layers.0.self_attn.o_proj.bias: not part of this model;
    tensor model.layers.0.self_attn.q_proj.bias: not part of this model;
    tensor model.layers.0.self_attn.v_proj.bias: not part of this model
    ");
}

#[test]
fn damaged_shards() {
    let copy = Copy::of("llama3");
    fs::remove_file(copy.path("model-00002-of-00004.safetensors")).unwrap();
    assert_snapshot!(copy.said(), @"open DIR/model-00002-of-00004.safetensors: No such file or directory (os error 2)");
    fs::copy(
        copy.path("model-00001-of-00004.safetensors"),
        copy.path("model-00002-of-00004.safetensors"),
    )
    .unwrap();
    assert_snapshot!(copy.said(), @"DIR/model-00002-of-00004.safetensors: tensor model.embed_tokens.weight: is in two files");
    copy.spoil("model.safetensors.index.json", |bytes| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        *bytes = text.replace("model-00004", "../model-00004").into_bytes();
    });
    assert_snapshot!(copy.said(), @r#"DIR/model.safetensors.index.json: shard "../model-00004-of-00004.safetensors": expected the name of a file beside the index"#);
    copy.spoil("model.safetensors.index.json", |bytes| bytes.truncate(100));
    assert_snapshot!(copy.said(), @"DIR/model.safetensors.index.json: not an index of shards: EOF while parsing an object at line 7 column 3");
}

#[test]
fn configurations_that_are_not_implemented() {
    let copy = Copy::of("qwen2");
    let said = |changes: &[(&str, Value)]| {
        fs::copy(golden("qwen2").join("config.json"), copy.path("config.json")).unwrap();
        copy.config(changes);
        copy.said()
    };
    assert_snapshot!(said(&[
        ("model_type", json!("mistral")),
        ("hidden_act", json!("gelu")),
        ("use_sliding_window", json!(true)),
        ("quantization_config", json!({"quant_method": "gptq"})),
        ("layer_types", json!(["full_attention", "sliding_attention"])),
        ("rope_parameters", json!({"rope_type": "yarn", "factor": 4.0})),
    ]), @r#"
    DIR/config.json: model_type: expected "llama" or "qwen2", found "mistral": only Llama and Qwen2 decoders are implemented;
    hidden_act: expected "silu" or "swish", found "gelu": only SwiGLU is implemented;
    use_sliding_window = true: not implemented: use a model without it;
    quantization_config: not implemented: use the model's f32, bf16 or f16 weights;
    layer_types: "sliding_attention": not implemented: expected "full_attention";
    rope_parameters.rope_type: expected "default" or "llama3", found "yarn": other scalings are not implemented
    "#);
    assert_snapshot!(said(&[
        ("hidden_size", json!(-1)),
        ("num_key_value_heads", json!(3)),
        ("head_dim", json!(7)),
        ("vocab_size", Value::Null),
        ("num_hidden_layers", json!(1e9)),
        ("rms_norm_eps", json!("small")),
        ("rope_parameters", json!({"rope_type": "llama3", "factor": 8.0, "rope_theta": 0})),
    ]), @r#"
    DIR/config.json: hidden_size = -1: expected a whole number from 1 to 65536;
    num_key_value_heads = 3: expected a divisor of 4;
    head_dim = 7: expected an even number;
    vocab_size: missing: expected a whole number from 1 to 4294967295;
    num_hidden_layers = 1000000000.0: expected a whole number from 1 to 1024;
    rms_norm_eps = "small": expected a positive number;
    rope_parameters.rope_theta = 0: expected a positive number;
    rope_parameters.low_freq_factor: missing: expected a positive number;
    rope_parameters.high_freq_factor: missing: expected a positive number;
    rope_parameters.original_max_position_embeddings: missing: expected a positive number
    "#);
    assert_snapshot!(said(&[("mlp_bias", json!(true)), ("partial_rotary_factor", json!(0.5))]), @r"
    DIR/config.json: mlp_bias = true: not implemented: use a model without it;
    partial_rotary_factor: not implemented: expected 1
    ");
    fs::write(copy.path("config.json"), "{\"model_type\": ").unwrap();
    assert_snapshot!(copy.said(), @"DIR/config.json: not JSON: EOF while parsing a value at line 1 column 15");
    fs::write(copy.path("config.json"), "[]").unwrap();
    assert_snapshot!(copy.said(), @"DIR/config.json: expected a JSON object");
}

#[test]
fn adapters_that_do_not_fit() {
    let base = Decoder::open(&golden("llama3"), None).unwrap();
    let other = golden("qwen2").join("adapter-all");
    let text = told(&other, Adapter::open(&other, base.config()));
    assert_snapshot!(text, @r"
    DIR/adapter_model.safetensors: tensor base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight: expected [6, 48], found [6, 32];
    tensor base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight: expected [48, 6], found [32, 6];
    tensor base_model.model.model.layers.0.self_attn.k_proj.lora_A.weight: expected [6, 48], found [6, 32];
    tensor base_model.model.model.layers.0.self_attn.v_proj.lora_A.weight: expected [6, 48], found [6, 32];
    tensor base_model.model.model.layers.0.self_attn.o_proj.lora_A.weight: expected [6, 48], found [6, 32];
    tensor base_model.model.model.layers.0.self_attn.o_proj.lora_B.weight: expected [48, 6], found [32, 6];
    tensor base_model.model.model.layers.0.mlp.gate_proj.lora_A.weight: expected [6, 48], found [6, 32];
    tensor base_model.model.model.layers.0.mlp.gate_proj.lora_B.weight: expected [80, 6], found [72, 6];
    tensor base_model.model.model.layers.0.mlp.up_proj.lora_A.weight: expected [6, 48], found [6, 32];
    tensor base_model.model.model.layers.0.mlp.up_proj.lora_B.weight: expected [80, 6], found [72, 6];
    tensor base_model.model.model.layers.0.mlp.down_proj.lora_A.weight: expected [6, 80], found [6, 72];
    tensor base_model.model.model.layers.0.mlp.down_proj.lora_B.weight: expected [48, 6], found [32, 6];
    and 26 more: is the adapter of this base model, and whole?
    ");
    let copy = Copy::of("llama3/adapter-qv");
    let said = |changes: &[(&str, Value)]| {
        let path = copy.path("adapter_config.json");
        fs::copy(golden("llama3/adapter-qv/adapter_config.json"), &path).unwrap();
        let mut value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        changes.iter().for_each(|(key, change)| value[*key] = change.clone());
        fs::write(&path, value.to_string()).unwrap();
        told(copy.0.path(), Adapter::open(copy.0.path(), base.config()))
    };
    assert_snapshot!(said(&[
        ("use_dora", json!(true)),
        ("bias", json!("all")),
        ("modules_to_save", json!(["embed_tokens"])),
        ("rank_pattern", json!({"q_proj": 4})),
        ("init_lora_weights", json!("pissa")),
        ("trainable_token_indices", json!({"lm_head": [7]})),
        ("target_modules", json!(["q_proj", "embed_tokens"])),
    ]), @r#"
    DIR/adapter_config.json: bias: expected "none", found "all";
    init_lora_weights = "pissa": changes the base model: convert the adapter to plain LoRA;
    modules_to_save: not implemented: train without it;
    rank_pattern: not implemented: train without it;
    use_dora: not implemented: train without it;
    target_modules: expected some of q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, found "embed_tokens";
    trainable_token_indices: expected tokens of embed_tokens, each once, found layer lm_head
    "#);
    assert_snapshot!(said(&[("r", json!(2.5)), ("lora_alpha", Value::Null)]), @r"
    DIR/adapter_config.json: lora_alpha: expected a positive number;
    r = 2.5: expected a whole number up to 4096
    ");
    assert_snapshot!(said(&[("peft_type", json!("IA3")), ("target_modules", json!("none"))]), @r#"DIR/adapter_config.json: peft_type: expected "LORA", found "IA3""#);
    assert_snapshot!(said(&[("r", json!(4)), ("target_modules", json!(["v_proj"]))]), @r"
    DIR/adapter_model.safetensors: tensor base_model.model.model.layers.0.self_attn.v_proj.lora_A.weight: expected [4, 48], found [3, 48];
    tensor base_model.model.model.layers.0.self_attn.v_proj.lora_B.weight: expected [16, 4], found [16, 3];
    tensor base_model.model.model.layers.1.self_attn.v_proj.lora_A.weight: expected [4, 48], found [3, 48];
    tensor base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight: expected [16, 4], found [16, 3];
    tensor base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight: not part of this model;
    tensor base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight: not part of this model;
    tensor base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight: not part of this model;
    tensor base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight: not part of this model: is the adapter of this base model, and whole?
    ");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    /// Whatever the bytes, a loader answers.
    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        at in 0usize..32_000,
        cut in 0usize..32_000,
    ) {
        let _ = DecoderConfig::parse("config", &bytes);
        let _ = AdapterConfig::parse("adapter", &bytes, std::iter::empty());
        let _ = Tensors::of("weights", &bytes.clone().into()).map(|tensors| tensors.check(&[], |_| false));
        let _ = Tokenizer::parse("tokenizer", &bytes);
        // A sound file with some bytes changed, and cut off.
        let mut file = fs::read(golden("llama2").join("model.safetensors")).unwrap();
        let at = at % file.len() / if bytes.len() % 2 == 0 { 16 } else { 1 };
        for (to, byte) in file[at..].iter_mut().zip(&bytes[..bytes.len().min(8)]) {
            *to = *byte;
        }
        file.truncate(file.len() - if bytes.len() % 3 == 0 { cut % file.len() } else { 0 });
        let config = fs::read(golden("llama2").join("config.json")).unwrap();
        let parsed = DecoderConfig::parse("config", &config).unwrap();
        if let Ok(tensors) = Tensors::of("weights", &file.into()) {
            let files = DecoderFiles::of(parsed, tensors);
            let _ = files.map(|files| files.kept_in(Some(Precision::Bf16)).load());
        }
        let mut config = config;
        let at = at % config.len();
        config.splice(at..(at + 3).min(config.len()), bytes.iter().take(4).copied());
        let _ = DecoderConfig::parse("config", &config);
    }
}
