//! Does a job do what its file says, from the data to the report?

use crate::support::{Shop, names};
use std::collections::{BTreeMap, BTreeSet};
use steerage::store::part::lists::ListRow;
use steerage::store::tables::Values;
use steerage::types::Key;

const ARMS: [&str; 6] =
    ["retrieval-order", "hard-filter", "mmr", "dpp", "fair-swap", "hard-filter-mmr"];

/// A job that ranks for everybody and judges nothing more than it must.
const PLAIN: &str = r#"
kind = "rerank"
name = "plain"
sequences = "run:prepare"
retriever = "run:retriever"

[retrieve]
k = 40

[[arm]]
name = "retrieval-order"

[metrics]
k = [1, 10]
replicates = 10
"#;

/// A small shop with [`PLAIN`] and what a test adds to it, run.
fn plain(shop: &Shop, more: &str) -> String {
    shop.write("plain.toml", format!("{PLAIN}{more}"));
    shop.run("plain.toml", &["--workers", "2"]);
    shop.run_of("runs", "plain")
}

fn metrics(report: &serde_json::Value, arm: &str) -> serde_json::Map<String, serde_json::Value> {
    let arms = report["summary"]["arms"].as_array().unwrap();
    let arm = arms.iter().find(|found| found["arm"] == arm).unwrap();
    arm["metrics"].as_object().unwrap().clone()
}

/// Families of metrics: their names before the cut-off.
fn families(report: &serde_json::Value, arm: &str) -> BTreeSet<String> {
    let metrics = metrics(report, arm);
    metrics.keys().map(|name| name.split('@').next().unwrap().to_owned()).collect()
}

fn texts(values: &[&str]) -> Values {
    Values::Texts(values.iter().map(|value| Some((*value).to_owned())).collect())
}

fn users_of(lists: &[ListRow]) -> BTreeSet<Key> {
    lists.iter().map(|row| row.user.clone()).collect()
}

/// Keys as a column of integers.
fn ints<'a>(keys: impl IntoIterator<Item = &'a Key>) -> Values {
    let int = |key: &Key| match key {
        Key::Int(value) => Some(*value),
        Key::Text(text) => panic!("expected an integer, found {text}"),
    };
    Values::Ints(keys.into_iter().map(int).collect())
}

#[test]
fn the_demo_comes_to_a_report_in_every_form() {
    let shop = Shop::demo();
    let said = shop.run("demo.toml", &[]);
    let run = shop.run_of("runs", "demo");
    assert_eq!(said.out.lines().last(), Some(format!("{run}/report.html").as_str()));
    assert!(said.out.lines().count() <= 25, "one screen:\n{}", said.out);
    for form in ["report.html", "report.md", "report.json", "metrics.parquet"] {
        let bytes = std::fs::read(shop.path(&format!("{run}/{form}"))).unwrap();
        assert!(!bytes.is_empty(), "{form}");
    }
    let report = shop.report(&run);
    let page = std::fs::read_to_string(shop.path(&format!("{run}/report.html"))).unwrap();
    for arm in ARMS {
        assert!(page.contains(arm) && said.out.contains(arm), "{arm}");
        let found = families(&report, arm);
        let expected = [
            "ndcg",
            "hit",
            "mrr",
            "recall",
            "cp",
            "ncp",
            "random-cp",
            "ceiling-cp",
            "empty-pool",
            "cd",
            "strict",
            "per-control",
            "alpha-ndcg",
            "alpha-ndcg-attribute",
            "mad-pooled",
            "mad-user",
            "ild",
            "coverage",
            "gini",
            "novelty",
            "retrieval-ceiling",
            "conflict",
        ];
        for family in expected {
            assert!(found.contains(family), "{arm}: no {family} in {found:?}");
        }
        let leaks = found.iter().any(|family| family.starts_with("oracle"));
        assert!(!leaks, "{arm}: nobody's controls come from the target: {found:?}");
        for (name, estimate) in metrics(&report, arm) {
            let [low, mean, high] = ["low", "mean", "high"].map(|f| estimate[f].as_f64().unwrap());
            assert!(low <= high && mean.is_finite(), "{arm} {name}: {low} {mean} {high}");
        }
    }
    let cp = |arm| metrics(&report, arm)["cp@1"]["mean"].as_f64().unwrap();
    assert!(cp("hard-filter") > cp("retrieval-order"), "what meets the controls comes first");
    assert_eq!(cp("hard-filter"), metrics(&report, "hard-filter")["ceiling-cp@1"]["mean"]);
    assert_eq!(report["published"], "hard-filter-mmr");
    assert_eq!(report["summary"]["baseline"], "retrieval-order");

    let derived = ["report.html", "report.md", "report.json", "metrics.parquet"];
    let read = |form: &str| std::fs::read(shop.path(&format!("{run}/{form}"))).unwrap();
    let before = derived.map(read);
    derived.iter().for_each(|f| std::fs::remove_file(shop.path(&format!("{run}/{f}"))).unwrap());
    assert_eq!(shop.say(&["report", &run]).code, Some(0));
    assert!(derived.map(read) == before, "a report is a fold over what is committed");
}

