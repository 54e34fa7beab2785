//! Does the report of a label run say what was done?

use super::far::{asking, run as ask};
use super::server::{Mood, Server};
use super::{demo, judgements};
use crate::support::Shop;
use serde_json::Value;
use std::collections::BTreeMap;

/// The tables of the label run's report, by title: each row's cells by its name.
fn sheets(shop: &Shop) -> BTreeMap<String, BTreeMap<String, Vec<String>>> {
    let report = shop.report(&shop.run_of("runs", "label"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let row = |row: &Value| {
        (text(&row[0]), row[1].as_array().unwrap().iter().map(text).collect::<Vec<String>>())
    };
    let sheet = |sheet: &Value| {
        let rows = sheet["rows"].as_array().unwrap().iter().map(row);
        assert!(
            rows.clone()
                .all(|(_, cells)| { cells.len() == sheet["columns"].as_array().unwrap().len() })
        );
        (text(&sheet["title"]), rows.collect())
    };
    report["sheets"].as_array().unwrap().iter().map(sheet).collect()
}

#[test]
fn a_catalogue_that_judges_is_told_by_category() {
    let shop = demo();
    let infer = "[infer]\nattribute = \"brand\"\nheld_out = 0.3\n\n[output]";
    shop.change("label.toml", &[("[output]", infer)]);
    shop.run("label.toml", &[]);
    let all = judgements(&shop, "runs");
    let sheets = sheets(&shop);
    let titles = ["How scores lie", "What was asked and judged", "What was inferred"];
    assert_eq!(sheets.keys().collect::<Vec<_>>(), titles, "nobody else was asked");
    let judged = &sheets["What was asked and judged"];
    assert_eq!(judged.len(), 11, "ten categories and all: {judged:?}");
    for (name, cells) in judged {
        let of = all.iter().filter(|one| name == "all" || one.category.name() == name);
        let count = of.count();
        assert_eq!(cells[1], count.to_string(), "{name}");
    }
    let number = |name: &str| -> u64 { judged[name][0].parse().unwrap() };
    let each: u64 = judged.keys().filter(|name| *name != "all").map(|name| number(name)).sum();
    assert_eq!(each, number("all"), "requests");
    let scores = &sheets["How scores lie"]["all"];
    assert!(scores[1..9].iter().all(|share| share == "0.0 %"), "yes or no: {scores:?}");
    assert_eq!(scores[9], judged["all"][2], "good is 1 here");
    let inferred = &sheets["What was inferred"]["brand"];
    assert!(inferred[0].parse::<u64>().unwrap() > 0 && inferred[3].ends_with('%'), "{inferred:?}");
}

#[test]
fn a_server_that_judges_is_compared_with_the_catalogue() {
    let server = Server::start(|_, _| Mood::Good);
    let shop = asking(&server);
    ask(&shop, &[]);
    let sheets = sheets(&shop);
    let all = judgements(&shop, "runs");
    let compared = &sheets["The teacher beside the catalogue"]["all"];
    assert_eq!(compared[0], all.len().to_string(), "the meaning of each is known");
    assert!(compared[1].ends_with('%') && compared[2].parse::<f64>().unwrap() < 1.0);
    let took = &sheets["What it took"];
    assert_eq!(took["all answers"][0], server.asked().to_string());
    assert_eq!(took["of them paid for this run"][0], server.asked().to_string());
    assert_eq!(took["there before"][0], "0");
}
