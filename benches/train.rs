//! How fast does a retriever learn, and how well?
//!
//! ```text
//! cargo bench --bench train                       the original settings: seconds an epoch
//! cargo bench --bench train -- quality KEY=VALUE… to convergence: curve, then test NDCG@10 and
//! HR@10
//! ```
//!
//! Sequences come from the text file in `STEERAGE_SEQUENCES` (`user item item …` or `user item`
//! lines, in order), else they are drawn in the shape of MovieLens-1M. Keys are those of
//! `TrainSettings`, the loss as JSON. With a path in `STEERAGE_CHECKPOINT`, training goes on from
//! that file and keeps it up to date. The last item of a user is for the test and the one before it
//! for validation.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;
use steerage::device::Cpu;
use steerage::device::cpu::peak::f32_ops_per_s;
use steerage::error::{Error, Result};
use steerage::model::retriever::Retriever;
use steerage::train::{Loss, Observer, Part, Progress, TrainSettings, evaluate, fit};
use steerage::types::{Sequence, mix64, unit_f64};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let quality = arguments.first().is_some_and(|a| a == "quality");
    let sequences = match std::env::var("STEERAGE_SEQUENCES") {
        Ok(path) => read(&std::fs::read_to_string(path).unwrap()),
        Err(_) => generate(),
    };
    let items = sequences.iter().flat_map(|s| &s.items).max().map_or(0, |item| *item as usize + 1);
    let interactions: usize = sequences.iter().map(|s| s.items.len()).sum();
    println!("{} users, {items} items, {interactions} interactions", sequences.len());
    let original = TrainSettings {
        hidden: 50,
        heads: 1,
        loss: Loss::Bce,
        warmup_steps: 0,
        gradient_norm_max: 0.0,
        epochs_max: 3,
        validate_epochs: 1000,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        ..TrainSettings::default()
    };
    let settings = arguments
        .iter()
        .filter_map(|a| a.split_once('='))
        .fold(original, |settings, pair| set(&settings, pair));
    println!("{settings:?}");
    let peak = fma_peak(settings.threads);
    println!("machine: {:.0} GFLOP/s in registers on {} threads", peak / 1e9, settings.threads);
    let checkpoint = std::env::var_os("STEERAGE_CHECKPOINT").map(PathBuf::from);
    let (start, epoch) = (Instant::now(), Instant::now());
    let mut watch = Watch { start, epoch, flops: 0, peak, checkpoint };
    let trained = fit(&settings, items, &sequences, &mut watch).unwrap();
    println!("{} epochs in {:.1} min", trained.epochs, watch.start.elapsed().as_secs_f64() / 60.0);
    if quality {
        let best = Retriever::from_bytes("trained", &trained.retriever).unwrap();
        let start = Instant::now();
        let test = evaluate(&Cpu, &best, &sequences, Part::Test, settings.threads).unwrap();
        println!("test: {test:?} in {:.2} s", start.elapsed().as_secs_f64());
    }
}

/// Replaces one setting, by way of JSON.
fn set(settings: &TrainSettings, (key, value): (&str, &str)) -> TrainSettings {
    let threads = if key == "threads" { value.parse().unwrap() } else { settings.threads };
    let mut json = serde_json::to_value(settings).unwrap();
    if key != "threads" {
        json[key] = serde_json::from_str(value).unwrap();
    }
    TrainSettings { threads, ..serde_json::from_value(json).unwrap() }
}

struct Watch {
    start: Instant,
    epoch: Instant,
    flops: u64,
    peak: f64,
    checkpoint: Option<PathBuf>,
}

impl Observer for Watch {
    fn latest(&mut self) -> Result<Option<Vec<u8>>> {
        match &self.checkpoint {
            Some(path) if path.exists() => {
                std::fs::read(path).map(Some).map_err(Error::io("read", path))
            }
            _ => Ok(None),
        }
    }

    fn save(&mut self, _step: u64, checkpoint: &[u8]) -> Result<()> {
        match &self.checkpoint {
            Some(path) => std::fs::write(path, checkpoint).map_err(Error::io("write", path)),
            None => Ok(()),
        }
    }

    fn progress(&mut self, at: &Progress) {
        self.flops += at.flops;
        if !at.step.is_multiple_of(at.steps_per_epoch) {
            return;
        }
        let seconds = self.epoch.elapsed().as_secs_f64();
        let rate = self.flops as f64 / seconds;
        let validation = at.validation.map_or(String::new(), |v| format!(", ndcg@10 {v:.4}"));
        let share = 100.0 * rate / self.peak;
        let (epoch, minutes) =
            (at.step / at.steps_per_epoch, self.start.elapsed().as_secs_f64() / 60.0);
        println!(
            "epoch {epoch:3}: {seconds:6.2} s, {:5.1} GFLOP/s ({share:2.0} % of the machine), \
             loss {:.4}{validation}, {minutes:.1} min",
            rate / 1e9,
            at.loss,
        );
        (self.epoch, self.flops) = (Instant::now(), 0);
    }
}

fn read(text: &str) -> Vec<Sequence> {
    let mut users: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
    for line in text.lines() {
        let mut numbers = line.split_ascii_whitespace().map(|word| word.parse::<u64>().unwrap());
        let Some(user) = numbers.next() else { continue };
        users.entry(user as i64).or_default().extend(numbers);
    }
    let ids: BTreeMap<u64, u32> = users.values().flatten().map(|item| (*item, 0)).collect();
    let ids: BTreeMap<u64, u32> = ids.into_keys().zip(0..).collect();
    users.into_values().map(|items| split(items.iter().map(|item| ids[item]).collect())).collect()
}

fn split(items: Vec<u32>) -> Sequence {
    let train = items.len().saturating_sub(2) as u32;
    let valid = u32::from(items.len() > 2);
    let train = if items.len() > 2 { train } else { items.len() as u32 };
    Sequence { items, train, valid, ..Sequence::default() }
}

/// 6,040 users, 3,416 items and about a million interactions, with lengths from a log-normal of
/// median 96 as there; items by a power law, with a step to a neighbour half of the time, so that
/// order matters.
fn generate() -> Vec<Sequence> {
    (0..6040u64)
        .map(|user| {
            let key = mix64(user);
            let normal: f64 = (0..12).map(|i| unit_f64(mix64(key ^ i))).sum::<f64>() - 6.0;
            let length = (96.0 * (0.98 * normal).exp()).clamp(18.0, 2277.0) as u64;
            let mut item = 0;
            let mut next = |i| {
                let draw = mix64(key ^ mix64(i));
                let popular = (unit_f64(draw).powi(2) * 3416.0) as u32;
                item = if draw.is_multiple_of(2) { (item + 1) % 3416 } else { popular };
                item
            };
            split((0..length).map(&mut next).collect())
        })
        .collect()
}

/// Floating-point operations a second that all threads reach together on registers alone; NaN where
/// the processor has no AVX2.
fn fma_peak(threads: usize) -> f64 {
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(f32_ops_per_s)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap().unwrap_or(f64::NAN)).sum()
    })
}