#[test]
fn what_is_done_is_skipped_and_said_so() {
    let shop = Shop::demo();
    let first = shop.run("demo.toml", &["--workers", "1"]);
    assert!(!first.err.contains("skipped"), "{}", first.err);
    let objects = shop.objects("runs");
    let again = shop.run("demo.toml", &["--workers", "2"]);
    for job in ["prepare", "retriever", "demo"] {
        let run = shop.run_of("runs", job).replace("runs/", "");
        assert!(again.err.contains(&format!("{run}: up to date, skipped")), "{}", again.err);
    }
    assert!(!again.err.contains("done in"), "{}", again.err);
    assert_eq!(again.out, first.out, "the same report, with the timings of when it was made");
    assert!(shop.objects("runs") == objects);

    // Another arm's setting is another run, over the same sequences and the same retriever.
    let other = shop.run("demo.toml", &["--set", "retrieve.k=30"]);
    assert_eq!(other.err.matches("up to date, skipped").count(), 2, "{}", other.err);
    let runs = names(&shop.path("runs"));
    assert_eq!(runs.iter().filter(|name| name.starts_with("demo-")).count(), 2, "{runs:?}");
}

#[test]
fn expectations_decide_the_exit_code() {
    let shop = Shop::demo();
    let expect = "\n[expect.\"ndcg@10\"]\narm = \"mmr\"\nvalue = 0.5\ntolerance = 0.5\n";
    let job = std::fs::read_to_string(shop.path("demo.toml")).unwrap();
    shop.write("demo.toml", format!("{job}{expect}"));
    shop.run("demo.toml", &[]);
    shop.change("demo.toml", &[("tolerance = 0.5", "tolerance = 0.0001")]);
    let said = shop.say(&["run", "demo.toml"]);
    assert_eq!(said.code, Some(1), "{}\n{}", said.out, said.err);
    assert!(said.out.contains("expected"), "{}", said.out);
    let run = shop.run_of("runs", "demo");
    let met = &shop.report(&run)["expectations"][0]["met"];
    assert_eq!(met, &serde_json::Value::Bool(false), "an expectation is no part of the run's name");
}

