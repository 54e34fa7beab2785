//! Does a retriever learn what its loss says, and give the same bits however it is run?

use crate::kernels::{plain, random, real};
use std::cell::RefCell;
use steerage::device::shape::LossShape;
use steerage::device::{Backend, Cpu, CrossEntropy, SampledLoss, SampledRule};
use steerage::error::{Error, Result};
use steerage::model::retriever::{Activations, Retriever, RetrieverConfig, Tokens};
use steerage::model::weights::{self, TensorSpec};
use steerage::train::{Loss, Observer, Part, Progress, TrainSettings, evaluate, fit};
use steerage::types::{ItemId, Sequence, mix64};

const CONFIG: RetrieverConfig =
    RetrieverConfig { items: 20, hidden: 6, blocks: 2, heads: 2, length_max: 8 };

/// All weights away from 0 and 1, so that none hides a mistake.
pub fn retriever(config: RetrieverConfig) -> Retriever {
    let mut retriever = Retriever::random(config, 1).unwrap();
    let noise = random(9, retriever.parameters().len());
    retriever.parameters_mut().iter_mut().zip(noise).for_each(|(w, noise)| *w += 0.3 * noise);
    retriever
}

pub fn history(seed: u64, length: usize, items: usize) -> Vec<ItemId> {
    (0..length as u64).map(|i| (mix64(mix64(seed) ^ i) % items as u64) as ItemId).collect()
}

/// The retriever as composed plain loops in f64.
fn plain_encode(retriever: &Retriever, history: &[ItemId]) -> Vec<f64> {
    let config = retriever.config();
    let (d, heads) = (config.hidden, config.heads);
    let all: Vec<f64> = real(retriever.parameters());
    let mut rest = &all[..];
    let mut take = |count: usize| {
        let (tensor, after) = rest.split_at(count);
        rest = after;
        tensor
    };
    let (items, positions) = (take(config.items * d), take(config.length_max * d));
    let latest = &history[history.len().saturating_sub(config.length_max)..];
    let first = config.length_max - latest.len();
    let mut stream: Vec<f64> = (0..latest.len() * d)
        .map(|i| {
            let (t, c) = (i / d, i % d);
            (d as f64).sqrt() * items[latest[t] as usize * d + c] + positions[(first + t) * d + c]
        })
        .collect();
    let offsets = [0, latest.len() as u32];
    let ones = vec![1.0; heads * latest.len() * latest.len()];
    for _ in 0..config.blocks {
        let normed = plain::layer_norm(&stream, take(2 * d));
        let qkv = plain::linear(&normed, take(3 * d * (d + 1)), d, false);
        let mixed = plain::attention(&qkv, &ones, &offsets, (heads, d / heads));
        let out = plain::linear(&mixed, take(d * (d + 1)), d, false);
        stream.iter_mut().zip(out).for_each(|(s, x)| *s += x);
        let normed = plain::layer_norm(&stream, take(2 * d));
        let inner = plain::linear(&normed, take(d * (d + 1)), d, true);
        let out = plain::linear(&inner, take(d * (d + 1)), d, false);
        stream.iter_mut().zip(out).for_each(|(s, x)| *s += x);
    }
    plain::layer_norm(&stream, take(2 * d))[(latest.len() - 1) * d..].to_vec()
}

#[test]
fn encoding_is_the_formula_and_does_not_depend_on_the_batch() {
    let config = RetrieverConfig { items: 300, hidden: 50, blocks: 2, heads: 2, length_max: 60 };
    let retriever = retriever(config);
    let histories: Vec<Vec<ItemId>> =
        (0..70).map(|u| history(u, (u as usize * 7) % 90, 300)).collect();
    let all: Vec<&[ItemId]> = histories.iter().map(Vec::as_slice).collect();
    let together = retriever.encode(&all).unwrap();
    assert_eq!(together.len(), 70 * 50);
    for (user, row) in all.iter().zip(together.chunks(50)) {
        let alone = retriever.encode(&[user]).unwrap();
        let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
        assert_eq!(bits(&alone), bits(row));
        let exact = if user.is_empty() { vec![0.0; 50] } else { plain_encode(&retriever, user) };
        for (found, exact) in row.iter().zip(exact) {
            assert!((f64::from(*found) - exact).abs() < 1e-4, "{found} instead of {exact}");
        }
    }
}

