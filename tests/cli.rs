//! What does the program say, and how does it end, when it is given what it should not be?

use crate::support::{Said, Shop, names, wrapped};
use insta::assert_snapshot;
use std::fs;
use steerage::store::part;
use steerage::store::tables::{Values, encode};
use steerage::types::Sequence;

const PREPARE: &str = r#"
kind = "prepare"
name = "shop"

[interactions]
paths = ["events.parquet"]
user = "user"
item = "item"
time = "time"

[items]
paths = ["items.parquet"]
item = "item"
title = "title"

[[items.attribute]]
name = "price"
edges = [10]

[output]
partitions = 2
"#;

fn ints(values: &[i64]) -> Values {
    Values::Ints(values.iter().copied().map(Some).collect())
}

fn texts(values: &[&str]) -> Values {
    Values::Texts(values.iter().map(|value| Some((*value).to_owned())).collect())
}

/// Two users, three items, in order.
fn events() -> Vec<(&'static str, Values)> {
    vec![
        ("user", ints(&[1, 1, 1, 2, 2, 2])),
        ("item", texts(&["a", "b", "c", "c", "b", "a"])),
        ("time", ints(&[1, 2, 3, 1, 2, 3])),
    ]
}

fn items() -> Vec<(&'static str, Values)> {
    vec![
        ("item", texts(&["a", "b", "c"])),
        ("title", texts(&["A", "B", "C"])),
        ("price", Values::Numbers(vec![Some(5.0), Some(10.0), Some(50.0)])),
    ]
}

