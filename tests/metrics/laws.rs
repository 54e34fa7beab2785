//! What must hold whatever the rows are.

use super::*;
use proptest::prelude::*;
use steerage::metric::{Estimate, poisson_weights};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any grouping of the rows, by any judge, merged in any order and stored on the way: the same.
    #[test]
    fn grouping_does_not_matter(seed in any::<u64>(), users in 0usize..90) {
        let world = world(seed, users);
        let (whole, shown) = world.sums(&world.rows);
        let mut dice = Dice(seed ^ 1);
        let mut rows = world.rows.clone();
        dice.shuffle(&mut rows);
        let mut judges = [world.judge(), world.judge()];
        let mut parts: Vec<(Tally, Exposure)> = vec![Default::default(); 4];
        let mut at = 0;
        while at < rows.len() {
            let next = (at + 1 + dice.below(30)).min(rows.len());
            let (tally, exposure) = &mut parts[dice.below(4)];
            judges[dice.below(2)].add(&rows[at..next], tally, exposure);
            at = next;
        }
        dice.shuffle(&mut parts);
        let (mut merged, mut merged_shown) = (Tally::default(), Exposure::default());
        for (tally, exposure) in &parts {
            let stored = serde_json::to_string(tally).unwrap();
            merged.merge(&serde_json::from_str(&stored).unwrap());
            let stored = serde_json::to_string(exposure).unwrap();
            merged_shown.merge(&serde_json::from_str(&stored).unwrap());
        }
        prop_assert_eq!(merged.is_empty(), users == 0);
        prop_assert_eq!(merged.rows(), users as u64);
        prop_assert_eq!(merged_shown.is_empty(), shown.is_empty());
        prop_assert_eq!(&merged_shown, &shown);
        let summary = summarise(&world.plan, &merged, &merged_shown, ITEMS);
        prop_assert_eq!(summary, summarise(&world.plan, &whole, &shown, ITEMS));
        if users > 0 {
            let bytes = (serde_json::to_string(&merged), serde_json::to_string(&whole));
            prop_assert_eq!(bytes.0.unwrap(), bytes.1.unwrap());
        }
    }

    /// The slices of a dimension that everybody is in add up to the whole.
    #[test]
    fn slices_add_up(seed in any::<u64>(), users in 1usize..60) {
        let mut world = world(seed, users);
        world.plan.fairness = None;
        for arm in world.summary().arms {
            let slices = arm.slices.iter().filter(|s| s.dimension == "controls");
            let slices: Vec<_> = slices.collect();
            prop_assert_eq!(slices.iter().map(|s| s.users).sum::<u64>(), users as u64);
            for (name, whole) in &arm.metrics {
                if name.contains("ncp") || name.contains("coverage") || name.contains("gini") {
                    continue;
                }
                let parts = slices.iter().filter_map(|s| s.metrics.get(name));
                let parts: Vec<&Estimate> = parts.collect();
                prop_assert_eq!(parts.iter().map(|e| e.users).sum::<u64>(), whole.users);
                let sum: f64 = parts.iter().map(|e| e.mean * e.users as f64).sum();
                prop_assert!((sum / whole.users as f64 - whole.mean).abs() < 1e-9, "{}", name);
            }
        }
    }
}

#[test]
fn weights_are_poisson() {
    let (users, replicates) = (5_000u64, 203);
    let (mut counts, mut product) = ([0u64; 8], 0u64);
    for user in 0..users {
        let weights = poisson_weights(7, mix64(user), replicates);
        let other = poisson_weights(7, mix64(user + users), replicates);
        weights.iter().for_each(|&w| counts[usize::from(w)] += 1);
        product += weights.iter().zip(&other).map(|(&a, &b)| u64::from(a * b)).sum::<u64>();
    }
    let draws = (users * u64::from(replicates)) as f64;
    let mut factorial = 1.0;
    for (w, &count) in counts.iter().enumerate() {
        factorial *= w.max(1) as f64;
        let expected = draws * (-1f64).exp() / factorial;
        // Five standard errors, and the rounding to 2⁻¹⁶ (with the tail put on 7).
        let slack = 5.0 * expected.sqrt() + draws * 1.5 / 65_536.0;
        assert!((count as f64 - expected).abs() < slack, "weight {w}: {count}, not {expected}");
    }
    // Independent users: E[a·b] = 1, with variance E[a²]² − 1 = 3.
    assert!((product as f64 / draws - 1.0).abs() < 5.0 * (3.0 / draws).sqrt());
}

#[test]
fn weights_do_not_depend_on_how_many_there_are() {
    let long = poisson_weights(3, 4, 200);
    assert_eq!(poisson_weights(3, 4, 50), long[..50]);
    assert_ne!(poisson_weights(4, 4, 200), long);
}

/// Rows of which those below `hits` have their target first, the others second.
fn bernoulli(users: i64, hits: impl Fn(i64) -> bool) -> Vec<Ranked> {
    let made = (0..users).map(|user| row(user, &[1, 2], &[if hits(user) { 1 } else { 2 }]));
    made.collect()
}

