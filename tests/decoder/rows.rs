//! Rows of tokens that adapters replace.

use crate::decoder::adapters::plain;
use crate::decoder::learning::Reference;
use crate::decoder::{MODELS, bits, golden};
use steerage::device::{Cpu, Precision};
use steerage::model::adapter::{Adapter, AdapterConfig};
use steerage::model::decoder::{Decoder, DecoderFiles, Prompt};

/// In the embeddings, and in a tied head: one of the labels is replaced.
#[test]
fn replaced_rows_give_the_logits_of_peft() {
    for model in MODELS {
        let reference = Reference::of(model);
        let mut decoder = Decoder::open(&golden(model), Some(Precision::F32)).unwrap();
        let folder = golden(model).join("adapter-rows");
        let adapter = Adapter::open(&folder, decoder.config()).unwrap();
        assert_eq!(adapter.rows().0, [9, 3, 20]);
        let prompts = |adapter: Option<u32>| -> Vec<Prompt> {
            let prompts = reference.prompts.iter();
            prompts.map(|tokens| Prompt { tokens: tokens.clone(), adapter }).collect()
        };
        let score = |decoder: &Decoder, prompts: &[Prompt]| {
            let table = decoder.labels(&reference.labels).unwrap();
            decoder.logits(&Cpu, prompts, &table, 2).unwrap()
        };
        let before = score(&decoder, &prompts(None));
        // The second adapter, so that the first one's rows could be mistaken for its.
        decoder.attach(&Adapter::new(plain(), decoder.config(), |_| 0.01));
        assert_eq!(decoder.attach(&adapter), 1);
        let found = score(&decoder, &prompts(Some(1)));
        let exact = reference.logits("rows");
        let worst = found.iter().zip(&exact).map(|(a, b)| (f64::from(*a) - b).abs());
        assert!(worst.fold(0.0, f64::max) < 5e-5, "{model}");
        // Each prompt has its own adapter's rows, and the whole head's logits are the labels'.
        let labels = reference.labels.len();
        let (mut mixed, mut of_head) = (Vec::new(), Vec::new());
        for prompt in 0..reference.prompts.len() {
            mixed.push(prompts([None, Some(1)][prompt % 2])[prompt].clone());
        }
        for (prompt, row) in mixed.iter().zip(score(&decoder, &mixed).chunks(labels)) {
            let prompt = std::slice::from_ref(prompt);
            let whole = decoder.logits(&Cpu, prompt, decoder.head(), 1).unwrap();
            let some = reference.labels.iter().map(|label| whole[*label as usize]);
            assert_eq!(bits(&some.collect::<Vec<f32>>()), bits(row), "{model}");
            of_head.extend_from_slice(row);
        }
        for (p, row) in of_head.chunks(labels).enumerate() {
            let alone = if p % 2 == 0 { &before } else { &found };
            assert_eq!(bits(row), bits(&alone[p * labels..][..labels]), "{model} {p}");
        }
    }
}

/// Rows of tokens that the base model has not: those of control tokens.
#[test]
fn added_rows_give_the_logits_of_peft_over_a_model_with_as_many_rows_more() {
    for model in ["qwen2", "llama2"] {
        let text = std::fs::read_to_string(golden(model).join("added.json")).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let prompts: Vec<Vec<u32>> = serde_json::from_value(value["prompts"].clone()).unwrap();
        let exact: Vec<Vec<f64>> = serde_json::from_value(value["logits"].clone()).unwrap();
        let folder = golden(model).join("adapter-added");
        let opened = DecoderFiles::open_adapted(&golden(model), Some(&folder));
        let (files, number) = opened.unwrap();
        let decoder = files.kept_in(Some(Precision::F32)).load().unwrap();
        let base = exact[0].len();
        assert_eq!(decoder.config().vocabulary, base + 2);
        for (tokens, exact) in prompts.into_iter().zip(exact) {
            let prompt = Prompt { tokens, adapter: number };
            let found = decoder.logits(&Cpu, &[prompt], decoder.head(), 1).unwrap();
            let errors = found.iter().zip(exact).map(|(a, b)| (f64::from(*a) - b).abs());
            let worst = errors.fold(0.0, f64::max);
            assert!(worst < 5e-5, "{model}: {worst}");
            let untied = found[base..] == [0.0, 0.0];
            assert_eq!(untied, !decoder.config().tied, "{model}: added tokens");
        }
        let alone = Decoder::open(&golden(model), None).unwrap();
        let said = Adapter::open(&folder, alone.config()).unwrap_err().to_string();
        assert!(said.contains("expected one of the base model's"), "{said}");
    }
}

#[test]
fn replaced_rows_are_written_as_they_were_read() {
    for model in MODELS {
        let base = Decoder::open(&golden(model), None).unwrap();
        let adapter = Adapter::open(&golden(model).join("adapter-rows"), base.config()).unwrap();
        let copy = tempfile::tempdir().unwrap();
        for (name, bytes) in adapter.to_files().unwrap() {
            std::fs::write(copy.path().join(name), bytes).unwrap();
        }
        assert_eq!(Adapter::open(copy.path(), base.config()).unwrap(), adapter);
    }
}

#[test]
fn token_lists_that_cannot_be_are_refused_by_name() {
    let parse = |tokens: &str| {
        let json = format!(
            r#"{{"peft_type": "LORA", "r": 1, "lora_alpha": 1, "target_modules": ["q_proj"],
                "trainable_token_indices": {tokens}}}"#
        );
        AdapterConfig::parse("a", json.as_bytes(), std::iter::empty())
    };
    assert_eq!(parse("null").unwrap().tokens, Vec::<u32>::new());
    assert_eq!(parse("[5, 2]").unwrap().tokens, [5, 2]);
    assert_eq!(parse(r#"{"embed_tokens": [7]}"#).unwrap().tokens, [7]);
    for wrong in ["[1, 1]", "[-1]", "[1.5]", "7", r#"{"lm_head": [1]}"#, "[4294967296]"] {
        let said = parse(wrong).unwrap_err().to_string();
        assert!(said.contains("trainable_token_indices: expected tokens"), "{wrong}: {said}");
    }
    let base = Decoder::open(&golden("qwen2"), None).unwrap();
    let config = AdapterConfig { tokens: vec![90], ..plain() };
    let files = Adapter::new(config, base.config(), |_| 0.0).to_files().unwrap();
    let folder = tempfile::tempdir().unwrap();
    files.iter().for_each(|(name, bytes)| std::fs::write(folder.path().join(name), bytes).unwrap());
    let said = Adapter::open(folder.path(), base.config()).unwrap_err().to_string();
    assert!(said.contains("token 90: expected one of the base model's 90"), "{said}");
}
