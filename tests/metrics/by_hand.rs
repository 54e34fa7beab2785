//! One family a test, on rows small enough to work out on paper.

use super::*;

fn plain(items: usize) -> Arc<Catalogue> {
    catalogue(vec![1; items], Vec::new())
}

#[test]
fn accuracy_with_two_targets_at_places_two_and_four() {
    let summary = measure(&plan(&[1, 3, 5]), &plain(9), &[row(1, &[8, 6, 5, 7, 1, 0], &[7, 6])]);
    let log = f64::log2;
    assert_near(mean(&summary, "hit@1"), 0.0);
    assert_near(mean(&summary, "hit@3"), 1.0);
    assert_near(mean(&summary, "recall@3"), 1.0 / 2.0);
    assert_near(mean(&summary, "recall@5"), 2.0 / 2.0);
    assert_near(mean(&summary, "mrr@1"), 0.0);
    assert_near(mean(&summary, "mrr@5"), 1.0 / 2.0);
    let ideal = 1.0 / log(2.0) + 1.0 / log(3.0);
    assert_near(mean(&summary, "ndcg@3"), 1.0 / log(3.0) / ideal);
    assert_near(mean(&summary, "ndcg@5"), (1.0 / log(3.0) + 1.0 / log(5.0)) / ideal);
    assert_near(mean(&summary, "retrieval-ceiling"), 1.0);
}

#[test]
fn the_ideal_holds_no_more_targets_than_places() {
    let summary = measure(&plan(&[1, 2]), &plain(9), &[row(1, &[4, 8, 3], &[4, 3, 7])]);
    assert_near(mean(&summary, "ndcg@1"), 1.0);
    assert_near(mean(&summary, "ndcg@2"), 1.0 / (1.0 + 1.0 / f64::log2(3.0)));
    assert_near(mean(&summary, "recall@2"), 1.0 / 3.0);
    assert_near(mean(&summary, "retrieval-ceiling"), 2.0 / 3.0);
}

#[test]
fn users_without_targets_are_no_part_of_accuracy() {
    let rows = [row(1, &[1, 2], &[1]), row(2, &[1, 2], &[])];
    let summary = measure(&plan(&[1]), &plain(3), &rows);
    assert_eq!(summary.arms[0].metrics["hit@1"].users, 1);
    assert_near(mean(&summary, "hit@1"), 1.0);
    assert_eq!(summary.arms[0].metrics["novelty@1"].users, 2);
    let none = measure(&plan(&[1]), &plain(3), &rows[1..]);
    assert!(!none.arms[0].metrics.contains_key("hit@1"));
}

#[test]
fn control_over_six_candidates() {
    // The list is the candidates backwards, so it meets 0, 1, 2, 0, 2, 1 of two controls.
    let mut ranked = with_controls(
        row(1, &[1, 2, 3, 4, 5, 6], &[1]),
        ControlSource::Table,
        2,
        &[0b01, 0b11, 0, 0b11, 0b10, 0],
    );
    ranked.arms[0].order.reverse();
    let one = measure(&plan(&[1, 3, 10]), &plain(7), std::slice::from_ref(&ranked));
    assert_near(mean(&one, "cp@1"), 0.0);
    assert_near(mean(&one, "cp@3"), 2.0 / 3.0);
    assert_near(mean(&one, "cp@10"), 4.0 / 10.0);
    assert_near(mean(&one, "cd"), 2.0);
    assert_near(mean(&one, "strict@3"), 1.0 / 3.0);
    assert_near(mean(&one, "per-control@3"), (0.0 + 1.0 + 2.0) / (2.0 * 3.0));
    assert_near(mean(&one, "random-cp@3"), 4.0 / 6.0);
    assert_near(mean(&one, "random-cp@10"), 4.0 / 10.0);
    assert_near(mean(&one, "ceiling-cp@3"), 3.0 / 3.0);
    assert_near(mean(&one, "ceiling-cp@10"), 4.0 / 10.0);
    assert_near(mean(&one, "ncp@1"), (0.0 - 4.0 / 6.0) / (1.0 - 4.0 / 6.0));
    assert_near(mean(&one, "empty-pool"), 0.0);
    // Nothing can be gained where all candidates are shown: no ncp rather than 0/0.
    assert!(!one.arms[0].metrics.contains_key("ncp@10"));

    let all = MetricPlan { threshold: Threshold::All, ..plan(&[3]) };
    let all = measure(&all, &plain(7), std::slice::from_ref(&ranked));
    assert_near(mean(&all, "cp@3"), 1.0 / 3.0);
    assert_near(mean(&all, "cd"), 3.0);
    assert_near(mean(&all, "ceiling-cp@3"), 2.0 / 3.0);
    assert_near(mean(&all, "random-cp@3"), 2.0 / 6.0);
    assert_near(mean(&all, "ncp@3"), 0.0);
}

