//! Jobs with requests in people's own words, from labels to lists: the same bytes however they run,
//! and what people are told of them.

use crate::support::{Shop, assert_same, changed, names};
use crate::workers::{ended, hosts, process};
use std::process::Child;
use steerage::store::part;
use steerage::store::tables::Values;
use steerage::types::Key;

/// [`Shop::demo`] with an encoder too small to learn much, and `demo.toml` with requests.
pub fn shop() -> Shop {
    let shop = Shop::demo();
    let label = include_str!("../jobs/demo/label.toml");
    let few = [("demo-label", "label"), ("per_user = 4", "per_user = 1")];
    shop.write("label.toml", changed(label, &few));
    let encoder = include_str!("../jobs/demo/encoder.toml");
    let start = encoder.find("[base]").unwrap();
    let tiny = "[base]\nlayers = 1\nhidden = 8\nheads = 2\ninner = 8\ntokens_max = 24\n\n\
                [optimizer]\nlearning_rate = 0.003\n\n[train]\nseed = 17\nepochs_max = 1\n";
    let encoder = changed(&encoder[..start], &[("demo-encoder", "encoder")]) + tiny;
    shop.write("encoder.toml", encoder);
    let embeddings = include_str!("../jobs/demo/embeddings.toml");
    let small = [("demo-embeddings", "embeddings"), ("part_items = 512", "part_items = 17")];
    shop.write("embeddings.toml", changed(embeddings, &small));
    let rerank = include_str!("../jobs/demo/language-control.toml");
    let short = [
        ("\"demo-language-control\"", "\"demo\""),
        ("k = 100", "k = 30"),
        ("replicates = 200", "replicates = 10"),
        ("depth = 20", "depth = 20\nepoch_tasks = 1"),
    ];
    shop.write("demo.toml", changed(rerank, &short));
    shop
}

#[test]
fn workers_and_processes_change_no_byte_of_a_search_of_the_whole_catalogue() {
    let shop = shop();
    shop.run("demo.toml", &["--workers", "1", "--set", "run.window_epochs=1"]);
    let mut expected = shop.objects("runs");
    // How many vectors were there before depends on what else was made.
    expected.retain(|path, _| !path.ends_with("reused.json"));
    for workers in ["2", "3"] {
        let root = format!("run.root=runs-{workers}");
        shop.run("demo.toml", &["--workers", workers, "--set", &root]);
        let mut found = shop.objects(&root["run.root=".len()..]);
        found.retain(|path, _| !path.ends_with("reused.json"));
        assert_same(&found, &expected, workers);
    }
    hosts(&shop, "hosts", 2);
    let sets = ["--workers", "2", "--set", "run.root=runs-hosts"];
    let children: Vec<Child> = (0..2).map(|at| process(&shop, "hosts", at, &sets)).collect();
    for child in children {
        let said = ended(child);
        assert_eq!(said.code, Some(0), "{}", said.err);
    }
    let mut found = shop.objects("runs-hosts");
    found.retain(|path, _| !path.ends_with("reused.json"));
    assert_same(&found, &expected, "2 processes");
}

