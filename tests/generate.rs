//! Does a decoder say what transformers has it say, whoever is answered with it, and never what its
//! constraint forbids? The expected answers are made by tests/golden/decoder/generate.py.

mod chat;
mod command;
mod text;

use crate::decoder::{MODELS, expected, golden, load};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeSet;
use steerage::device::{Cpu, Precision};
use steerage::model::decoder::{Decoder, KeyValues, Prompt};
use steerage::model::generate::{
    Answer, Constraint, Draw, End, Free, Generated, OnCpu, OneOf, Permutation, Question, Sampling,
    Settings, generate,
};
use steerage::types::mix64;

fn settings(tokens_max: usize, stops: &[u32], sampling: Sampling) -> Settings {
    Settings { tokens_max, stops: stops.to_vec(), sampling }
}

fn drawn(seed: u64) -> Sampling {
    Sampling::Drawn(Draw { seed, temperature: 1.5, top_k: 40, top_p: 0.95 })
}

/// Answers prompts, each with its number as its identity, and checks that what is told is what
/// comes out.
fn answers(
    decoder: &Decoder,
    prompts: &[(u64, &Prompt, &dyn Constraint)],
    settings: &Settings,
) -> Result<Generated, String> {
    let mut kept = vec![KeyValues::default(); prompts.len()];
    let mut told = vec![Vec::new(); prompts.len()];
    let mut questions: Vec<Question<'_>> = prompts
        .iter()
        .zip(&mut kept)
        .map(|(&(identity, prompt, constraint), kept)| Question {
            prompt,
            kept,
            identity,
            constraint,
        })
        .collect();
    let reads = OnCpu { decoder, device: &Cpu, threads: 2 };
    let each = &mut |at: usize, token| told[at].push(token);
    let found = generate(&reads, &mut questions, settings, each).map_err(|e| e.to_string())?;
    for (((_, prompt, _), kept), (answer, told)) in
        prompts.iter().zip(&kept).zip(found.answers.iter().zip(told))
    {
        assert_eq!(answer.tokens, told);
        let all: Vec<u32> = prompt.tokens.iter().chain(&told).copied().collect();
        assert!(all.starts_with(kept.tokens()), "what is kept is what was read");
    }
    Ok(found)
}

#[test]
fn greedy_answers_are_those_of_transformers() {
    for model in MODELS {
        let text = std::fs::read_to_string(golden(model).join("generated.json")).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        let tokens =
            |value: &Value| -> Vec<Vec<u32>> { serde_json::from_value(value.clone()).unwrap() };
        let stops: Vec<u32> = serde_json::from_value(value["stops"].clone()).unwrap();
        let decoder = load(model, Precision::F32);
        for (number, (adapter, ..)) in expected(model).adapters.iter().enumerate() {
            let chosen = number.checked_sub(1).map(|adapter| adapter as u32);
            let prompts: Vec<Prompt> = tokens(&value["prompts"])
                .into_iter()
                .map(|tokens| Prompt { tokens, adapter: chosen })
                .collect();
            let asked: Vec<_> = prompts.iter().map(|p| (0, p, &Free as &dyn Constraint)).collect();
            for (stops, name) in [(&[][..], "free"), (&stops, "stopped")] {
                let settings = settings(16, stops, Sampling::Greedy);
                let found = answers(&decoder, &asked, &settings).unwrap();
                let said: Vec<Vec<u32>> = found.answers.iter().map(|a| a.tokens.clone()).collect();
                assert_eq!(said, tokens(&value[adapter][name]), "{model} {adapter:?} {name}");
                for Answer { tokens, end } in found.answers {
                    assert_eq!(end == End::Full, tokens.len() == 16, "{end:?}");
                }
            }
        }
    }
}

/// Every answer of any kind, alone and among others.
#[test]
fn an_answer_is_the_same_whoever_is_answered_with_it() {
    for (model, precision) in [("llama3", Precision::Bf16), ("qwen2", Precision::F32)] {
        let decoder = load(model, precision);
        let one_of = OneOf::new(&[vec![3, 4, 5], vec![3, 4], vec![9]]).unwrap();
        let order = Permutation::new(&[10, 20, 30, 40], &[2], 4).unwrap();
        let kinds: [&dyn Constraint; 3] = [&Free, &one_of, &order];
        let prompts: Vec<Prompt> = (0..9u64)
            .map(|p| Prompt {
                tokens: (0..3 + p * 4).map(|i| (mix64(p / 2 * 100 + i) % 50) as u32).collect(),
                adapter: (p % 2 == 1).then_some(0),
            })
            .collect();
        let asked: Vec<(u64, &Prompt, &dyn Constraint)> =
            (0..).zip(&prompts).map(|(p, prompt)| (p, prompt, kinds[p as usize % 3])).collect();
        for sampling in [Sampling::Greedy, drawn(1), drawn(2)] {
            let settings = settings(12, &[1, 7], sampling);
            let together = answers(&decoder, &asked, &settings).unwrap();
            for (at, alone) in asked.iter().enumerate() {
                let alone = answers(&decoder, std::slice::from_ref(alone), &settings).unwrap();
                assert_eq!(alone.answers[0], together.answers[at], "{model} {at} {sampling:?}");
            }
        }
        let said = |seed, identity| {
            let asked = [(identity, &prompts[8], &Free as &dyn Constraint)];
            let settings = settings(12, &[], drawn(seed));
            answers(&decoder, &asked, &settings).unwrap().answers[0].tokens.clone()
        };
        assert!(said(1, 1) != said(2, 1) && said(1, 1) != said(1, 2), "draws differ");
    }
}

