//! Does a decoder learn on a device what it learns on the processor, and the same bits whatever is
//! kept and however often it is stopped?

use super::{Device, Order};
use crate::decoder::learning::{Reference, distance, learn, length};
use crate::decoder::reranker::{LABELS, adapter, by_moment, bytes, in_order, small, task};
use crate::decoder::{MODELS, golden};
use crate::models::Shelf;
use std::sync::Arc;
use steerage::device::Precision;
use steerage::device::cuda::Counted;
use steerage::error::Result;
use steerage::model::adapter::Adapter;
use steerage::model::decoder::{
    Batch, Decoder, Learner, Memory, Prompt, ResidentLearner, SharedDriver, Trained,
};
use steerage::train::rank_net::{pairs, rank_net};
use steerage::train::reranker::{Contrast, Fitted, Measured, RerankerSettings, fit_on};

const TOKENS_MAX: usize = 200;

fn driver(order: Order) -> Option<SharedDriver> {
    Some(Arc::new(Device::open(order, None)?))
}

/// A golden model with every weight trained, or an adapter and its rows.
fn learner(model: &str, full: bool, precision: Precision) -> Learner {
    let labels = Reference::of(model).labels;
    let decoder = Decoder::open(&golden(model), Some(precision)).unwrap();
    if full {
        return Learner::new(decoder, &Trained::Full, &labels, 0).unwrap();
    }
    let adapter = Adapter::open(&golden(model).join("adapter-rows"), decoder.config()).unwrap();
    let trained = Trained::Adapter(adapter.config().clone());
    let mut learner = Learner::new(decoder, &trained, &labels, 0).unwrap();
    learner.set(adapter.weights()).unwrap();
    learner
}

/// Within a share: what lies between parts is not counted.
#[test]
fn what_learning_is_planned_to_take_is_what_a_device_is_asked_for() {
    for (full, kept_bytes_max) in [(true, 0), (false, 0), (false, 1 << 30)] {
        let learner = learner("qwen2", full, Precision::F32);
        let adapter = learner.adapter().map(Adapter::config);
        let config = learner.decoder().config();
        let planned = Memory::learning(config, adapter, 2048, kept_bytes_max).unwrap();
        let device = Arc::<Counted>::default();
        let there = ResidentLearner::of(device.clone(), &learner, 2048, kept_bytes_max).unwrap();
        let planned = (planned.weights_bytes + planned.batch_bytes) as f64;
        let off = device.bytes() as f64 / planned - 1.0;
        assert!(off.abs() < 0.03, "{full} {kept_bytes_max}: {off}");
        drop(there);
    }
}

/// The gradient of the pairwise loss of some prompts, a batch for each piece.
fn gradient(
    there: &mut ResidentLearner,
    learner: &Learner,
    pieces: &[&[Prompt]],
    relevance: &[Vec<f32>],
) -> Vec<f32> {
    let labels = learner.labels().len();
    let scale = 1.0 / relevance.iter().map(|relevance| pairs(relevance)).sum::<u64>() as f32;
    let mut left = relevance.iter();
    for prompts in pieces {
        let mut loss = |logits: &[f32], d_logits: &mut [f32]| {
            for (scores, d_scores) in logits.chunks(labels).zip(d_logits.chunks_mut(labels)) {
                rank_net(scores, left.next().unwrap(), scale, d_scores);
            }
        };
        there.learn(learner, &Batch::of(prompts), &mut loss).unwrap();
    }
    let mut gradient = vec![0.0; learner.parameters().len()];
    there.parameters().read_gradient(&mut gradient).unwrap();
    gradient
}

#[test]
fn gradients_are_those_of_the_processor() {
    for (model, full) in MODELS.into_iter().flat_map(|model| [(model, true), (model, false)]) {
        let Some(driver) = driver(Order::ALL[0]) else { return };
        let reference = Reference::of(model);
        let exact = learner(model, full, Precision::F32);
        let (_, _, expected) = learn(&exact, &reference);
        let mut there = ResidentLearner::of(driver, &exact, TOKENS_MAX, 0).unwrap();
        let prompts = exact.prompts(reference.prompts.iter().map(|prompt| &prompt[..]));
        let found = gradient(&mut there, &exact, &[&prompts], &reference.relevance);
        let whole = length(&expected);
        let error = distance(&found, &expected) / whole;
        // What plain bf16 is off by: that of an adapter, since the processor trains weights in f32.
        let [exact_rows, naive] = [Precision::F32, Precision::Bf16]
            .map(|precision| learn(&learner(model, false, precision), &reference).2);
        let of_naive = distance(&naive, &exact_rows) / length(&exact_rows);
        println!("{model}: error {error:.4}, of bf16 on the processor {of_naive:.4}");
        assert!(error <= 2.0 * of_naive, "{model} {full}: {error}");
        // A tensor that got another's gradient, or none, would be off by its length or more.
        let mut start = 0;
        for tensor in exact.tensors() {
            let part = start..start + tensor.len();
            start = part.end;
            let size = length(&expected[part.clone()]) + 1e-3 * whole;
            let error = distance(&found[part.clone()], &expected[part]) / size;
            assert!(error < 0.15, "{model} {full} {}: {error}", tensor.name);
        }
    }
}