#[test]
fn the_depth_of_nothing_is_one_past_the_candidates() {
    let mut ranked =
        with_controls(row(1, &[1, 2, 3, 4, 5, 6], &[1]), ControlSource::Job, 1, &[0; 6]);
    let full = measure(&plan(&[3]), &plain(7), std::slice::from_ref(&ranked));
    ranked.arms[0].order.clear();
    let dropped = measure(&plan(&[3]), &plain(7), std::slice::from_ref(&ranked));
    for summary in [full, dropped] {
        // The target (item 1) is first and meets nothing: it earns no control precision.
        assert_near(mean(&summary, "cp@3"), 0.0);
        assert_near(mean(&summary, "cd"), 7.0);
        assert_near(mean(&summary, "empty-pool"), 1.0);
    }
}

#[test]
fn oracle_controls_are_kept_apart() {
    let rows = [
        with_controls(row(1, &[1, 2], &[1]), ControlSource::Oracle, 1, &[1, 1]),
        with_controls(row(2, &[1, 2], &[1]), ControlSource::Sampled, 1, &[0, 1]),
        with_controls(row(3, &[1, 2], &[1]), ControlSource::Job, 1, &[0, 0]),
        row(4, &[1, 2], &[1]),
    ];
    let summary = measure(&plan(&[2]), &plain(3), &rows);
    let users = |name: &str| summary.arms[0].metrics[name].users;
    assert_eq!((users("cp@2"), users("oracle-cp@2"), users("hit@2")), (2, 1, 4));
    assert_near(mean(&summary, "cp@2"), (1.0 / 2.0 + 0.0) / 2.0);
    assert_near(mean(&summary, "oracle-cp@2"), 1.0);
    assert_near(mean(&summary, "cd"), (2.0 + 3.0) / 2.0);
    assert_near(mean(&summary, "oracle-cd"), 1.0);
    assert_near(mean(&summary, "empty-pool"), 1.0 / 2.0);
    assert_near(mean(&summary, "oracle-empty-pool"), 0.0);
}

#[test]
fn alpha_ndcg_fades_what_was_shown() {
    // Items: 0 has labels {0, 1}, 1 has {0}, 2 has {1}, 3 has {2}.
    let labels = attribute(3, &[&[0, 1], &[0], &[1], &[2]]);
    let catalogue = catalogue(vec![1; 4], vec![labels]);
    let plan = MetricPlan { diversity_attribute: Some(0), ..plan(&[1, 3]) };
    let summary = measure(&plan, &catalogue, &[row(1, &[1, 0, 2, 3], &[0, 2])]);
    let discount = |place: f64| 1.0 / (place + 1.0).log2();
    // All items gain: {0}: 1; {0, 1}: ½ + 1; {1}: ½. Greedy: {0, 1}: 2, then {2}: 1, then {0}: ½.
    let list = discount(1.0) + 1.5 * discount(2.0) + 0.5 * discount(3.0);
    let ideal = 2.0 * discount(1.0) + discount(2.0) + 0.5 * discount(3.0);
    assert_near(mean(&summary, "alpha-ndcg-attribute@3"), list / ideal);
    assert_near(mean(&summary, "alpha-ndcg-attribute@1"), 1.0 / 2.0);
    // Targets alone gain: {0, 1} at place 2: 2; {1} at place 3: ½. Ideal: the same from place 1.
    let list = 2.0 * discount(2.0) + 0.5 * discount(3.0);
    let ideal = 2.0 * discount(1.0) + 0.5 * discount(2.0);
    assert_near(mean(&summary, "alpha-ndcg@3"), list / ideal);
    assert_near(mean(&summary, "alpha-ndcg@1"), 0.0);
}

