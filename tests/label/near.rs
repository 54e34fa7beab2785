//! A decoder as a teacher: does its score follow from the prompt alone?

use super::{catalogue, demo, judgements};
use crate::support::{Shop, assert_same};
use steerage::model::words;

/// A shop whose label job asks a small decoder of random weights in the folder `judge`.
pub fn asking() -> Shop {
    let shop = demo();
    let items = catalogue();
    let labels = items.attributes.iter().flat_map(|a| &a.labels).map(String::as_str);
    let marks = "0 1 2 3 4 You judge recommendations ask person item latest";
    let texts = items.titles.iter().map(|title| &**title);
    let json = words::tokenizer([marks].into_iter().chain(labels), texts, 2000, 0).unwrap();
    shop.write_decoder("judge", &json, 512);
    let teacher =
        format!("[teacher]\nkind = \"decoder\"\npath = \"{}\"\n", shop.path("judge").display());
    let few = "per_user = 1\nusers_max = 20";
    let changes = [("[teacher]\nkind = \"attributes\"", teacher.as_str()), ("per_user = 4", few)];
    shop.change("label.toml", &changes);
    shop
}

#[test]
fn a_decoder_judges_alike_however_it_is_asked() {
    let shop = asking();
    shop.run("prepare.toml", &[]);
    let plan = shop.say(&["plan", "label.toml"]);
    assert!(plan.out.contains("240 prompts"), "{}\n{}", plan.out, plan.err);
    shop.run("label.toml", &["--workers", "1"]);
    let judged = judgements(&shop, "runs");
    assert_eq!(judged.len(), 240);
    assert!(judged.iter().all(|one| one.score > 0.0 && one.score < 1.0));
    let first = judged[0].score;
    assert!(judged.iter().any(|one| one.score != first), "it depends on what is asked");
    shop.run("label.toml", &["--workers", "3", "--set", "run.root=others"]);
    assert_same(&shop.objects("others"), &shop.objects("runs"), "3 workers");

    let short = ["--set", "teacher.tokens_max=40", "--set", "run.root=short"];
    shop.run("label.toml", &short);
    let letters = shop.dead_letters(&shop.run_of("short", "label"));
    assert!(letters.iter().all(|letter| letter.kind == "prompt-too-long"), "{:?}", letters[0]);
    let said = shop.say(&["run", "label.toml", "--set", "teacher.template=\"{item}?\""]);
    assert!(said.err.contains("teacher.template: expected {request} in it"), "{}", said.err);
}