#[test]
fn of_what_a_user_asked_for_the_latest_counts() {
    let shop = Shop::demo();
    let everybody: Vec<Key> = {
        let run = plain(&shop, "");
        users_of(&shop.lists(&run)).into_iter().collect()
    };
    let one = &everybody[3];
    let rows = [one, one, one, &everybody[4]];
    let columns = vec![
        ("user", ints(rows)),
        ("time", Values::Ints(vec![Some(30), Some(10), Some(20), Some(5)])),
        ("attribute", texts(&["price", "price", "year", "price"])),
        ("relation", texts(&["at-most", "at-least", "at-least", "at-least"])),
        ("value", texts(&["25", "50", "2010", "50"])),
    ];
    shop.table("asked.parquet", columns);
    let arm =
        "\n[[arm]]\nname = \"met\"\nsteps = [{ method = \"hard-filter\", mode = \"only\" }]\n";
    let asked = |more: &str| {
        let controls = format!("\n[controls]\nfrom = \"table\"\npath = \"asked.parquet\"\n{more}");
        let name = if more.is_empty() { "now" } else { "then" };
        let job = format!("{PLAIN}{controls}{arm}").replace("plain", name);
        shop.write("asked.toml", job);
        shop.run("asked.toml", &[]);
        let lists = shop.lists(&shop.run_of("runs", name));
        lists.into_iter().find(|row| row.arm == "met" && row.user == *one).unwrap()
    };
    let latest = asked("");
    assert_eq!(latest.source, "table");
    let said: BTreeSet<&str> = latest.controls.iter().map(String::as_str).collect();
    assert!(said.iter().any(|c| c.contains("price") && c.contains("25")), "{said:?}");
    assert!(said.iter().any(|c| c.contains("year")), "{said:?}");
    assert_eq!(said.len(), 2, "one for each attribute: {said:?}");
    assert!(latest.controls_met.iter().all(|met| *met == 0b11), "{:?}", latest.controls_met);

    let then = asked("as_of = 15\n");
    assert_eq!(then.controls.len(), 1, "{:?}", then.controls);
    assert!(then.controls[0].contains("50"), "{:?}", then.controls);
    let [now, then]: [BTreeSet<Key>; 2] = [latest, then].map(|row| row.items.into_iter().collect());
    assert!(now.is_disjoint(&then), "at most 25 and at least 50 share no item");
}

#[test]
fn given_lists_are_ranked_and_no_row_is_lost() {
    let shop = Shop::demo();
    let run = plain(&shop, "");
    let lists = shop.lists(&run);
    let key = |key: &Key| key.to_string();
    let users: Vec<&Key> = lists.iter().map(|row| &row.user).collect();
    let mut items: Vec<Vec<String>> =
        lists.iter().map(|row| row.items.iter().map(key).collect()).collect();
    items[2][1] = "no-such-item".to_owned();
    given(&shop.path("given.parquet"), &users, &items);
    let job = PLAIN.replace("retriever = \"run:retriever\"\n", "").replace("plain", "given");
    let candidates =
        "[candidates]\npaths = [\"given.parquet\"]\nuser = \"who\"\nitems = \"what\"\n";
    shop.write("given.toml", format!("{job}\n{candidates}"));
    shop.run("given.toml", &[]);

    let run = shop.run_of("runs", "given");
    let found: BTreeMap<Key, Vec<Key>> =
        shop.lists(&run).into_iter().map(|row| (row.user, row.items)).collect();
    let letters = shop.dead_letters(&run);
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!((letters[0].row, letters[0].kind.as_str()), (2, "unknown-item"));
    assert_eq!(letters[0].shard, "given.parquet");
    assert!(letters[0].reason.contains("no-such-item"), "{:?}", letters[0]);
    assert_eq!(found.len(), lists.len(), "a list goes on without the item that nobody knows");
    for (at, mut row) in lists.iter().cloned().enumerate() {
        if at == 2 {
            row.items.remove(1);
        }
        assert_eq!(found[&row.user], row.items, "in the order that was given");
    }
    let facts = &shop.report(&run)["facts"];
    assert_eq!(facts["rows_read"], lists.len());
}

/// A Parquet file with a row of `who` and the list `what` for each user.
fn given(path: &std::path::Path, users: &[&Key], items: &[Vec<String>]) {
    use arrow::array::{ArrayRef, Int64Array, ListBuilder, StringBuilder};
    use std::sync::Arc;
    let ids = users.iter().map(|key| key.to_string().parse::<i64>().unwrap());
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(ids));
    let mut lists = ListBuilder::new(StringBuilder::new());
    items.iter().for_each(|list| lists.append_value(list.iter().map(Some)));
    let lists: ArrayRef = Arc::new(lists.finish());
    let rows = arrow::record_batch::RecordBatch::try_from_iter([("who", ids), ("what", lists)]);
    let (rows, file) = (rows.unwrap(), std::fs::File::create(path).unwrap());
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
}

