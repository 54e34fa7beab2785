//! Does each step give the list its formula says, and never anything but a list of its candidates?

use crate::controls::{attribute, catalogue};
use proptest::prelude::*;
use std::sync::Arc;
use steerage::stage::rerank::{
    Dpp, Embeddings, Facts, FairSwap, HardFilter, Mmr, Similarity, Step, gap, retrieval_order,
};
use steerage::types::{ArmList, Candidates, Control, Query, Relation, mix64, unit_f64};

const GENRES: Similarity = Similarity::Labels { attribute: 0 };

/// Items with these scores, best first, of a catalogue with as many.
fn row(scores: &[f32]) -> Candidates {
    Candidates {
        items: (0..scores.len() as u32).collect(),
        scores: scores.into(),
        met: vec![0; scores.len()],
        ..Candidates::default()
    }
}

/// A genre of each item (none, one or two), and the year.
fn facts(genres: &[&[u32]], years: &[f32]) -> Facts {
    let none = vec![&[] as &[u32]; genres.len()];
    let catalogue = catalogue(vec![
        attribute("genre", &["a", "b", "c", "d"], genres, &[]),
        attribute("year", &[], &none, years),
    ]);
    Facts { catalogue, embeddings: None }
}

fn with_vectors(mut facts: Facts, width: usize, vectors: &[f32]) -> Facts {
    facts.embeddings = Some(Arc::new(Embeddings::new(width, vectors.into()).unwrap()));
    facts
}

fn apply(step: &Step, row: &Candidates, facts: &Facts) -> ArmList {
    step.check(facts).unwrap();
    step.apply(row, retrieval_order(row), facts)
}

fn with_controls(mut row: Candidates, count: usize, met: &[u32]) -> Candidates {
    let control = Control { attribute: 0, relation: Relation::Is, codes: vec![], bound: 0.0 };
    row.query = Query { controls: vec![control; count], ..Query::default() };
    row.met = met.into();
    row
}

/// The group of items of this year and later.
fn since(year: f32) -> Control {
    Control { attribute: 1, relation: Relation::AtLeast, codes: vec![], bound: year }
}

#[test]
fn hard_filter_puts_what_meets_the_controls_first() {
    let row = with_controls(row(&[5.0, 4.0, 3.0, 1.0]), 2, &[0b00, 0b10, 0b11, 0b01]);
    let facts = facts(&[&[], &[], &[], &[]], &[]);
    let first = apply(&Step::HardFilter(HardFilter::First), &row, &facts);
    assert_eq!(first.order, [2, 1, 3, 0]);
    let mapped = |score: f32| (score - 1.0) / (5.0 - 1.0);
    assert_eq!(first.scores, [2.0 + mapped(3.0), 1.0 + mapped(4.0), 1.0 + 0.0, 0.0 + 1.0]);
    let only = apply(&Step::HardFilter(HardFilter::Only), &row, &facts);
    assert_eq!(only, ArmList { order: vec![2], scores: vec![3.0] });
    let nobody = with_controls(row, 2, &[0; 4]);
    assert_eq!(apply(&Step::HardFilter(HardFilter::Only), &nobody, &facts), ArmList::default());
}

#[test]
fn mmr_weighs_relevance_against_the_nearest_above() {
    let row = row(&[1.0, 0.9, 0.5, 0.0]);
    let facts = facts(&[&[0, 1], &[0, 1], &[1, 2], &[3]], &[]);
    let made = apply(&Step::Mmr(Mmr { lambda: 0.5, similarity: GENRES, depth: 4 }), &row, &facts);
    // After item 0: 1 → .45 − .5·1; 2 → .25 − .5·⅓; 3 → 0. After 2: 1 stays, 3 → 0.
    assert_eq!(made.order, [0, 2, 3, 1]);
    let expected = [0.5, 0.5 * 0.5 - 0.5 * (1.0 / 3.0), 0.0, 0.5 * 0.9 - 0.5];
    for (score, expected) in made.scores.iter().zip(expected) {
        assert!((score - expected).abs() < 1e-6, "{score} is not {expected}");
    }
    // One place: the others follow in the order they had, falling as their relevance does.
    let one = apply(&Step::Mmr(Mmr { lambda: 0.5, similarity: GENRES, depth: 1 }), &row, &facts);
    assert_eq!(one.order, [0, 1, 2, 3]);
    assert_eq!(one.scores, [0.5, 0.5, 0.5 - (0.9 - 0.5), 0.5 - (0.9 - 0.5) - 0.5]);
}

