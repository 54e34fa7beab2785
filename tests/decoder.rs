//! Does a decoder give the logits that transformers and PEFT give, and the same bits however it is
//! run? The expected files are made by tests/golden/decoder/make.py.

mod adapters;
mod gradients;
mod hostile;
pub mod kernels;
pub mod learning;
mod mutated;
mod reading;
pub mod reranker;
mod rows;
mod tokens;

use serde_json::Value;
use std::path::{Path, PathBuf};
use steerage::device::{Cpu, Precision};
use steerage::model::adapter::Adapter;
use steerage::model::decoder::{Batch, Decoder, Prompt};
use steerage::model::tokenizer::Tokenizer;

pub const MODELS: [&str; 3] = ["llama2", "llama3", "qwen2"];

pub fn golden(model: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/decoder").join(model)
}

/// What transformers and PEFT say: prompts, and for each adapter ("" is none) the logits in f32 and
/// the largest error of bf16.
pub struct Expected {
    pub prompts: Vec<Vec<u32>>,
    pub adapters: Vec<(String, Vec<Vec<f64>>, f64)>,
}

pub fn expected(model: &str) -> Expected {
    let text = std::fs::read_to_string(golden(model).join("expected.json")).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    let read = |value: &Value| serde_json::from_value(value.clone()).unwrap();
    let adapters = value.as_object().unwrap().iter().filter(|(name, _)| *name != "prompts");
    Expected {
        prompts: serde_json::from_value(value["prompts"].clone()).unwrap(),
        adapters: adapters
            .map(|(name, given)| {
                (name.clone(), read(&given["logits"]), given["bf16_error"].as_f64().unwrap())
            })
            .collect(),
    }
}

/// A golden model with its adapters, in the order of [`Expected::adapters`] without "".
pub fn load(model: &str, precision: Precision) -> Decoder {
    let mut decoder = Decoder::open(&golden(model), Some(precision)).unwrap();
    for (name, ..) in expected(model).adapters.iter().filter(|(name, ..)| !name.is_empty()) {
        let folder = golden(model).join(format!("adapter-{name}"));
        decoder.attach(&Adapter::open(&folder, decoder.config()).unwrap());
    }
    decoder
}

pub fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// Largest error and largest value.
fn compare(found: &[f32], exact: &[Vec<f64>]) -> (f64, f64) {
    let exact: Vec<f64> = exact.iter().flatten().copied().collect();
    assert_eq!(found.len(), exact.len());
    let largest = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max);
    let error =
        largest(&mut found.iter().zip(&exact).map(|(found, x)| (f64::from(*found) - x).abs()));
    (error, largest(&mut exact.iter().map(|x| x.abs())))
}

#[test]
fn logits_are_those_of_transformers_and_peft() {
    for model in MODELS {
        let Expected { prompts, adapters } = expected(model);
        for precision in [Precision::F32, Precision::Bf16, Precision::Fp8] {
            let decoder = load(model, precision);
            for (number, (name, exact, reference)) in adapters.iter().enumerate() {
                let adapter = (number > 0).then(|| number as u32 - 1);
                let prompts: Vec<Prompt> =
                    prompts.iter().map(|t| Prompt { tokens: t.clone(), adapter }).collect();
                let found = decoder.logits(&Cpu, &prompts, decoder.head(), 2).unwrap();
                let (error, largest) = compare(&found, exact);
                let bound = match precision {
                    Precision::F32 => 2e-5 * largest,
                    Precision::Bf16 => 2.0 * reference,
                    // Numbers have a sixteenth of the fraction's steps.
                    Precision::Fp8 => 32.0 * reference,
                };
                println!(
                    "{model} {name:4} {precision:?}: error {error:.1e} of {largest:.1}, bf16 by \
                     the reference {reference:.1e}"
                );
                assert!(error <= bound, "{model} {name:?} {precision:?}: {error:e} > {bound:e}");
            }
        }
    }
}

