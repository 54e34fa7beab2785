//! Requests that are not ours: a table of what people have asked, and those of a model.

use super::far::{asking, run as ask};
use super::server::{Asked, Mood, Server};
use super::{demo, judgements};
use std::collections::BTreeSet;
use steerage::store::tables::Values;
use steerage::types::Category;

fn texts(values: &[&str]) -> Values {
    Values::Texts(values.iter().map(|value| Some((*value).to_owned())).collect())
}

#[test]
fn a_table_of_requests_is_read_by_the_rules() {
    let shop = demo();
    let asked = ["anything but toys", "kitchen things under 40 dollars", "tell me a joke"];
    let categories = texts(&["exclusion", "composition", ""]);
    shop.table("asked.parquet", vec![("request", texts(&asked)), ("category", categories)]);
    let sets = ["requests.from=table", "requests.path=asked.parquet", "requests.per_user=2"];
    let sets = sets.map(|set| ["--set", set]).concat();
    shop.run("label.toml", &sets);
    let all = judgements(&shop, "runs");
    let found: BTreeSet<&str> = all.iter().map(|one| one.request.as_str()).collect();
    assert_eq!(found, asked[..2].iter().copied().collect(), "the joke means nothing");
    for one in &all {
        let exclusion = one.request.starts_with("anything");
        assert_eq!(one.category == Category::Exclusion, exclusion, "{}", one.request);
    }
    let positive = all.iter().filter(|one| one.score == 1.0).count();
    assert!(positive > all.len() / 4 && positive < all.len(), "{positive} of {}", all.len());
    let letters = shop.dead_letters(&shop.run_of("runs", "label"));
    let joke = letters.iter().filter(|one| one.reason.contains("tell me a joke")).count();
    assert!(joke > 0 && joke == letters.len(), "{letters:?}");

    shop.table(
        "asked.parquet",
        vec![("request", texts(&["kettles"])), ("category", texts(&["x"]))],
    );
    let said = shop.say(&[&["run", "label.toml"], &sets[..]].concat());
    assert!(said.err.contains("expected a category, found \"x\""), "{}", said.err);
    let said = shop.say(&["run", "label.toml", "--set", "requests.from=teacher"]);
    assert!(said.err.contains("needs a teacher of kind \"http\""), "{}", said.err);
}

#[test]
fn a_model_writes_requests_and_judges_them() {
    let moods = |_: usize, asked: &Asked| {
        let Some((_, kinds)) = asked.prompt.split_once("Kinds:\n") else { return Mood::Good };
        let entry = |(at, kind): (usize, &str)| {
            let words = kind.split_once(". ").map_or("", |(_, words)| words);
            format!("{{\"id\":{},\"text\":\"I asked {words}\"}}", at + 1)
        };
        let entries: Vec<String> = kinds.lines().enumerate().map(entry).collect();
        Mood::Says(format!("{{\"requests\":[{}]}}", entries.join(",")))
    };
    let server = Server::start(moods);
    let shop = asking(&server);
    let from = ["--set", "requests.from=teacher"];
    shop.run("prepare.toml", &[]);
    let plan = shop.say(&[&["plan", "label.toml"], &from[..]].concat());
    assert!(plan.out.contains("210 prompts"), "{}\n{}", plan.out, plan.err);
    ask(&shop, &from);
    let all = judgements(&shop, "runs");
    assert!(all.iter().all(|one| one.request.starts_with("I asked ")));
    let categories: BTreeSet<Category> = all.iter().map(|one| one.category).collect();
    assert!(categories.len() > 5, "{categories:?}");
    for one in &all {
        let mood = one.request == "I asked for a mood or an atmosphere";
        assert_eq!(one.category == Category::Mood, mood, "{}", one.request);
    }
    let asked = server.asked();
    ask(&shop, &[&from[..], &["--set", "items.held_out=0.4", "--workers", "2"]].concat());
    assert_eq!(server.asked(), asked, "what was written and judged is there");
}
