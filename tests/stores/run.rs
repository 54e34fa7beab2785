//! Is a run directory one run's, and is what it vouches for what was committed?

use super::{manifest, message, store};
use bytes::Bytes;
use insta::assert_snapshot;
use steerage::error::Error;
use steerage::store::{
    Commit, RunDir, Store, commit_key, exposure_key, fault_key, list_runs, part_key,
};
use steerage::types::StageName;

#[test]
fn the_same_run_is_opened_again_and_another_is_refused() {
    let (dir, store) = store();
    let run = RunDir::create_or_open_as(&store, "x", manifest("nightly")).unwrap();
    RunDir::create_or_open_as(&store, "x", manifest("nightly")).unwrap();
    assert_eq!(run.path("").file_name().unwrap(), "x");
    assert_eq!(list_runs(&store).unwrap(), ["x"]);

    let mut other = manifest("weekly");
    other.kind = "prepare".to_owned();
    let refused = RunDir::create_or_open_as(&store, "x", other).map(drop);
    assert_eq!(refused.as_ref().err().map(Error::exit_code), Some(2), "could not start");
    assert_snapshot!(message(&dir, refused), @r#"
    RUNS/x: expected the run of job "weekly" (prepare), found one of job "nightly"
    (rerank) with another job, kind; use another `run.root`, or remove the directory
    if nobody needs it
    "#);
    let mut fed = manifest("nightly");
    fed.upstream.insert("sequences".to_owned(), "prepare-1".to_owned());
    assert_snapshot!(
        message(&dir, RunDir::create_or_open_as(&store, "x", fed.clone()).map(drop)), @r#"
    RUNS/x: expected the run of job "nightly" (rerank), found one of job "nightly"
    (rerank) with another upstream runs; use another `run.root`, or remove the
    directory if nobody needs it
    "#);
    assert_ne!(fed.dir(), manifest("nightly").dir(), "a run of its own has a directory of its own");

    store.put_once("photos/cat.jpg", "meow").unwrap();
    assert_snapshot!(message(
        &dir, RunDir::create_or_open_as(&store, "photos", manifest("nightly")).map(drop)), @"
    RUNS/photos: holds files and no manifest.json: not a run directory; use another
    `run.root`, or remove it if nobody needs it
    ");
    assert_snapshot!(message(&dir, RunDir::open(&store, "nothing").map(drop)), @"
    RUNS/nothing: expected a run directory, found no manifest.json in it; `steerage
    run` makes one
    ");
}

#[test]
fn a_damaged_manifest_is_refused() {
    let (dir, store) = store();
    RunDir::create_or_open_as(&store, "x", manifest("nightly")).unwrap();
    let path = dir.path().join("x/manifest.json");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..40]).unwrap();
    assert_snapshot!(message(&dir, RunDir::open(&store, "x").map(drop)), @"
    RUNS/x/manifest.json: cannot be read (40 bytes): EOF while parsing a string at
    line 3 column 15; the directory cannot be used: remove it if nobody needs it
    ");
    let newer = String::from_utf8(whole).unwrap();
    let newer = newer.replace("\"format_version\": 1", "\"format_version\": 99");
    std::fs::write(&path, newer).unwrap();
    assert_snapshot!(message(&dir, RunDir::open(&store, "x").map(drop)), @"
    RUNS/x/manifest.json: expected format version 1, found 99: another release of
    steerage made it; use that one, or another `run.root`
    ");
}

fn committed(store: &Store) -> (RunDir, Commit) {
    let run = RunDir::create_or_open_as(store, "x", manifest("nightly")).unwrap();
    let part = run.put_part(part_key(17, 3), 2, Bytes::from_static(b"two rows")).unwrap();
    let shown = run.put_part(exposure_key(17), 1, Bytes::from_static(b"one count")).unwrap();
    let dead = run.put_part(fault_key(17), 3, Bytes::from_static(b"three letters")).unwrap();
    let commit = Commit {
        epoch: 17,
        shards: vec![34, 35],
        parts: vec![shown, part],
        rows_read: 5,
        rows_written: 2,
        rows_faulted: 3,
        faults: [(StageName::Read, [("null".to_owned(), 2), ("unreadable".to_owned(), 1)].into())]
            .into(),
        fault_part: Some(dead),
        payload: serde_json::json!({ "z": 1, "a": [1, 2] }),
    };
    run.put_commit(&commit).unwrap();
    (run, commit)
}

#[test]
fn a_commit_is_read_as_it_was_put() {
    let (dir, store) = store();
    let (run, commit) = committed(&store);
    assert_eq!(run.commits().unwrap(), [(17, commit.clone())].into());
    assert_eq!((run.verify().unwrap(), run.epochs().unwrap()), (1, [17].into()));
    assert_eq!(run.get_part(&commit.parts[1]).unwrap(), "two rows");
    for key in [
        "manifest.json",
        "parts/epoch=000017/part=03.parquet",
        "exposure/epoch=000017.parquet",
        "faults/epoch=000017.parquet",
        "commits/000017.json",
    ] {
        assert!(dir.path().join("x").join(key).is_file(), "{key}");
    }
    let json = std::fs::read_to_string(dir.path().join("x/commits/000017.json")).unwrap();
    assert_snapshot!(json, @r#"{"epoch":17,"shards":[34,35],"parts":[{"key":"exposure/epoch=000017.parquet","rows":1,"bytes":9,"checksum":"95f2a504f2071cd72d6a88608e53f52efb657c6a955f7750b32be9db31a9e889"},{"key":"parts/epoch=000017/part=03.parquet","rows":2,"bytes":8,"checksum":"bc8447d7a84e94fd795b029fd2e2e112f3ec76a9679319e66cfb389f1f454140"}],"rows_read":5,"rows_written":2,"rows_faulted":3,"faults":{"read":{"null":2,"unreadable":1}},"fault_part":{"key":"faults/epoch=000017.parquet","rows":3,"bytes":13,"checksum":"f8ddc9cb7b29a6f487b83d353922a9f2faff1a9ae9356eb2c022497a45f999eb"},"payload":{"a":[1,2],"z":1}}"#);
    assert_snapshot!(
        std::fs::read_to_string(dir.path().join("x/manifest.json")).unwrap(), @r#"
    {
      "format_version": 1,
      "code_version": "0.3.0",
      "job": "nightly",
      "kind": "rerank",
      "spec": {
        "arms": [
          "mmr"
        ],
        "k": 100
      },
      "spec_hash": "d150ccaffe2f8e29720fd35439aa9217116be6f431183917ba0682300ebabc99",
      "inputs": [],
      "upstream": {}
    }
    "#);
}

#[test]
fn what_changed_after_its_commit_is_found() {
    let (dir, store) = store();
    let (run, commit) = committed(&store);
    let part = dir.path().join("x").join(part_key(17, 3));
    std::fs::write(&part, "two rowz").unwrap();
    run.verify().unwrap();
    assert_snapshot!(message(&dir, run.get_part(&commit.parts[1])), @"
    RUNS/x/parts/epoch=000017/part=03.parquet: expected 8 bytes (bc8447d7), found 8
    bytes (64a0ea2f): it was changed after its commit; remove it and
    commits/000017.json and run again, and the epoch is made again
    ");
    std::fs::write(&part, "two").unwrap();
    assert_snapshot!(message(&dir, run.verify()), @"
    RUNS/x/parts/epoch=000017/part=03.parquet: expected 8 bytes (bc8447d7), found 3
    bytes: it was changed after its commit; remove it and commits/000017.json and
    run again, and the epoch is made again
    ");
    std::fs::remove_file(&part).unwrap();
    assert_snapshot!(message(&dir, run.verify()), @"
    RUNS/x/parts/epoch=000017/part=03.parquet: expected 8 bytes (bc8447d7), found
    nothing: it was changed after its commit; remove it and commits/000017.json and
    run again, and the epoch is made again
    ");
    assert_snapshot!(message(&dir, run.get_part(&commit.parts[1])), @"
    RUNS/x/parts/epoch=000017/part=03.parquet: expected 8 bytes (bc8447d7), found
    nothing: it was changed after its commit; remove it and commits/000017.json and
    run again, and the epoch is made again
    ");
}

#[test]
fn a_damaged_commit_is_refused() {
    let (dir, store) = store();
    let (run, _) = committed(&store);
    let path = dir.path().join("x").join(commit_key(17));
    let whole = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, &whole[..100]).unwrap();
    assert_snapshot!(message(&dir, run.commits()), @"
    RUNS/x/commits/000017.json: cannot be read (100 bytes): EOF while parsing a
    string at line 1 column 100; remove it to have the epoch done again
    ");
    std::fs::write(&path, whole.replace("\"rows_faulted\":3", "\"rows_faulted\":4")).unwrap();
    assert_snapshot!(message(&dir, run.commits()), @"
    RUNS/x/commits/000017.json: expected as many faults in each count, found 4 in
    all, 3 by stage and 3 in the dead-letter file; remove it to have the epoch done
    again
    ");
    std::fs::write(&path, &whole).unwrap();
    std::fs::copy(&path, dir.path().join("x").join(commit_key(18))).unwrap();
    assert_snapshot!(message(&dir, run.commits()), @"
    RUNS/x/commits/000018.json: expected epoch 18, found epoch 17; remove it to have
    the epoch done again
    ");
    std::fs::remove_file(dir.path().join("x").join(commit_key(18))).unwrap();
    std::fs::copy(&path, dir.path().join("x/commits/17.json")).unwrap();
    assert_snapshot!(message(&dir, run.commits()), @"
    RUNS/x/commits/17.json: expected commits named like commits/000017.json; remove
    the file
    ");
}
