//! Do the bytes rest as they were put: whole, once, and the same for the same rows?

mod parts;
mod run;

use crate::support::wrapped;
use bytes::Bytes;
use insta::assert_snapshot;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use steerage::error::{Error, Result};
use steerage::store::{Commit, HashCache, Local, Manifest, RunDir, Store, hash_file, part_key};
use steerage::testing::faulty_store::{FaultyStore, Weather};
use tempfile::TempDir;

fn store() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

/// The error's text with the temporary directory called `RUNS`.
fn message<T>(dir: &TempDir, result: Result<T>) -> String {
    let text = result.err().expect("an error").to_string();
    wrapped(&text.replace(dir.path().to_str().unwrap(), "RUNS"))
}

fn manifest(job: &str) -> Manifest {
    Manifest::new(job, "rerank", serde_json::json!({ "k": 100, "arms": ["mmr"] }))
}

#[test]
fn the_same_bytes_again_are_a_success_and_others_a_conflict() {
    let (dir, store) = store();
    store.put_once("a/b", "one").unwrap();
    store.put_once("a/b", "one").unwrap();
    assert_snapshot!(message(&dir, store.put_once("a/b", "other")), @"
    RUNS/a/b: the run directory holds 3 bytes (d33fb48a), and this run made 5 bytes
    (3f796163): runs are immutable; use another `run.root`, or remove the directory
    if nobody needs it
    ");
    assert_eq!(store.get("a/b").unwrap().unwrap(), "one");
    assert_eq!(store.get("a/c").unwrap(), None);

    store.put_derived("a/b", "other").unwrap();
    assert_eq!(store.get("a/b").unwrap().unwrap(), "other");
}

#[test]
fn of_many_creators_one_wins_and_everybody_knows() {
    let (_dir, store) = store();
    for round in 0..20 {
        let key = format!("parts/{round}");
        let put = |bytes: Vec<u8>| store.put_once(&key, bytes);
        let results: Vec<_> = std::thread::scope(|scope| {
            let creators: Vec<_> =
                (0..8u8).map(|writer| scope.spawn(move || put(vec![writer % 2; 10_000]))).collect();
            creators.into_iter().map(|creator| creator.join().unwrap()).collect()
        });
        let bytes = store.get(&key).unwrap().unwrap();
        assert_eq!(bytes.len(), 10_000, "whole");
        for (writer, result) in results.iter().enumerate() {
            assert_eq!(result.is_ok(), bytes[0] as usize == writer % 2, "writer {writer}");
        }
    }
}

/// Each writes into the directory as soon as it has it, which must not look like somebody else's
/// files to those who are still opening it.
#[test]
fn many_open_one_new_run_and_none_takes_it_for_a_strangers() {
    let (_dir, store) = store();
    for round in 0..50 {
        let open = |writer: u32| {
            let manifest = manifest(&format!("nightly-{round}"));
            let run = RunDir::create_or_open(&store, manifest)?;
            run.put_part(part_key(0, writer), 1, Bytes::from_static(b"row"))
        };
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..8).map(|writer| scope.spawn(move || open(writer))).collect();
            for writer in writers {
                writer.join().unwrap().unwrap();
            }
        });
    }
}

#[test]
fn what_a_lost_answer_hides_is_found_out() {
    for seed in 0..20 {
        let (dir, calm) = store();
        let weather = Weather { seed, request_lost: 0.3, reply_lost: 0.3, ..Weather::default() };
        let faulty = Arc::new(FaultyStore::new(Local::open(dir.path()).unwrap(), weather));
        let store = Store::over(faulty, dir.path());
        let run = RunDir::create_or_open(&store, manifest("nightly")).unwrap();
        for epoch in 0..3 {
            let bytes = Bytes::from(vec![epoch as u8; 100]);
            let part = run.put_part(part_key(epoch, 0), 100, bytes).unwrap();
            run.put_commit(&Commit { epoch, parts: vec![part], ..Commit::default() }).unwrap();
        }
        let run = RunDir::open(&calm, run.name()).unwrap();
        let commits = run.commits().unwrap();
        assert_eq!(commits.len(), 3);
        assert_eq!(run.verify().unwrap(), 3);
        let parts = commits.values().flat_map(|commit| commit.objects());
        parts.for_each(|part| assert_eq!(run.get_part(part).unwrap().len(), 100));
        assert_eq!(calm.list("").unwrap().len(), 1 + 3 + 3, "no stray objects");
    }
}