/// A column of a table, by another name or with other values.
fn with(
    mut columns: Vec<(&'static str, Values)>,
    at: usize,
    column: (&'static str, Values),
) -> Vec<(&'static str, Values)> {
    columns[at] = column;
    columns
}

/// A shop with these files; what else there is to it, is sound.
fn shop(events: Vec<(&str, Values)>, items: Vec<(&str, Values)>) -> Shop {
    let shop = Shop::empty();
    shop.write("shop.toml", PREPARE);
    shop.table("events.parquet", events);
    shop.table("items.parquet", items);
    shop
}

/// What is said of a shop that cannot be opened. Nothing may have been begun.
fn refused(shop: &Shop) -> String {
    let said = shop.say(&["run", "shop.toml"]);
    let runs = names(&shop.path("runs"));
    let begun = runs.iter().filter(|run| !shop.commits(&format!("runs/{run}")).is_empty());
    assert_eq!(begun.count(), 0, "{runs:?}");
    said.last()
}

/// The sequences of a prepared shop as `user: items`, and what was given up.
fn prepared(shop: &Shop) -> (Vec<String>, Vec<String>) {
    shop.run("shop.toml", &["--workers", "2"]);
    let run = shop.run_of("runs", "shop").replace("runs/", "");
    let objects = shop.objects("runs");
    let parts = |path: &&String| path.starts_with(&format!("{run}/parts/"));
    let last = objects.keys().rfind(parts).unwrap();
    let keys = part::catalogue::decode(last, objects[last].clone().into()).unwrap().keys;
    let mut sequences: Vec<Sequence> = Vec::new();
    for path in objects.keys().filter(parts) {
        sequences.extend(
            part::sequences::decode(path, objects[path].clone().into()).unwrap_or_default(),
        );
    }
    let line = |sequence: &Sequence| {
        let items: Vec<String> =
            sequence.items.iter().map(|item| keys[*item as usize].to_string()).collect();
        format!("{}: {}", sequence.user, items.join(" "))
    };
    let mut lines: Vec<String> = sequences.iter().map(line).collect();
    lines.sort();
    let letters = shop.dead_letters(&format!("runs/{run}")).into_iter();
    let letters = letters.map(|l| format!("{} {}: {}: {}", l.shard, l.row, l.kind, l.reason));
    (lines, letters.collect())
}

#[test]
fn every_mistake_of_a_job_is_told_at_once() {
    let shop = Shop::empty();
    shop.write(
        "bad.toml",
        r#"
kind = "rerank"
name = "a job"
sequences = "demo/prepare"
retriever = "run:retriever"
[retrieve]
k = 0
[[arm]]
name = "mmr"
steps = [{ method = "mmr", lambda = 1.5 }]
[metrics]
k = [10, 5]
[output]
deep = 3
"#,
    );
    let [checked, planned, run] = ["check", "plan", "run"].map(|command| {
        let said = shop.say(&[command, "bad.toml"]);
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{command}");
        said.err
    });
    assert!(checked == planned && checked == run, "{planned}\n{run}");
    assert_snapshot!(checked, @r#"
    steerage: bad.toml: 6 problems
      name: expected 1 to 80 of a-z A-Z 0-9 - _ ., found "a job"
      output.deep: unknown field `deep`, expected one of `depth`, `epoch_tasks`, `published_only`
      sequences: expected "run:JOB" for the job file JOB.toml, found "demo/prepare"
      retrieve.k: 0 is not between 1 and 10000
      arm[0].steps[0].lambda: 1.5 is not between 0 and 1
      metrics.k: expected ascending cut-offs, found [10, 5]
    "#);
    assert!(!shop.path("runs").exists());
    assert_snapshot!(shop.say(&["run", "absent.toml"]).last(), @"
    exit Some(2)
    steerage: read the job file absent.toml: No such file or directory (os error 2)
    ");
    shop.write("bad.toml", "kind = \"rerank\"\nname");
    assert_snapshot!(shop.say(&["check", "bad.toml"]).err, @"
    steerage: bad.toml: 1 problem
      TOML parse error at line 2, column 5
      |
    2 | name
      |     ^
    key with no value, expected `=`
    ");
    shop.write("bad.toml", "kind = \"retrain\"\nname = \"a\"");
    assert_snapshot!(shop.say(&["check", "bad.toml"]).err, @r#"
    steerage: bad.toml: 1 problem
      kind: expected "prepare", "train-retriever", "train-reranker", "label", "train-encoder", "embed", "rerank" or "reachability", found "retrain"
    "#);
}

/// What `check`, `plan` and `run` say of a job, all the same, before anything is done.
fn refused_by_all(shop: &Shop, job: &str) -> String {
    let [checked, planned, run] = ["check", "plan", "run"].map(|command| {
        let said = shop.say(&[command, job]);
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{command}: {}", said.err);
        said.err
    });
    assert!(checked == planned && checked == run, "{planned}\n{run}");
    assert!(!shop.path("runs").exists());
    checked
}

#[test]
fn jobs_that_read_from_each_other_in_a_circle_are_refused() {
    let shop = Shop::demo();
    let reads = |name: &str| {
        format!("kind = \"train-retriever\"\nname = \"x\"\nsequences = \"run:{name}\"\n")
    };
    shop.write("a.toml", reads("sub/../b"));
    shop.write("b.toml", reads("a"));
    shop.write("sub/none.txt", "");
    assert_snapshot!(refused_by_all(&shop, "a.toml"), @r#"
    steerage: a.toml: 1 problem
      sequences: expected a job of kind "prepare", found "train-retriever" in sub/../b.toml
    sub/../b.toml: 1 problem
      sequences: a.toml → sub/../b.toml → sub/../a.toml: jobs read from each other in a circle
    "#);
    shop.change("demo.toml", &[("run:prepare", "run:demo")]);
    assert_snapshot!(refused_by_all(&shop, "demo.toml"), @"
    steerage: demo.toml: 1 problem
      sequences: demo.toml → demo.toml: jobs read from each other in a circle
    ");
}

#[test]
fn mistakes_of_all_that_a_job_reads_from_are_told_before_anything_is_done() {
    let shop = Shop::demo();
    shop.change("demo.toml", &[("run:prepare", "run:nope")]);
    shop.change("retriever.toml", &[("[train]", "[train]\nspeed = 3")]);
    assert_snapshot!(refused_by_all(&shop, "demo.toml"), @"
    steerage: demo.toml: 1 problem
      sequences: read the job file nope.toml: No such file or directory (os error 2)
    retriever.toml: 1 problem
      train.speed: unknown field `speed`, expected one of `seed`, `batch`, `sliding`, `epochs_max`, `validate_every`, `patience`, `checkpoint_steps`
    ");
    let shop = Shop::demo();
    shop.change("demo.toml", &[("run:retriever", "run:prepare")]);
    assert_snapshot!(refused_by_all(&shop, "demo.toml"), @r#"
    steerage: demo.toml: 1 problem
      retriever: expected a job of kind "train-retriever", found "prepare" in prepare.toml
    "#);
}

#[test]
fn input_that_cannot_be_read_is_refused_by_name() {
    let sound = shop(events(), items());
    assert_eq!(prepared(&sound).0, ["1: a b c", "2: c b a"]);

    let renamed = with(events(), 1, ("product", texts(&["a"; 6])));
    assert_snapshot!(refused(&shop(renamed, items())), @r#"
    exit Some(2)
    steerage: events.parquet: no column "item"; its columns are "user", "product",
    "time"
    "#);
    let numbers = Values::Numbers(vec![Some(0.5); 6]);
    assert_snapshot!(refused(&shop(with(events(), 0, ("user", numbers)), items())), @r#"
    exit Some(2)
    steerage: events.parquet: column "user": expected an integer or a string, found
    float32
    "#);

    let damaged = |name: &str, bytes: &[u8]| {
        let shop = shop(events(), items());
        shop.write(name, bytes);
        refused(&shop)
    };
    let whole = encode(events(), 1000).unwrap();
    assert_snapshot!(damaged("events.parquet", b""), @"
    exit Some(2)
    steerage: events.parquet: expected a Parquet file, found 0 bytes: write or copy
    it again
    ");
    assert_snapshot!(damaged("events.parquet", &whole[..whole.len() / 2]), @"
    exit Some(2)
    steerage: events.parquet: the Parquet file is truncated: 529 bytes, and no
    footer at the end: write or copy it again
    ");
    assert_snapshot!(damaged("items.parquet", b"item,title,price\na,A,5\n"), @r#"
    exit Some(2)
    steerage: items.parquet: expected a Parquet file, which starts with "PAR1",
    found "item": convert it with `steerage import`
    "#);
    let missing = shop(events(), items());
    fs::remove_file(missing.path("items.parquet")).unwrap();
    assert_snapshot!(refused(&missing), @"
    exit Some(2)
    steerage: items.parquet: no input there: expected a file, a folder with
    *.parquet files, or a pattern with * and ? that matches one
    ");
}

#[test]
fn bad_rows_are_given_up_one_by_one_and_told() {
    let unknown = with(events(), 1, ("item", texts(&["a", "x", "c", "c", "b", "a"])));
    let (sequences, letters) = prepared(&shop(unknown, items()));
    assert_eq!(sequences, ["1: a c", "2: c b a"]);
    assert_eq!(letters, ["events.parquet 1: unknown-item: item x is not in the item table"]);

    let nan = Values::Numbers(vec![Some(5.0), Some(f32::NAN), None]);
    let (sequences, letters) = prepared(&shop(events(), with(items(), 2, ("price", nan))));
    assert_eq!(sequences.len(), 2, "an item whose price is unknown is an item");
    assert_eq!(
        letters,
        ["items.parquet 1: not-finite: column \"price\" is not a finite number"],
        "and to have none is no fault"
    );

    let words = texts(&["5", "10.5", "dear"]);
    let (sequences, letters) = prepared(&shop(events(), with(items(), 2, ("price", words))));
    assert_eq!(sequences.len(), 2);
    assert_eq!(
        letters,
        ["items.parquet 2: unreadable: column \"price\" cannot be read: found \"dear\""]
    );

    let twice = with(items(), 0, ("item", texts(&["a", "b", "b"])));
    let (sequences, letters) = prepared(&shop(events(), twice));
    assert_eq!(sequences, ["1: a b", "2: b a"], "c is not in the table now");
    assert_eq!(
        letters,
        [
            "events.parquet 2: unknown-item: item c is not in the item table",
            "events.parquet 3: unknown-item: item c is not in the item table",
            "items.parquet 2: duplicate-key: key b is there already: the first row was kept",
        ]
    );
}

#[test]
fn time_decides_the_order_and_then_the_place_in_the_input() {
    let unsorted = with(events(), 2, ("time", ints(&[3, 1, 2, 7, 7, 7])));
    assert_eq!(prepared(&shop(unsorted, items())).0, ["1: b c a", "2: c b a"]);

    let one = vec![
        ("user", ints(&[1, 2, 1, 3, 1])),
        ("item", texts(&["a", "b", "b", "c", "c"])),
        ("time", ints(&[5, 1, -5, 9, 5])),
    ];
    let (sequences, letters) = prepared(&shop(one, items()));
    assert_eq!(sequences, ["1: b a c", "2: b", "3: c"], "who did one thing is there");
    assert!(letters.is_empty(), "{letters:?}");
}

/// Somebody with one interaction has no target: ranked, and not judged by one.
#[test]
fn a_user_with_one_interaction_is_ranked() {
    let shop = shop(
        vec![
            ("user", ints(&[1, 1, 1, 1, 2, 2, 2, 2, 3])),
            ("item", texts(&["a", "b", "c", "d", "d", "c", "b", "a", "a"])),
        ],
        vec![("item", texts(&["a", "b", "c", "d"])), ("price", ints(&[5, 10, 20, 40]))],
    );
    shop.change("shop.toml", &[("time = \"time\"\n", ""), ("title = \"title\"\n", "")]);
    shop.write(
        "retriever.toml",
        "kind = \"train-retriever\"\nname = \"retriever\"\nsequences = \"run:shop\"\n\
         [model]\nhidden = 8\nblocks = 1\nlength_max = 4\n[train]\nepochs_max = 1\n",
    );
    shop.write(
        "rank.toml",
        "kind = \"rerank\"\nname = \"rank\"\nsequences = \"run:shop\"\n\
         retriever = \"run:retriever\"\n[retrieve]\nk = 2\nexclude_seen = false\n\
         [[arm]]\nname = \"order\"\n\
         [metrics]\nk = [1]\nreplicates = 0\n",
    );
    shop.run("rank.toml", &[]);
    let run = shop.run_of("runs", "rank");
    let lists = shop.lists(&run);
    let mut users: Vec<String> = lists.iter().map(|row| row.user.to_string()).collect();
    users.sort();
    assert_eq!(users, ["1", "2", "3"]);
    let order = &shop.report(&run)["summary"]["arms"][0]["metrics"];
    assert_eq!(order["ndcg@1"]["users"], 2, "{order}");
    assert_eq!(shop.report(&run)["facts"]["users"], 3);
}

#[test]
fn a_plan_is_shown_and_nothing_is_done() {
    let shop = Shop::demo();
    for job in ["prepare.toml", "retriever.toml", "demo.toml"] {
        let said = shop.say(&["plan", job]);
        assert_eq!(said.code, Some(0), "{job}: {}", said.err);
        assert!(!said.out.is_empty(), "{job}");
    }
    let runs = names(&shop.path("runs"));
    let made: Vec<&String> = runs.iter().filter(|name| !name.starts_with("data-")).collect();
    assert!(made.is_empty(), "{made:?}");

    shop.run("prepare.toml", &[]);
    let before = shop.objects("runs");
    let said = shop.say(&["plan", "prepare.toml"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    for phase in ["scatter", "dictionary", "sequences"] {
        assert!(said.out.contains(phase), "{phase}:\n{}", said.out);
    }
    shop.say(&["plan", "demo.toml"]);
    assert!(shop.objects("runs") == before, "a plan does no work");
}

#[test]
fn what_is_no_work_needs_nothing() {
    let shop = Shop::demo();
    let check = shop.say(&["check", "demo.toml"]);
    assert_eq!((check.code, check.err.as_str()), (Some(0), ""));
    assert_eq!(check.out, "demo.toml: a rerank job called demo\n");
    assert!(!shop.path("runs").exists());

    let doctor = shop.say(&["doctor"]);
    assert_eq!(doctor.code, Some(0), "{}", doctor.err);
    for word in ["cores", "memory", "CUDA", "NVRTC", "cuBLASLt"] {
        assert!(doctor.out.contains(word), "{word}:\n{}", doctor.out);
    }
    let help = shop.say(&["--help"]);
    assert_eq!(help.code, Some(0));
    let commands =
        ["check", "plan", "run", "report", "compare", "explain", "import", "demo-data", "doctor"];
    for command in commands {
        assert!(help.out.contains(command), "{command}:\n{}", help.out);
        assert_eq!(shop.say(&[command, "--help"]).code, Some(0), "{command}");
    }
    assert_eq!(shop.say(&["rum"]).code, Some(2), "no such command");
    assert_snapshot!(shop.say(&["report", "runs/none"]).last(), @"
    exit Some(2)
    steerage: open the run runs/none: No such file or directory (os error 2)
    ");
    shop.write("runs/some/notes.txt", "mine");
    let said = shop.say(&["report", "runs/some"]);
    let here = shop.path("").canonicalize().unwrap().display().to_string();
    assert_eq!(said.code, Some(2));
    assert_snapshot!(wrapped(&said.err.replace(&here, "HERE")), @"
    steerage: HERE/runs/some: expected a run directory, found no manifest.json in
    it; `steerage run` makes one
    ");
}

/// `steerage plan JOB | head -1`, and a disk that is full.
#[test]
fn nobody_has_to_read_on_and_what_cannot_be_written_is_told() {
    let shop = Shop::demo();
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    for args in [&["doctor"][..], &["check", "demo.toml"], &["plan", "demo.toml"]] {
        let (reads, closed) = std::io::pipe().unwrap();
        drop(reads);
        let said = Said::of(shop.steerage(args).stdout(closed).output().unwrap());
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{args:?}");
        let said = Said::of(shop.steerage(args).stdout(full()).output().unwrap());
        let why = "steerage: write to standard output: No space left on device (os error 28)\n";
        assert_eq!((said.code, said.err.as_str()), (Some(2), why), "{args:?}");
    }
    let unheard = shop.steerage(&["check", "absent.toml"]).stderr(full()).output().unwrap();
    assert_eq!(unheard.status.code(), Some(2));
}

#[test]
fn a_device_that_is_not_here_is_refused_where_it_is_named() {
    let shop = Shop::demo();
    let said = shop.say(&["run", "retriever.toml", "--set", "device=\"cuda:65535\""]);
    let line = said.err.lines().last().unwrap();
    assert_eq!(said.code, Some(2), "{line}");
    assert!(line.starts_with("steerage: retriever.toml: device = \"cuda:65535\": "), "{line}");
    assert!(line.ends_with(" or use device = \"cpu\""), "{line}");
    let begun = names(&shop.path("runs"));
    assert!(begun.iter().all(|run| !run.starts_with("prepare-")), "{begun:?}");
}

#[test]
fn numbers_of_the_line_have_bounds() {
    let shop = Shop::demo();
    for (flag, value) in [
        ("--workers", "0"),
        ("--workers", "100000"),
        ("--wait-seconds", "18446744073709551615"),
        ("--wait-seconds", "1000001"),
    ] {
        let said = shop.say(&["run", "demo.toml", flag, value]);
        assert_eq!(said.code, Some(2), "{}", said.err);
        let why = format!("error: invalid value '{value}' for '{flag} <");
        assert!(said.err.starts_with(&why), "{}", said.err);
    }
    assert!(!shop.path("runs").exists());
}

#[test]
fn demo_data_is_the_same_for_the_same_seed() {
    let shop = Shop::empty();
    for (to, seed) in [("a", "7"), ("b", "7"), ("c", "8")] {
        let line = ["demo-data", "--to", to, "--seed", seed, "--users", "50", "--items", "100"];
        let said = shop.say(&line);
        assert_eq!(said.code, Some(0), "{}", said.err);
        assert_eq!(said.out, format!("{to}: interactions, items, users and controls\n"));
    }
    assert!(shop.objects("a") == shop.objects("b"));
    assert!(shop.objects("a") != shop.objects("c"));
}
