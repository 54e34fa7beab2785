//! Are missing values of an attribute inferred, and is it known how well?

use super::demo;
use super::far::{asking, run as ask};
use super::server::{Asked, Mood, Server};
use crate::support::{Shop, assert_same};
use steerage::commands::label::Labelled;
use steerage::commands::{Options, Outcome, bring_up};
use steerage::control::fill_in;
use steerage::flow::cluster::Cluster;

/// What a label job came to.
fn labelled(shop: &Shop, sets: &[&str]) -> Labelled {
    let mut all = vec![format!("run.root={}", shop.path("runs").display())];
    all.extend(sets.iter().map(ToString::to_string));
    let options = Options { sets: all, cluster: Cluster::local(1) };
    let brought = bring_up(&shop.path("label.toml"), &options, &crate::workers::Silent).unwrap();
    let Outcome::Labelled(labelled) = brought.outcome else { panic!("a label job") };
    labelled
}

fn inferring(shop: &Shop, attribute: &str) {
    let infer = format!("[infer]\nattribute = \"{attribute}\"\nheld_out = 0.3\n\n[output]");
    shop.change("label.toml", &[("[output]", &infer)]);
}

#[test]
fn the_catalogue_infers_what_follows_from_it() {
    let shop = demo();
    inferring(&shop, "department");
    shop.run("label.toml", &["--workers", "2"]);
    let again = shop.run("label.toml", &["--workers", "1"]);
    assert_eq!(again.err.matches("up to date, skipped").count(), 2, "{}", again.err);
    let labelled = labelled(&shop, &[]);
    let facts = labelled.facts.inferred.clone().unwrap();
    assert_eq!((facts.unknown, facts.filled), (0, 0), "each has a department");
    assert!(facts.known > 30, "{facts:?}");
    assert!(facts.right as f64 > 0.8 * facts.known as f64, "a category has one: {facts:?}");
    assert!(facts.sure_right <= facts.sure && facts.sure <= facts.known, "{facts:?}");
    let rows = labelled.inferred().unwrap();
    assert_eq!(rows.len() as u64, facts.known);
    assert!(rows.iter().all(|row| row.known && (0.0..=1.0).contains(&row.confidence)));
    assert!(rows.is_sorted_by(|a, b| a.item < b.item));
    assert!(!labelled.judgements().unwrap().is_empty(), "judgements are parts of their own");

    shop.run("label.toml", &["--workers", "3", "--set", "run.root=others"]);
    assert_same(&shop.objects("others"), &shop.objects("runs"), "3 workers");
    let said = shop.say(&["run", "label.toml", "--set", "infer.attribute=price"]);
    assert!(said.err.contains("expected an attribute of labels, found \"price\""), "{}", said.err);
}

#[test]
fn a_server_fills_in_what_is_missing() {
    let moods = |_: usize, asked: &Asked| {
        if !asked.prompt.starts_with("Items:") {
            return Mood::Good;
        }
        let entry = |id: usize| format!("{{\"id\":{id},\"label\":\"merrow\",\"confidence\":9}}");
        let entries: Vec<String> = (1..=asked.items.len()).map(entry).collect();
        assert!(!asked.prompt.contains("brand"), "{}", asked.prompt);
        Mood::Says(format!("{{\"labels\":[{}]}}", entries.join(",")))
    };
    let server = Server::start(moods);
    let shop = asking(&server);
    inferring(&shop, "brand");
    let said = ask(&shop, &["--workers", "2"]);
    assert!(said.out.contains("label"), "{}", said.out);
    let asked = server.asked();
    ask(&shop, &["--set", "items.held_out=0.3"]);
    assert_eq!(server.asked(), asked, "what was answered is there");

    let sets = ["teacher.key_variable=PATH"]; // nobody is asked any more
    let labelled = labelled(&shop, &sets);
    let facts = labelled.facts.inferred.clone().unwrap();
    assert!(facts.unknown > 0 && facts.filled == facts.unknown, "{facts:?}");
    assert!(facts.right < facts.known, "not all are of that brand: {facts:?}");
    assert!(facts.spent.prompts > 0 && facts.spent.tokens_in > 0, "{facts:?}");
    let filled = fill_in(&labelled.catalogue, &labelled.inferred().unwrap(), 0.8);
    assert_eq!(filled.inferred.len() as u64, facts.unknown);
    let (brand, item) = filled.inferred[0];
    let attribute = &filled.catalogue.attributes[brand];
    assert_eq!(attribute.labels[attribute.codes(item)[0] as usize], "Merrow");
    assert!(labelled.catalogue.attributes[brand].codes(item).is_empty());
    assert!(fill_in(&labelled.catalogue, &labelled.inferred().unwrap(), 0.95).inferred.is_empty());
}