/// Two sequences with weights that are dropped, their targets, and candidates of a loss, over 20
/// items; and ln of how often each is drawn.
pub fn lesson(loss: Loss) -> (Tokens, [Vec<u32>; 2], Vec<f32>) {
    let mut tokens = Tokens::default();
    tokens.dropout = 0.25;
    tokens.push(&history(1, 7, 20), 8);
    tokens.push(&history(2, 3, 20), 8);
    tokens.keys = (0..10).map(mix64).collect();
    let targets = history(3, 10, 20);
    let candidates = loss.negatives().map_or(20, |n| n + 1) as u32;
    let drawn = targets.iter().flat_map(|t| (0..candidates).map(move |j| (t + j * 3) % 20));
    let drawn = drawn.collect();
    (tokens, [targets, drawn], random(4, 20))
}

/// The loss of two sequences, and its gradient.
pub fn loss_and_gradient(retriever: &Retriever, loss: Loss) -> (f64, Vec<f32>) {
    let (tokens, [targets, drawn], log_q) = lesson(loss);
    let hidden = retriever.config().hidden;
    let mut activations = Activations::default();
    retriever.forward(&Cpu, &tokens, &mut activations);
    let mut gradient = vec![0.0; retriever.parameters().len()];
    let mut d_x = vec![0.0; 10 * hidden];
    let (x, table) = (activations.hidden(), retriever.item_embeddings());
    let d_table = retriever.item_gradient(&mut gradient);
    let d_hidden = &mut d_x[..];
    let rule = match loss {
        Loss::SampledSoftmax { .. } => SampledRule::Softmax { log_q: &log_q },
        other => SampledRule::Binary { beta: other.beta(20) },
    };
    let shape = LossShape { rows: 10, hidden, items: 20, candidates: drawn.len() / 10 };
    let value = match loss {
        Loss::CrossEntropy => Cpu.cross_entropy(CrossEntropy {
            shape,
            x,
            table,
            targets: &targets,
            scale: 1.0,
            d_x: d_hidden,
            d_table,
        }),
        _ => Cpu.sampled_loss(SampledLoss {
            shape,
            rule,
            x,
            table,
            candidates: &drawn,
            scale: 1.0,
            d_x: d_hidden,
            d_table,
        }),
    };
    retriever.backward(&Cpu, &tokens, &mut activations, &d_x, &mut gradient);
    (value, gradient)
}

#[test]
fn the_gradient_of_every_tensor_with_every_loss_is_a_difference_of_losses() {
    let losses = [
        Loss::CrossEntropy,
        Loss::SampledSoftmax { negatives: 4 },
        Loss::Gbce { negatives: 3, calibration: 0.75 },
        Loss::Bce,
    ];
    for loss in losses {
        let retriever = retriever(CONFIG);
        let (_, gradient) = loss_and_gradient(&retriever, loss);
        let file = retriever.to_bytes().unwrap();
        let mut start = 0;
        for tensor in specs(&file) {
            let range = start..start + tensor.len();
            start = range.end;
            let norm = gradient[range.clone()].iter().map(|g| g * g).sum::<f32>().sqrt();
            assert!(norm > 1e-4, "{loss:?} does not reach {}", tensor.name);
            // Along the gradient, where the difference is largest against the rounding of f32, and
            // not so far that many activations pass 0.
            let reach = (5e-3 / norm).min(5e-4);
            let at = |h: f32| {
                let mut moved = retriever.clone();
                for i in range.clone() {
                    moved.parameters_mut()[i] += h * gradient[i] / norm;
                }
                loss_and_gradient(&moved, loss).0
            };
            let difference = (at(reach) - at(-reach)) / f64::from(2.0 * reach);
            let error = (difference / f64::from(norm) - 1.0).abs();
            assert!(error < 0.02, "{loss:?}, {}: {norm}, not {difference}", tensor.name);
        }
        assert_eq!(start, gradient.len());
    }
}

/// The tensors of a retriever's file, in the order of its parameters.
fn specs(file: &[u8]) -> Vec<TensorSpec> {
    let mut names = vec![("item_emb.weight".to_string(), vec![20, 6])];
    names.push(("pos_emb.weight".into(), vec![8, 6]));
    for b in 0..2 {
        let mut affine = |prefix: String, shape: Vec<usize>| {
            names.push((format!("{prefix}weight"), shape.clone()));
            names.push((format!("{prefix}bias"), shape[..1].to_vec()));
        };
        affine(format!("attention_layernorms.{b}."), vec![6]);
        affine(format!("attention_layers.{b}.in_proj_"), vec![18, 6]);
        affine(format!("attention_layers.{b}.out_proj."), vec![6, 6]);
        affine(format!("forward_layernorms.{b}."), vec![6]);
        affine(format!("forward_layers.{b}.conv1."), vec![6, 6]);
        affine(format!("forward_layers.{b}.conv2."), vec![6, 6]);
    }
    names.push(("last_layernorm.weight".into(), vec![6]));
    names.push(("last_layernorm.bias".into(), vec![6]));
    let specs: Vec<_> = names.into_iter().map(|(name, shape)| TensorSpec { name, shape }).collect();
    assert!(weights::read("file", file, &specs).is_ok());
    specs
}

