//! How fast are exact top-100 lists, and how far is that from what the processor could do?
//!
//! `cargo bench --bench retrieve [-- THREADS] [PATH]`, the path being `portable`, `avx2` or `vnni`,
//! by default the fastest there is. Normally distributed items and users: the hardest case for the
//! screen, since no item is longer than another. The rate counts the operations of the full
//! product, which the search does not do in f32: it is compared with the peaks that are measured
//! beside it on as many threads, that of the integers in the path's own instructions.

use std::time::Instant;
use steerage::device::cpu::peak;
use steerage::device::cpu::top_k::{ItemIndex, Path, TopKQuery, TopKShape};
use steerage::types::{mix64, unit_f64};

const RUNS: usize = 7;

fn main() {
    let threads = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(2);
    let chosen = |path: &Path| std::env::args().any(|word| word == path.to_string());
    let path = Path::all().into_iter().find(chosen).unwrap_or(Path::fastest());
    println!("{path}, {threads} threads, k = 100, {RUNS} runs; seconds are least / median");
    println!(
        "| items × width | users | index s | search s | users/s | GOP/s | scored/user \
         | integer peak | f32 peak |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (items, width, users) in [(1_000_000, 64, 1024), (1_000_000, 128, 1024), (3_416, 64, 6_040)]
    {
        measure(TopKShape { users, items, width, k: 100 }, path, threads);
    }
}

fn measure(shape: TopKShape, path: Path, threads: usize) {
    let items = normal(shape.items * shape.width, 1);
    let users = normal(shape.users * shape.width, 2);
    let start = Instant::now();
    let index = ItemIndex::new_for(path, &items, shape.width).expect("the items are finite");
    let index_s = start.elapsed().as_secs_f64();
    let query = TopKQuery { k: shape.k, excluded: &[], barred: None, threads };
    let mut scored = 0;
    let mut seconds: Vec<f64> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            scored = index.search(&users, &query).scored;
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_unstable_by(f64::total_cmp);
    let (least, median) = (seconds[0], seconds[RUNS / 2]);
    println!(
        "| {} × {} | {} | {index_s:.3} | {least:.3} / {median:.3} | {:.0} | {:.0} | {:.0} \
         | {} | {} |",
        shape.items,
        shape.width,
        shape.users,
        shape.users as f64 / median,
        shape.flops() / median / 1e9,
        scored as f64 / shape.users as f64,
        together(threads, || peak::integer_ops_per_s(path)),
        together(threads, peak::f32_ops_per_s),
    );
}

/// The sum of a rate over threads that run at the same time, in 10⁹ a second.
fn together(threads: usize, rate: impl Fn() -> Option<f64> + Sync) -> String {
    let total: Option<f64> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(&rate)).collect();
        all.into_iter().map(|one| one.join().expect("a loop over registers")).sum()
    });
    total.map_or("unknown".into(), |total| format!("{:.0}", total / 1e9))
}

/// Normally distributed numbers.
fn normal(count: usize, seed: u64) -> Vec<f32> {
    let draw = |at: u64| unit_f64(mix64(mix64(seed) ^ at));
    let one = |at: u64| {
        let radius = (-2.0 * (1.0 - draw(2 * at)).ln()).sqrt();
        (radius * (std::f64::consts::TAU * draw(2 * at + 1)).cos()) as f32
    };
    (0..count as u64).map(one).collect()
}
