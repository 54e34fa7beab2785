//! Does a decoder on a device give the logits that it gives on the processor, and the same bits in
//! every batch?

use super::loading::files;
use super::{Device, Order};
use crate::decoder::{MODELS, bits, expected, load};
use crate::scorers::{apply, row, step_with};
use std::sync::Arc;
use steerage::device::{Cpu, Precision};
use steerage::model::decoder::{Decoder, Prompt, Resident, SharedDriver};
use steerage::types::ArmList;

const TOKENS_MAX: usize = 160;

fn resident(decoder: &Decoder) -> Option<Resident> {
    let device = Arc::new(Device::open(Order::ALL[0], None)?);
    Some(Resident::of(device, decoder, TOKENS_MAX).unwrap())
}

/// As transformers and PEFT say, within twice the error of their own bf16.
#[test]
fn logits_are_those_of_transformers_and_peft() {
    for model in MODELS {
        let decoder = load(model, Precision::Bf16);
        let Some(resident) = resident(&decoder) else { return };
        let vocabulary: Vec<u32> = (0..decoder.config().vocabulary as u32).collect();
        let expected = expected(model);
        for (place, (name, exact, bf16_error)) in expected.adapters.iter().enumerate() {
            let adapter = place.checked_sub(1).map(|adapter| adapter as u32);
            let prompts = expected.prompts.iter();
            let prompts: Vec<Prompt> =
                prompts.map(|tokens| Prompt { tokens: tokens.clone(), adapter }).collect();
            let found = resident.logits(&prompts, &vocabulary).unwrap();
            let pairs = found.iter().zip(exact.iter().flatten());
            let worst = pairs.map(|(x, y)| (f64::from(*x) - y).abs()).fold(0.0, f64::max);
            assert!(worst <= 2.0 * bf16_error, "{model} {name:?}: {worst} against {bf16_error}");
        }
    }
}

/// What FP8 takes from logits, the device takes as the processor does.
#[test]
fn logits_in_fp8_are_the_processors() {
    let model = "llama3";
    let files = files(model).kept_in(Some(Precision::Fp8));
    let Some(device) = Device::open(Order::ALL[0], None) else { return };
    let resident = Resident::read(Arc::new(device), &files, TOKENS_MAX).unwrap();
    let decoder = files.load().unwrap();
    let vocabulary: Vec<u32> = (0..decoder.config().vocabulary as u32).collect();
    let worst = |x: &[f32], y: &[f64]| {
        let pairs = x.iter().zip(y);
        pairs.map(|(x, y)| (f64::from(*x) - y).abs()).fold(0.0, f64::max)
    };
    let expected = expected(model);
    for (place, (name, exact, bf16_error)) in expected.adapters.iter().enumerate() {
        let adapter = place.checked_sub(1).map(|adapter| adapter as u32);
        let prompts = expected.prompts.iter();
        let prompts: Vec<Prompt> =
            prompts.map(|tokens| Prompt { tokens: tokens.clone(), adapter }).collect();
        let there = resident.logits(&prompts, &vocabulary).unwrap();
        let here = decoder.logits(&Cpu, &prompts, decoder.head(), 1).unwrap();
        let exact: Vec<f64> = exact.iter().flatten().copied().collect();
        let lost = [&there, &here].map(|found| worst(found, &exact));
        let apart = worst(&there, &here.iter().map(|x| f64::from(*x)).collect::<Vec<_>>());
        println!("{name:?}: {lost:?} lost, {apart} apart, bf16 {bf16_error}");
        assert!(lost[0] <= 1.5 * lost[1] && apart <= 0.6 * lost[1], "{lost:?} {apart}");
        let alone = resident.logits(&prompts[..1], &vocabulary).unwrap();
        assert_eq!(bits(&alone), bits(&there[..vocabulary.len()]));
    }
}

#[test]
fn a_prompt_has_the_same_bits_in_every_batch() {
    let decoder = load("qwen2", Precision::Bf16);
    let Some(resident) = resident(&decoder) else { return };
    let tokens = &expected("qwen2").prompts;
    let start: Vec<u32> = tokens.iter().flatten().copied().take(40).collect();
    let mut prompts: Vec<Prompt> = tokens
        .iter()
        .zip([None, Some(0), None, Some(0), None])
        .map(|(tokens, adapter)| Prompt { tokens: tokens.clone(), adapter })
        .collect();
    // Neighbours that begin alike.
    for (end, adapter) in [(1, None), (2, None), (3, Some(0)), (4, Some(0))] {
        let tokens = start.iter().copied().chain([end, end + 7]).collect();
        prompts.push(Prompt { tokens, adapter });
    }
    let labels = [3, 0, 49, 17, 3];
    let together = resident.logits(&prompts, &labels).unwrap();
    for (p, prompt) in prompts.iter().enumerate() {
        let alone = resident.logits(std::slice::from_ref(prompt), &labels).unwrap();
        assert_eq!(bits(&alone), bits(&together[p * labels.len()..][..labels.len()]), "{p}");
    }
}

/// A step of an arm on a device makes the lists that it makes on the processor, up to neighbours
/// that it can hardly tell apart.
#[test]
fn lists_are_those_of_the_processor() {
    let start = || Some(Arc::new(Device::open(Order::ALL[0], None)?) as SharedDriver);
    let Some(devices) = [start(), start()].into_iter().collect::<Option<Vec<_>>>() else { return };
    let weight = |n: usize| ((n * 37 + n / 3) % 19) as f32 / 19.0 - 0.45;
    let rows = [row(&[3.0, 2.0, 1.0]), row(&[1.0, 1.5, 1.0]), row(&[2.0]), row(&[])];
    let two = step_with(&weight, 500, &devices);
    let [here, there] = [apply(&step_with(&weight, 500, &[]), &rows), apply(&two, &rows)];
    assert_eq!(apply(&two, &rows), there, "the other device gives the same");
    assert!(here.1.is_empty() && there.1.is_empty(), "{:?}", there.1);
    for (here, there) in here.0.iter().zip(&there.0) {
        let score = |list: &ArmList, item| {
            let place = list.order.iter().position(|at| *at == item).unwrap();
            list.scores[place]
        };
        for item in 0..here.order.len() as u32 {
            let apart = (score(here, item) - score(there, item)).abs();
            assert!(apart < 0.05, "item {item}: {here:?} {there:?}");
        }
    }
    let distinct = here.0.iter().any(|list| list.order != [0, 1, 2][..list.order.len()]);
    assert!(distinct, "the decoder changes nothing");
}
