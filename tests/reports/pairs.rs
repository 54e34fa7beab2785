//! Two runs side by side, and one user explained.

use super::forms::golden;
use super::sample;
use proptest::prelude::*;
use serde_json::json;
use steerage::error::Result;
use steerage::report::compare::{
    Gates, ListChange, Listed, compare, list_changes, render_markdown, render_text, spec_changes,
};
use steerage::report::explain::{self, CandidateLine, Explanation, HistoryLine};
use steerage::types::{ControlSource, Key};

fn nights() -> steerage::report::compare::Comparison {
    let (old, mut new) = (sample::rerank(), sample::rerank());
    new.run = "ml-1m-nightly-77aa10c3".into();
    for (metric, less) in [("ndcg@10", 0.02), ("cp@3", 0.001)] {
        let e = new.summary.arms[4].metrics.get_mut(metric).unwrap();
        (e.mean, e.low, e.high) = (e.mean - less, e.low - less, e.high - less);
    }
    new.summary.arms[3].arm = "dpp-wide".into();
    let spec = spec_changes(
        &json!({"arms": [{"steps": [{"weight": 0.5}]}], "k": 100}),
        &json!({"arms": [{"steps": [{"weight": 0.7}]}], "k": 100, "seed": 7}),
    );
    let list = |arm: &str, jaccard, rank_biased_overlap| ListChange {
        arm: arm.into(),
        k: 10,
        users: 6_031,
        users_gone: 9,
        users_added: 14,
        changed: 0.314,
        jaccard,
        overlap: 0.93,
        rank_biased_overlap,
    };
    let lists = vec![list("fair-swap-then-control-boost", 0.55, 0.71), list("mmr", 0.97, 0.98)];
    compare(&old, &new, spec, lists, &Gates::default())
}

#[test]
fn two_nights_are_compared() {
    let comparison = nights();
    assert_eq!(comparison.alarms.len(), 2, "{:?}", comparison.alarms);
    assert!(comparison.alarms[0].contains("NDCG@10"));
    assert!(comparison.alarms[1].contains("Jaccard"));
    golden("compare_screen", &render_text(&comparison));
    golden("compare_md", &render_markdown(&comparison));
}

#[test]
fn a_run_does_not_differ_from_itself() {
    let run = sample::rerank();
    let same = compare(&run, &run, Vec::new(), Vec::new(), &Gates::default());
    assert!(same.alarms.is_empty() && same.arms_gone.is_empty() && same.arms_added.is_empty());
    assert!(same.metrics.iter().all(|m| !m.apart && m.old == m.new));
    assert!(render_markdown(&same).contains("Nothing moved"));
}

#[test]
fn that_the_published_arm_is_gone_is_an_alarm() {
    let (old, mut new) = (sample::rerank(), sample::rerank());
    let published = old.published.clone().unwrap();
    new.summary.arms.retain(|arm| arm.arm != published);
    let found = compare(&old, &new, Vec::new(), Vec::new(), &Gates::default());
    assert_eq!(found.alarms, [format!("{published}, which was published, is gone")]);
}

type Rows = Vec<(i64, Vec<i64>)>;

fn listed(rows: &Rows) -> impl Iterator<Item = Result<Listed>> {
    rows.clone().into_iter().map(|(user, items)| {
        let items = items.into_iter().map(Key::Int).collect();
        Ok(Listed { user: Key::Int(user), arm: "a".into(), items })
    })
}

fn rows() -> impl Strategy<Value = Rows> {
    let list = proptest::collection::btree_set(0i64..12, 0..8)
        .prop_map(|set| set.into_iter().collect::<Vec<_>>())
        .prop_shuffle();
    proptest::collection::btree_map(0i64..20, list, 0..12).prop_map(|m| m.into_iter().collect())
}