#[test]
fn distances_within_lists() {
    let labels = attribute(4, &[&[0, 1], &[1, 2], &[3], &[]]);
    let catalogue = catalogue(vec![1; 4], vec![labels]);
    let by_label = MetricPlan { distance: Some(Distance::Attribute(0)), ..plan(&[1, 2, 4]) };
    let rows = [row(1, &[0, 1, 2, 3], &[])];
    let summary = measure(&by_label, &catalogue, &rows);
    assert_near(mean(&summary, "ild@2"), 1.0 - 1.0 / 3.0);
    assert_near(mean(&summary, "ild@4"), ((1.0 - 1.0 / 3.0) + 5.0) / 6.0);
    assert!(!summary.arms[0].metrics.contains_key("ild@1"));

    let by_vector = MetricPlan { distance: Some(Distance::Embedding), ..plan(&[2, 4]) };
    let values = vec![3.0, 4.0, -4.0, 3.0, 6.0, 8.0, 0.0, 0.0];
    let embeddings = Embeddings { values: values.into(), width: 2 };
    let mut judge = Judge::new(&by_vector, &catalogue, Some(embeddings)).unwrap();
    let (mut tally, mut exposure) = (Tally::default(), Exposure::default());
    judge.add(&rows, &mut tally, &mut exposure);
    let summary = summarise(&by_vector, &tally, &exposure, 4);
    // 0 ⊥ 1, 0 ∥ 2, 1 ⊥ 2, and the zero vector is at 1 from all.
    assert_near(mean(&summary, "ild@2"), 1.0);
    assert_near(mean(&summary, "ild@4"), (1.0 + 0.0 + 1.0 + 3.0) / 6.0);
}

#[test]
fn exposure_and_novelty() {
    let catalogue = catalogue(vec![8, 4, 4, 0], Vec::new());
    let rows = [row(1, &[0, 1], &[]), row(2, &[0, 2], &[]), row(3, &[0], &[])];
    let summary = measure(&plan(&[1, 2]), &catalogue, &rows);
    assert_near(mean(&summary, "coverage@1"), 1.0 / 4.0);
    assert_near(mean(&summary, "coverage@2"), 3.0 / 4.0);
    assert_near(mean(&summary, "gini@1"), 3.0 / 4.0);
    // Shown 0, 1, 1, 3 times: Σ (2i − 5)·x / (4·5).
    assert_near(mean(&summary, "gini@2"), (-1.0 + 1.0 + 3.0 * 3.0) / (4.0 * 5.0));
    // 16 interactions: item 0 is worth 1 bit, items 1 and 2 are worth 2.
    assert_near(mean(&summary, "novelty@1"), 1.0);
    assert_near(mean(&summary, "novelty@2"), (1.5 + 1.5 + 1.0) / 3.0);
    let unseen = measure(&plan(&[1]), &catalogue, &[row(1, &[3], &[])]);
    assert_near(mean(&unseen, "novelty@1"), 16f64.log2());
}

#[test]
fn one_in_a_billion_is_thirty_bits() {
    let catalogue = catalogue(vec![(1 << 30) - 1, 1], Vec::new());
    let summary = measure(&plan(&[1]), &catalogue, &[row(1, &[1], &[])]);
    assert_near(mean(&summary, "novelty@1"), 30.0);
}

