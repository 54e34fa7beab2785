//! Does the number of workers, of processes, or of epochs in flight change a byte of the output?

use crate::support::{Said, Shop, assert_same, copy};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{TcpListener, TcpStream};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use steerage::commands::{Options, Outcome, Watcher, bring_up, rerank_stages};
use steerage::flow::Meters;
use steerage::flow::cluster::Cluster;
use steerage::spec::Kind;
use steerage::store::RunDir;
use steerage::testing::oracle;
use steerage::train::Progress;
use steerage::types::StageName;

/// `host:port` lines for some processes: ports that are free, and that the system gives nobody who
/// does not ask for them by number.
pub fn hosts(shop: &Shop, name: &str, processes: usize) -> Vec<String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let address = || {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        format!("127.0.0.1:{}", 20_000 + (std::process::id() * 16 + step) % 12_000)
    };
    let free = |address: &String| TcpListener::bind(address).is_ok();
    let addresses: Vec<String> =
        std::iter::repeat_with(address).filter(free).take(processes).collect();
    shop.write(name, addresses.join("\n"));
    addresses
}

/// One process of several that run the demo.
pub fn process(shop: &Shop, hosts: &str, process: usize, more: &[&str]) -> Child {
    let number = process.to_string();
    let line = ["run", "demo.toml", "--hosts", hosts, "--process", &number];
    shop.steerage(&[&line, more].concat()).spawn().unwrap()
}

/// How a process ended.
pub fn ended(child: Child) -> Said {
    Said::of(child.wait_with_output().unwrap())
}

#[test]
fn workers_and_windows_change_no_byte() {
    let shop = Shop::demo();
    shop.run("demo.toml", &["--workers", "1", "--set", "run.window_epochs=1"]);
    let expected = shop.objects("runs");
    let epochs = expected.keys().filter(|path| path.contains("/commits/")).count();
    assert!(epochs > 15, "epochs to be in flight at once, found {epochs}");
    for workers in ["1", "2", "3", "4", "7"] {
        for window in ["1", "3"] {
            let root = format!("runs-{workers}-{window}");
            let (root, window) =
                (format!("run.root={root}"), format!("run.window_epochs={window}"));
            let sets = ["--workers", workers, "--set", &root, "--set", &window];
            shop.run("demo.toml", &sets);
            let root = root.strip_prefix("run.root=").unwrap();
            assert_same(&shop.objects(root), &expected, &format!("{workers} workers, {window}"));
        }
    }
}

#[test]
fn nor_do_they_change_a_byte_of_a_sweep() {
    let shop = Shop::swept();
    shop.run("demo.toml", &["--workers", "1"]);
    let expected = shop.objects("runs");
    for workers in ["2", "7"] {
        let root = format!("run.root=runs-{workers}");
        let sets = ["--workers", workers, "--set", &root, "--set", "run.window_epochs=3"];
        shop.run("demo.toml", &sets);
        assert_same(&shop.objects(&root["run.root=".len()..]), &expected, workers);
    }
    hosts(&shop, "hosts", 2);
    let sets = ["--workers", "2", "--set", "run.root=runs-hosts"];
    let children: Vec<Child> = (0..2).map(|at| process(&shop, "hosts", at, &sets)).collect();
    for child in children {
        let said = ended(child);
        assert_eq!(said.code, Some(0), "{}", said.err);
    }
    assert_same(&shop.objects("runs-hosts"), &expected, "2 processes");
}

#[test]
fn the_size_of_an_epoch_changes_no_row() {
    let shop = Shop::demo();
    let mut expected = BTreeSet::new();
    for tasks in ["1", "3", "8"] {
        let root = format!("runs-{tasks}");
        let sets = [format!("run.root={root}"), format!("output.epoch_tasks={tasks}")];
        shop.run("demo.toml", &["--workers", "2", "--set", &sets[0], "--set", &sets[1]]);
        let run = shop.run_of(&root, "demo");
        let lists = shop.lists(&run);
        let rows: BTreeSet<String> = lists.iter().map(|row| format!("{row:?}")).collect();
        assert_eq!(rows.len(), lists.len(), "a row for each user and arm, once");
        if expected.is_empty() {
            assert_eq!(rows.len() % 7, 0, "seven arms");
            expected = rows;
        } else {
            assert!(rows == expected, "{tasks}: other rows");
        }
    }
}

#[test]
fn several_processes_change_no_byte() {
    let shop = Shop::demo();
    shop.run("demo.toml", &["--workers", "1"]);
    let expected = shop.objects("runs");
    for (processes, workers) in [(2, "1"), (3, "2")] {
        let root = format!("runs-{processes}");
        hosts(&shop, "hosts", processes);
        let set = format!("run.root={root}");
        let sets = ["--workers", workers, "--set", &set];
        let children: Vec<Child> =
            (0..processes).map(|at| process(&shop, "hosts", at, &sets)).collect();
        for (at, child) in children.into_iter().enumerate() {
            let said = ended(child);
            assert_eq!(said.code, Some(0), "process {at} of {processes}\n{}", said.err);
            assert_eq!(said.out.is_empty(), at > 0, "the first alone tells what came of it");
        }
        let found = shop.objects(&root);
        assert_same(&found, &expected, &format!("{processes} processes"));
    }
}