#[test]
fn mmr_goes_by_the_cosine_whatever_the_vectors_length() {
    let row = row(&[1.0, 0.9, 0.1]);
    let facts = facts(&[&[], &[], &[]], &[]);
    // Item 1 points where item 0 does; item 2 the other way, which counts as unrelated.
    let facts = with_vectors(facts, 2, &[3.0, 4.0, 30.0, 40.0, -3.0, -4.0]);
    let step = Mmr { lambda: 0.5, similarity: Similarity::Embedding, depth: 3 };
    let made = apply(&Step::Mmr(step), &row, &facts);
    assert_eq!(made.order, [0, 2, 1]);
    assert_eq!(made.scores[1], 0.0); // the last by relevance, and unrelated
}

#[test]
fn dpp_leaves_a_copy_to_the_end() {
    let row = row(&[1.0, 0.9, 0.5, 0.0]);
    let facts = facts(&[&[], &[], &[], &[]], &[]);
    let facts = with_vectors(facts, 2, &[0.6, 0.8, 0.6, 0.8, 0.8, 0.6, -0.8, 0.6]);
    let step = Dpp { theta: 1.0, similarity: Similarity::Embedding, depth: 4 };
    let made = apply(&Step::Dpp(step), &row, &facts);
    // ln d² of the first is 2·θ·1. Item 1 copies it. Item 2's cosine is .96, item 3's 0:
    // e^(2·.5)·(1 − .96²) = .21 < e^0. Then all is in the plane of the first two.
    assert_eq!(made.order, [0, 3, 1, 2]);
    assert!((made.scores[0] - 2.0).abs() < 1e-6 && made.scores[1].abs() < 1e-6, "{made:?}");
}

#[test]
fn fair_swap_loses_the_least_relevance() {
    let row = row(&[1.0, 0.9, 0.8, 0.2]);
    let facts = facts(&[&[] as &[u32]; 4], &[1990.0, 1991.0, 2001.0, 2002.0]);
    let group = since(1996.0);
    let step = |gap_max| Step::FairSwap(FairSwap { group: group.clone(), top: 4, gap_max });
    // Places score 1, ⅔, ⅓, 0: the old lead by (1 + ⅔)/2 − ⅓/2 = ⅔. A swap of neighbours takes ⅓.
    assert_eq!(apply(&step(0.7), &row, &facts).order, [0, 1, 2, 3]);
    let once = apply(&step(0.34), &row, &facts);
    assert_eq!(once.order, [0, 2, 1, 3]);
    assert_eq!(once.scores, [1.0, 0.9, 0.8, 0.2]); // a score belongs to the place
    // Then up front: (1 − .8)·(1 − 1/log2 3) = .074; behind: (.9 − .2)·(½ − 1/log2 5) = .049.
    assert_eq!(apply(&step(0.0), &row, &facts).order, [0, 2, 3, 1]);
}

#[test]
fn fair_swap_looks_past_items_of_unknown_group() {
    let row = row(&[1.0, 0.9, 0.8]);
    let group = since(1996.0);
    let facts = facts(&[&[] as &[u32]; 3], &[1990.0, f32::NAN, 2001.0]);
    let step = Step::FairSwap(FairSwap { group, top: 3, gap_max: 0.5 });
    // One of each: a swap would only turn the gap of 1 round.
    assert_eq!(apply(&step, &row, &facts).order, [0, 1, 2]);
}

#[test]
fn steps_refuse_what_they_cannot_do() {
    let facts = facts(&[&[]], &[2000.0]);
    let group = Control { attribute: 2, relation: Relation::Is, codes: vec![], bound: 0.0 };
    let by = Similarity::Labels { attribute: 2 };
    let cases = [
        (
            Step::Mmr(Mmr { lambda: 1.5, similarity: GENRES, depth: 1 }),
            "mmr: expected a lambda from 0 to 1, found 1.5",
        ),
        (
            Step::Mmr(Mmr { lambda: 0.5, similarity: by, depth: 1 }),
            "similarity: expected one of the catalogue's 2 attributes, found index 2",
        ),
        (
            Step::Dpp(Dpp { theta: f32::NAN, similarity: GENRES, depth: 1 }),
            "dpp: expected a theta from 0 to 50, found NaN",
        ),
        (
            Step::Dpp(Dpp { theta: 1.0, similarity: Similarity::Embedding, depth: 1 }),
            "similarity: expected embeddings of 1 items, found 0: name a retriever, \
             or use the labels of an attribute",
        ),
        (
            Step::FairSwap(FairSwap { group, top: 3, gap_max: 0.1 }),
            "fair-swap: expected one of the catalogue's 2 attributes, found index 2",
        ),
    ];
    for (step, message) in cases {
        assert_eq!(step.check(&facts).unwrap_err().to_string(), message);
    }
    let odd = Embeddings::new(2, vec![1.0; 3]).unwrap_err().to_string();
    assert_eq!(odd, "item embeddings: expected rows of width 2, found 3 values");
    let nan = Embeddings::new(1, vec![1.0, f32::NAN]).unwrap_err().to_string();
    assert_eq!(nan, "item embeddings: expected finite values, found NaN or ±∞ in item 1's row");
}