#[test]
fn rank_scores_between_two_groups() {
    let labels = attribute(2, &[&[0], &[1], &[0], &[1], &[]]);
    let catalogue = catalogue(vec![1; 5], vec![labels]);
    let groups = FairnessGroups { attribute: 0, first: Split::Labels(vec![0]) };
    let plan = MetricPlan { fairness: Some(groups), ..plan(&[1]) };
    // Scores 1, ½, 0 and 1, 0; item 4 is in no group.
    let rows = [row(1, &[0, 1, 2], &[]), row(2, &[3, 0], &[]), row(3, &[4], &[])];
    let summary = measure(&plan, &catalogue, &rows);
    assert_near(mean(&summary, "mad-user"), ((0.5f64 - 0.5).abs() + (0.0f64 - 1.0).abs()) / 2.0);
    assert_eq!(summary.arms[0].metrics["mad-user"].users, 2);
    let first = ((1.0 + 0.0) / 3.0 + 0.0 / 2.0) / (2.0 / 3.0 + 1.0 / 2.0);
    let second = (0.5 / 3.0 + 1.0 / 2.0) / (1.0 / 3.0 + 1.0 / 2.0);
    assert_near(mean(&summary, "mad-pooled"), f64::abs(first - second));
}

#[test]
fn empty_lists_and_cutoffs_past_the_end() {
    let mut empty = with_controls(row(1, &[1, 2], &[2]), ControlSource::Job, 1, &[1, 0]);
    empty.arms[0].order.clear();
    let short = with_controls(row(2, &[1, 2], &[2]), ControlSource::Job, 1, &[1, 0]);
    let summary = measure(&plan(&[5, 50]), &plain(3), &[empty, short]);
    assert_near(mean(&summary, "hit@50"), 1.0 / 2.0);
    assert_near(mean(&summary, "ndcg@50"), (0.0 + 1.0 / f64::log2(3.0)) / 2.0);
    assert_near(mean(&summary, "cp@5"), (0.0 + 1.0 / 5.0) / 2.0);
    assert_near(mean(&summary, "cd"), (3.0 + 1.0) / 2.0);
    assert_near(mean(&summary, "retrieval-ceiling"), 1.0);
    assert_near(mean(&summary, "conflict"), 0.0);
}

#[test]
fn plans_that_do_not_fit_are_refused() {
    let refuse = |plan: MetricPlan| Judge::new(&plan, &plain(3), None).err().unwrap().to_string();
    let cases = [
        (plan(&[]), "expected ascending numbers from 1, found []"),
        (plan(&[0, 1]), "found [0, 1]"),
        (plan(&[5, 5]), "found [5, 5]"),
        (MetricPlan { baseline: 1, ..plan(&[1]) }, "expected one of 1 arms, found number 1"),
        (MetricPlan { diversity_attribute: Some(0), ..plan(&[1]) }, "found number 0"),
        (MetricPlan { distance: Some(Distance::Embedding), ..plan(&[1]) }, "found none"),
    ];
    for (plan, expected) in cases {
        let message = refuse(plan);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_point_of_a_sweep_tells_what_a_diagnosis_asks_for() {
    let plan = MetricPlan { point: true, threshold: Threshold::AtLeast(2), ..plan(&[2]) };
    let user = |number, met: &[u32], agreement, target| {
        let mut row = with_controls(row(number, &[0, 1], &[2]), ControlSource::Table, 2, met);
        row.candidates.query.standing = Some(Standing { agreement, target });
        row
    };
    let rows = [
        user(1, &[0b11, 0b00], 0.0, Some(1)), // a target that meets one of two
        user(2, &[0b01, 0b10], 0.25, Some(2)), // each control somewhere, both nowhere
        user(3, &[0b01, 0b01], 0.5, None),    // nothing meets the second
        row(4, &[0, 1], &[0]),                // asks for nothing
    ];
    let summary = measure(&plan, &plain(3), &rows);
    assert_near(mean(&summary, "empty-pool"), 2.0 / 3.0);
    assert_near(mean(&summary, "unmet-control"), 1.0 / 3.0);
    assert_near(mean(&summary, "target-unmet"), 1.0 / 3.0);
    let arm = &summary.arms[0];
    assert!(!arm.metrics.contains_key("coverage@2"), "nothing of exposure");
    let slices: Vec<_> = arm.slices.iter().map(|s| (s.label.as_str(), s.users)).collect();
    assert_eq!(slices, [("none", 1), ("10-50%", 1), ("50% or more", 1)]);
    assert_near(arm.slices[1].metrics["target-unmet"].mean, 0.0);
}