#[test]
fn strangers_at_the_door_do_not_keep_a_cluster_from_starting() {
    use std::io::Write;
    let shop = Shop::demo();
    shop.run("demo.toml", &["--workers", "1"]);
    copy(&shop.path("runs"), &shop.path("expected"));
    std::fs::remove_dir_all(shop.path(&shop.run_of("runs", "demo"))).unwrap();

    let addresses = hosts(&shop, "hosts", 2);
    let first = process(&shop, "hosts", 0, &["--workers", "1"]);
    let knock = || loop {
        if let Ok(stream) = TcpStream::connect(&addresses[0]) {
            return stream;
        }
        std::thread::yield_now();
    };
    let silent = knock();
    let mut loud = knock();
    loud.write_all(&[7; 4096]).unwrap();
    let second = process(&shop, "hosts", 1, &["--workers", "1"]);
    let (first, second) = (ended(first), ended(second));
    assert_eq!((first.code, second.code), (Some(0), Some(0)), "{}\n{}", first.err, second.err);
    assert!(first.err.contains("it does not speak this protocol"), "{}", first.err);
    drop(silent);
    assert_same(&shop.objects("runs"), &shop.objects("expected"), "with strangers at the door");
}

/// Rows go from partition to partition, and none is lost: read, written and given up add up.
#[test]
fn every_row_is_somewhere() {
    let shop = Shop::demo();
    shop.run("demo.toml", &["--workers", "3"]);
    let objects = shop.objects("runs");
    let commits =
        objects.iter().filter(|(path, _)| path.starts_with("demo-") && path.contains("/commits/"));
    let (mut users, mut wishes) = (0, 0);
    for (path, json) in commits {
        let commit: steerage::store::Commit = serde_json::from_slice(json).unwrap();
        let arms = 7;
        assert_eq!(commit.rows_written % arms, 0, "{path}");
        // Who asks for something unknown is told, and has lists all the same.
        let unheard: u64 = commit.faults.get(&StageName::Control).map_or(0, |k| k.values().sum());
        let lost = commit.rows_faulted - unheard;
        assert_eq!(commit.rows_read, commit.rows_written / arms + lost, "{path}");
        users += commit.rows_read;
        wishes += unheard;
    }
    let run = shop.run_of("runs", "demo");
    let mut by_user: BTreeMap<_, usize> = BTreeMap::new();
    shop.lists(&run).into_iter().for_each(|row| *by_user.entry(row.user).or_default() += 1);
    assert!(by_user.values().all(|lists| *lists == 7), "a list of every arm");
    assert!(wishes > 0, "the demo has wishes that nobody understands");
    assert_eq!(by_user.len() as u64 + shop.dead_letters(&run).len() as u64, users + wishes);
    let prepared = shop.say(&["report", &shop.run_of("runs", "prepare")]);
    assert!(prepared.out.contains(&format!("{users} users")), "{users}: {}", prepared.out);
}

/// Tells nobody.
pub struct Silent;

impl Watcher for Silent {
    fn begin(&self, _: &RunDir, _: &Arc<Meters>) {}
    fn step(&self, _: &RunDir, _: &Progress) {}
    fn end(&self, _: &RunDir, _: bool, _: Duration) {}
}

#[test]
fn the_dataflow_comes_to_what_a_for_loop_does() {
    like_a_for_loop(&Shop::demo());
    like_a_for_loop(&Shop::swept());
}

/// The program, and a loop over its stages, come to the same bytes.
pub fn like_a_for_loop(shop: &Shop) {
    let root = format!("run.root={}", shop.path("runs").display());
    for tasks in [1, 3] {
        let sets = vec![root.clone(), format!("output.epoch_tasks={tasks}")];
        let options = Options { sets, cluster: Cluster::local(3) };
        let brought = bring_up(&shop.path("demo.toml"), &options, &Silent).unwrap();
        let (Outcome::Reranked(opened), Kind::Rerank(spec)) = (&brought.outcome, &brought.job.kind)
        else {
            panic!("a rerank job");
        };
        let stages = rerank_stages(&brought.job, spec, opened).unwrap();
        let expected = oracle::rerank(&opened.plan, stages).unwrap();
        assert!(!expected.objects.is_empty());
        let prefix = format!("{}/", opened.run.name());
        let mut found = BTreeMap::new();
        for (path, bytes) in shop.objects("runs") {
            let Some(key) = path.strip_prefix(&prefix) else { continue };
            if !key.starts_with("commits/") && key != "manifest.json" {
                found.insert(key.to_owned(), bytes);
            }
        }
        assert_same(&found, &expected.objects, &format!("{tasks} tasks an epoch"));
        let commits: Vec<_> = opened.run.commits().unwrap().into_values().collect();
        assert!(commits == expected.commits, "{tasks} tasks an epoch: other records");
    }
}
