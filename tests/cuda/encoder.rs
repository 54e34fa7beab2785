//! Does an encoder on a device give the vectors that it gives on the processor, the same bits in
//! every batch? Does it learn there what it learns on the processor, and the same bits however often
//! it is stopped?

use super::{Device, Order, random};
use crate::decoder::learning::{distance, length};
use crate::encoder::learning::{Watch, encoder, files, items, lessons, settings};
use crate::encoder::{bits, expected, load, read};
use std::sync::Arc;
use steerage::device::cuda::Counted;
use steerage::device::{Cpu, Precision};
use steerage::error::Result;
use steerage::model::encoder::{
    Batch, Encoder, Learner, Piece, ResidentLearner, SharedDriver, Tape, Trained, dot,
};
use steerage::train::encoder::{EncoderSettings, Fitted, fit_on};

const LORA: Trained = Trained::Lora { rank: 3, alpha: 6.0 };

fn device() -> Option<Arc<Device>> {
    Device::open(Order::ALL[0], None).map(Arc::new)
}

/// 1 less the cosine that is furthest from 1.
fn furthest(found: &[f32], exact: &Vec<Vec<f32>>) -> f64 {
    let pairs = found.chunks_exact(exact[0].len()).zip(exact);
    let cosines = pairs.map(|(x, y)| x.iter().zip(y).map(|(x, y)| f64::from(x * y)).sum::<f64>());
    cosines.map(|cosine| 1.0 - cosine).fold(0.0, f64::max)
}

/// As transformers says, within twice the error of its own bf16.
#[test]
fn vectors_are_those_of_transformers() {
    let (Some(device), expected) = (device(), expected()) else { return };
    let encoder = load(Precision::F32).on(&[device], 64).unwrap();
    let texts: Vec<String> = read(&expected["texts"]);
    let pairs: Vec<(String, String)> = read(&expected["pairs"]);
    let theirs = 1.0 - read::<f64>(&expected["bf16_cosine"]);
    let items = furthest(&encoder.items(&texts, 1).unwrap(), &read(&expected["embeddings"]));
    let asked = encoder.requests(&pairs, 1).unwrap();
    let asked = furthest(&asked, &read(&expected["pair_embeddings"]));
    assert!(items <= 2.0 * theirs && asked <= 2.0 * theirs, "{items}, {asked} against {theirs}");
}

#[test]
fn a_texts_bits_do_not_depend_on_the_others() {
    let Some(one) = device() else { return };
    let texts: Vec<String> = read(&expected()["texts"]);
    let narrow = load(Precision::Bf16).on(&[one], 40).unwrap();
    let wide = load(Precision::Bf16).on(&[device().unwrap()], 4096).unwrap();
    let all = wide.items(&texts, 1).unwrap();
    assert_eq!(bits(&narrow.items(&texts, 2).unwrap()), bits(&all));
    let width = wide.width();
    for (text, row) in texts.iter().zip(all.chunks(width)).take(4) {
        let alone = wide.items(std::slice::from_ref(text), 1).unwrap();
        assert_eq!(bits(&alone), bits(row), "{text:?}");
    }
    assert!(wide.items(&[], 1).unwrap().is_empty());
}

#[test]
fn a_decoder_as_the_base_stays_on_the_processor() {
    let Some(device) = device() else { return };
    let folder = crate::encoder::files::decoder_folder();
    let encoder = Encoder::open(folder.path(), None, None, 16, 0).unwrap();
    let refused = encoder.on(&[device], 64).err().unwrap().to_string();
    assert!(refused.contains("a decoder computes on the processor alone"), "{refused}");
}

/// Before anything is loaded, from a `config.json`.
#[test]
fn what_is_planned_is_what_a_device_is_asked_for() {
    let encoder = load(Precision::F32);
    let config = |encoder: &Encoder| {
        let files = encoder.to_files().unwrap();
        files.into_iter().find(|(name, _)| *name == "config.json").unwrap().1
    };
    for tokens_max in [1, 4096] {
        let planned = Encoder::device_memory("c", &config(&encoder), tokens_max).unwrap();
        let device = Arc::<Counted>::default();
        let on: [SharedDriver; 1] = [device.clone()];
        let there = encoder.clone().on(&on, tokens_max).unwrap();
        assert_eq!(device.bytes(), planned.weights_bytes + planned.batch_bytes, "{tokens_max}");
        drop(there);
    }
    let folder = crate::encoder::files::decoder_folder();
    let decoder = Encoder::open(folder.path(), None, None, 16, 0).unwrap();
    let refused = Encoder::device_memory("c", &config(&decoder), 64).unwrap_err();
    assert_eq!(Some(refused.to_string()), decoder.device_refusal());
}