#[test]
fn a_file_gives_back_the_retriever_and_a_wrong_one_is_refused_by_name() {
    let retriever = retriever(CONFIG);
    let file = retriever.to_bytes().unwrap();
    let again = Retriever::from_bytes("r.safetensors", &file).unwrap();
    assert_eq!(again.parameters(), retriever.parameters());
    assert_eq!((again.config(), again.to_bytes().unwrap()), (retriever.config(), file.clone()));

    let config = weights::metadata("r", &file).unwrap();
    let refused = |specs: &[TensorSpec], data: &[f32]| {
        let file = weights::write(specs, data, &config).unwrap();
        Retriever::from_bytes("r.safetensors", &file).unwrap_err().to_string()
    };
    let good = specs(&file);
    let mut data = retriever.parameters().to_vec();
    let missing = refused(&good[..good.len() - 1], &data);
    assert_eq!(missing, "r.safetensors: tensor last_layernorm.bias: missing");
    let mut other = good.clone();
    other.push(TensorSpec { name: "head.weight".into(), shape: vec![2] });
    let extra = refused(&other, &[&data[..], &[0.0; 2]].concat());
    assert_eq!(extra, "r.safetensors: tensor head.weight: not part of this model");
    other.truncate(good.len());
    other[0].shape = vec![6, 20];
    let shape = refused(&other, &data);
    let expected = "tensor item_emb.weight: expected F32 [20, 6], found F32 [6, 20]";
    assert_eq!(shape, format!("r.safetensors: {expected}"));
    data[20 * 6] = f32::NAN;
    let nan = refused(&good, &data);
    assert_eq!(nan, "r.safetensors: tensor pos_emb.weight: holds NaN or infinity");
    for end in [0, 7, 100, file.len() - 1] {
        assert!(Retriever::from_bytes("r", &file[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn items_the_model_does_not_know_are_refused() {
    let error = retriever(CONFIG).encode(&[&[1, 2], &[3, 20]]).unwrap_err().to_string();
    assert!(error.contains("item 20") && error.contains("20 items"), "{error}");
    let bad = RetrieverConfig { hidden: 7, length_max: 0, ..CONFIG }.check().unwrap_err();
    assert_eq!(
        bad.to_string(),
        "retriever: length_max = 0: expected 1 to 65536; heads = 2: expected a divisor of 7"
    );
}

/// Keeps checkpoints, and may stop the training at one.
#[derive(Default)]
pub struct Shelf {
    pub kept: Vec<(u64, Vec<u8>)>,
    pub stop_at: u64,
    pub losses: RefCell<Vec<f64>>,
}

impl Observer for Shelf {
    fn latest(&mut self) -> Result<Option<Vec<u8>>> {
        Ok(self.kept.last().map(|(_, bytes)| bytes.clone()))
    }
    fn save(&mut self, step: u64, checkpoint: &[u8]) -> Result<()> {
        self.kept.push((step, checkpoint.to_vec()));
        match step == self.stop_at {
            true => Err(Error::Incomplete("stopped".into())),
            false => Ok(()),
        }
    }
    fn progress(&mut self, progress: &Progress) {
        self.losses.borrow_mut().push(progress.loss);
    }
}

/// Users who walk the items in steps of 1 or 3, so that the next item follows from the last two.
pub fn walkers(users: u64) -> Vec<Sequence> {
    let walk = |user: u64| {
        let (start, stride) = (mix64(user) % 20, 1 + 2 * (user % 2));
        let length = 5 + user % 9;
        let items: Vec<ItemId> =
            (0..length).map(|i| ((start + i * stride) % 20) as ItemId).collect();
        let train = items.len() as u32 - 2;
        Sequence { items, train, valid: 1, ..Sequence::default() }
    };
    (0..users).map(walk).collect()
}

pub fn settings(loss: Loss) -> TrainSettings {
    TrainSettings {
        hidden: 12,
        blocks: 1,
        heads: 2,
        length_max: 6,
        dropout: 0.1,
        loss,
        batch: 24,
        rate: 0.01,
        warmup_steps: 3,
        sliding: true,
        epochs_max: 3,
        checkpoint_steps: 2,
        seed: 5,
        ..TrainSettings::default()
    }
}

#[test]
fn checkpoints_have_the_same_bytes_for_any_threads_and_any_interruption() {
    let sequences = walkers(60);
    let losses = [
        Loss::CrossEntropy,
        Loss::SampledSoftmax { negatives: 5 },
        Loss::Gbce { negatives: 4, calibration: 0.5 },
        Loss::Bce,
    ];
    for loss in losses {
        let mut whole = Shelf::default();
        let trained = fit(&settings(loss), 20, &sequences, &mut whole).unwrap();
        assert!(whole.kept.len() > 4 && trained.curve.len() == 3, "{loss:?}");
        for threads in [2, 3] {
            let mut shelf = Shelf::default();
            let settings = TrainSettings { threads, ..settings(loss) };
            let again = fit(&settings, 20, &sequences, &mut shelf).unwrap();
            assert!(shelf.kept == whole.kept, "{loss:?} with {threads} threads");
            assert_eq!(again.retriever, trained.retriever);
        }
        for (stop_at, _) in &whole.kept {
            let mut shelf = Shelf { stop_at: *stop_at, ..Shelf::default() };
            let stopped = fit(&settings(loss), 20, &sequences, &mut shelf).unwrap_err();
            assert_eq!(stopped.to_string(), "stopped");
            shelf.stop_at = 0;
            let settings = TrainSettings { threads: 2, ..settings(loss) };
            let resumed = fit(&settings, 20, &sequences, &mut shelf).unwrap();
            assert!(shelf.kept == whole.kept, "{loss:?} stopped at {stop_at}");
            assert_eq!(resumed.retriever, trained.retriever);
            assert_eq!(resumed.curve, trained.curve);
        }
    }
}

#[test]
fn a_checkpoint_of_another_run_is_refused() {
    let sequences = walkers(30);
    let mut shelf = Shelf::default();
    fit(&settings(Loss::CrossEntropy), 20, &sequences, &mut shelf).unwrap();
    let other = TrainSettings { rate: 0.02, ..settings(Loss::CrossEntropy) };
    let error = fit(&other, 20, &sequences, &mut shelf).unwrap_err().to_string();
    assert!(error.starts_with("checkpoint: was made with other settings or data"), "{error}");
    let error = fit(&settings(Loss::CrossEntropy), 20, &walkers(29), &mut shelf).unwrap_err();
    assert!(error.to_string().contains("found"), "{error}");
}

#[test]
fn a_checkpoint_with_another_byte_is_refused_wherever_it_is() {
    let sequences = walkers(30);
    let mut shelf = Shelf::default();
    let settings = settings(Loss::CrossEntropy);
    let trained = fit(&settings, 20, &sequences, &mut shelf).unwrap();
    let whole = shelf.kept.pop().unwrap();
    for at in (0..whole.1.len()).step_by(101) {
        let mut bytes = whole.1.clone();
        bytes[at] ^= 1;
        shelf.kept = vec![(whole.0, bytes)];
        let error = fit(&settings, 20, &sequences, &mut shelf).unwrap_err().to_string();
        assert!(error.starts_with("checkpoint: "), "byte {at}: {error}");
        assert!(error.ends_with(": remove it to start again"), "byte {at}: {error}");
    }
    for length in [0, 7, 100, whole.1.len() - 1] {
        shelf.kept = vec![(whole.0, whole.1[..length].to_vec())];
        let error = fit(&settings, 20, &sequences, &mut shelf).unwrap_err().to_string();
        assert!(error.ends_with(": remove it to start again"), "{length} bytes: {error}");
    }
    shelf.kept = vec![whole];
    let again = fit(&settings, 20, &sequences, &mut shelf).unwrap();
    assert_eq!(again.retriever, trained.retriever);
}

#[test]
fn every_loss_learns_to_walk() {
    let sequences = walkers(200);
    let chance = 1.0 / 2.0; // ten of twenty items
    for loss in [
        Loss::CrossEntropy,
        Loss::SampledSoftmax { negatives: 10 },
        Loss::Gbce { negatives: 8, calibration: 0.75 },
        Loss::Bce,
    ] {
        let mut shelf = Shelf::default();
        let settings = TrainSettings { epochs_max: 30, dropout: 0.0, threads: 2, ..settings(loss) };
        let trained = fit(&settings, 20, &sequences, &mut shelf).unwrap();
        let best = Retriever::from_bytes("best", &trained.retriever).unwrap();
        let test = evaluate(&Cpu, &best, &sequences, Part::Test, 2).unwrap();
        assert!(test.ndcg_10 > 0.9 && test.hit_10 > chance, "{loss:?}: {test:?}");
        let validation = evaluate(&Cpu, &best, &sequences, Part::Validation, 1).unwrap();
        let highest = trained.curve.iter().map(|(_, value)| *value).fold(0.0, f64::max);
        assert_eq!(validation.ndcg_10, highest, "the best of the curve is what is kept");
    }
}

#[test]
fn one_batch_is_learned_by_heart() {
    let sequences: Vec<Sequence> = (0..6)
        .map(|u| Sequence { items: history(u, 7, 20), train: 7, ..Sequence::default() })
        .collect();
    let settings =
        TrainSettings { dropout: 0.0, hidden: 24, epochs_max: 300, ..settings(Loss::CrossEntropy) };
    let mut shelf = Shelf::default();
    fit(&settings, 20, &sequences, &mut shelf).unwrap();
    let losses = shelf.losses.into_inner();
    assert!(losses[0] > 2.0, "at first nothing is known: {}", losses[0]);
    assert!(losses[299] < 0.05, "{}", losses[299]);
}

#[test]
fn training_stops_when_validation_gets_no_better() {
    // Nothing follows from anything: validation soon wanders.
    let sequences: Vec<Sequence> = (0..50)
        .map(|u| Sequence { items: history(u, 9, 20), train: 7, valid: 1, ..Sequence::default() })
        .collect();
    let settings = TrainSettings { epochs_max: 500, patience: 2, ..settings(Loss::CrossEntropy) };
    let trained = fit(&settings, 20, &sequences, &mut Shelf::default()).unwrap();
    let best = trained.curve.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let first = trained.curve.iter().position(|(_, value)| *value == best).unwrap();
    assert_eq!(trained.epochs as usize, first + 1 + 2, "two epochs after the best");
}

#[test]
fn quality_equals_brute_force() {
    let retriever = retriever(CONFIG);
    let mut sequences = walkers(90);
    let train = sequences[3].train as usize;
    sequences[3].items.truncate(train);
    sequences[3].valid = 0;
    let found = evaluate(&Cpu, &retriever, &sequences, Part::Test, 3).unwrap();
    let (mut ndcg, mut users) = (0.0, 0);
    for sequence in &sequences {
        let (known, targets) = sequence.items.split_at((sequence.train + sequence.valid) as usize);
        let [target] = targets else { continue };
        users += 1;
        let hidden = plain_encode(&retriever, known);
        let table: Vec<f64> = real(retriever.item_embeddings());
        let mut scored: Vec<(f64, u32)> = (0..20u32)
            .filter(|item| !known.contains(item))
            .map(|i| {
                (table[i as usize * 6..][..6].iter().zip(&hidden).map(|(a, b)| a * b).sum(), i)
            })
            .collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0));
        let rank = scored.iter().position(|(_, item)| item == target);
        ndcg += rank.filter(|r| *r < 10).map_or(0.0, |r| 1.0 / (r as f64 + 2.0).log2());
    }
    assert_eq!((found.users, users), (89, 89));
    assert!((found.ndcg_10 - ndcg / 89.0).abs() < 1e-9, "{found:?}");
}

#[test]
fn settings_and_sequences_out_of_range_are_named() {
    let bad = TrainSettings { dropout: 1.0, batch: 0, threads: 0, ..settings(Loss::Bce) };
    let message = bad.check().unwrap_err().to_string();
    for name in ["dropout = 1", "batch = 0", "threads = 0"] {
        assert!(message.contains(name), "{message}");
    }
    let run = |sequences: &[Sequence]| {
        fit(&settings(Loss::Bce), 20, sequences, &mut Shelf::default()).unwrap_err().to_string()
    };
    let outside = Sequence { items: vec![1, 20], train: 2, ..Sequence::default() };
    assert!(run(&[outside]).contains("item 20 is outside the catalogue of 20 items"));
    let short = Sequence { items: vec![1], train: 1, ..Sequence::default() };
    assert!(run(&[short]).contains("none of 1 sequences has two training items"));
    let long = Sequence { items: vec![1, 2], train: 2, valid: 1, ..Sequence::default() };
    assert!(run(&[long]).contains("train + valid = 3, but it has 2 items"));
    // α = 5 / 20: β = 1 − t · (1 − α).
    let beta = Loss::Gbce { negatives: 5, calibration: 0.5 }.beta(21);
    assert!((beta - (1.0 - 0.5 * (1.0 - 5.0 / 20.0))).abs() < 1e-6);
}
