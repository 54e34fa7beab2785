//! Does a retriever on a device give the vectors that it gives on the processor, and learn there what
//! it learns here?

use super::{Device, Order};
use crate::decoder::bits;
use crate::decoder::learning::{distance, length};
use crate::models::{Shelf, history, lesson, loss_and_gradient, retriever, settings, walkers};
use std::sync::Arc;
use steerage::device::Cpu;
use steerage::device::cuda::{Counted, SharedDriver};
use steerage::model::decoder::Memory;
use steerage::model::retriever::{
    LossRule, Resident, ResidentLearner, Retriever, RetrieverConfig, Tokens,
};
use steerage::train::{
    Loss, On, Part, TrainSettings, evaluate, evaluate_there, fit, fit_on, sequences_at_once,
};
use steerage::types::ItemId;

/// Narrow heads, which are filled up.
const CONFIG: RetrieverConfig =
    RetrieverConfig { items: 20, hidden: 16, blocks: 2, heads: 2, length_max: 8 };

const LOSSES: [Loss; 3] = [
    Loss::CrossEntropy,
    Loss::SampledSoftmax { negatives: 5 },
    Loss::Gbce { negatives: 4, calibration: 0.5 },
];

fn driver(order: Order) -> Option<SharedDriver> {
    Some(Arc::new(Device::open(order, None)?))
}

#[test]
fn vectors_are_the_processors_and_have_the_same_bits_in_every_batch() {
    let config = RetrieverConfig { items: 300, hidden: 72, blocks: 2, heads: 1, length_max: 70 };
    let retriever = retriever(config);
    let histories: Vec<Vec<ItemId>> =
        (0..9).map(|u| history(u, (u as usize * 37) % 90, 300)).collect();
    let all: Vec<&[ItemId]> = histories.iter().map(Vec::as_slice).collect();
    let here = retriever.encode(&all).unwrap();
    let mut first = None;
    for (at, order) in Order::ALL.into_iter().enumerate() {
        let Some(driver) = driver(order) else { return };
        let resident = Resident::of(driver, &retriever, 150).unwrap();
        let there = resident.encode(&all).unwrap();
        let off = distance(&there, &here) / length(&here);
        assert!(off < 1e-5, "{off}");
        assert!(there[..72].iter().all(|x| *x == 0.0), "nobody has begun with an empty history");
        assert_eq!(bits(&there), *first.get_or_insert_with(|| bits(&there)));
        if at > 0 {
            continue;
        }
        for (user, row) in all.iter().zip(there.chunks(72)) {
            assert_eq!(bits(&resident.encode(&[user]).unwrap()), bits(row));
        }
        let said = resident.encode(&[&[1], &[300]]).unwrap_err().to_string();
        assert!(said.starts_with("history: item 300 is not in the retriever"), "{said}");
    }
}

#[test]
fn what_kernels_do_not_take_is_refused() {
    for (hidden, heads, expected) in [
        (50, 1, "a multiple of 8, at most 512, found 50"),
        (1024, 8, "a multiple of 8, at most 512, found 1024"),
        (256, 1, "heads of at most 128 numbers, found 256"),
    ] {
        let settings = TrainSettings { hidden, heads, ..settings(Loss::Bce) };
        let refusal = settings.retriever(20).learning_refusal().unwrap();
        assert!(refusal.contains(expected), "{refusal}");
        let device = Some(On::device(Arc::<Counted>::default(), &settings));
        let said = fit_on(device, &settings, 20, &walkers(9), &mut Shelf::default()).unwrap_err();
        assert!(said.to_string().contains(expected), "{said}");
        assert!(said.to_string().contains("use device = \"cpu\""), "{said}");
    }
}

/// Before anything is drawn or copied.
#[test]
fn more_numbers_than_kernels_count_are_refused() {
    let config = RetrieverConfig { items: 20_000_000, hidden: 128, ..CONFIG };
    let said = config.learning_memory(Some(2), 1000).unwrap_err().to_string();
    assert!(said.contains("fewer than 2^31 numbers") && said.contains("model.hidden"), "{said}");
    assert!(config.device_memory(1000).is_ok(), "it can be read");
}

fn learner(driver: SharedDriver, retriever: &Retriever, loss: Loss) -> ResidentLearner {
    let (_, _, log_q) = lesson(loss);
    let rule = match loss {
        Loss::CrossEntropy => LossRule::All(4), // of ten rows
        Loss::SampledSoftmax { .. } => LossRule::Softmax(&log_q),
        binary => LossRule::Binary(binary.beta(20)),
    };
    ResidentLearner::of(driver, retriever, rule, 16).unwrap()
}

#[test]
fn gradients_are_those_of_the_processor() {
    let retriever = retriever(CONFIG);
    for loss in LOSSES {
        let (expected_loss, expected) = loss_and_gradient(&retriever, loss);
        let mut first = None;
        for order in Order::ALL {
            let Some(driver) = driver(order) else { return };
            let there = learner(driver, &retriever, loss);
            let (tokens, [targets, drawn], _) = lesson(loss);
            let taught = if loss == Loss::CrossEntropy { &targets } else { &drawn };
            let losses = there.learn(&tokens, taught, 1.0).unwrap();
            let found_loss = there.sum(&losses).unwrap();
            assert!((found_loss / expected_loss - 1.0).abs() < 0.01, "{loss:?}: {found_loss}");
            let mut found = vec![0.0; expected.len()];
            there.parameters().read_gradient(&mut found).unwrap();
            let (off, whole) = (distance(&found, &expected), length(&expected));
            println!("{loss:?}: {}", off / whole);
            assert!(off < 0.02 * whole, "{loss:?}: {}", off / whole);
            assert_eq!(bits(&found), *first.get_or_insert_with(|| bits(&found)), "{order:?}");
        }
    }
}

