//! Is what was lost or changed after its commit found before anything is made of it?

use super::busy;
use crate::support::{Shop, assert_same, copy};
use crate::workers::ended;
use std::fs;

/// A shop with a finished prepare run, a copy of its runs in `good`, and the run's directory.
fn prepared() -> (Shop, String) {
    let shop = Shop::demo();
    shop.run("prepare.toml", &["--workers", "2"]);
    let run = shop.run_of("runs", "prepare");
    copy(&shop.path("runs"), &shop.path("good"));
    (shop, run)
}

/// Changes one bit of a file, which keeps its size.
fn flip(shop: &Shop, path: &str) {
    let path = shop.path(path);
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() / 3;
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
}

/// The keys of a run's objects in a folder, in order.
fn objects(shop: &Shop, run: &str, folder: &str) -> Vec<String> {
    let name = run.trim_start_matches("runs/");
    let keys = shop.objects("runs").into_keys();
    let keys = keys.filter_map(|key| Some(key.strip_prefix(name)?.strip_prefix('/')?.to_owned()));
    keys.filter(|key| key.starts_with(folder)).collect()
}

/// The commit of an object.
fn commit_of(key: &str) -> String {
    let (_, epoch) = key.split_once("epoch=").unwrap();
    format!("commits/{}.json", &epoch[..6])
}

#[test]
fn a_finished_run_that_lost_a_part_says_which_and_makes_it_again() {
    let (shop, run) = prepared();
    let parts = ["parts/", "exposure/", "faults/"].map(|folder| objects(&shop, &run, folder));
    for (at, key) in parts.iter().flat_map(|keys| [keys.first(), keys.last()]).enumerate() {
        let key = key.unwrap();
        let path = shop.path(&format!("{run}/{key}"));
        match at % 2 {
            0 => fs::remove_file(&path).unwrap(),
            _ => fs::write(&path, &fs::read(&path).unwrap()[..9]).unwrap(),
        }
        let said = shop.say(&["run", "prepare.toml"]);
        assert_eq!(said.code, Some(2), "{key}: {}", said.err);
        let found = if at % 2 == 0 { "found nothing" } else { "found 9 bytes" };
        for what in [key.as_str(), found, &commit_of(key)] {
            assert!(said.err.contains(what), "{key}: {what}: {}", said.err);
        }
        let _ = fs::remove_file(&path);
        fs::remove_file(shop.path(&format!("{run}/{}", commit_of(key)))).unwrap();
        let said = shop.run("prepare.toml", &[]);
        assert!(said.err.contains("goes on after"), "{key}: {}", said.err);
        assert_same(&shop.objects("runs"), &shop.objects("good"), key);
    }
}

/// Of the first pass, whose parts the second and the third read.
#[test]
fn a_changed_part_of_the_first_pass_is_not_read() {
    let (shop, run) = prepared();
    for commit in objects(&shop, &run, "commits/").iter().rev().take(4) {
        fs::remove_file(shop.path(&format!("{run}/{commit}"))).unwrap();
    }
    let part = format!("{run}/parts/epoch=000001/part=03.parquet");
    flip(&shop, &part);
    let said = shop.say(&["run", "prepare.toml", "--workers", "1"]);
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(said.err.contains("epoch=000001/part=03.parquet: expected"), "{}", said.err);
    assert!(said.err.contains("it was changed after its commit"), "{}", said.err);

    fs::copy(shop.path(&part.replace("runs/", "good/")), shop.path(&part)).unwrap();
    shop.run("prepare.toml", &["--workers", "1"]);
    assert_same(&shop.objects("runs"), &shop.objects("good"), "after a changed part");
}

#[test]
fn changed_sequences_are_not_read() {
    let (shop, run) = prepared();
    let commits = objects(&shop, &run, "commits/");
    let epoch = &commits[commits.len() - 2]["commits/".len()..][..6];
    let part = format!("{run}/parts/epoch={epoch}/part=05.parquet");
    flip(&shop, &part);
    let refused = |job: &str, code: i32| {
        let said = shop.say(&["run", job, "--workers", "1"]);
        assert_eq!(said.code, Some(code), "{job}: {}", said.err);
        let what = "part=05.parquet: expected";
        assert!(said.err.contains(what), "{job}: {}", said.err);
        assert!(said.err.contains("it was changed after its commit"), "{job}: {}", said.err);
    };
    refused("retriever.toml", 2);
    fs::copy(shop.path(&part.replace("runs/", "good/")), shop.path(&part)).unwrap();
    shop.run("retriever.toml", &[]);
    flip(&shop, &part);
    refused("demo.toml", 1);
}

/// Each on its own, as when a job is started twice by mistake.
#[test]
fn two_processes_that_know_nothing_of_each_other_both_finish() {
    let shop = busy();
    shop.run("prepare.toml", &["--workers", "1", "--set", "run.root=expected"]);
    let run = || shop.steerage(&["run", "prepare.toml", "--workers", "1"]).spawn().unwrap();
    for said in [run(), run()].map(ended) {
        assert_eq!(said.code, Some(0), "{}", said.err);
    }
    assert_same(&shop.objects("runs"), &shop.objects("expected"), "after two processes");
}

#[test]
fn a_damaged_checkpoint_says_where_it_is_and_training_starts_again_without_it() {
    let shop = Shop::demo();
    shop.run("retriever.toml", &[]);
    copy(&shop.path("runs"), &shop.path("good"));
    let run = shop.run_of("runs", "retriever");
    let checkpoint = format!("{run}/checkpoint.safetensors");
    fs::remove_file(shop.path(&format!("{run}/commits/000000.json"))).unwrap();
    flip(&shop, &checkpoint);
    let said = shop.say(&["run", "retriever.toml"]);
    assert_eq!(said.code, Some(2), "{}", said.err);
    let told = said.err.lines().last().unwrap_or_default();
    let place = format!("steerage: {checkpoint}: expected the checksum ");
    assert!(told.starts_with(&place), "which file: {told}");
    assert!(told.ends_with(": remove it to start again"), "what to do: {told}");
    fs::remove_file(shop.path(&checkpoint)).unwrap();
    shop.run("retriever.toml", &[]);
    assert_same(&shop.objects("runs"), &shop.objects("good"), "after a damaged checkpoint");
}
