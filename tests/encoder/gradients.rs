//! Is the gradient of the loss that of PyTorch, and that of differences of the loss?

use crate::encoder::files::decoder_folder;
use crate::encoder::{expected, golden, load, read};
use bytes::Bytes;
use std::path::Path;
use steerage::device::Precision;
use steerage::error::Error;
use steerage::model::encoder::{Encoder, Learner, Trained};
use steerage::train::encoder::{EncoderLoss, EncoderSettings, Lesson, gradient};
use steerage::types::{mix64, unit_f64};

/// The golden base with the golden heads.
fn encoder() -> Encoder {
    Encoder::from_files("golden", None, &|name| {
        let path = golden().join(name);
        std::fs::read(&path).map(Bytes::from).map_err(Error::io("read", &path))
    })
    .unwrap()
}

fn lessons() -> (Vec<Lesson>, Vec<String>) {
    let expected = expected();
    let pairs: Vec<(String, String)> = read(&expected["pairs"]);
    let judged: Vec<(usize, Vec<(u32, f32)>)> = read(&expected["lessons"]);
    let lesson = |(pair, items): (usize, Vec<(u32, f32)>)| {
        let (request, context) = pairs[pair].clone();
        Lesson { request, context, items }
    };
    (judged.into_iter().map(lesson).collect(), read(&expected["texts"]))
}

fn settings(trained: Trained, name: &str) -> EncoderSettings {
    EncoderSettings {
        loss: if name.starts_with("mse") { EncoderLoss::Mse } else { EncoderLoss::Bce },
        negatives: if name.ends_with("negatives") { 0.5 } else { 0.0 },
        ..EncoderSettings::new(trained)
    }
}

const LORA: Trained = Trained::Lora { rank: 3, alpha: 6.0 };
const NAMES: [&str; 3] = ["mse", "bce", "mse-negatives"];

/// A learner whose factors are those of the golden file.
fn learner(trained: &Trained) -> Learner {
    let mut learner = Learner::new(encoder(), trained, 0).unwrap();
    if *trained == LORA {
        let mut parameters = learner.parameters().to_vec();
        let mut first = 0;
        for tensor in
            learner.tensors().iter().filter(|t| t.name.ends_with(".A") || t.name.ends_with(".B"))
        {
            for (at, to) in (first..).zip(&mut parameters[first..first + tensor.len()]) {
                let angle = at as f64;
                let value = if tensor.name.ends_with(".A") { angle.sin() } else { angle.cos() };
                *to = (0.05 * value) as f32;
            }
            first += tensor.len();
        }
        learner.set(&parameters).unwrap();
    }
    learner
}

#[test]
fn losses_and_gradients_are_those_of_pytorch() {
    let (expected, (lessons, texts)) = (expected(), lessons());
    for (kind, trained) in [("full", Trained::Full), ("lora", LORA)] {
        let learner = learner(&trained);
        for name in NAMES {
            let exact = &expected[kind][name];
            let (loss, gradient) =
                gradient(&settings(trained.clone(), name), &learner, &lessons, &texts).unwrap();
            assert!((loss - read::<f64>(&exact["loss"])).abs() < 1e-5, "{kind} {name} {loss}");
            let mut first = 0;
            let largest = gradient.iter().fold(0.0f64, |m, g| m.max(f64::from(g.abs())));
            assert!(learner.tensors().len() >= exact["gradients"].as_object().unwrap().len());
            for tensor in learner.tensors() {
                let part = &gradient[first..first + tensor.len()];
                first += tensor.len();
                let [norm, sum]: [f64; 2] = read(&exact["gradients"][&tensor.name]);
                let numbers = || part.iter().map(|g| f64::from(*g));
                let found = numbers().map(|g| g * g).sum::<f64>().sqrt();
                let weighed: f64 = (1..).zip(numbers()).map(|(i, g)| g * f64::from(i).sin()).sum();
                let bound = 1e-4 * norm + 3e-6 * largest.max(0.01);
                let case =
                    format!("{kind} {name} {}: {found} {norm}, {weighed} {sum}", tensor.name);
                assert!((found - norm).abs() <= bound, "{case}");
                assert!((weighed - sum).abs() <= bound * (part.len() as f64).sqrt(), "{case}");
            }
            assert_eq!(first, gradient.len());
        }
    }
}