#[test]
fn what_learning_is_planned_to_take_is_what_a_device_is_asked_for() {
    for trained in [Trained::Full, LORA] {
        let mut learner = Learner::new(load(Precision::F32), &trained, 4).unwrap();
        let files = learner.encoder().to_files().unwrap();
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        let planned = Encoder::learning_memory(folder.path(), &trained, 2048).unwrap();
        let device = Arc::<Counted>::default();
        let there = ResidentLearner::of(device.clone(), &mut learner, 2048).unwrap();
        let planned = (planned.weights_bytes + planned.batch_bytes) as f64;
        let off = device.bytes() as f64 / planned - 1.0;
        assert!(off.abs() < 0.03, "{trained:?}: {off}");
        drop(there);
    }
}

/// The golden base, whose factors, if there are any, have been moved off 0.
fn learner(trained: &Trained, precision: Precision) -> Learner {
    let mut learner = Learner::new(load(precision), trained, 4).unwrap();
    if *trained == LORA {
        let end = learner.groups()[0].end;
        let moved =
            |(at, x): (usize, &f32)| if at < end { x + 0.05 * (at as f32).sin() } else { *x };
        let parameters: Vec<f32> = learner.parameters().iter().enumerate().map(moved).collect();
        learner.set(&parameters).unwrap();
    }
    learner
}

fn pieces(learner: &Learner) -> Vec<Piece> {
    let texts: Vec<String> = read(&expected()["texts"]);
    let pairs: Vec<(String, String)> = read(&expected()["pairs"]);
    let mut all = learner.encoder().item_pieces(&texts, 1).unwrap();
    all.extend(learner.encoder().request_pieces(&pairs, 1).unwrap());
    all
}

/// The gradient that follows from some gradient of the pooled rows.
fn gradient_here(learner: &Learner) -> Vec<f32> {
    let pieces = pieces(learner);
    let (batch, mut tape) = (Batch::of(pieces.iter()), Tape::default());
    let mut pooled = vec![0.0; pieces.len() * learner.encoder().heads().shape()[1]];
    learner.forward(&Cpu, &batch, &mut tape, &mut pooled);
    let mut gradient = vec![0.0; learner.parameters().len()];
    learner.backward(&Cpu, &batch, &mut tape, &random(7, pooled.len()), &mut gradient);
    gradient
}

fn gradient_there(driver: SharedDriver, learner: &mut Learner, tokens_max: usize) -> Vec<f32> {
    let pieces = pieces(learner);
    let pieces: Vec<&Piece> = pieces.iter().collect();
    let mut there = ResidentLearner::of(driver, learner, tokens_max).unwrap();
    let mut loss = |_: &[f32], d_pooled: &mut [f32]| {
        d_pooled.copy_from_slice(&random(7, d_pooled.len()));
    };
    there.learn(learner, &pieces, &mut loss).unwrap();
    let mut gradient = vec![0.0; learner.parameters().len()];
    there.parameters().read_gradient(&mut gradient).unwrap();
    gradient
}

#[test]
fn gradients_are_those_of_the_processor() {
    // What plain bf16 is off by: that of factors, since the processor trains weights in f32.
    let [exact, naive] = [Precision::F32, Precision::Bf16]
        .map(|precision| gradient_here(&learner(&LORA, precision)));
    let of_naive = distance(&naive, &exact) / length(&exact);
    for trained in [Trained::Full, LORA] {
        let Some(driver) = device() else { return };
        let mut learner = learner(&trained, Precision::F32);
        let expected = gradient_here(&learner);
        let found = gradient_there(driver, &mut learner, 4096);
        let whole = length(&expected);
        let error = distance(&found, &expected) / whole;
        println!("{trained:?}: error {error:.4}, of bf16 on the processor {of_naive:.4}");
        assert!(error <= 2.0 * of_naive, "{trained:?}: {error}, {of_naive}");
        // A tensor that got another's gradient, or none, would be off by its length or more.
        let mut start = 0;
        for tensor in learner.tensors() {
            let part = start..start + tensor.len();
            start = part.end;
            let size = length(&expected[part.clone()]) + 1e-3 * whole;
            let error = distance(&found[part.clone()], &expected[part]) / size;
            assert!(error < 0.15, "{trained:?} {}: {error}", tensor.name);
        }
    }
}

