//! Does a `label` job come to the same judgements however it is run, and are they right?

use super::{demo, judgements};
use crate::support::assert_same;
use std::collections::{BTreeMap, BTreeSet};
use steerage::commands::{Options, Outcome, bring_up};
use steerage::control::{all_met, with_popularity};
use steerage::flow::cluster::Cluster;
use steerage::types::{Category, Judgement, Relation};

/// The judgements of each request.
fn by_request(judgements: &[Judgement]) -> BTreeMap<(String, String), Vec<&Judgement>> {
    let mut found: BTreeMap<_, Vec<&Judgement>> = BTreeMap::new();
    for judgement in judgements {
        let key = (judgement.user.to_string(), judgement.request.clone());
        found.entry(key).or_default().push(judgement);
    }
    found
}

#[test]
fn workers_and_windows_change_no_judgement() {
    let shop = demo();
    shop.run("label.toml", &["--workers", "1"]);
    let expected = shop.objects("runs");
    for (workers, window) in [("2", "1"), ("3", "4"), ("7", "2")] {
        let root = format!("runs-{workers}");
        let sets = [format!("run.root={root}"), format!("run.window_epochs={window}")];
        let sets = ["--workers", workers, "--set", &sets[0], "--set", &sets[1]];
        shop.run("label.toml", &sets);
        assert_same(&shop.objects(&root), &expected, &format!("{workers} workers"));
    }
    let again = shop.run("label.toml", &["--workers", "2"]);
    assert_eq!(again.err.matches("up to date, skipped").count(), 2, "{}", again.err);
}

#[test]
fn what_the_catalogue_judges_is_right() {
    let shop = demo();
    shop.run("prepare.toml", &[]);
    let plan = shop.say(&["plan", "label.toml"]);
    assert_eq!(plan.code, Some(0), "{}", plan.err);
    assert!(plan.out.contains("nothing is done yet"), "{}", plan.out);
    assert!(plan.out.contains("up to 1200 requests, 14400 judgements"), "{}", plan.out);
    let said = shop.run("label.toml", &[]);
    assert!(said.out.contains("label"), "{}", said.out);

    let options = Options {
        sets: vec![format!("run.root={}", shop.path("runs").display())],
        cluster: Cluster::local(1),
    };
    let brought = bring_up(&shop.path("label.toml"), &options, &crate::workers::Silent).unwrap();
    let Outcome::Labelled(labelled) = &brought.outcome else { panic!("a label job") };
    let all = labelled.judgements().unwrap();
    let catalogue = &labelled.catalogue;
    let expected = with_popularity(&labelled.prepared.catalogue);
    assert_eq!(catalogue.attributes.last(), expected.attributes.last());
    let requests = steerage::commands::label::requests(&labelled.spec.requests, catalogue).unwrap();
    let texts = steerage::commands::label::texts(&labelled.spec.texts, catalogue).unwrap();
    assert!(texts.item(all[0].item).contains("department: "), "{}", texts.item(all[0].item));
    let mut categories = BTreeSet::new();
    for ((user, request), mine) in by_request(&all) {
        categories.insert(mine[0].category);
        assert_eq!(mine.len(), 12, "{user}: {request}");
        assert!(mine.is_sorted_by(|a, b| a.item < b.item), "{user}: {request}");
        let meaning = requests.understand(&request);
        for judgement in &mine {
            let met = all_met(catalogue, &meaning, judgement.item);
            assert_eq!(judgement.score, f32::from(met), "{request} {}", judgement.item);
        }
        let met = mine.iter().filter(|judgement| judgement.score == 1.0).count();
        let excludes = meaning.iter().filter(|c| c.relation == Relation::Not).count();
        match excludes {
            0 => assert!(met >= 5, "{request}: {met} of 12 meet it: two fifths are drawn so"),
            n if n == meaning.len() => assert!(met <= 7, "{request}: {met} of 12"),
            _ => assert!((2..=10).contains(&met), "{request}: {met} of 12"),
        }
    }
    assert_eq!(categories.len(), 10, "{categories:?}");
    let share = |of: fn(&Judgement) -> bool| {
        all.iter().filter(|judgement| of(judgement)).count() as f64 / all.len() as f64
    };
    let positive = share(|judgement| judgement.score >= 0.5);
    assert!((0.45..0.85).contains(&positive), "positive: {positive}");
    let kept = share(|judgement| judgement.wording_held_out);
    assert!((0.2..0.3).contains(&kept), "wordings kept from training: {kept}");
    let kept = share(|judgement| judgement.item_held_out);
    assert!((0.05..0.2).contains(&kept), "items kept from training: {kept}");
    let facts = &labelled.facts;
    assert_eq!(facts.judgements(), all.len() as u64);
    assert_eq!(facts.sums.categories.len(), 10);
    assert!(facts.faults.is_empty(), "{:?}", facts.faults);
}

#[test]
fn a_teacher_that_errs_does_so_as_often_as_it_should() {
    let shop = demo();
    shop.run("label.toml", &[]);
    let right = judgements(&shop, "runs");
    let noise = ["--set", "run.root=noisy", "--set", "teacher.noise=0.2"];
    shop.run("label.toml", &noise);
    let noisy = judgements(&shop, "noisy");
    assert_eq!(right.len(), noisy.len());
    let turned = right.iter().zip(&noisy).filter(|(a, b)| a.score != b.score).count();
    let share = turned as f64 / right.len() as f64;
    assert!((0.18..0.22).contains(&share), "{share}");
    shop.run("label.toml", &["--set", "run.root=graded", "--set", "teacher.graded=true"]);
    let graded = judgements(&shop, "graded");
    let partly = graded.iter().filter(|one| one.score > 0.0 && one.score < 1.0);
    assert!(partly.count() > 100, "shares of compositions");
    assert!(right.iter().zip(&graded).all(|(a, b)| (a.score == 1.0) == (b.score == 1.0)));
}

#[test]
fn a_killed_label_job_goes_on_where_it_was() {
    let shop = demo();
    shop.run("label.toml", &["--set", "run.root=expected", "--set", "output.epoch_tasks=1"]);
    shop.run("prepare.toml", &[]);
    let run = shop.run_of("expected", "label").replace("expected", "runs");
    let one = ["run", "label.toml", "--workers", "1", "--set", "output.epoch_tasks=1"];
    let mut child = shop.steerage(&one).spawn().unwrap();
    while shop.commits(&run).is_empty() {
        assert!(child.try_wait().unwrap().is_none(), "ended before its first commit");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    shop.run("label.toml", &["--workers", "3", "--set", "output.epoch_tasks=1"]);
    assert_same(&shop.objects("runs"), &shop.objects("expected"), "after a kill");
}

#[test]
fn a_few_users_are_chosen_and_only_what_is_named_is_asked() {
    let shop = demo();
    let sets = ["--set", "requests.users_max=40", "--set", "requests.categories=[\"mood\"]"];
    shop.run("label.toml", &sets);
    let all = judgements(&shop, "runs");
    let users: BTreeSet<String> = all.iter().map(|one| one.user.to_string()).collect();
    assert_eq!(users.len(), 40);
    assert!(all.iter().all(|one| one.category == Category::Mood));
    let said = shop.say(&["run", "label.toml", "--set", "requests.attributes=[\"colour\"]"]);
    assert_eq!(said.code, Some(2), "{}", said.err);
    assert!(said.err.contains("found \"colour\""), "{}", said.err);
}
