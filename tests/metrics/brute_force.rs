//! The formulas again, in f64, one user and one metric at a time, with nothing shared or
//! incremental.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use steerage::metric::poisson_weights;

/// Metric name → the value of each user who counts: (row, value).
type Values = BTreeMap<String, Vec<(usize, f64)>>;

/// What one user's arm is: the list's items, and how many controls each candidate meets.
struct View<'a> {
    world: &'a World,
    row: &'a Ranked,
    list: Vec<ItemId>,
    order: &'a [u32],
}

impl View<'_> {
    fn place(&self, target: ItemId) -> Option<usize> {
        self.list.iter().position(|&item| item == target).map(|at| at + 1)
    }

    fn codes(&self, item: ItemId) -> &[u32] {
        self.world.catalogue.attributes[0].codes(item)
    }

    fn accuracy(&self, k: usize) -> [(&'static str, f64); 4] {
        let targets = &self.row.candidates.query.targets;
        let places: Vec<usize> =
            targets.iter().filter_map(|&t| self.place(t)).filter(|&p| p <= k).collect();
        let gain = |place: usize| 1.0 / (place as f64 + 1.0).log2();
        let ideal: f64 = (1..=targets.len().min(k)).map(gain).sum();
        let best = places.iter().map(|&p| 1.0 / p as f64).fold(0.0, f64::max);
        [
            ("hit", if places.is_empty() { 0.0 } else { 1.0 }),
            ("ndcg", places.iter().map(|&p| gain(p)).sum::<f64>() / ideal),
            ("mrr", best),
            ("recall", places.len() as f64 / targets.len() as f64),
        ]
    }

    fn satisfied(&self, met: u32) -> bool {
        let controls = self.row.candidates.query.controls.len() as u32;
        match self.world.plan.threshold {
            Threshold::All => met == controls,
            Threshold::AtLeast(count) => met >= count.min(controls),
        }
    }

    fn control(&self, k: usize) -> [(&'static str, f64); 6] {
        let pool: Vec<u32> = self.row.candidates.met.iter().map(|m| m.count_ones()).collect();
        let shown: Vec<u32> = self.order.iter().take(k).map(|&at| pool[at as usize]).collect();
        let controls = self.row.candidates.query.controls.len();
        let of_k = |count: usize| count as f64 / k as f64;
        let satisfying = pool.iter().filter(|&&m| self.satisfied(m)).count();
        let random = if pool.is_empty() { 0.0 } else { satisfying as f64 / pool.len() as f64 };
        let each = (0..controls).map(|c| {
            let meets = |&&at: &&u32| self.row.candidates.met[at as usize] >> c & 1 == 1;
            of_k(self.order.iter().take(k).filter(meets).count())
        });
        [
            ("cp", of_k(shown.iter().filter(|&&m| self.satisfied(m)).count())),
            ("strict", of_k(shown.iter().filter(|&&m| m as usize == controls).count())),
            ("per-control", each.sum::<f64>() / controls as f64),
            ("random-cp", random * of_k(pool.len().min(k))),
            ("ceiling-cp", of_k(satisfying.min(k))),
            ("empty-pool", if satisfying == 0 { 1.0 } else { 0.0 }),
        ]
    }

    fn depth(&self) -> f64 {
        let met = &self.row.candidates.met;
        let first = self.order.iter().position(|&at| self.satisfied(met[at as usize].count_ones()));
        first.unwrap_or(met.len()) as f64 + 1.0
    }

    fn alpha_dcg(&self, gained: &[(usize, ItemId)], k: usize) -> f64 {
        let mut total = 0.0;
        for (n, &(place, item)) in gained.iter().enumerate().filter(|(_, (place, _))| *place < k) {
            for code in self.codes(item) {
                let earlier = gained[..n].iter().filter(|(_, i)| self.codes(*i).contains(code));
                total += 0.5f64.powi(earlier.count() as i32) / (place as f64 + 2.0).log2();
            }
        }
        total
    }

    /// Greedy: at each place the candidate that adds most, the better retrieved of equals.
    fn alpha_ideal(&self, mut from: Vec<ItemId>, k: usize) -> f64 {
        let mut picked: Vec<(usize, ItemId)> = Vec::new();
        while picked.len() < k && !from.is_empty() {
            let worth = |&item: &ItemId| {
                let with = [picked.as_slice(), &[(picked.len(), item)]].concat();
                let flat = |list: &[(usize, ItemId)]| {
                    let (place, item) = *list.last().unwrap();
                    let earlier = &list[..place];
                    let shown = |code: &u32| {
                        earlier.iter().filter(|(_, i)| self.codes(*i).contains(code)).count()
                    };
                    self.codes(item).iter().map(|c| 0.5f64.powi(shown(c) as i32)).sum::<f64>()
                };
                flat(&with)
            };
            let gains: Vec<f64> = from.iter().map(worth).collect();
            let best =
                (0..from.len()).rev().max_by(|&a, &b| gains[a].total_cmp(&gains[b])).unwrap();
            picked.push((picked.len(), from.remove(best)));
        }
        self.alpha_dcg(&picked, k)
    }

    fn alpha(&self, k: usize, relevant_only: bool) -> f64 {
        let targets = &self.row.candidates.query.targets;
        let gains = |item: &ItemId| !relevant_only || targets.contains(item);
        let list: Vec<_> =
            self.list.iter().copied().enumerate().filter(|(_, item)| gains(item)).collect();
        let pool = self.row.candidates.items.iter().copied().filter(gains).collect();
        let ideal = self.alpha_ideal(pool, k);
        if ideal > 0.0 { self.alpha_dcg(&list, k) / ideal } else { 0.0 }
    }

    fn distance(&self, a: ItemId, b: ItemId) -> f64 {
        if self.world.plan.distance == Some(Distance::Attribute(0)) {
            let (a, b) = (self.codes(a), self.codes(b));
            let both = a.iter().filter(|code| b.contains(code)).count();
            let either = a.len() + b.len() - both;
            return if either == 0 { 1.0 } else { 1.0 - both as f64 / either as f64 };
        }
        let vector = |item: ItemId| {
            let values = &self.world.embeddings.values;
            values[item as usize * WIDTH..][..WIDTH].iter().map(|&x| f64::from(x))
        };
        let dot = |a, b| vector(a).zip(vector(b)).map(|(x, y)| x * y).sum::<f64>();
        let norms = (dot(a, a) * dot(b, b)).sqrt();
        if norms > 0.0 { 1.0 - dot(a, b) / norms } else { 1.0 }
    }

    fn ild(&self, k: usize) -> f64 {
        let list = &self.list[..k.min(self.list.len())];
        let pairs = (0..list.len()).flat_map(|j| (0..j).map(move |i| (i, j)));
        let distances: Vec<f64> = pairs.map(|(i, j)| self.distance(list[i], list[j])).collect();
        distances.iter().sum::<f64>() / distances.len().max(1) as f64
    }

    fn novelty(&self, k: usize) -> f64 {
        let popularity = &self.world.catalogue.popularity;
        let total: u32 = popularity.iter().sum();
        let bits = |&item: &ItemId| {
            -(f64::from(popularity[item as usize].max(1)) / f64::from(total)).log2()
        };
        let shown = k.min(self.list.len());
        self.list.iter().take(k).map(bits).sum::<f64>() / shown.max(1) as f64
    }

    fn mad(&self) -> Option<f64> {
        let last = self.list.len().max(2) as f64 - 1.0;
        let numbers = &self.world.catalogue.attributes[0].numbers;
        let scores = |of: fn(f32) -> bool| {
            let list = self.list.iter().enumerate().filter(|(_, i)| of(numbers[**i as usize]));
            list.map(|(j, _)| 1.0 - j as f64 / last).collect::<Vec<f64>>()
        };
        let (a, b) = (scores(|x| x < 50.0), scores(|x| x >= 50.0));
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        (!a.is_empty() && !b.is_empty()).then(|| (mean(&a) - mean(&b)).abs())
    }
}

fn values(world: &World, arm: usize) -> Values {
    let mut values = Values::new();
    for (user, row) in world.rows.iter().enumerate() {
        let mut put = |name: String, value: f64| {
            values.entry(name).or_default().push((user, value));
        };
        let order = row.arms[arm].order.as_slice();
        let list = order.iter().map(|&at| row.candidates.items[at as usize]).collect();
        let view = View { world, row, list, order };
        let query = &row.candidates.query;
        let oracle = if query.source == ControlSource::Oracle { "oracle-" } else { "" };
        for &k in &world.plan.cutoffs {
            if !query.targets.is_empty() {
                view.accuracy(k).into_iter().for_each(|(n, v)| put(format!("{n}@{k}"), v));
                put(format!("alpha-ndcg@{k}"), view.alpha(k, true));
            }
            if !query.controls.is_empty() {
                for (name, value) in view.control(k) {
                    if name != "empty-pool" {
                        put(format!("{oracle}{name}@{k}"), value);
                    }
                }
            }
            put(format!("alpha-ndcg-attribute@{k}"), view.alpha(k, false));
            put(format!("novelty@{k}"), view.novelty(k));
            if k >= 2 {
                put(format!("ild@{k}"), view.ild(k));
            }
        }
        if !query.targets.is_empty() {
            let found = query.targets.iter().filter(|t| row.candidates.items.contains(t)).count();
            put("retrieval-ceiling".into(), found as f64 / query.targets.len() as f64);
        }
        if !query.controls.is_empty() {
            put(format!("{oracle}cd"), view.depth());
            put(format!("{oracle}empty-pool"), view.control(1)[5].1);
        }
        put("conflict".into(), if query.conflict.is_some() { 1.0 } else { 0.0 });
        if let Some(difference) = view.mad() {
            put("mad-user".into(), difference);
        }
    }
    values
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn sums_equal_the_formulas(seed in any::<u64>(), users in 1usize..70) {
        let world = world(seed, users);
        let summary = world.summary();
        let draw = |row: &Ranked| {
            poisson_weights(seed, row.candidates.query.user.hash64(), world.plan.replicates)
        };
        let weights: Vec<Vec<u16>> = world.rows.iter().map(draw).collect();
        for (arm, found) in summary.arms.iter().enumerate() {
            let expected = values(&world, arm);
            for (name, users) in &expected {
                let estimate = found.metrics.get(name);
                prop_assert!(estimate.is_some(), "no {}", name);
                let estimate = estimate.unwrap();
                // Novelty is rounded twice, each time to half of 2⁻¹⁶; a distance, which goes up to
                // 2, to half of 2⁻¹⁹ after sums in f32.
                let slack = match name.split('@').next() {
                    Some("novelty") => 1.0 / 65_536.0,
                    Some("ild") => 2e-6,
                    _ => 1e-6,
                };
                let near = |a: f64, b: f64| (a - b).abs() < slack;
                let mean = users.iter().map(|u| u.1).sum::<f64>() / users.len() as f64;
                prop_assert_eq!(estimate.users, users.len() as u64);
                prop_assert!(near(estimate.mean, mean), "{}: {} {}", name, estimate.mean, mean);
                let mut replicates: Vec<f64> = (0..world.plan.replicates as usize)
                    .filter_map(|r| {
                        let weight = |u: usize| f64::from(weights[u][r]);
                        let total: f64 = users.iter().map(|u| weight(u.0)).sum();
                        let sum: f64 = users.iter().map(|u| weight(u.0) * u.1).sum();
                        (total > 0.0).then(|| sum / total)
                    })
                    .collect();
                replicates.sort_by(f64::total_cmp);
                let at = |share: f64| {
                    let at = share * (replicates.len() - 1) as f64;
                    let (below, above) = (at.floor() as usize, at.ceil() as usize);
                    replicates[below] + at.fract() * (replicates[above] - replicates[below])
                };
                if !replicates.is_empty() {
                    let ends = (at(0.025), at(0.975));
                    prop_assert!(near(estimate.low, ends.0), "{}: {:?} {:?}", name, estimate, ends);
                    prop_assert!(near(estimate.high, ends.1), "{}: {:?} {:?}", name, estimate, ends);
                }
            }
            let derived = ["ncp", "oracle-ncp", "mad-pooled", "coverage", "gini"];
            for name in found.metrics.keys().filter(|name| !expected.contains_key(*name)) {
                let known = derived.iter().any(|d| name.split('@').next() == Some(d));
                prop_assert!(known, "{} is not in the formulas", name);
            }
        }
    }
}