/// The prices of some of the generated items; those without one are left out.
fn prices(shop: &Shop, items: &BTreeSet<Key>) -> Vec<f32> {
    use arrow::array::{Array, Float32Array, StringArray};
    let folders = names(&shop.path("runs"));
    let data = folders.iter().find(|name| name.starts_with("data-")).unwrap();
    let file = std::fs::File::open(shop.path(&format!("runs/{data}/items.parquet"))).unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file);
    let mut prices = Vec::new();
    for rows in reader.unwrap().build().unwrap() {
        let rows = rows.unwrap();
        let ids = rows.column_by_name("item").unwrap().as_any();
        let ids = ids.downcast_ref::<StringArray>().unwrap();
        let column = rows.column_by_name("price").unwrap().as_any();
        let column = column.downcast_ref::<Float32Array>().unwrap();
        let there = (0..rows.num_rows()).filter(|&at| items.contains(&ids.value(at).into()));
        prices.extend(there.filter(|&at| column.is_valid(at)).map(|at| column.value(at)));
    }
    prices
}

#[test]
fn what_is_excluded_or_ruled_out_is_in_no_list() {
    let shop = Shop::demo();
    let free = shop.lists(&plain(&shop, ""));
    let all = |lists: &[ListRow]| -> BTreeSet<Key> {
        lists.iter().flat_map(|row| row.items.clone()).collect()
    };
    let shown: Vec<Key> = all(&free).into_iter().collect();
    let (gone, kept) = shown.split_at(shown.len() / 2);
    let (user, his) = (&free[0].user, free[0].items.iter().find(|i| kept.contains(i)).unwrap());

    // A rule that every candidate meets, and items that nobody, or one user, is recommended.
    let words = gone.iter().chain([his]).map(|key| Some(key.to_string())).collect();
    let mut whom = vec![None; gone.len()];
    let Values::Ints(mut one) = ints([user]) else { unreachable!() };
    whom.append(&mut one);
    let columns = vec![("item", Values::Texts(words)), ("user", Values::Ints(whom))];
    shop.table("excluded.parquet", columns);
    let rule = "[[rule]]\nattribute = \"price\"\nrelation = \"at-most\"\nvalue = \"50\"\n";
    let job = PLAIN.replace("k = 40", "k = 40\nexclude = \"excluded.parquet\"");
    shop.write("strict.toml", format!("{job}\n{rule}").replace("plain", "strict"));
    shop.run("strict.toml", &[]);
    let strict = shop.lists(&shop.run_of("runs", "strict"));
    let still = all(&strict);
    assert!(!still.is_empty() && gone.iter().all(|key| !still.contains(key)), "excluded for all");
    let of_user = strict.iter().find(|row| row.user == *user).unwrap();
    assert!(!of_user.items.contains(his), "excluded for one");
    let prices = prices(&shop, &still);
    assert!(!prices.is_empty() && prices.iter().all(|price| *price < 50.0), "ruled: {prices:?}");
}

#[test]
fn without_a_target_everybody_is_ranked_and_nothing_is_judged_by_it() {
    let shop = Shop::demo();
    let judged = plain(&shop, "");
    let job = PLAIN.replace("[retrieve]", "target = \"none\"\n\n[retrieve]");
    shop.write("nightly.toml", job.replace("plain", "nightly"));
    shop.run("nightly.toml", &[]);
    let nightly = shop.run_of("runs", "nightly");
    let report = shop.report(&nightly);
    let users = users_of(&shop.lists(&nightly));
    let of = |run: &str| shop.report(run)["facts"]["users"].as_u64().unwrap();
    assert_eq!(users.len() as u64, of(&nightly));
    assert!(users.is_superset(&users_of(&shop.lists(&judged))), "everybody");
    let found = families(&report, "retrieval-order");
    for family in ["ndcg", "hit", "mrr", "recall", "retrieval-ceiling", "alpha-ndcg"] {
        assert!(!found.contains(family), "{family} needs a target: {found:?}");
    }
    assert!(found.contains("coverage") && found.contains("novelty"), "{found:?}");
    assert!(families(&shop.report(&judged), "retrieval-order").contains("ndcg"));
}

