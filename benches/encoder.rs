//! How fast does an encoder read texts, next to what the machine can do at most, and how fast does
//! it learn?
//!
//! ```text
//! ENCODER_FOLDER=… ENCODER_TEXTS=titles.txt cargo bench --bench encoder
//! … cargo bench --bench encoder -- threads=1 repeat=3 f32=0 steps=0
//! ```
//!
//! The folder holds a BERT in Hugging Face layout, such as MiniLM-L6; the file a text a line.
//! Without them, a BERT of MiniLM-L6's size with random weights reads made-up titles. Reading is
//! from text to vectors: tokens, base, pooling and head. The rate of the machine is measured from
//! registers before each variant, since clocks move; operations are the products' and the
//! attention's. `ENCODER_VECTORS=out` writes the vectors, f32, to `out.Bf16` and `out.F32`, to be
//! compared.
//! A training step has 32 lessons of 4 texts each, in `steps=` steps of which the first does not
//! count; 0 leaves training out.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;
use std::time::Instant;
use steerage::device::cpu::peak::{bf16_ops_per_s, f32_ops_per_s};
use steerage::device::{Precision, machine};
use steerage::error::Result;
use steerage::model::encoder::{Batch, Bert, BertConfig, Encoder, Trained, words};
use steerage::train::encoder::{EncoderSettings, Lesson, fit};
use steerage::train::{Observer, Progress};
use steerage::types::mix64;

/// Tokens of the longest text, as where this is compared with others.
const TOKENS_MAX: usize = 256;

