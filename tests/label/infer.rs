//! Are missing values of an attribute inferred, and is it known how well?

use super::demo;
use super::far::{asking, run as ask};
use super::server::{Asked, Mood, Server};
use crate::support::{Shop, assert_same, changed};
use steerage::commands::label::Labelled;
use steerage::commands::{Options, Outcome, bring_up};
use steerage::control::fill_in;
use steerage::flow::cluster::Cluster;
use steerage::store::part::lists::ListRow;

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
    let (&(brand, item), confidence) = filled.inferred.first_key_value().unwrap();
    assert_eq!(*confidence, 0.9);
    let attribute = &filled.catalogue.attributes[brand];
    assert_eq!(attribute.labels[attribute.codes(item)[0] as usize], "Merrow");
    assert!(labelled.catalogue.attributes[brand].codes(item).is_empty());
    assert!(fill_in(&labelled.catalogue, &labelled.inferred().unwrap(), 0.95).inferred.is_empty());
}

/// Everybody of the shop's rerank job wants one brand, and all items are candidates.
fn wanting(shop: &Shop, brand: &str) {
    let asked = format!(
        "[controls]\nfrom = \"job\"\n\n[[controls.ask]]\nattribute = \"brand\"\n\
         relation = \"is\"\nvalue = \"{brand}\"\n\n[[arm]]\nname = \"retrieval-order\""
    );
    let text = std::fs::read_to_string(shop.path("demo.toml")).unwrap();
    let (start, end) = (text.find("[controls]").unwrap(), text.find("[[arm]]").unwrap());
    let rest = text[end..].replacen("[[arm]]\nname = \"retrieval-order\"", &asked, 1);
    let wanted = text[..start].replace("k = 40", "k = 200") + &rest;
    shop.write("plain.toml", wanted.replace("name = \"demo\"", "name = \"plain\""));
    let inferred = "[inferred]\nlabels = \"run:label\"\nconfidence_min = 0.0\n\n[retrieve]";
    shop.write("demo.toml", wanted.replace("[retrieve]", inferred));
}

#[test]
fn inferred_values_join_lists_and_are_told_from_others() {
    let shop = demo();
    inferring(&shop, "brand");
    shop.run("label.toml", &[]);
    let labelled = labelled(&shop, &[]);
    let guesses = labelled.inferred().unwrap();
    let new: Vec<_> = guesses.iter().filter(|guess| !guess.known).collect();
    let guess = *new.first().expect("an item without a brand");
    wanting(&shop, &guess.label);
    for job in ["plain.toml", "demo.toml"] {
        shop.run(job, &["--workers", "2"]);
    }
    let item = labelled.catalogue.keys[guess.item as usize].to_string();
    let (plain, filled) = (shop.run_of("runs", "plain"), shop.run_of("runs", "demo"));
    let first = |run: &str| {
        let lists = shop.lists(run);
        let wanted = lists.iter().filter(|row| row.arm == "hard-filter");
        wanted.filter(|row| row.items[..5].iter().any(|i| i.to_string() == item)).count()
    };
    assert!(first(&filled) > first(&plain), "the brand is asked for, and the item has it");

    let warned = |run: &str| shop.report(run)["warnings"].to_string();
    let told = format!("{} values of brand were inferred, with a confidence of", new.len());
    assert!(warned(&filled).contains(&told), "{}", warned(&filled));
    assert!(!warned(&plain).contains("inferred"), "{}", warned(&plain));

    let lists = shop.lists(&filled);
    let theirs = |row: &&ListRow| row.items[..5].iter().any(|i| i.to_string() == item);
    let user = lists.iter().filter(|row| row.arm == "hard-filter").find(theirs).unwrap();
    let explained = |run: &str| {
        let said = shop.say(&["explain", run, "--user", &user.user.to_string()]);
        assert_eq!(said.code, Some(0), "{}", said.err);
        said.out
    };
    let told = format!(
        "≈ control 1 is met by brand {} of {item}, inferred with confidence {:.2}",
        guess.label, guess.confidence
    );
    assert!(explained(&filled).contains(&told), "expected {told:?} in\n{}", explained(&filled));
    assert!(!explained(&plain).contains('≈'), "{}", explained(&plain));
}

#[test]
fn values_inferred_for_other_items_are_refused() {
    let shop = demo();
    inferring(&shop, "brand");
    let prepare = std::fs::read_to_string(shop.path("prepare.toml")).unwrap();
    let fewer = [("name = \"prepare\"", "name = \"fewer\""), ("items = 200", "items = 150")];
    shop.write("fewer.toml", changed(&prepare, &fewer));
    wanting(&shop, "Merrow");
    shop.change("label.toml", &[("run:prepare", "run:fewer")]);
    let said = shop.say(&["run", "demo.toml"]);
    assert_eq!(said.code, Some(2), "{}", said.err);
    assert!(said.err.contains("inferred.labels: expected values of the items of"), "{}", said.err);
}
