//! Does a run that was cut short, in whatever way, come to what an undisturbed one comes to?

mod damaged;

use crate::support::{Said, Shop, assert_same, copy};
use crate::workers::{ended, hosts, process};
use insta::assert_snapshot;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::time::SystemTime;

/// A shop whose jobs have many small epochs, so that there is time to die in between.
fn busy() -> Shop {
    with_many_epochs(Shop::demo())
}

fn with_many_epochs(shop: Shop) -> Shop {
    shop.change(
        "prepare.toml",
        &[
            ("users = 300", "users = 1200"),
            ("epoch_rows = 600", "epoch_rows = 1000"),
            ("partitions = 8", "partitions = 64"),
        ],
    );
    shop
}

/// Waits until a run has some commits, and kills the process. Gives how many there were in the end.
fn kill_after(shop: &Shop, mut child: Child, run: &str, commits: usize) -> usize {
    while shop.commits(run).len() < commits {
        assert!(child.try_wait().unwrap().is_none(), "ended before it had {commits} commits");
        std::thread::yield_now();
    }
    child.kill().unwrap(); // SIGKILL: nothing in the process hears of it
    child.wait().unwrap();
    shop.commits(run).len()
}

/// When each commit of a run was made.
fn times(shop: &Shop, run: &str) -> BTreeMap<String, SystemTime> {
    let of = |name: String| {
        let path = shop.path(&format!("{run}/commits/{name}"));
        let time = fs::metadata(path).unwrap().modified().unwrap();
        (name, time)
    };
    shop.commits(run).into_iter().map(of).collect()
}

/// Kills a job again and again, at every `step`-th commit, and goes on each time with another
/// number of workers; then compares the whole folder of runs.
fn killed_and_resumed(shop: &Shop, job: &str, name: &str, step: usize) {
    shop.run(job, &["--workers", "1", "--set", "run.root=expected"]);
    let run = shop.run_of("expected", name).replace("expected", "runs");
    let all = shop.commits(&run.replace("runs", "expected")).len();
    if job == "demo.toml" {
        shop.run("retriever.toml", &["--workers", "2"]);
    }
    let (mut done, mut kills) = (0, 0);
    while done + step < all {
        let workers = ["2", "1", "3"][kills % 3];
        let before = times(shop, &run);
        let child = shop.steerage(&["run", job, "--workers", workers]).spawn().unwrap();
        done = kill_after(shop, child, &run, done + step);
        let after = times(shop, &run);
        assert!(before.iter().all(|(name, time)| after.get(name) == Some(time)), "done twice");
        kills += 1;
    }
    assert!(kills >= 2, "killed {kills} times in {all} epochs");
    let before = times(shop, &run);
    let said = shop.run(job, &["--workers", "4"]);
    let goes_on = format!("goes on after {done} of {all} epochs");
    assert!(done == all || said.err.contains(&goes_on), "{goes_on}: {}", said.err);
    let after = times(shop, &run);
    assert!(before.iter().all(|(name, time)| after.get(name) == Some(time)), "done twice");
    assert_same(&shop.objects("runs"), &shop.objects("expected"), "after kills");
}

#[test]
fn a_killed_prepare_goes_on_where_it_was() {
    killed_and_resumed(&busy(), "prepare.toml", "prepare", 5);
}

#[test]
fn a_killed_rerank_goes_on_where_it_was() {
    killed_and_resumed(&busy(), "demo.toml", "demo", 15);
}

#[test]
fn a_killed_sweep_goes_on_where_it_was() {
    killed_and_resumed(&with_many_epochs(Shop::swept()), "demo.toml", "demo", 25);
}