fn main() {
    let number = |name: &str, default: usize| {
        let given = std::env::args().find_map(|a| a.strip_prefix(name)?.parse().ok());
        given.unwrap_or(default)
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (threads, repeat) = (number("threads=", cores), number("repeat=", 5));
    let texts = texts();
    println!("{}, {threads} threads, {} texts", machine(), texts.len());
    let precisions = match number("f32=", 1) {
        0 => &[Precision::Bf16][..],
        _ => &[Precision::Bf16, Precision::F32],
    };
    for precision in precisions {
        let encoder = encoder(&texts, *precision);
        let vectors = read(&encoder, &texts, threads, repeat);
        if let Ok(path) = std::env::var("ENCODER_VECTORS") {
            let bytes: Vec<u8> = vectors.iter().flat_map(|x| x.to_le_bytes()).collect();
            std::fs::write(format!("{path}.{precision:?}"), bytes).unwrap();
        }
    }
    let steps = number("steps=", 3);
    if steps > 0 {
        let lora = Trained::Lora { rank: 8, alpha: 16.0 };
        for (precision, trained) in [
            (Precision::Bf16, lora.clone()),
            (Precision::F32, lora),
            (Precision::F32, Trained::Full),
        ] {
            learn(encoder(&texts, precision), &trained, &texts, threads, steps);
        }
    }
}

fn texts() -> Vec<String> {
    match std::env::var("ENCODER_TEXTS") {
        Ok(path) => std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect(),
        Err(_) => (0..4000).map(made_up).collect(),
    }
}

/// Some 14 words.
fn made_up(at: u64) -> String {
    let count = 8 + mix64(at) % 12;
    let word = |i: u64| format!("w{}", mix64(mix64(at) ^ i) % 5000);
    (0..count).map(word).collect::<Vec<String>>().join(" ")
}

fn encoder(texts: &[String], precision: Precision) -> Encoder {
    if let Ok(folder) = std::env::var("ENCODER_FOLDER") {
        return Encoder::open(Path::new(&folder), Some(precision), None, TOKENS_MAX, 0).unwrap();
    }
    let words = words::tokenizer(texts.iter().map(String::as_str), 20_000).unwrap();
    let config = BertConfig {
        vocabulary: 30_522,
        hidden: 384,
        inner: 1536,
        layers: 6,
        heads: 12,
        context_max: 512,
        kinds: 2,
        epsilon: 1e-12,
    };
    let random = Encoder::random(config, &words, None, TOKENS_MAX, 0).unwrap();
    let files: Vec<_> = random.to_files().unwrap();
    let file = |name: &str| {
        let (_, bytes) = files.iter().find(|(other, _)| *other == name).unwrap();
        Ok(bytes.clone().into())
    };
    Encoder::from_files("random", Some(precision), &file).unwrap()
}

fn read(encoder: &Encoder, texts: &[String], threads: usize, repeat: usize) -> Vec<f32> {
    let rate = match encoder.precision() {
        Precision::Bf16 => || bf16_ops_per_s().or_else(f32_ops_per_s),
        Precision::F32 | Precision::Fp8 => f32_ops_per_s,
    };
    let peak = together(threads, rate);
    let mut vectors = Vec::new();
    let run = |_| {
        let (start, before) = (Instant::now(), processor_seconds());
        vectors = encoder.items(texts, threads).unwrap();
        (start.elapsed().as_secs_f64(), processor_seconds() - before)
    };
    let (mut seconds, mut used): (Vec<f64>, Vec<f64>) = (0..repeat + 1).map(run).skip(1).unzip();
    seconds.sort_by(f64::total_cmp);
    used.sort_by(f64::total_cmp);
    let (best, median) = (seconds[0], seconds[seconds.len() / 2]);
    let pieces = encoder.item_pieces(texts, threads).unwrap();
    let tokens: usize = pieces.iter().map(|piece| piece.tokens.len()).sum();
    let done = encoder.bert().map_or(0, |bert: &Bert| bert.flops(&Batch::of(pieces.iter()))) as f64;
    println!(
        "{:?}: {:.0} texts/s (best {:.0}), {:.0} tokens/s of {tokens}, {:.0} of {:.0} GFLOP/s: \
         {:.0} %",
        encoder.precision(),
        texts.len() as f64 / median,
        texts.len() as f64 / best,
        tokens as f64 / median,
        done / used[0] * threads as f64 / 1e9,
        peak / 1e9,
        100.0 * done / used[0] * threads as f64 / peak,
    );
    vectors
}

fn learn(encoder: Encoder, trained: &Trained, texts: &[String], threads: usize, steps: usize) {
    let lesson = |at: usize| Lesson {
        request: texts[at % texts.len()].clone(),
        context: texts[(at * 7 + 1) % texts.len()].clone(),
        items: (0..4)
            .map(|i| (mix64((4 * at + i) as u64) % texts.len() as u64) as u32)
            .map(|item| (item, (item % 2) as f32))
            .collect(),
    };
    let lessons: Vec<Lesson> = (0..32 * (steps + 1)).map(lesson).collect();
    let settings = EncoderSettings {
        batch: 32,
        epochs_max: 1,
        threads,
        ..EncoderSettings::new(trained.clone())
    };
    let name = format!("{:?}, {trained:?}", encoder.precision());
    let mut watch = Watch { last: Instant::now(), seconds: Vec::new(), flops: 0, pairs: 0 };
    fit(&settings, encoder, &lessons, texts, &mut |_| Ok(None), &mut watch).unwrap();
    watch.seconds.sort_by(f64::total_cmp);
    let median = watch.seconds[watch.seconds.len() / 2];
    println!(
        "{name}: a step of {} pairs in {median:.2} s, {:.0} pairs/s, {:.0} GFLOP/s",
        watch.pairs,
        watch.pairs as f64 / median,
        watch.flops as f64 / median / 1e9
    );
}

/// Times the steps after the first.
struct Watch {
    last: Instant,
    seconds: Vec<f64>,
    flops: u64,
    pairs: u64,
}

impl Observer for Watch {
    fn latest(&mut self) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }
    fn save(&mut self, _: u64, _: &[u8]) -> Result<()> {
        Ok(())
    }
    fn progress(&mut self, progress: &Progress) {
        if progress.step > 1 {
            self.seconds.push(self.last.elapsed().as_secs_f64());
        }
        (self.flops, self.pairs) = (progress.flops, progress.positions);
        self.last = Instant::now();
    }
}

/// Processor time of this process, as Linux counts it; NaN elsewhere.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|x| x.parse::<f64>().ok()).unwrap_or(f64::NAN);
    (ticks(11) + ticks(12)) / 100.0
}

/// The sum over threads that run at the same time.
fn together(threads: usize, rate: impl Fn() -> Option<f64> + Copy + Send) -> f64 {
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(rate)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap().unwrap_or(f64::NAN)).sum()
    })
}
