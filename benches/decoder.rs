//! How fast does a decoder score prompts, next to what the machine can do at most?
//!
//! ```text
//! cargo bench --bench decoder                          all variants
//! cargo bench --bench decoder -- threads=1 prompts=8 tokens=300 repeat=5 f32=0
//! ```
//!
//! A Llama of 100 million parameters with random weights (12 layers of width 768, vocabulary
//! 32,000), and LoRA of rank 8 on all seven projections, not merged. The rate of the machine is
//! measured from registers before each variant, since clocks move. Where others use the machine at
//! the same time, the seconds of processor time for a prompt say more than prompts a second; the
//! share of the rate is of processor time.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Instant;
use steerage::device::cpu::peak::{bf16_ops_per_s, f32_ops_per_s};
use steerage::device::{Cpu, Precision, machine};
use steerage::model::adapter::{Adapter, AdapterConfig};
use steerage::model::decoder::{Decoder, Projection, Prompt};
use steerage::testing::llama::{LLAMA_100M, llama_100m};
use steerage::types::{mix64, unit_f64};

fn main() {
    let number = |name: &str, default: usize| {
        let given = std::env::args().find_map(|a| a.strip_prefix(name)?.parse().ok());
        given.unwrap_or(default)
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = number("threads=", cores);
    let (prompts, tokens) = (number("prompts=", 16), number("tokens=", 600));
    let repeat = number("repeat=", 5);
    println!("{}, {threads} threads, {prompts} prompts of {tokens} tokens", machine());
    let precisions = match number("f32=", 1) {
        0 => &[Precision::Bf16][..],
        _ => &[Precision::Bf16, Precision::F32],
    };
    for &precision in precisions {
        let mut decoder = llama_100m(precision).unwrap();
        let config = AdapterConfig {
            rank: 8,
            alpha: 16.0,
            rslora: false,
            targets: Projection::ALL.to_vec(),
            tokens: Vec::new(),
            base: None,
        };
        let adapter =
            Adapter::new(config, &LLAMA_100M, |i| 0.05 * unit_f64(mix64(i as u64)) as f32 - 0.025);
        (0..2).for_each(|_| _ = decoder.attach(&adapter));
        for (name, choices) in [
            ("no adapter", &[None] as &[Option<u32>]),
            ("one adapter, all seven", &[Some(0)]),
            ("two adapters and none, in turn", &[Some(0), Some(1), None]),
        ] {
            let prompt = |p: usize| Prompt {
                tokens: (0..tokens)
                    .map(|t| (mix64((p * tokens + t) as u64) % 32_000) as u32)
                    .collect(),
                adapter: choices[p % choices.len()],
            };
            let prompts: Vec<Prompt> = (0..prompts).map(prompt).collect();
            measure(&decoder, name, &prompts, threads, repeat);
        }
    }
}

fn measure(decoder: &Decoder, name: &str, prompts: &[Prompt], threads: usize, repeat: usize) {
    let labels: Vec<u32> = (100..120).collect();
    let labels = decoder.labels(&labels).unwrap();
    let rate = match decoder.precision() {
        Precision::Bf16 => || bf16_ops_per_s().or_else(f32_ops_per_s),
        Precision::F32 | Precision::Fp8 => f32_ops_per_s,
    };
    let peak = together(threads, rate);
    let run = |_| {
        let (start, before) = (Instant::now(), processor_seconds());
        std::hint::black_box(decoder.logits(&Cpu, prompts, &labels, threads).unwrap());
        (start.elapsed().as_secs_f64(), processor_seconds() - before)
    };
    let (mut seconds, mut used): (Vec<f64>, Vec<f64>) = (0..repeat + 1).map(run).skip(1).unzip();
    seconds.sort_by(f64::total_cmp);
    used.sort_by(f64::total_cmp);
    let (best, median) = (seconds[0], seconds[seconds.len() / 2]);
    let tokens: usize = prompts.iter().map(|prompt| prompt.tokens.len()).sum();
    let done = flops(prompts) as f64;
    println!(
        "{:?} {name:30} {:6.2} prompts/s (best {:.2}), {:6.0} tokens/s, {:.3} s a prompt, {:4.0} \
         of {:4.0} GFLOP/s: {:.0} %",
        decoder.precision(),
        prompts.len() as f64 / median,
        prompts.len() as f64 / best,
        tokens as f64 / median,
        used[0] / prompts.len() as f64,
        done / used[0] * threads as f64 / 1e9,
        peak / 1e9,
        100.0 * done / used[0] * threads as f64 / peak,
    );
}

/// Processor time of this process, as Linux counts it; NaN elsewhere.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|x| x.parse::<f64>().ok()).unwrap_or(f64::NAN);
    (ticks(11) + ticks(12)) / 100.0
}

/// Multiply-adds of the base model's products and attention, counted twice each, as if every token
/// went through every layer.
fn flops(prompts: &[Prompt]) -> u64 {
    let projections: usize =
        Projection::ALL.iter().map(|p| p.shape(&LLAMA_100M).iter().product::<usize>()).sum();
    let layer = |length: usize| 2 * length * projections + 2 * length * length * 768;
    prompts.iter().map(|p| (LLAMA_100M.layers * layer(p.tokens.len())) as u64).sum()
}

/// The sum over threads that run at the same time.
fn together(threads: usize, rate: impl Fn() -> Option<f64> + Copy + Send) -> f64 {
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(rate)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap().unwrap_or(f64::NAN)).sum()
    })
}