#[test]
fn quality_is_that_of_the_processor() {
    let Some(driver) = driver(Order::ALL[0]) else { return };
    let retriever = retriever(CONFIG);
    let resident = Resident::of(Arc::clone(&driver), &retriever, 64).unwrap();
    let mut sequences = walkers(90);
    let train = sequences[3].train as usize;
    sequences[3].items.truncate(train);
    sequences[3].valid = 0;
    sequences[4].train = 0; // with nothing known and several targets
    for part in [Part::Validation, Part::Test] {
        let here = evaluate(&Cpu, &retriever, &sequences, part, 2).unwrap();
        let models = (&resident, &retriever);
        let there = evaluate_there(Arc::clone(&driver), models, &sequences, part).unwrap();
        assert_eq!(here.users, there.users);
        assert!((here.ndcg_10 - there.ndcg_10).abs() < 1e-9, "{here:?} {there:?}");
        assert!((here.hit_10 - there.hit_10).abs() < 1e-9, "{here:?} {there:?}");
    }
}

#[test]
fn a_retriever_learns_on_a_device_and_goes_on_to_the_same_bytes() {
    let sequences = walkers(60);
    for loss in LOSSES {
        let settings = TrainSettings { hidden: 16, decay: 0.01, epochs_max: 2, ..settings(loss) };
        // Steps of 24 sequences, in batches of 10.
        let open = |order| Some(On { driver: driver(order)?, sequences_at_once: 10 });
        let [mut here, mut there] = [Shelf::default(), Shelf::default()];
        fit(&settings, 20, &sequences, &mut here).unwrap();
        let Some(device) = open(Order::ALL[0]) else { return };
        let trained = fit_on(Some(device), &settings, 20, &sequences, &mut there).unwrap();
        let losses = [&here, &there].map(|shelf| shelf.losses.borrow().clone());
        assert_eq!(losses[0].len(), losses[1].len());
        for (here, there) in losses[0].iter().zip(&losses[1]) {
            assert!((here - there).abs() < 0.02 * here, "{losses:?}");
        }
        for stop_at in [2, 4] {
            let mut shelf = Shelf { stop_at, ..Shelf::default() };
            let device = open(Order::ALL[1]);
            let stopped = fit_on(device, &settings, 20, &sequences, &mut shelf).unwrap_err();
            assert_eq!(stopped.to_string(), "stopped");
            shelf.stop_at = 0;
            let device = open(Order::ALL[2]);
            let resumed = fit_on(device, &settings, 20, &sequences, &mut shelf).unwrap();
            assert!(shelf.kept == there.kept, "{loss:?} stopped at {stop_at}");
            assert!(resumed.retriever == trained.retriever && resumed.curve == trained.curve);
        }
        let said = fit(&settings, 20, &sequences, &mut there).unwrap_err().to_string();
        assert!(said.starts_with("checkpoint: was made with other settings"), "{said}");
    }
}

#[test]
fn few_sequences_are_learned_from_together_where_they_have_many_candidates() {
    let of = |loss, length_max, batch| {
        sequences_at_once(&TrainSettings { loss, length_max, batch, ..settings(Loss::Bce) })
    };
    assert_eq!(of(Loss::CrossEntropy, 200, 128), 128);
    assert_eq!(of(Loss::CrossEntropy, 200, 65_536), 163);
    assert_eq!(of(Loss::SampledSoftmax { negatives: 65_536 }, 200, 128), 1);
    assert_eq!(of(Loss::Bce, 1000, 65_536), 32);
}

/// Within a share: what lies between parts is not counted, nor what a batch's numbers take.
#[test]
fn what_a_retriever_is_planned_to_take_is_what_a_device_is_asked_for() {
    let config = RetrieverConfig { items: 3001, hidden: 64, blocks: 2, heads: 1, length_max: 50 };
    let retriever = Retriever::random(config, 1).unwrap();
    let check = |device: &Counted, planned: Memory| {
        let planned = (planned.weights_bytes + planned.batch_bytes) as f64;
        let off = device.peak_bytes() as f64 / planned - 1.0;
        assert!(off.abs() < 0.05, "{off}");
    };
    let device = Arc::<Counted>::default();
    let resident = Resident::of(device.clone(), &retriever, 2048).unwrap();
    let history: Vec<ItemId> = (0..50).collect();
    resident.encode(&[&history[..]; 40]).unwrap();
    check(&device, retriever.config().device_memory(2048).unwrap());
    let (mut tokens, mut targets) = (Tokens::default(), Vec::new());
    for _ in 0..40 {
        tokens.push(&history, 50);
        targets.extend(&history);
    }
    let candidates: Vec<u32> = (0..targets.len() as u32 * 257).map(|at| at % 3001).collect();
    for (rule, count, taught) in
        [(LossRule::All(2048), None, &targets), (LossRule::Binary(1.0), Some(257), &candidates)]
    {
        let device = Arc::<Counted>::default();
        let there = ResidentLearner::of(device.clone(), &retriever, rule, 2048).unwrap();
        there.learn(&tokens, taught, 1.0).unwrap();
        check(&device, retriever.config().learning_memory(count, 2048).unwrap());
    }
}
