//! What does reading on from what was read save, and how fast does token follow token?
//!
//! ```text
//! cargo bench --bench reading
//! cargo bench --bench reading -- threads=1 users=2 repeat=3 end=60 steps=32 f32=1 only=16
//! ```
//!
//! A Llama of 100 million parameters with random weights. First, people who are each asked about in
//! four hops: 800 tokens of instruction, history and candidates that stay; lines of 60 tokens, one
//! more each hop; and `end` tokens at the end, 150. Whole prompts and reading on take turns. Then
//! prompts of 300 tokens that go on token by token, with the logits of the whole vocabulary, next
//! to what memory allows: the weights' bytes over the rate at which threads read. Where others use
//! the machine at the same time, the seconds of processor time say more than those of the clock.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::time::Instant;
use steerage::device::{Cpu, Precision, machine};
use steerage::model::decoder::{Ask, Decoder, KeyValues, Projection, Prompt, Table};
use steerage::testing::llama::{LLAMA_100M, llama_100m};
use steerage::types::mix64;

const HOPS: usize = 4;
const PREFIX: usize = 800;
const LINE: usize = 60;

fn main() {
    let number = |name: &str, default: usize| {
        let given = std::env::args().find_map(|a| a.strip_prefix(name)?.parse().ok());
        given.unwrap_or(default)
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = number("threads=", cores);
    let (users, repeat, steps) = (number("users=", 2), number("repeat=", 3), number("steps=", 32));
    let precision = if number("f32=", 0) == 1 { Precision::F32 } else { Precision::Bf16 };
    println!("{}, {threads} threads, {precision:?}", machine());
    let decoder = llama_100m(precision).unwrap();
    let only = number("only=", 0);
    if only == 0 {
        hops(&decoder, users, number("end=", 150), repeat, threads);
    }
    let bytes_per_s = memory(threads);
    println!("memory: {:.1} GB/s", bytes_per_s / 1e9);
    for prompts in [1, 16].into_iter().filter(|prompts| only == 0 || only == *prompts) {
        follow(&decoder, prompts, steps, threads, bytes_per_s);
    }
}

fn tokens(seed: usize, count: usize) -> impl Iterator<Item = u32> {
    (0..count).map(move |at| (mix64((seed << 20 | at) as u64) % 32_000) as u32)
}

/// What a user is asked in a hop.
fn asked(user: usize, hop: usize, end: usize) -> Prompt {
    let parts = tokens(2 * user, PREFIX).chain(tokens(2 * user + 1, hop * LINE));
    Prompt { tokens: parts.chain(tokens(1000 + hop, end)).collect(), adapter: None }
}

fn hops(decoder: &Decoder, users: usize, end: usize, repeat: usize, threads: usize) {
    let labels: Vec<u32> = (100..120).collect();
    let table = decoder.labels(&labels).unwrap();
    let hop =
        |hop: usize| -> Vec<Prompt> { (0..users).map(|user| asked(user, hop, end)).collect() };
    let hops: Vec<Vec<Prompt>> = (0..HOPS).map(hop).collect();
    let whole = || {
        let hops = hops.iter().map(|prompts| decoder.logits(&Cpu, prompts, &table, threads));
        hops.flat_map(Result::unwrap).collect::<Vec<f32>>()
    };
    let on = || {
        let mut kept = vec![KeyValues::default(); users];
        let hops = hops.iter().map(|prompts| read(decoder, prompts, &mut kept, &table, threads));
        hops.flatten().collect::<Vec<f32>>()
    };
    let (mut whole_s, mut on_s) = (Vec::new(), Vec::new());
    for _ in 0..repeat {
        let (expected, seconds) = timed(whole);
        whole_s.push(seconds.map(|s| s / users as f64));
        let (found, seconds) = timed(on);
        on_s.push(seconds.map(|s| s / users as f64));
        assert!(found.iter().map(|x| x.to_bits()).eq(expected.iter().map(|x| x.to_bits())));
    }
    for (at, name) in ["clock", "processor"].iter().enumerate() {
        let of = |seconds: &[[f64; 2]]| median(seconds.iter().map(|s| s[at]).collect());
        let ratios = whole_s.iter().zip(&on_s).map(|(whole, on)| whole[at] / on[at]);
        println!(
            "{HOPS} hops, {users} users, by the {name}: whole prompts {:.3} s a user, reading on \
             {:.3}: {:.2} times as fast",
            of(&whole_s),
            of(&on_s),
            median(ratios.collect())
        );
    }
}

/// What comes out, and the seconds of the clock and of the processor.
fn timed<T>(work: impl Fn() -> T) -> (T, [f64; 2]) {
    let (start, before) = (Instant::now(), processor_seconds());
    let out = work();
    (out, [start.elapsed().as_secs_f64(), processor_seconds() - before])
}

/// Processor time of this process, as Linux counts it; NaN elsewhere.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|x| x.parse::<f64>().ok()).unwrap_or(f64::NAN);
    (ticks(11) + ticks(12)) / 100.0
}