fn with_replicates(rows: &[Ranked], seed: u64, replicates: u32) -> Summary {
    let plan = MetricPlan { replicates, seed, ..plan(&[1, 2]) };
    measure(&plan, &catalogue(vec![1; 3], Vec::new()), rows)
}

#[test]
fn intervals_are_as_wide_as_the_standard_error_says() {
    let (users, p) = (4_000, 0.25);
    let rows = bernoulli(users, |user| user % 4 == 0);
    let hit = with_replicates(&rows, 5, 1_000).arms[0].metrics["hit@1"];
    let error = (p * (1.0 - p) / users as f64).sqrt();
    assert_eq!((hit.mean, hit.users), (p, users as u64));
    assert!(((hit.high - hit.low) / (2.0 * 1.96 * error) - 1.0).abs() < 0.15, "{hit:?}");
    assert!(hit.low < p && p < hit.high);
    let certain = with_replicates(&rows, 5, 1_000).arms[0].metrics["hit@2"];
    assert_eq!((certain.low, certain.mean, certain.high), (1.0, 1.0, 1.0));
}

#[test]
fn intervals_cover_the_truth() {
    let (worlds, users, p) = (120, 400, 0.3);
    let covered = (0..worlds).filter(|&world| {
        let drawn =
            |user: i64| (mix64(mix64(world) ^ user as u64) >> 11) as f64 / 2f64.powi(53) < p;
        let rows = bernoulli(users, drawn);
        let hit = with_replicates(&rows, world, 200).arms[0].metrics["hit@1"];
        hit.low <= p && p <= hit.high
    });
    let covered = covered.count() as f64 / worlds as f64;
    assert!((0.88..=1.0).contains(&covered), "95 % intervals cover {covered}");
}

#[test]
fn differences_are_paired() {
    let mut rows = bernoulli(300, |user| user % 3 == 0);
    for row in &mut rows {
        let same = row.arms[0].clone();
        let mut turned = same.clone();
        turned.order.reverse();
        row.arms.extend([same, turned]);
    }
    let arms = ["base", "same", "turned"].map(str::to_owned).to_vec();
    let plan = MetricPlan { arms, replicates: 100, ..plan(&[1]) };
    let summary = measure(&plan, &catalogue(vec![1; 3], Vec::new()), &rows);
    assert!(summary.arms[0].versus_baseline.is_empty());
    let zero = Estimate { mean: 0.0, low: 0.0, high: 0.0, users: 300 };
    let same = &summary.arms[1].versus_baseline;
    assert!(["hit@1", "ndcg@1", "novelty@1"].iter().all(|&name| same[name] == zero), "{same:?}");
    assert!(!same.contains_key("retrieval-ceiling"));
    // A hit of one is a miss of the other: the difference is 1 − 2·hit, replicate by replicate.
    let (hit, less) = (summary.arms[0].metrics["hit@1"], &summary.arms[2].versus_baseline["hit@1"]);
    assert_near(less.mean, 1.0 - 2.0 * (1.0 / 3.0));
    assert_near(less.low, 1.0 - 2.0 * hit.high);
    assert_near(less.high, 1.0 - 2.0 * hit.low);
}

#[test]
fn slices_have_the_normal_interval() {
    let rows = bernoulli(200, |user| user % 5 == 0);
    let summary = measure(&plan(&[1]), &catalogue(vec![3, 2, 1], Vec::new()), &rows);
    let slice = |dimension: &str, label: &str| {
        let mut slices = summary.arms[0].slices.iter();
        slices.find(|s| s.dimension == dimension && s.label == label).unwrap()
    };
    let short = slice("history-length", "1-4");
    let (p, n) = (0.2f64, 200f64);
    let margin = 1.959_964 * (p * (1.0 - p) / (n - 1.0)).sqrt();
    assert_eq!(short.users, 200);
    assert_near(short.metrics["hit@1"].low, p - margin);
    assert_near(short.metrics["hit@1"].high, p + margin);
    // Of three items, the one of rank 1 (from 0) starts at 33 %, that of rank 2 at 67 %.
    let (mid, tail) =
        (slice("target-popularity", "10-50%"), slice("target-popularity", "bottom 50%"));
    assert_eq!((mid.users, mid.metrics["hit@1"].mean), (40, 1.0));
    assert_eq!((tail.users, tail.metrics["hit@1"].mean), (160, 0.0));
    assert_eq!(slice("controls", "0").users, 200);
}

#[test]
fn segments_divide_the_users_who_have_a_label() {
    let world = world(11, 80);
    let summary = world.summary();
    for (code, label) in ["young", "old"].into_iter().enumerate() {
        let has = |row: &&Ranked| row.candidates.query.segments == [code as u32];
        let slice = summary.arms[1].slices.iter().find(|s| s.label == label).unwrap();
        assert_eq!(slice.dimension, "age");
        assert_eq!(slice.users, world.rows.iter().filter(has).count() as u64);
    }
}
