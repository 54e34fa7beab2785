//! Every metric over 1,000,000 users × lists of 20, with 200 replicates, on 2 threads.
//!
//! `cargo bench --bench metrics [-- USERS]`. Rows are made in waves, outside the clock; each wave
//! is far larger than the caches. Beside the figure stands a bound: the bootstrap's multiply-adds
//! alone, if one byte of each value is not 0, at the rate that a loop over registers reaches in the
//! same run on as many threads.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use steerage::metric::{
    Distance, Embeddings, Exposure, FairnessGroups, Judge, MetricPlan, Split, Tally, summarise,
};
use steerage::types::{
    ArmList, Attribute, Candidates, Catalogue, Control, ControlSource, Key, Query, Ranked,
    Relation, mix64,
};

const THREADS: usize = 2;
const ITEMS: usize = 4_000; // about ML-1M's
const WIDTH: usize = 64;
const LIST: usize = 20;
const WAVE_USERS: usize = 50_000;
const BATCH_USERS: usize = 1_000;

fn main() {
    let users = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(1_000_000);
    let (catalogue, embeddings) = items();
    let rate = multiply_adds_per_s();
    println!("bound: {:.2}e9 multiply-adds/s on {THREADS} threads", rate / 1e9);
    for (arms, replicates) in [(1, 0), (1, 200), (2, 200)] {
        let plan = MetricPlan {
            replicates,
            arms: (0..arms).map(|a| format!("arm {a}")).collect(),
            diversity_attribute: Some(0),
            distance: Some(Distance::Embedding),
            fairness: Some(FairnessGroups { attribute: 0, first: Split::Below(1996.0) }),
            ..MetricPlan::default()
        };
        let (seconds, on_core, figures) = judge_all(&plan, &catalogue, &embeddings, users);
        let bound = users as f64 * (figures * arms * replicates as usize) as f64 / rate;
        println!(
            "{arms} arm(s), {figures} figures, {replicates} replicates, {users} users: \
             {seconds:.2} s by the clock, {on_core:.2} s on each of {THREADS} cores \
             ({:.2} M users/s, {:.0} ns of one core a user); bound {bound:.2} s",
            users as f64 / on_core / 1e6,
            on_core * 1e9 * THREADS as f64 / users as f64,
        );
    }
}

/// Seconds of measuring and merging, without making the rows: by the clock, and by the threads'
/// time on their cores; and the figures of an arm.
fn judge_all(
    plan: &MetricPlan,
    catalogue: &Arc<Catalogue>,
    embeddings: &Embeddings,
    users: usize,
) -> (f64, f64, usize) {
    let mut judges: Vec<_> = (0..THREADS)
        .map(|_| {
            let judge = Judge::new(plan, catalogue, Some(embeddings.clone())).unwrap();
            (judge, Tally::default(), Exposure::default())
        })
        .collect();
    let mut clock = Duration::ZERO;
    let mut busy = 0.0;
    for wave in (0..users).step_by(WAVE_USERS) {
        let wave: Vec<usize> = (wave..users.min(wave + WAVE_USERS)).collect();
        let shards: Vec<Vec<Ranked>> = wave
            .chunks(wave.len().div_ceil(THREADS))
            .map(|users| users.iter().map(|&user| ranked(user, plan.arms.len())).collect())
            .collect();
        let start = Instant::now();
        busy += thread::scope(|scope| {
            let mut threads = Vec::new();
            for ((judge, tally, exposure), rows) in judges.iter_mut().zip(&shards) {
                let measure = move || {
                    rows.chunks(BATCH_USERS).for_each(|batch| judge.add(batch, tally, exposure));
                    on_core_s()
                };
                threads.push(scope.spawn(measure));
            }
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<f64>()
        });
        clock += start.elapsed();
    }
    let start = Instant::now();
    let (mut tally, mut exposure) = (Tally::default(), Exposure::default());
    for (_, part, shown) in &judges {
        tally.merge(part);
        exposure.merge(shown);
    }
    let summary = summarise(plan, &tally, &exposure, ITEMS);
    let rest = start.elapsed();
    let seconds = (clock + rest).as_secs_f64();
    (seconds, busy / THREADS as f64 + rest.as_secs_f64(), summary.arms[0].metrics.len())
}