proptest! {
    /// By brute force: a map instead of a merge, sets at each depth instead of a running count.
    #[test]
    fn lists_are_compared_as_by_definition(old in rows(), new in rows(), k in 1usize..9) {
        let found = list_changes(listed(&old), listed(&new), k).unwrap();
        let (mut users, mut changed, mut jaccard, mut rbo) = (0u64, 0u64, 0.0, 0.0);
        for (user, a) in &old {
            let Some((_, b)) = new.iter().find(|(other, _)| other == user) else { continue };
            let (a, b) = (&a[..a.len().min(k)], &b[..b.len().min(k)]);
            let common = |d: usize| {
                let b = &b[..d.min(b.len())];
                a.iter().take(d).filter(|i| b.contains(i)).count() as f64
            };
            let union = (a.len() + b.len()) as f64 - common(k);
            users += 1;
            changed += u64::from(a != b);
            jaccard += if union == 0.0 { 1.0 } else { common(k) / union };
            let depths = 1..=a.len().max(b.len());
            let weight = |d: usize| 0.9f64.powi(d as i32 - 1);
            let weights: f64 = depths.clone().map(weight).sum();
            let agreed: f64 = depths.map(|d| weight(d) * common(d) / d as f64).sum();
            rbo += if weights == 0.0 { 1.0 } else { agreed / weights };
        }
        if let Some(found) = found.first() {
            let n = users.max(1) as f64;
            prop_assert_eq!(found.users, users);
            prop_assert_eq!(found.users_gone, old.len() as u64 - users);
            prop_assert_eq!(found.users_added, new.len() as u64 - users);
            prop_assert!((found.changed - changed as f64 / n).abs() < 1e-12);
            prop_assert!((found.jaccard - jaccard / n).abs() < 1e-8);
            prop_assert!((found.rank_biased_overlap - rbo / n).abs() < 1e-8);
        } else {
            prop_assert!(old.is_empty() && new.is_empty());
        }
    }
}

#[test]
fn one_user_is_explained() {
    let seen = |key: &str, title: &str, attributes: &[&str]| HistoryLine {
        key: key.into(),
        title: title.into(),
        attributes: attributes.iter().map(|a| (*a).into()).collect(),
    };
    let candidate = |rank: u32, title: &str, score, met: [bool; 2], places: [Option<u32>; 3]| {
        let (key, met, places) = (rank.to_string(), met.to_vec(), places.to_vec());
        let inferred = match rank {
            2 => vec![(0, "genre Drama".into(), 0.834)],
            _ => vec![],
        };
        let target = rank == 4;
        CandidateLine { key, title: title.into(), rank, score, met, inferred, places, target }
    };
    let explanation = Explanation {
        ways: Vec::new(),
        run: "demo-3f9c2a71".into(),
        user: "u\u{1b}[31m42".into(),
        history_length: 1_204,
        history: vec![
            seen("2858", "American Beauty", &["genre Comedy, Drama", "year 1999"]),
            seen("17", "", &["genre Romance (inferred, 0.71)"]),
        ],
        controls: vec!["genre is Drama".into(), "year at most 1980".into()],
        source: ControlSource::Table,
        conflict: None,
        request: None,
        arms: vec!["retrieval-order".into(), "hard-filter".into(), "mmr".into()],
        published: Some(2),
        candidates: vec![
            candidate(
                1,
                "Evil \u{202e}title\nwith a line",
                12.5,
                [false, false],
                [Some(1), None, Some(2)],
            ),
            candidate(2, "Casablanca", 11.25, [true, true], [Some(2), Some(1), Some(1)]),
            candidate(
                4,
                "A very long title that goes on and on, and on",
                -0.5,
                [true, false],
                [Some(4), None, Some(3)],
            ),
        ],
        candidates_all: 100,
        prompts: vec![(1, "Wishes: <genre> Drama\nBest:".into(), vec![7, 300, 12])],
        faults: vec!["control: nothing in the catalogue is called genre=Westrn".into()],
    };
    let text = explain::render_text(&explanation);
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'));
    golden("explain_screen", &text);
    assert!(explain::render_text(&Explanation::default()).contains("candidates: 0 of 0"));
}