#[test]
fn controls_from_the_target_are_kept_apart() {
    let shop = Shop::demo();
    let from = ("from = \"table-then-sampled\"", "from = \"oracle\"");
    shop.change("demo.toml", &[from]);
    shop.run("demo.toml", &[]);
    let run = shop.run_of("runs", "demo");
    assert!(shop.lists(&run).iter().any(|row| row.source == "oracle"));
    let found = families(&shop.report(&run), "hard-filter");
    assert!(found.iter().any(|family| family.starts_with("oracle")), "{found:?}");
    assert!(!found.contains("cp"), "figures that leak the answer have their own names: {found:?}");
}

#[test]
fn an_explanation_shows_the_lists_that_were_written() {
    let shop = Shop::demo();
    shop.run("demo.toml", &[]);
    let run = shop.run_of("runs", "demo");
    let lists = shop.lists(&run);
    let user = lists[7 * ARMS.len()].user.to_string();
    let said = shop.say(&["explain", &run, "--user", &user]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let published = |row: &&ListRow| row.user.to_string() == user && row.arm == "hard-filter-mmr";
    let list = lists.iter().find(published).unwrap();
    // The published arm's list, from its first place on.
    let mut rest = said.out.as_str();
    for item in &list.items {
        let item = item.to_string();
        let at = rest.find(&item).unwrap_or_else(|| panic!("{item} in its place:\n{}", said.out));
        rest = &rest[at..];
    }
    for control in &list.controls {
        assert!(said.out.contains(control), "{control}:\n{}", said.out);
    }
    let nobody = shop.say(&["explain", &run, "--user", "nobody"]);
    assert_eq!(nobody.code, Some(2));
    assert!(nobody.err.contains("user nobody: not among the"), "{}", nobody.err);
    let refused = |run: &str| {
        let said = shop.say(&["explain", run, "--user", &user]);
        assert_eq!(said.out, "");
        (said.code, said.err)
    };
    let (code, said) = refused(&shop.run_of("runs", "retriever"));
    let why = ": expected a rerank run, found one of kind \"train-retriever\": it has no lists\n";
    assert!(code == Some(2) && said.ends_with(why), "{said}");
    std::fs::remove_file(shop.path(&format!("{run}/invocation.json"))).unwrap();
    let (code, said) = refused(&run);
    assert!(code == Some(1) && said.contains(": its job file is not known: "), "{said}");
}

#[test]
fn a_run_beside_itself_has_not_moved() {
    let shop = Shop::demo();
    shop.run("demo.toml", &[]);
    let run = shop.run_of("runs", "demo");
    let same = shop.say(&["compare", &run, &run]);
    assert_eq!(same.code, Some(0), "{}", same.err);
    for arm in ARMS {
        let line = same.out.lines().find(|line| line.split_whitespace().next() == Some(arm));
        assert!(line.is_some_and(|line| line.contains(" 0.0 %")), "{arm}: {}", same.out);
    }
    shop.run("demo.toml", &["--set", "run.root=other", "--set", "retrieve.k=5"]);
    let other = shop.run_of("other", "demo");
    let moved = shop.say(&["compare", &run, &other]);
    assert_eq!(moved.code, Some(1), "five candidates are not forty\n{}", moved.out);
    assert_ne!(same.out, moved.out);
    assert!(moved.out.contains("retrieve.k"), "{}", moved.out);
    let prepared = shop.run_of("runs", "prepare");
    let noise = shop.say(&["compare", &run, &prepared]);
    assert_eq!((noise.code, noise.out.as_str()), (Some(2), ""));
    let why = ": expected a rerank run, found one of kind \"prepare\": lists are compared";
    assert!(noise.err.contains(why), "{}", noise.err);
}

/// The figures of every arm at a point, or of a run.
fn figures(summary: &serde_json::Value) -> BTreeMap<(String, String, String), serde_json::Value> {
    let mut found = BTreeMap::new();
    for arm in summary["arms"].as_array().unwrap() {
        let name = arm["arm"].as_str().unwrap();
        for of in ["metrics", "versus_baseline"] {
            for (metric, estimate) in arm[of].as_object().unwrap() {
                let key = (name.to_owned(), of.to_owned(), metric.clone());
                found.insert(key, estimate.clone());
            }
        }
    }
    found
}

#[test]
fn a_point_of_a_sweep_is_a_job_with_its_settings() {
    let shop = Shop::swept();
    for from in ["sampled", "oracle"] {
        let from = format!("controls.from={from}");
        shop.run("demo.toml", &["--set", &from, "--set", "name=swept"]);
        let swept = shop.run_of("runs", "swept");
        let report = shop.report(&swept);
        let points = report["sweep"]["points"].as_array().unwrap();
        assert_eq!(points.len(), 6, "θ = 2 of one control is θ = 1");
        let alone = Shop::demo();
        for point in points {
            let (k, controls) = (point["k"].to_string(), point["controls"].as_u64().unwrap());
            let attributes = &["price", "department"][..controls as usize];
            let sets = [
                from.clone(),
                format!("retrieve.k={k}"),
                format!("controls.attributes={attributes:?}"),
                format!("metrics.theta={}", point["theta"]),
                format!("name=alone-{k}-{controls}-{}", point["theta"]),
            ];
            let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
            alone.run("demo.toml", &sets);
            let name = sets.last().unwrap().strip_prefix("name=").unwrap();
            let expected = alone.report(&alone.run_of("runs", name));
            let expected = figures(&expected["summary"]);
            let found = figures(&point["summary"]);
            assert!(found.len() > 6 * 20, "{name}: {}", found.len());
            for (key, value) in found {
                if key.2.ends_with("unmet-control") || key.2.ends_with("target-unmet") {
                    continue; // a sweep's own
                }
                assert_eq!(Some(&value), expected.get(&key), "{name}: {key:?}");
            }
        }
        std::fs::remove_dir_all(shop.path(&swept)).unwrap();
    }
}

#[test]
fn a_sweep_changes_no_list_and_no_other_figure() {
    let (plain, swept) = (Shop::demo(), Shop::swept());
    plain.run("demo.toml", &[]);
    let said = swept.run("demo.toml", &[]);
    let run = swept.run_of("runs", "demo");
    let [without, with] = [&plain, &swept].map(|shop| {
        let run = shop.run_of("runs", "demo").replace("runs/", "");
        let objects = shop.objects("runs").into_iter();
        let inner = objects.filter_map(|(path, bytes)| {
            let path = path.strip_prefix(&format!("{run}/"))?;
            let ours = !path.starts_with("commits/") && path != "manifest.json";
            ours.then(|| (path.to_owned(), bytes))
        });
        inner.collect::<BTreeMap<String, Vec<u8>>>()
    });
    crate::support::assert_same(&with, &without, "lists, faults and exposure");
    let summary = |shop: &Shop| shop.report(&shop.run_of("runs", "demo"))["summary"].clone();
    assert_eq!(summary(&plain), summary(&swept));
    assert!(plain.report(&plain.run_of("runs", "demo")).get("sweep").is_none());
    assert!(said.out.lines().count() <= 25, "one screen:\n{}", said.out);
    let page = std::fs::read_to_string(swept.path(&format!("{run}/report.html"))).unwrap();
    assert!(page.contains("<h2>Sweep</h2>") && page.contains("2 controls, θ = 1"), "{run}");
    let plan = swept.say(&["plan", "demo.toml"]);
    assert!(plan.out.contains("sweep        6 points, 7 arms each"), "{}", plan.out);
    assert!(plan.out.contains("arms ─► sweep ─► measure"), "{}", plan.out);
    assert!(!plan.out.contains("device"), "{}", plan.out);
    // A device that is not there: its memory is planned all the same.
    let plan = swept.say(&["plan", "demo.toml", "--set", "device=\"cuda:7\""]);
    let parts =
        ["device       cuda:7: 1 MiB for models", " MiB for batches of 16384 tokens and 1024"];
    assert!(parts.iter().all(|part| plan.out.contains(part)), "{}{}", plan.out, plan.err);
}