#[test]
fn a_catalogue_is_encoded_once_and_the_lists_say_how_requests_were_answered() {
    let shop = shop();
    shop.run("demo.toml", &[]);
    let lists = shop.lists(&shop.run_of("runs", "demo"));
    let beyond = |arm: &str| {
        let of_arm = lists.iter().filter(|row| row.arm == arm);
        of_arm.flat_map(|row| &row.retrieval_ranks).filter(|rank| **rank > 30).count()
    };
    assert!(beyond("language-catalogue") > 0, "the whole catalogue holds more than the best 30");
    assert_eq!(beyond("language-control") + beyond("retrieval-order"), 0);
    let report = shop.report(&shop.run_of("runs", "demo"));
    let arms = report["summary"]["arms"].as_array().unwrap();
    for arm in arms {
        let metrics = &arm["metrics"];
        assert!(metrics["satisfaction@10"]["mean"].is_f64(), "{metrics}");
        assert!(metrics["satisfaction-mood@10"]["users"].as_u64().unwrap() > 0);
        let slices = arm["slices"].as_array().unwrap();
        assert!(slices.iter().any(|s| s["dimension"] == "request" && s["label"] == "mood"));
    }
    // A device that is not there: its memory is planned all the same.
    let planned = |job: &str| shop.say(&["plan", job, "--set", "device=\"cuda:7\""]).out;
    let (embed, rerank) = (planned("embeddings.toml"), planned("demo.toml"));
    let parts =
        ["device       cuda:7: 1 MiB for the encoder, ", " MiB for batches of 16384 tokens\n"];
    assert!(parts.iter().all(|part| embed.contains(part)), "{embed}");
    let mib = |plan: &str| -> usize {
        let line = plan.lines().find(|line| line.contains("device  ")).unwrap();
        line.split(" MiB for batches").next().unwrap().rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert!(mib(&rerank) >= mib(&embed) && mib(&embed) > 1, "{embed}{rerank}");
    // The same texts by the same encoder, in other parts: nothing is encoded again.
    let again = changed(
        &std::fs::read_to_string(shop.path("embeddings.toml")).unwrap(),
        &[("\"embeddings\"", "\"again\""), ("part_items = 17", "part_items = 60")],
    );
    shop.write("again.toml", again);
    let said = shop.run("again.toml", &[]);
    let vectors = |job: &str| -> Vec<part::embeddings::Embedding> {
        let run = shop.run_of("runs", job);
        let within = format!("{}/parts/", run.strip_prefix("runs/").unwrap());
        let parts = shop.objects("runs").into_iter().filter(|(path, _)| path.starts_with(&within));
        parts.flat_map(|(path, b)| part::embeddings::decode(&path, b.into()).unwrap()).collect()
    };
    let (first, second) = (vectors("embeddings"), vectors("again"));
    assert_eq!(first, second);
    let report = shop.report(&shop.run_of("runs", "again"));
    let reused = format!("{} of the vectors were taken from earlier runs", first.len());
    assert!(report["warnings"].to_string().contains(&reused), "{report}\n{}", said.out);
    // A run that was damaged is passed over: its vectors would only have saved work.
    let parts = format!("{}/parts/epoch=000000", shop.run_of("runs", "embeddings"));
    shop.write(&format!("{parts}/{}", names(&shop.path(&parts))[0]), "torn");
    let third = std::fs::read_to_string(shop.path("again.toml")).unwrap();
    let third =
        changed(&third, &[("\"again\"", "\"third\""), ("part_items = 60", "part_items = 61")]);
    shop.write("third.toml", third);
    shop.run("third.toml", &[]);
    assert_eq!(vectors("third"), second);
}

#[test]
fn a_table_of_requests_is_followed_and_explained() {
    let shop = shop();
    let users = [Some(10_001), Some(10_002), Some(10_003), None];
    let says = [
        "something from Kitchen under 20 dollars, nothing twice from one brand",
        "anything but Toys",
        "   ",
        "nobody",
    ];
    shop.table(
        "requests.parquet",
        vec![
            ("user", Values::Ints(users.to_vec())),
            ("request", Values::Texts(says.map(|text| Some(text.to_owned())).to_vec())),
            ("weight", Values::Numbers(vec![Some(1.0), None, None, Some(3.0)])),
        ],
    );
    let table = "from = \"table\"\npath = \"requests.parquet\"";
    shop.change("demo.toml", &[("from = \"sampled\"\nheld_out = false\nseed = 17", table)]);
    shop.run("demo.toml", &[]);
    let run = shop.run_of("runs", "demo");
    let said = shop.say(&["explain", &run, "--user", "10001"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    for words in [
        "› something from Kitchen under 20 dollars",
        "department is Kitchen",
        "price at most 20",
        "at most 1 of one brand",
        "read beside: department",
    ] {
        assert!(said.out.contains(words), "expected {words:?} in\n{}", said.out);
    }
    let lists = shop.lists(&run);
    let of = |user: i64, arm: &str| {
        let found = lists.iter().find(|row| row.user == Key::Int(user) && row.arm == arm);
        found.unwrap().items.clone()
    };
    assert_ne!(of(10_001, "language-control"), of(10_001, "retrieval-order"));
    assert_eq!(of(10_003, "language-control"), of(10_003, "retrieval-order"), "who says nothing");
}

#[test]
fn how_far_people_can_steer_is_told() {
    let shop = shop();
    let job = include_str!("../jobs/demo/reachability.toml");
    shop.write("reach.toml", changed(job, &[("pairs = 400", "pairs = 40"), ("demo-", "")]));
    shop.run("reach.toml", &["--workers", "1"]);
    shop.run("reach.toml", &["--workers", "2", "--set", "run.root=runs-2"]);
    let report = shop.report(&shop.run_of("runs", "reachability"));
    assert_eq!(report["sheets"], shop.report(&shop.run_of("runs-2", "reachability"))["sheets"]);
    let sheets = report["sheets"].as_array().unwrap();
    assert_eq!(sheets.len(), 4, "two ways to hear a request, two ways to compare lists");
    for (sheet, heard) in sheets.iter().zip(["language", "rules and language"].iter().cycle()) {
        assert_eq!(sheet["columns"][2], format!("{heard} w=0.25"));
        let rows = sheet["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 5, "four strata and all pairs: {rows:?}");
        assert_eq!(rows[4][1][0], "40");
    }
    assert_ne!(sheets[0]["rows"], sheets[1]["rows"]);
}