/// In any order of the threads; and nearly the same in batches of a few texts.
#[test]
fn gradients_have_the_same_bits_in_every_order() {
    for trained in [Trained::Full, LORA] {
        let mut all = Vec::new();
        for order in Order::ALL {
            let Some(driver) = Device::open(order, None) else { return };
            let mut learner = learner(&trained, Precision::F32);
            all.push(gradient_there(Arc::new(driver), &mut learner, 4096));
        }
        assert!(all.iter().all(|gradient| bits(gradient) == bits(&all[0])));
        let mut learner = learner(&trained, Precision::F32);
        let apart = gradient_there(device().unwrap(), &mut learner, 40);
        let error = distance(&apart, &all[0]) / length(&all[0]);
        assert!(error < 1e-4, "{trained:?}: {error}");
    }
}

fn train(
    device: Option<SharedDriver>,
    settings: &EncoderSettings,
    watch: &mut Watch,
) -> Result<Fitted> {
    let (lessons, items) = (lessons(), items());
    let mut examine = |encoder: &Encoder| {
        let rows = encoder.items(&items[..5], 1)?;
        Ok(Some(1.0 - f64::from(dot(&rows[..16], &rows[64..]))))
    };
    fit_on(device, settings, encoder(5), (&lessons, &items), &mut examine, watch)
}

/// Few steps: they are emulated.
#[test]
fn an_encoder_learns_on_a_device_and_goes_on_to_the_same_bytes() {
    for trained in [Trained::Full, LORA, Trained::Heads] {
        let settings = EncoderSettings {
            epochs_max: 2,
            checkpoint_steps: 2,
            negatives: 0.3,
            warmup_steps: 2,
            rate: 5e-3,
            ..settings(trained.clone())
        };
        let Some(driver) = device() else { return };
        let here = train(None, &settings, &mut Watch::default()).unwrap();
        let mut watch = Watch::default();
        let there = train(Some(driver), &settings, &mut watch).unwrap();
        println!("{trained:?}: {:?} here, {:?} there", here.losses, there.losses);
        for (here, there) in here.losses.iter().zip(&there.losses) {
            assert!((here - there).abs() < 0.002 * here);
        }
        assert!(there.losses[1] < 0.98 * there.losses[0], "{:?}", there.losses);
        for ((_, here), (_, there)) in here.curve.iter().zip(&there.curve) {
            assert!((here - there).abs() < 0.02, "{here} {there}");
        }
        if trained == Trained::Full {
            continue; // goes on as factors do
        }
        let mut stopped = Watch { stop: Some(4), ..Watch::default() };
        assert!(train(Some(device().unwrap()), &settings, &mut stopped).is_err());
        let kept = stopped.kept[&4].clone();
        let mut resumed = Watch { from: Some(kept.clone()), ..Watch::default() };
        let again = train(Some(device().unwrap()), &settings, &mut resumed).unwrap();
        assert!(files(&again) == files(&there), "{trained:?}");
        assert_eq!((again.losses, again.curve), (there.losses, there.curve));
        assert!(resumed.kept.iter().all(|(step, kept)| watch.kept[step] == *kept));
        let mut elsewhere = Watch { from: Some(kept), ..Watch::default() };
        let said = train(None, &settings, &mut elsewhere).err().unwrap().to_string();
        assert!(said.starts_with("checkpoint: was made with other settings"), "{said}");
    }
}

#[test]
fn a_decoder_as_the_base_learns_on_the_processor() {
    let folder = crate::encoder::files::decoder_folder();
    for trained in [Trained::Full, LORA, Trained::Heads] {
        let Some(driver) = device() else { return };
        let encoder = Encoder::open(folder.path(), None, None, 16, 0).unwrap();
        let (settings, taught) = (EncoderSettings::new(trained), lessons());
        let nothing = &mut |_: &Encoder| Ok(None);
        let mut watch = Watch::default();
        let taught = (&taught[..], &items()[..]);
        let said = fit_on(Some(driver), &settings, encoder, taught, nothing, &mut watch);
        let said = said.err().unwrap().to_string();
        assert!(said.contains("a decoder computes on the processor alone"), "{said}");
    }
}