/// A row with random scores (best first, with ties), labels, years, vectors and met controls.
#[derive(Clone, Debug)]
struct Case {
    row: Candidates,
    facts: Facts,
}

fn cases(items_max: usize) -> impl Strategy<Value = Case> {
    (0..=items_max, 1usize..12, any::<u64>()).prop_map(|(items, width, seed)| {
        let draw = |kind: u64, at: usize| mix64(mix64(seed ^ kind << 56) ^ at as u64);
        let mut scores: Vec<f32> = (0..items).map(|i| (draw(1, i) % 16) as f32 / 4.0).collect();
        scores.sort_by(|a, b| b.total_cmp(a));
        let labels = |i| (0..4).filter(|bit| draw(2, i) >> bit & 1 == 1).collect::<Vec<u32>>();
        let labels: Vec<Vec<u32>> = (0..items).map(labels).collect();
        let labels: Vec<&[u32]> = labels.iter().map(Vec::as_slice).collect();
        let year = |i| if draw(3, i) % 5 == 0 { f32::NAN } else { (draw(3, i) % 30) as f32 };
        let years: Vec<f32> = (0..items).map(year).collect();
        let vectors: Vec<f32> =
            (0..items * width).map(|at| unit_f64(draw(4, at)) as f32 - 0.5).collect();
        let mut facts = facts(&labels, &years);
        if items > 0 {
            facts = with_vectors(facts, width, &vectors);
        } else {
            facts.embeddings = Some(Arc::new(Embeddings::new(width, vec![]).unwrap()));
        }
        let met: Vec<u32> = (0..items).map(|i| draw(5, i) as u32 & 0b111).collect();
        Case { row: with_controls(row(&scores), 3, &met), facts }
    })
}

fn similarities() -> impl Strategy<Value = Similarity> {
    prop_oneof![Just(Similarity::Embedding), Just(GENRES)]
}

fn steps() -> impl Strategy<Value = Step> {
    let group = since(15.0);
    let greedy = || (similarities(), 0usize..30);
    prop_oneof![
        Just(Step::RetrievalOrder),
        Just(Step::HardFilter(HardFilter::First)),
        Just(Step::HardFilter(HardFilter::Only)),
        (0f32..=1.0, greedy()).prop_map(|(lambda, (similarity, depth))| {
            Step::Mmr(Mmr { lambda, similarity, depth })
        }),
        (0f32..4.0, greedy()).prop_map(|(theta, (similarity, depth))| {
            Step::Dpp(Dpp { theta, similarity, depth })
        }),
        (0usize..30, 0f32..0.5).prop_map(move |(top, gap_max)| {
            Step::FairSwap(FairSwap { group: group.clone(), top, gap_max })
        }),
    ]
}

/// The determinant of the kernel of these places, by Gauss's elimination.
fn determinant(case: &Case, theta: f64, places: &[usize]) -> f64 {
    let (low, high) = (*case.row.scores.last().unwrap(), case.row.scores[0]);
    let width = f64::from(high - low);
    let mapped =
        |i: usize| if width > 0.0 { f64::from(case.row.scores[i] - low) / width } else { 0.0 };
    let vectors = case.facts.embeddings.as_ref().unwrap();
    let kernel = |i: usize, j: usize| {
        let pairs = vectors.row(i as u32).iter().zip(vectors.row(j as u32));
        let cosine: f64 = pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        (theta * (mapped(i) + mapped(j))).exp() * cosine
    };
    let mut m: Vec<Vec<f64>> =
        places.iter().map(|&i| places.iter().map(|&j| kernel(i, j)).collect()).collect();
    let mut product = 1.0;
    for k in 0..m.len() {
        product *= m[k][k];
        for i in k + 1..m.len() {
            let factor = m[i][k] / m[k][k];
            let (above, below) = m.split_at_mut(i);
            below[0].iter_mut().zip(&above[k]).for_each(|(x, y)| *x -= factor * y);
        }
    }
    product
}