fn read(
    decoder: &Decoder,
    prompts: &[Prompt],
    kept: &mut [KeyValues],
    table: &Table,
    threads: usize,
) -> Vec<f32> {
    let asks = prompts.iter().zip(kept);
    let mut asks: Vec<Ask<'_>> = asks.map(|(prompt, kept)| Ask { prompt, kept }).collect();
    decoder.logits_on(&Cpu, &mut asks, table, threads).unwrap()
}

/// Token by token.
fn follow(decoder: &Decoder, prompts: usize, steps: usize, threads: usize, bytes_per_s: f64) {
    let prompt = |p: usize| Prompt { tokens: tokens(p, 300).collect(), adapter: None };
    let mut prompts: Vec<Prompt> = (0..prompts).map(prompt).collect();
    let mut kept = vec![KeyValues::default(); prompts.len()];
    let (mut seconds, mut used) = (Vec::new(), 0.0);
    for step in 0..=steps {
        let start = Instant::now();
        if step == 1 {
            used = processor_seconds();
        }
        black_box(read(decoder, &prompts, &mut kept, decoder.head(), threads));
        if step > 0 {
            seconds.push(start.elapsed().as_secs_f64());
        }
        prompts.iter_mut().for_each(|prompt| prompt.tokens.push(step as u32));
    }
    let element = if decoder.precision() == Precision::Bf16 { 2 } else { 4 };
    let layer: usize =
        Projection::ALL.iter().map(|p| p.shape(&LLAMA_100M).iter().product::<usize>()).sum();
    let weights = (LLAMA_100M.layers * layer + LLAMA_100M.vocabulary * LLAMA_100M.hidden) * element;
    let used = (processor_seconds() - used) / steps as f64;
    let (count, median) = (prompts.len() as f64, median(seconds));
    let bound = weights as f64 / bytes_per_s;
    println!(
        "{:2} prompts token by token: {:6.1} tokens/s, {:.1} ms a step, of the processor \
         {:.1}; the weights alone {:.1} ms \
         ({:.0} MB): {:.0} %; kept {:.1} MB a prompt",
        count,
        count / median,
        1e3 * median,
        1e3 * used,
        1e3 * bound,
        weights as f64 / 1e6,
        100.0 * bound / median,
        kept[0].bytes() as f64 / 1e6,
    );
}

/// Bytes that threads read in a second, together.
fn memory(threads: usize) -> f64 {
    let buffer = vec![1u64; (512 << 20) / size_of::<u64>()];
    let pass = || {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for part in buffer.chunks(buffer.len().div_ceil(threads)) {
                scope.spawn(move || {
                    black_box(part.iter().fold(0u64, |sum, x| sum.wrapping_add(*x)))
                });
            }
        });
        (buffer.len() * size_of::<u64>()) as f64 / start.elapsed().as_secs_f64()
    };
    (0..5).map(|_| pass()).fold(0.0, f64::max)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