#[test]
fn what_is_read_is_read_once() {
    let decoder = load("llama3", Precision::F32);
    let prompt = Prompt { tokens: (0..30).collect(), adapter: None };
    let found = answers(&decoder, &[(0, &prompt, &Free)], &settings(10, &[], Sampling::Greedy));
    let Generated { prefill, decode, .. } = found.unwrap();
    assert_eq!((prefill.tokens, decode.tokens), (30, 9));
    // What is the only thing allowed is said without being asked for, and read with what follows.
    let order = Permutation::new(&[10, 20, 30], &[2, 3], 3).unwrap();
    let found = answers(&decoder, &[(0, &prompt, &order)], &settings(10, &[], Sampling::Greedy));
    let Generated { answers, prefill, decode } = found.unwrap();
    assert_eq!((prefill.tokens, decode.tokens, answers[0].end), (30, 3, End::Whole));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_constrained_answer_is_never_malformed(
        sequences in prop::collection::vec(prop::collection::vec(0..6u32, 1..5), 1..7),
        stops in prop::collection::vec(0..8u32, 0..3),
        labels in prop::collection::btree_set(0..50u32, 1..9),
        between in prop::collection::vec(0..50u32, 0..3),
        part in 0.0..1.0f64,
        seed in 0..1000u64,
    ) {
        let decoder = load(MODELS[seed as usize % 3], Precision::F32);
        let labels: Vec<u32> = labels.into_iter().collect();
        let count = 1 + (part * labels.len() as f64) as usize;
        let one_of = OneOf::new(&sequences).unwrap();
        let order = Permutation::new(&labels, &between, count).unwrap();
        let prompt = Prompt { tokens: vec![1, 2, 1 + (seed % 40) as u32], adapter: None };
        let sampling = if seed % 4 == 0 { Sampling::Greedy } else { drawn(seed) };
        let settings = settings(60, &stops, sampling);
        let asked: [(u64, &Prompt, &dyn Constraint); 2] =
            [(seed, &prompt, &one_of), (seed, &prompt, &order)];
        let found = answers(&decoder, &asked, &settings).unwrap();
        prop_assert!(sequences.contains(&found.answers[0].tokens), "{:?}", found.answers[0]);
        let said = &found.answers[1].tokens;
        prop_assert_eq!(said.len(), count + (count - 1) * between.len());
        let named: Vec<u32> = order.order(said).into_iter().map(|at| labels[at]).collect();
        let parts = named.iter().map(|label| vec![*label]);
        let joined: Vec<u32> = parts.collect::<Vec<_>>().join(&between[..]);
        prop_assert_eq!(&joined, said);
        prop_assert_eq!(named.iter().collect::<BTreeSet<_>>().len(), count);
    }
}

#[test]
fn what_cannot_be_answered_is_refused() {
    let decoder = load("llama2", Precision::F32); // 50 tokens, a context of 64
    let prompt =
        |count: u32| Prompt { tokens: (0..count).map(|t| t % 50).collect(), adapter: None };
    let said = |length, constraint: &dyn Constraint, settings: Settings| {
        let prompts = [prompt(3), prompt(length)];
        let asked = [(0, &prompts[0], &Free as &dyn Constraint), (0, &prompts[1], constraint)];
        answers(&decoder, &asked, &settings).unwrap_err()
    };
    let greedy = |tokens_max, stops: &[u32]| settings(tokens_max, stops, Sampling::Greedy);
    let five = OneOf::new(&[vec![1, 2], vec![1, 2, 3, 4, 5]]).unwrap();
    insta::assert_snapshot!(said(0, &Free, greedy(3, &[])), @"prompt 2: expected at least one token, found none");
    insta::assert_snapshot!(said(64, &Free, greedy(3, &[])), @"prompt 2: its 64 tokens leave no room for an answer");
    insta::assert_snapshot!(said(3, &Free, greedy(0, &[])), @"prompt 1: tokens_max: expected at least 1, found 0");
    insta::assert_snapshot!(said(3, &five, greedy(4, &[])), @"prompt 2: tokens_max: expected at least 5, the longest answer, found 4");
    insta::assert_snapshot!(said(60, &five, greedy(9, &[])), @"prompt 2: expected a prompt of at most 59 tokens, which leaves room for an answer of 5, found 60");
    let outside = OneOf::new(&[vec![50], vec![3]]).unwrap();
    insta::assert_snapshot!(said(3, &outside, greedy(9, &[])), @"prompt 2: token 50: expected one of the vocabulary, 0 to 49");
    insta::assert_snapshot!(said(3, &Free, greedy(9, &[1, 77])), @"prompt 1: token 77: expected one of the vocabulary, 0 to 49");
    let cold = Draw { seed: 0, temperature: 0.0, top_k: 0, top_p: 1.0 };
    insta::assert_snapshot!(said(3, &Free, settings(9, &[], Sampling::Drawn(cold))), @"temperature: expected a positive number, found 0");
    // An answer ends where the context does.
    let found = answers(&decoder, &[(0, &prompt(60), &Free)], &greedy(9, &[])).unwrap();
    assert_eq!((found.answers[0].tokens.len(), found.answers[0].end), (4, End::Full));
    let none = answers(&decoder, &[], &greedy(9, &[])).unwrap();
    assert!(none.answers.is_empty());
}