#[test]
fn a_silent_storage_and_a_full_one_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let weather =
        Weather { request_lost: 1.0, losses_in_a_row_max: u32::MAX, ..Weather::default() };
    let silent = FaultyStore::new(Local::open(dir.path()).unwrap(), weather);
    let silent = Store::over(Arc::new(silent), dir.path());
    let error = silent.put_once("parts/a", "bytes");
    assert_eq!(error.as_ref().err().map(Error::exit_code), Some(1), "resume is possible");
    let text = message(&dir, error).replace(" 1 s:", " 0 s:");
    assert_snapshot!(text, @"
    write RUNS/parts/a: no answer in 6 attempts and 0 s: the request was lost; run
    again when the storage answers: finished epochs are kept
    ");

    let weather = Weather { full_after_puts: Some(1), ..Weather::default() };
    let full = FaultyStore::new(Local::open(dir.path()).unwrap(), weather);
    let full = Store::over(Arc::new(full), dir.path());
    full.put_once("parts/a", "bytes").unwrap();
    let error = full.put_once("parts/b", "bytes");
    assert_eq!(error.as_ref().err().map(Error::exit_code), Some(1), "resume is possible");
    assert_snapshot!(message(&dir, error), @"
    write RUNS/parts/b: no space is left on the disk: free some and run again;
    finished epochs are kept
    ");
    assert_eq!(full.get("parts/a").unwrap().unwrap(), "bytes", "what is finished is kept");
}

#[test]
fn the_hook_sees_every_put_after_it_happened() {
    let dir = tempfile::tempdir().unwrap();
    let (seen, path) = (Arc::new(AtomicU64::new(0)), dir.path().to_path_buf());
    let count = seen.clone();
    let objects = FaultyStore::new(Local::open(dir.path()).unwrap(), Weather::default());
    let objects = objects.after_put(move |n| {
        assert!(path.join(format!("{n}")).exists());
        count.store(n, Ordering::Relaxed);
    });
    let store = Store::over(Arc::new(objects), dir.path());
    (1..=5).for_each(|n| store.put_once(&n.to_string(), "x").unwrap());
    assert_eq!(seen.load(Ordering::Relaxed), 5);
}

#[test]
fn a_file_is_hashed_again_when_it_changed() {
    let (dir, store) = store();
    let path = dir.path().join("input");
    std::fs::write(&path, "one").unwrap();
    let one = hash_file(&path).unwrap();
    assert_eq!(one.hash, blake3::hash(b"one").to_hex().to_string());
    assert_eq!(one.bytes, 3);

    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(100);
    let set_time = |at| {
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(at).unwrap();
    };
    let mut cache = HashCache::open(&store).unwrap();
    cache.hash(&path).unwrap();
    cache.save(&store).unwrap();
    assert!(!dir.path().join(".hashes.json").exists(), "it may change again within a clock tick");
    set_time(long_ago);
    assert_eq!(cache.hash(&path).unwrap(), one);
    cache.save(&store).unwrap();

    std::fs::write(&path, "two").unwrap();
    set_time(long_ago);
    let mut cache = HashCache::open(&store).unwrap();
    assert_eq!(cache.hash(&path).unwrap(), one, "same size and time: the file is not read");
    set_time(long_ago + std::time::Duration::from_secs(1));
    assert_eq!(cache.hash(&path).unwrap().hash, blake3::hash(b"two").to_hex().to_string());
    assert!(cache.hash(&dir.path().join("absent")).is_err());

    std::fs::write(dir.path().join(".hashes.json"), "{\"garb").unwrap();
    let mut cache = HashCache::open(&store).unwrap();
    assert_eq!(cache.hash(&path).unwrap().bytes, 3, "a damaged cache is as good as none");
}