proptest! {
    #[test]
    fn every_chain_keeps_a_list_of_its_candidates(
        case in cases(24),
        chain in prop::collection::vec(steps(), 1..4),
    ) {
        let mut list = retrieval_order(&case.row);
        for step in &chain {
            let before = list.clone();
            step.check(&case.facts).unwrap();
            list = step.apply(&case.row, before.clone(), &case.facts);
            prop_assert_eq!(list.order.len(), list.scores.len());
            let (mut from, mut to) = (before.order.clone(), list.order.clone());
            from.sort_unstable();
            to.sort_unstable();
            match step {
                Step::RetrievalOrder => prop_assert_eq!(to.len(), case.row.items.len()),
                Step::HardFilter(HardFilter::Only) => {
                    from.retain(|&at| case.row.met[at as usize] == 0b111);
                    prop_assert_eq!(from, to);
                }
                _ => prop_assert_eq!(from, to),
            }
            prop_assert!(list.scores.iter().all(|score| score.is_finite()));
            prop_assert!(list.scores.windows(2).all(|pair| pair[1] <= pair[0]), "{:?}", list);
            prop_assert_eq!(&list, &step.apply(&case.row, before, &case.facts));
        }
    }

    #[test]
    fn mmr_of_relevance_alone_is_the_order_there_was(
        case in cases(24),
        similarity in similarities(),
        depth in 0usize..30,
    ) {
        let step = Step::Mmr(Mmr { lambda: 1.0, similarity, depth });
        let made = apply(&step, &case.row, &case.facts);
        prop_assert_eq!(made.order, retrieval_order(&case.row).order);
    }

    #[test]
    fn dpp_equals_the_greedy_determinant(case in cases(7), theta in 0f32..2.0) {
        let step = Dpp { theta, similarity: Similarity::Embedding, depth: 7 };
        let made = apply(&Step::Dpp(step), &case.row, &case.facts);
        let made: Vec<usize> = made.order.iter().map(|&at| at as usize).collect();
        let mut previous = 1.0;
        for taken in 1..=made.len() {
            let of = |place: usize| {
                let places: Vec<usize> = made[..taken - 1].iter().copied().chain([place]).collect();
                determinant(&case, f64::from(theta), &places)
            };
            let found = of(made[taken - 1]);
            if found / previous < 1e-5 {
                break; // rounding decides, and then the fill
            }
            // No other item would have given more, to within the similarities' rounding.
            for &other in &made[taken..] {
                let most = found * (1.0 + 1e-4);
                prop_assert!(of(other) <= most, "{} after {:?}", other, &made[..taken]);
            }
            previous = found;
        }
    }

    #[test]
    fn hard_filter_sorts_by_controls_met_and_keeps_the_order_within(case in cases(24)) {
        let made = apply(&Step::HardFilter(HardFilter::First), &case.row, &case.facts);
        let key = |&at: &u32| (std::cmp::Reverse(case.row.met[at as usize].count_ones()), at);
        prop_assert!(made.order.windows(2).all(|pair| key(&pair[0]) < key(&pair[1])));
    }

    #[test]
    fn fair_swap_closes_the_gap(case in cases(24), top in 0usize..30, gap_max in 0f32..0.5) {
        let group = since(15.0);
        let step = Step::FairSwap(FairSwap { group, top, gap_max });
        let made = apply(&step, &case.row, &case.facts);
        let top = top.min(made.order.len());
        let groups = |order: &[u32]| -> Vec<Option<bool>> {
            let year = |&at: &u32| Some(case.facts.catalogue.attributes[1].number(at));
            let known = |at| year(at).filter(|year| !year.is_nan());
            order[..top].iter().map(|at| known(at).map(|year| year >= 15.0)).collect()
        };
        let start = retrieval_order(&case.row).order;
        let (before, after) = (gap(&groups(&start)), gap(&groups(&made.order)));
        prop_assert!(after <= before);
        prop_assert_eq!(&made.order[top..], &start[top..]);
        if before <= gap_max {
            prop_assert_eq!(&made.order, &start);
        }
        // Without unknown items in between, neighbours can always come within one swap of even.
        let found = groups(&made.order);
        if found.iter().all(Option::is_some) && after > gap_max {
            let members = |which| found.iter().filter(|&&g| g == Some(which)).count() as f32;
            let (yes, no) = (members(true), members(false));
            let swap = (yes + no) / (yes * no * (top as f32 - 1.0));
            prop_assert!(after <= swap / 2.0 + 1e-6, "{} left, and a swap takes {}", after, swap);
        }
    }
}