/// Whatever is kept, in any order of the threads; and nearly the same in two batches.
#[test]
fn gradients_have_the_same_bits_whatever_is_kept() {
    for full in [true, false] {
        let (with, learner) = (Reference::of("qwen2"), learner("qwen2", full, Precision::F32));
        // Some of them go on from what others begin with, too.
        let start: Vec<u32> = (0..30).map(|i| i * 7 % 40).collect();
        let prompts = [(30, 3), (30, 9), (20, 4), (0, 12)];
        let prompts = prompts.map(|(shared, own)| [&start[..shared], &start[..own]].concat());
        let prompts = learner.prompts(prompts.iter().map(|tokens| &tokens[..]));
        let open = |order: Order, kept| {
            Some(ResidentLearner::of(driver(order)?, &learner, TOKENS_MAX, kept).unwrap())
        };
        let mut all = Vec::new();
        for (order, kept) in Order::ALL.into_iter().zip([0, usize::MAX, usize::MAX, 0]) {
            let Some(mut there) = open(order, kept) else { return };
            all.push(gradient(&mut there, &learner, &[&prompts], &with.relevance));
        }
        assert!(all.iter().all(|gradient| *gradient == all[0]));
        let mut there = open(Order::ALL[0], 0).unwrap();
        let (one, other) = prompts.split_at(1);
        let apart = gradient(&mut there, &learner, &[one, other], &with.relevance);
        assert!(distance(&apart, &all[0]) < 0.03 * length(&all[0]), "{full}");
    }
}

/// Few steps: they are emulated.
fn settings(trained: Trained) -> RerankerSettings {
    RerankerSettings {
        rate: 0.01,
        decay: 0.1,
        batch: 6,
        epochs_max: 2,
        validate_steps: 3,
        checkpoint_steps: 2,
        warmup_steps: 2,
        contrast: Some(Contrast { weight: 0.5, tokens: vec![16, 18] }),
        ..RerankerSettings::new(trained)
    }
}

fn train(
    device: Option<SharedDriver>,
    settings: &RerankerSettings,
    shelf: &mut Shelf,
) -> Result<Fitted> {
    let (held, moments) = (task(10_000, 20), by_moment(&task(0, 36)));
    let mut examine = |learned: Measured<'_>| Ok(Some(in_order(learned, &held)));
    fit_on(device, settings, small(1), &LABELS, &moments, &mut examine, shelf)
}

#[test]
fn a_re_ranker_learns_on_a_device_and_goes_on_to_the_same_bytes() {
    for trained in [Trained::Full, adapter()] {
        let Some(device) = driver(Order::ALL[0]) else { return };
        let settings = settings(trained);
        let [mut here, mut there] = [Shelf::default(), Shelf::default()];
        train(None, &settings, &mut here).unwrap();
        let fitted = train(Some(device), &settings, &mut there).unwrap();
        let losses = [&here, &there].map(|shelf| shelf.losses.borrow().clone());
        assert_eq!(losses[0].len(), losses[1].len());
        for (here, there) in losses[0].iter().zip(&losses[1]) {
            assert!((here - there).abs() < 0.02 * here, "{losses:?}");
        }
        for stop_at in [2, 4] {
            let kept = RerankerSettings { kept_bytes_max: 0, ..settings.clone() };
            let mut shelf = Shelf { stop_at, ..Shelf::default() };
            let stopped = train(driver(Order::ALL[0]), &kept, &mut shelf).unwrap_err();
            assert_eq!(stopped.to_string(), "stopped");
            shelf.stop_at = 0;
            let resumed = train(driver(Order::ALL[0]), &settings, &mut shelf).unwrap();
            assert!(shelf.kept == there.kept, "stopped at {stop_at}");
            assert!(bytes(&resumed) == bytes(&fitted) && resumed.curve == fitted.curve);
        }
        let said = train(None, &settings, &mut there).unwrap_err().to_string();
        assert!(said.starts_with("checkpoint: was made with other settings"), "{said}");
    }
}