/// A kill before the retriever is put: nothing of it is committed, and its checkpoint only helps.
#[test]
fn a_killed_training_comes_to_the_same_retriever() {
    let shop = busy();
    shop.change("retriever.toml", &[("epochs_max = 1", "epochs_max = 4\ncheckpoint_steps = 1")]);
    shop.run("retriever.toml", &["--workers", "1", "--set", "run.root=expected"]);
    shop.run("prepare.toml", &[]);
    let run = shop.run_of("expected", "retriever").replace("expected", "runs");
    let mut child = shop.steerage(&["run", "retriever.toml", "--workers", "2"]).spawn().unwrap();
    while !shop.path(&format!("{run}/checkpoint.safetensors")).exists() {
        assert!(child.try_wait().unwrap().is_none(), "ended before its first checkpoint");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(shop.commits(&run), [""; 0], "killed in the middle");
    shop.run("retriever.toml", &["--workers", "2"]);
    assert_same(&shop.objects("runs"), &shop.objects("expected"), "after a kill");
}

#[test]
fn a_killed_peer_ends_the_others_and_the_next_run_goes_on() {
    let shop = busy();
    shop.run("demo.toml", &["--workers", "1", "--set", "run.root=expected"]);
    let run = shop.run_of("expected", "demo").replace("expected", "runs");
    shop.run("retriever.toml", &[]);
    for victim in [1, 0] {
        hosts(&shop, "hosts", 2);
        let mut children: Vec<Child> =
            (0..2).map(|at| process(&shop, "hosts", at, &["--workers", "1"])).collect();
        let survivor = children.remove(1 - victim);
        let before = shop.commits(&run).len();
        let done = kill_after(&shop, children.remove(0), &run, before + 5);
        let said = ended(survivor);
        assert_eq!(said.code, Some(1), "the survivor of {victim}\n{}", said.err);
        assert!(said.err.contains("a peer process is gone"), "{}", said.err);
        assert!(said.err.contains("run again to go on"), "{}", said.err);
        assert!(done < shop.commits(&run.replace("runs", "expected")).len(), "killed in between");
    }
    shop.run("demo.toml", &["--workers", "3"]);
    assert_same(&shop.objects("runs"), &shop.objects("expected"), "after killed peers");
}

/// A stopped peer keeps its connection: only the clock tells.
#[test]
fn a_peer_that_stands_still_is_given_up_and_the_next_run_goes_on() {
    let shop = busy();
    shop.run("demo.toml", &["--workers", "1", "--set", "run.root=expected"]);
    let run = shop.run_of("expected", "demo").replace("expected", "runs");
    shop.run("retriever.toml", &[]);
    hosts(&shop, "hosts", 2);
    let set = ["--workers", "1", "--set", "run.stall_seconds_max=2"];
    let survivor = process(&shop, "hosts", 0, &set);
    // The other one has patience: on a busy machine it might give up before it is stopped.
    let mut stopped = process(&shop, "hosts", 1, &["--workers", "1"]);
    while shop.commits(&run).len() < 3 {
        assert!(stopped.try_wait().unwrap().is_none(), "ended before there were 3 commits");
        std::thread::yield_now();
    }
    let signal = Command::new("kill").args(["-STOP", &stopped.id().to_string()]).status();
    assert!(signal.unwrap().success());
    let said = ended(survivor);
    stopped.kill().unwrap();
    stopped.wait().unwrap();
    assert_snapshot!(said.last(), @"
    exit Some(1)
    steerage: nothing has moved for 2 s: a peer process is stopped or cut off; what
    is committed is kept, run again to go on
    ");
    shop.run("demo.toml", &["--workers", "2"]);
    assert_same(&shop.objects("runs"), &shop.objects("expected"), "after a peer that stood still");
}

#[test]
fn a_peer_lost_while_it_trains_ends_those_who_wait() {
    let shop = busy();
    shop.change("retriever.toml", &[("epochs_max = 1", "epochs_max = 4\ncheckpoint_steps = 1")]);
    shop.run("demo.toml", &["--workers", "1", "--set", "run.root=expected"]);
    shop.run("prepare.toml", &[]);
    let run = shop.run_of("expected", "retriever").replace("expected", "runs");
    hosts(&shop, "hosts", 2);
    let mut trains = process(&shop, "hosts", 0, &["--workers", "1"]);
    let waits = process(&shop, "hosts", 1, &["--workers", "1"]);
    while !shop.path(&format!("{run}/checkpoint.safetensors")).exists() {
        assert!(trains.try_wait().unwrap().is_none(), "ended before its first checkpoint");
        std::thread::yield_now();
    }
    trains.kill().unwrap();
    trains.wait().unwrap();
    assert_snapshot!(ended(waits).last(), @"
    exit Some(1)
    steerage: process 0 is gone; what is committed is kept, run again to go on
    ");
    shop.run("demo.toml", &["--workers", "2"]);
    assert_same(&shop.objects("runs"), &shop.objects("expected"), "after a peer that was lost");
}

#[test]
fn an_address_that_is_none_is_told_at_once() {
    let shop = Shop::demo();
    let dial = |first: &str, seconds: &str| {
        hosts(&shop, "hosts", 2);
        let own =
            fs::read_to_string(shop.path("hosts")).unwrap().lines().last().unwrap().to_owned();
        shop.write("hosts", format!("{first}\n{own}\n"));
        let cluster = ["--hosts", "hosts", "--process", "1", "--wait-seconds", seconds];
        shop.say(&[&["run", "prepare.toml"], &cluster[..]].concat())
    };
    let start = SystemTime::now();
    assert_snapshot!(dial("127.0.0.1", "60").last(), @"
    exit Some(1)
    steerage: process 1: connect to 127.0.0.1: expected host:port in the hosts file:
    invalid socket address
    ");
    assert!(start.elapsed().unwrap().as_secs() < 30);
    let unknown = dial("nobody.invalid:7000", "0");
    assert_eq!(unknown.code, Some(1));
    let why = "nobody.invalid:7000: the host's name is not known: ";
    let told: Vec<&str> = unknown.err.lines().filter(|line| line.contains(why)).collect();
    assert_eq!(told.len(), 2, "at once and at the end: {}", unknown.err);
}

#[test]
fn a_peer_with_another_secret_is_refused() {
    let shop = Shop::demo();
    hosts(&shop, "hosts", 2);
    let call = |at: &str, secret: &str| {
        let cluster = ["--hosts", "hosts", "--process", at, "--wait-seconds", "2"];
        let mut command = shop.steerage(&[&["run", "prepare.toml"], &cluster[..]].concat());
        command.env("STEERAGE_SECRET", secret).spawn().unwrap()
    };
    let (first, second) = (call("0", "the secret of one"), call("1", "the secret of another"));
    let (first, second) = (ended(first), ended(second));
    for said in [&first, &second] {
        assert_eq!(said.code, Some(1), "{}", said.err);
        let why = "another secret, job, host list or worker count";
        assert!(said.err.contains(why), "{}", said.err);
        assert!(!said.err.contains("the secret of"), "a secret is not told: {}", said.err);
    }
    assert_snapshot!(first.last(), @"
    exit Some(1)
    steerage: processes [1] did not connect within 2 s: start them, or raise
    --wait-seconds
    ");
    assert!(shop.commits(&shop.run_of("runs", "prepare")).is_empty(), "nothing was begun");

    let cluster = ["run", "prepare.toml", "--hosts", "hosts", "--process", "0"];
    let mut command = shop.steerage(&cluster);
    let said = Said::of(command.env("STEERAGE_SECRET", "short").output().unwrap());
    assert_snapshot!(said.last(), @"
    exit Some(1)
    steerage: STEERAGE_SECRET: expected at least 16 characters that all processes
    share and nobody else knows
    ");
}

#[test]
fn too_many_faults_stop_the_job_and_keep_what_is_done() {
    let shop = Shop::demo();
    shop.run("prepare.toml", &["--set", "run.root=expected"]);
    let expected = shop.run_of("expected", "prepare");
    let faults = shop.dead_letters(&expected).len();
    assert!(faults > 3, "the made-up shop has bad rows, found {faults}");
    // The last of them is one too many.
    let max = format!("run.faults_max={}", faults - 1);
    let said = shop.say(&["run", "prepare.toml", "--workers", "2", "--set", &max]);
    let told = said.last().replace(&format!("{faults} rows"), "N rows");
    let told = told.replace(&format!("is {}:", faults - 1), "is N-1:");
    assert_snapshot!(told, @r#"
    exit Some(1)
    steerage: N rows faulted (such as: column "item" is null), and run.faults_max
    is N-1: mend the input, or raise it
    "#);
    let run = shop.run_of("runs", "prepare");
    let done = times(&shop, &run);
    assert!(!done.is_empty() && done.len() < shop.commits(&expected).len(), "{done:?}");
    let said = shop.run("prepare.toml", &["--workers", "1"]);
    assert!(said.err.contains(&format!("goes on after {} of", done.len())), "{}", said.err);
    let after = times(&shop, &run);
    assert!(done.iter().all(|(name, time)| after.get(name) == Some(time)), "done twice");
    assert_same(&shop.objects("runs"), &shop.objects("expected"), "after too many faults");
}

/// A file system of its own, while it lives.
struct Disk<'a>(&'a Path);

impl Disk<'_> {
    fn mount<'a>(at: &'a Path, options: &str) -> Option<Disk<'a>> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at);
        mount.output().is_ok_and(|output| output.status.success()).then_some(Disk(at))
    }

    /// Bytes that are left.
    fn free(&self) -> u64 {
        let output = Command::new("df").args(["--output=avail", "-B1"]).arg(self.0).output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        text.split_whitespace().last().unwrap().parse().unwrap()
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

#[test]
fn a_full_disk_stops_the_job_and_more_room_lets_it_go_on() {
    let shop = busy();
    shop.run("demo.toml", &["--workers", "2", "--set", "run.root=expected"]);
    let bytes = |root| -> u64 { shop.objects(root).values().map(|o| o.len() as u64).sum() };
    let all = bytes("expected");
    let root = shop.path("runs");
    fs::create_dir(&root).unwrap();
    let Some(disk) = Disk::mount(&root, "size=64m") else {
        println!("skipped: this user may not mount a file system");
        return;
    };
    // What the job reads has room, and half of its own parts have none.
    shop.run("retriever.toml", &["--workers", "2"]);
    let run = shop.run_of("expected", "demo").replace("expected", "runs");
    let lists = all - bytes("runs");
    let filler = shop.path("runs/filler");
    fs::write(&filler, vec![0; (disk.free() - lists / 2) as usize]).unwrap();

    let said = shop.say(&["run", "demo.toml", "--workers", "2"]);
    assert_eq!(said.code, Some(1), "{}", said.err);
    let told = said.err.lines().last().unwrap_or_default();
    assert!(told.starts_with("steerage: write runs/demo-"), "which object: {told}");
    let what = "no space is left on the disk: free some and run again; finished epochs are kept";
    assert!(told.ends_with(what), "what to do: {told}");
    let done = times(&shop, &run);
    assert!(!done.is_empty(), "half of the epochs had room");

    fs::remove_file(&filler).unwrap();
    shop.run("demo.toml", &["--workers", "1"]);
    let after = times(&shop, &run);
    assert!(done.iter().all(|(name, time)| after.get(name) == Some(time)), "done twice");
    assert_same(&shop.objects("runs"), &shop.objects("expected"), "after a full disk");
}

#[test]
fn a_folder_that_is_not_the_runs_own_is_refused() {
    let shop = Shop::demo();
    shop.run("prepare.toml", &[]);
    let run = shop.run_of("runs", "prepare");
    copy(&shop.path("runs"), &shop.path("good"));

    // Files and no manifest: somebody else's folder.
    fs::remove_dir_all(shop.path(&run)).unwrap();
    shop.write(&format!("{run}/notes.txt"), "mine");
    assert_snapshot!(shop.say(&["run", "prepare.toml"]).last(), @"
    exit Some(2)
    steerage: runs/prepare-HASH: holds files and no manifest.json: not a run
    directory; use another `run.root`, or remove it if nobody needs it
    ");
    assert_eq!(fs::read(shop.path(&format!("{run}/notes.txt"))).unwrap(), b"mine");

    // Another job's manifest under this run's name.
    fs::remove_dir_all(shop.path("runs")).unwrap();
    copy(&shop.path("good"), &shop.path("runs"));
    let manifest = format!("{run}/manifest.json");
    shop.change(&manifest, &[("\"job\": \"prepare\"", "\"job\": \"another\"")]);
    assert_snapshot!(shop.say(&["run", "prepare.toml"]).last(), @r#"
    exit Some(2)
    steerage: runs/prepare-HASH: expected the run of job "prepare" (prepare), found
    one of job "another" (prepare) with another job; use another `run.root`, or
    remove the directory if nobody needs it
    "#);

    // A part that was changed after its commit.
    fs::remove_dir_all(shop.path("runs")).unwrap();
    copy(&shop.path("good"), &shop.path("runs"));
    let objects = shop.objects("runs");
    let catalogue = objects.keys().rfind(|path| path.contains("/parts/")).unwrap();
    let path = shop.path(&format!("runs/{catalogue}"));
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 1;
    fs::write(&path, bytes).unwrap();
    let said = shop.say(&["run", "demo.toml"]);
    assert_eq!(said.code, Some(2), "{}", said.err);
    assert!(said.err.contains("it was changed after its commit"), "{}", said.err);
}