/// The gradient by every loss against differences of the loss along a few directions.
fn agrees_with_differences(
    mut learner: Learner,
    trained: &Trained,
    lessons: &[Lesson],
    texts: &[String],
) {
    for name in NAMES {
        let settings = settings(trained.clone(), name);
        let at = learner.parameters().to_vec();
        let (_, slope) = gradient(&settings, &learner, lessons, texts).unwrap();
        for seed in 0..3 {
            let along: Vec<f32> = (0..at.len() as u64)
                .map(|i| unit_f64(mix64(mix64(seed) ^ i)) as f32 - 0.5)
                .collect();
            let mut loss = |step: f32| {
                let to: Vec<f32> = at.iter().zip(&along).map(|(x, d)| x + step * d).collect();
                learner.set(&to).unwrap();
                gradient(&settings, &learner, lessons, texts).unwrap().0
            };
            const H: f32 = 1e-3;
            let differences = (loss(H) - loss(-H)) / (2.0 * f64::from(H));
            loss(0.0);
            let found: f64 = slope.iter().zip(&along).map(|(g, d)| f64::from(g * d)).sum();
            let size = slope.iter().map(|g| f64::from(g * g)).sum::<f64>().sqrt();
            assert!(
                (found - differences).abs() < 2e-3 + 0.01 * size,
                "{trained:?} {name}: {found} and {differences}"
            );
        }
    }
}

#[test]
fn gradients_are_those_of_differences() {
    let (lessons, texts) = lessons();
    for trained in [Trained::Heads, LORA, Trained::Full] {
        agrees_with_differences(learner(&trained), &trained, &lessons, &texts);
    }
}

/// A decoder as the base, whose factors have been moved off 0.
fn decoder_learner(folder: &Path, trained: &Trained) -> Learner {
    let encoder = Encoder::open(folder, Some(Precision::F32), Some(6), 16, 2).unwrap();
    let mut learner = Learner::new(encoder, trained, 4).unwrap();
    let moved = |(at, x): (usize, &f32)| x + 0.05 * (at as f32).sin();
    let parameters: Vec<f32> = learner.parameters().iter().enumerate().map(moved).collect();
    learner.set(&parameters).unwrap();
    learner
}

#[test]
fn gradients_of_a_decoder_are_those_of_differences() {
    let folder = decoder_folder();
    let texts = ["x", "toy", "story x", "toy story"].map(str::to_owned);
    let lesson = |request: &str, items: Vec<(u32, f32)>| Lesson {
        request: request.into(),
        context: "story".into(),
        items,
    };
    let lessons = vec![
        lesson("toy x", vec![(0, 1.0), (1, 0.0), (3, 0.5)]),
        lesson("x x story", vec![(2, 1.0), (1, 0.25)]),
    ];
    for trained in [LORA, Trained::Full] {
        let learner = decoder_learner(folder.path(), &trained);
        agrees_with_differences(learner, &trained, &lessons, &texts);
    }
}

#[test]
fn a_decoder_is_merged_as_it_is_read() {
    let folder = decoder_folder();
    let texts = ["x", "toy", "story x"].map(str::to_owned);
    let learner = decoder_learner(folder.path(), &LORA);
    let before = learner.encoder().items(&texts, 1).unwrap();
    let files = learner.encoder().to_files().unwrap();
    let merged = learner.into_encoder().unwrap();
    assert_eq!(files, merged.to_files().unwrap());
    let after = merged.items(&texts, 1).unwrap();
    let apart = before.iter().zip(&after).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart < 1e-5, "{apart}");
}

#[test]
fn a_new_change_changes_nothing_and_in_bf16_it_learns_too() {
    let (lessons, texts) = lessons();
    for precision in [Precision::F32, Precision::Bf16] {
        let encoder = load(precision);
        let before = encoder.items(&texts, 1).unwrap();
        let learner = Learner::new(encoder, &LORA, 3).unwrap();
        assert_eq!(learner.encoder().items(&texts, 1).unwrap(), before);
        let settings = settings(LORA, "bce");
        let (loss, gradient) = gradient(&settings, &learner, &lessons, &texts).unwrap();
        assert!(loss.is_finite() && gradient.iter().any(|g| *g != 0.0));
        assert_eq!(learner.into_encoder().unwrap().items(&texts, 1).unwrap(), before);
    }
}