#[test]
fn a_prompt_has_the_same_bits_in_every_batch_and_on_any_threads() {
    for (model, precision) in [
        ("llama3", Precision::Bf16),
        ("llama3", Precision::F32),
        ("llama3", Precision::Fp8),
        ("qwen2", Precision::Bf16),
        ("llama2", Precision::Bf16),
    ] {
        let decoder = load(model, precision);
        let choices = expected(model).adapters.len();
        let mut prompts: Vec<Prompt> = (0..40)
            .map(|p| {
                let tokens = &expected(model).prompts[p % 5];
                let length = 1 + (p * 7) % tokens.len();
                let adapter = (p % choices).checked_sub(1).map(|adapter| adapter as u32);
                Prompt { tokens: tokens[tokens.len() - length..].to_vec(), adapter }
            })
            .collect();
        // Neighbours that begin alike: one branch, then branches of branches.
        let longest = expected(model).prompts.iter().max_by_key(|tokens| tokens.len()).cloned();
        let start: Vec<u32> = longest.unwrap().iter().copied().cycle().take(60).collect();
        for (p, shared) in [40, 60, 60, 20, 50, 59, 0].into_iter().enumerate() {
            let tokens = start[..shared].iter().copied().chain((1..4).map(|i| i + p as u32));
            prompts.push(Prompt { tokens: tokens.collect(), adapter: prompts[p / 4].adapter });
        }
        let packed = Batch::of(&prompts).tokens();
        assert!(packed < prompts.iter().map(|p| p.tokens.len()).sum(), "nothing is shared");
        let together = decoder.logits(&Cpu, &prompts, decoder.head(), 1).unwrap();
        let threads = decoder.logits(&Cpu, &prompts, decoder.head(), 3).unwrap();
        assert_eq!(bits(&together), bits(&threads));
        let labels = [3, 0, 49, 17, 3];
        let few = decoder.labels(&labels).unwrap();
        let few = decoder.logits(&Cpu, &prompts, &few, 1).unwrap();
        for (p, prompt) in prompts.iter().enumerate() {
            let row = &together[p * decoder.head().outputs()..][..decoder.head().outputs()];
            let alone = decoder.logits(&Cpu, std::slice::from_ref(prompt), decoder.head(), 1);
            assert_eq!(bits(&alone.unwrap()), bits(row), "{model} {precision:?} {p}");
            let of_labels = labels.map(|label| row[label as usize]);
            assert_eq!(bits(&few[p * 5..][..5]), bits(&of_labels), "{model} {precision:?} {p}");
        }
    }
}

/// Development data: a small pretrained model. `STEERAGE_DATA` names the folder.
#[test]
fn a_pretrained_model_says_what_its_reference_says() {
    let Some(data) = std::env::var_os("STEERAGE_DATA") else {
        println!("skipped: STEERAGE_DATA is not set");
        return;
    };
    let folder = Path::new(&data).join("models/stories260K");
    let npy = std::fs::read(folder.join("hf_logits_once_upon_a_time.npy")).unwrap();
    let decoder = Decoder::open(&folder, Some(Precision::F32)).unwrap();
    let vocabulary = decoder.config().vocabulary;
    let header = 10 + usize::from(u16::from_le_bytes([npy[8], npy[9]]));
    let exact: Vec<f32> =
        npy[header..].as_chunks::<4>().0.iter().map(|x| f32::from_le_bytes(*x)).collect();
    let tokenizer = Tokenizer::open(&folder).unwrap();
    let tokens =
        [1, 403, 407, 261, 378, 432, 383, 286, 261, 376, 298, 315, 421, 395, 317, 426].to_vec();
    let text = "Once upon a time, there was a little girl named Lily.";
    assert_eq!(tokenizer.encode(text).unwrap(), tokens[1..]);
    assert_eq!(exact.len(), tokens.len() * vocabulary);
    let best = |row: &[f32]| (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b]));
    for precision in [Precision::F32, Precision::Bf16] {
        let decoder = Decoder::open(&folder, Some(precision)).unwrap();
        let prompts: Vec<Prompt> = (1..=tokens.len())
            .map(|end| Prompt { tokens: tokens[..end].to_vec(), adapter: None })
            .collect();
        let found = decoder.logits(&Cpu, &prompts, decoder.head(), 2).unwrap();
        let errors = found.iter().zip(&exact).map(|(a, b)| (a - b).abs());
        println!("stories260K {precision:?}: error {:.1e}", errors.clone().fold(0.0, f32::max));
        let rows = found.chunks(vocabulary).zip(exact.chunks(vocabulary));
        for (position, (found, exact)) in rows.enumerate() {
            assert_eq!(best(found), best(exact), "{precision:?} after {position}");
        }
        if precision == Precision::F32 {
            assert!(errors.fold(0.0, f32::max) < 1e-3);
        }
    }
}
