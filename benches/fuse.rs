//! How long do requests over a whole catalogue take, and how far is that from what memory allows?
//!
//! `cargo bench --bench fuse [-- THREADS] [requests=N] [items=N]`, by default 2 threads, 1,000
//! requests and 1,000,000 items, with base vectors of 64 and request vectors of 384 numbers. Each
//! request is scored against every item by both, and the best 100 of the fused ranks are found
//! exactly. The bounds: the operations of the scores over the f32 rate measured beside, and the two
//! scores of every item, read once, over the rate at which memory is read.

use std::time::Instant;
use steerage::device::cpu::peak;
use steerage::device::cpu::top_k::every_score;
use steerage::device::parallel::for_each;
use steerage::stage::language::{Fusion, best};
use steerage::types::{mix64, normal};

const K: usize = 100;
const WIDTHS: [usize; 2] = [64, 384];
/// Requests that a thread scores together: their scores are what a worker holds.
const BLOCK: usize = 8;

fn main() {
    let threads = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(2);
    let items = named("items=").unwrap_or(1_000_000);
    let requests = named("requests=").unwrap_or(1000);
    let vectors = |count: usize, width: usize, seed: u64| -> Vec<f32> {
        (0..(count * width) as u64).map(|i| normal(mix64(mix64(seed) ^ i)) as f32).collect()
    };
    let catalogue = WIDTHS.map(|width| vectors(items, width, width as u64));
    let asked = WIDTHS.map(|width| vectors(requests, width, 1000 + width as u64));
    let bandwidth = read_rate(threads, &catalogue[1]);
    let rate = peak::f32_ops_per_s().unwrap_or(f64::NAN) * threads as f64;
    let mut pieces: Vec<(usize, f64, f64)> =
        (0..requests.div_ceil(BLOCK)).map(|block| (block, 0.0, 0.0)).collect();
    let start = Instant::now();
    for_each(threads, &mut pieces, |_, (block, scoring, fusing)| {
        let first = *block * BLOCK;
        let count = BLOCK.min(requests - first);
        let begin = Instant::now();
        let scores = [0, 1].map(|side| {
            let width = WIDTHS[side];
            let rows = &asked[side][first * width..(first + count) * width];
            let mut out = vec![0.0; count * items];
            every_score(rows, &catalogue[side], width, &mut out);
            out
        });
        *scoring = begin.elapsed().as_secs_f64();
        let begin = Instant::now();
        for (base, control) in scores[0].chunks(items).zip(scores[1].chunks(items)) {
            std::hint::black_box(best(base, control, Fusion::Ranks, 0.5, K));
        }
        *fusing = begin.elapsed().as_secs_f64();
    });
    let seconds = start.elapsed().as_secs_f64();
    let share =
        |of: fn(&(usize, f64, f64)) -> f64| pieces.iter().map(of).sum::<f64>() / threads as f64;
    let (scoring, fusing) = (share(|piece| piece.1), share(|piece| piece.2));
    let ops = 2.0 * (requests * items * WIDTHS.iter().sum::<usize>()) as f64;
    let bytes = (requests * items * 2 * size_of::<f32>()) as f64;
    println!(
        "{items} items, {requests} requests, {threads} threads, best {K}: {seconds:.2} s\n\
         scores {scoring:.2} s: {:.0} GFLOP/s of {:.0}, {:.0} %\n\
         fusion {fusing:.2} s, {:.2} ms a request and thread: {:.1} GB/s of {:.1} read, {:.0} %",
        ops / scoring / 1e9,
        rate / 1e9,
        100.0 * ops / scoring / rate,
        1e3 * fusing * threads as f64 / requests as f64,
        bytes / fusing / 1e9,
        bandwidth / 1e9,
        100.0 * bytes / fusing / bandwidth,
    );
}

fn named(name: &str) -> Option<usize> {
    std::env::args().find_map(|word| word.strip_prefix(name)?.parse().ok())
}

/// Bytes a second that threads read together, each its own part.
fn read_rate(threads: usize, numbers: &[f32]) -> f64 {
    let mut parts: Vec<(&[f32], f32)> =
        numbers.chunks(numbers.len().div_ceil(threads)).map(|part| (part, 0.0)).collect();
    let once = |parts: &mut Vec<(&[f32], f32)>| {
        let start = Instant::now();
        for_each(threads, parts, |_, (part, sum)| {
            let (chunks, _) = part.as_chunks::<64>();
            let mut sums = [0.0f32; 64];
            chunks.iter().for_each(|chunk| {
                sums.iter_mut().zip(chunk).for_each(|(sum, x)| *sum += x);
            });
            *sum = std::hint::black_box(sums.iter().sum());
        });
        size_of_val(numbers) as f64 / start.elapsed().as_secs_f64()
    };
    (0..3).map(|_| once(&mut parts)).fold(0.0, f64::max)
}
