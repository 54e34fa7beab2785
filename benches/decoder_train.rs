//! How long is a training step of a decoder, next to what the machine can do at most?
//!
//! ```text
//! cargo bench --bench decoder_train
//! cargo bench --bench decoder_train -- threads=1 prompts=8 tokens=300 steps=3
//! ```
//!
//! The Llama of the bench `decoder` (100 million parameters), LoRA of rank 8 on all seven
//! projections and four rows of tokens, RankNet over 20 candidates. A step is forward, backward and
//! the optimiser; what is computed again when `kept_mib=` is too small for all layers does not
//! count as work. The first step is not counted.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Instant;
use steerage::device::cpu::peak::{bf16_ops_per_s, f32_ops_per_s};
use steerage::device::{Precision, machine};
use steerage::error::Result;
use steerage::model::adapter::AdapterConfig;
use steerage::model::decoder::{Projection, Trained};
use steerage::testing::llama::llama_100m;
use steerage::train::reranker::{Example, RerankerSettings, fit};
use steerage::train::{Observer, Progress};
use steerage::types::mix64;

fn main() {
    let number = |name: &str, default: usize| {
        let given = std::env::args().find_map(|a| a.strip_prefix(name)?.parse().ok());
        given.unwrap_or(default)
    };
    let threads = number("threads=", 2);
    let (prompts, tokens) = (number("prompts=", 8), number("tokens=", 600));
    let steps = number("steps=", 3);
    println!("{}, {threads} threads, {prompts} prompts of {tokens} tokens", machine());
    for precision in [Precision::Bf16, Precision::F32] {
        let decoder = llama_100m(precision).unwrap();
        let example = |e: usize| Example {
            tokens: (0..tokens).map(|t| (mix64((e * tokens + t) as u64) % 32_000) as u32).collect(),
            relevance: (0..20).map(|j| (mix64((e * 20 + j) as u64) % 3) as f32).collect(),
        };
        let examples: Vec<Vec<Example>> =
            (0..prompts * (steps + 1)).map(|e| vec![example(e)]).collect();
        let trained = Trained::Adapter(AdapterConfig {
            rank: 8,
            alpha: 16.0,
            rslora: false,
            targets: Projection::ALL.to_vec(),
            tokens: (1000..1004).collect(),
            base: None,
        });
        let settings = RerankerSettings {
            batch: prompts,
            epochs_max: 1,
            threads,
            kept_bytes_max: number("kept_mib=", 1024) << 20,
            ..RerankerSettings::new(trained)
        };
        let rate = match precision {
            Precision::Bf16 => bf16_ops_per_s().or_else(f32_ops_per_s),
            Precision::F32 | Precision::Fp8 => f32_ops_per_s(),
        };
        let peak = rate.unwrap_or(f64::NAN) * threads as f64;
        let mut watch = Watch { last: Instant::now(), used: processor_seconds(), peak, threads };
        let labels: Vec<u32> = (100..120).collect();
        println!("{precision:?}");
        fit(&settings, decoder, &labels, &examples, &mut |_| Ok(None), &mut watch).unwrap();
    }
}

/// Prints what each step took.
struct Watch {
    last: Instant,
    used: f64,
    peak: f64,
    threads: usize,
}

impl Observer for Watch {
    fn latest(&mut self) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }
    fn save(&mut self, _: u64, _: &[u8]) -> Result<()> {
        Ok(())
    }
    fn progress(&mut self, progress: &Progress) {
        let (seconds, used) = (self.last.elapsed().as_secs_f64(), processor_seconds() - self.used);
        if progress.step > 1 {
            let rate = progress.flops as f64 / used * self.threads as f64;
            println!(
                "step {}: {seconds:.2} s, {:.2} s if the threads had been alone, {:.0} of {:.0} \
                 GFLOP/s: {:.0} %; loss {:.4}",
                progress.step,
                used / self.threads as f64,
                rate / 1e9,
                self.peak / 1e9,
                100.0 * rate / self.peak,
                progress.loss,
            );
        }
        (self.last, self.used) = (Instant::now(), processor_seconds());
    }
}

/// Processor time of this process, as Linux counts it; NaN elsewhere.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|x| x.parse::<f64>().ok()).unwrap_or(f64::NAN);
    (ticks(11) + ticks(12)) / 100.0
}