/// Items with one to three of 18 genres, a year, and a vector.
fn items() -> (Arc<Catalogue>, Embeddings) {
    let mut genre = Attribute {
        name: "genre".into(),
        labels: (0..18).map(|g| format!("genre {g}")).collect(),
        offsets: vec![0],
        ..Attribute::default()
    };
    for item in 0..ITEMS as u64 {
        let draw = mix64(item);
        let mut codes: Vec<u32> =
            (0..1 + draw % 3).map(|n| (mix64(draw ^ n) % 18) as u32).collect();
        codes.sort_unstable();
        codes.dedup();
        genre.codes.extend(codes);
        genre.offsets.push(genre.codes.len() as u32);
        genre.numbers.push(1950.0 + (draw >> 32 & 63) as f32);
    }
    let catalogue = Catalogue {
        keys: (0..ITEMS as i64).map(Key::Int).collect(),
        popularity: (0..ITEMS as u64).map(|i| 1 + (mix64(!i) % 1000) as u32).collect(),
        attributes: vec![genre],
        ..Catalogue::default()
    };
    let value = |i: usize| (mix64(i as u64) >> 40) as f32 / (1 << 23) as f32 - 1.0;
    let values = (0..ITEMS * WIDTH).map(value).collect();
    (Arc::new(catalogue), Embeddings { values, width: WIDTH })
}

/// A user with a target that is among the 20 candidates for two of three, and one to three
/// controls.
fn ranked(user: usize, arms: usize) -> Ranked {
    let seed = mix64(user as u64);
    let first = seed as usize % ITEMS;
    let items: Vec<u32> = (0..LIST).map(|j| ((first + j * 197) % ITEMS) as u32).collect();
    let controls = 1 + (seed >> 20) as usize % 3;
    let control = Control { attribute: 0, relation: Relation::Is, codes: vec![1], bound: 0.0 };
    let query = Query {
        user: Key::Int(user as i64),
        history: vec![0; 5 + (seed >> 40) as usize % 60],
        targets: vec![items[(seed >> 30) as usize % LIST] + u32::from(seed.is_multiple_of(3))],
        controls: vec![control; controls],
        source: ControlSource::Table,
        ..Query::default()
    };
    let met = (0..LIST as u64).map(|j| (mix64(seed ^ j) as u32) & ((1 << controls) - 1)).collect();
    let scores = (0..LIST).map(|j| -(j as f32)).collect();
    let list = |arm: usize| ArmList {
        order: (0..LIST).map(|j| ((j * 7 + arm * 3) % LIST) as u32).collect(),
        scores: vec![0.0; LIST],
    };
    let candidates = Candidates { query, items, scores, met, reach: None };
    Ranked { candidates, arms: (0..arms).map(list).collect(), ..Ranked::default() }
}

/// 16-bit multiply-adds over registers, on all threads at once, by a thread's time on its core.
fn multiply_adds_per_s() -> f64 {
    const LANES: usize = 64;
    const ROUNDS: usize = 20_000_000;
    let spin = || {
        let start = on_core_s();
        let mut sums = [0u16; LANES];
        let factors = black_box([3u16; LANES]);
        for round in 0..ROUNDS {
            let value = round as u16;
            for x in 0..LANES {
                sums[x] = sums[x].wrapping_add(factors[x].wrapping_mul(value));
            }
        }
        black_box(sums);
        (LANES * ROUNDS) as f64 / (on_core_s() - start)
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(spin)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}

/// The seconds that this thread has run on a core: other programs do not count.
fn on_core_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse::<f64>().unwrap() * 1e-9
}
