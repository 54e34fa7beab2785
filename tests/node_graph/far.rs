//! Models behind a server as guides, over a loopback: whatever they answer, every list is an order
//! over the candidates; nothing is lost and nothing is paid twice.

use crate::label::server::{Asked, KEY, Mood, Server};
use crate::support::{Shop, assert_same};
use std::collections::BTreeSet;
use steerage::types::{Key, mix64};

const KEY_VARIABLE: &str = "STEERAGE_TEST_KEY";

/// The order from the last candidate to the first, and a next node by how many lists there are.
fn backwards(asked: &Asked) -> String {
    let lines = asked.prompt.lines();
    let count = lines.filter(|line| line.ends_with(')') && line.contains("(score ")).count();
    let ids: Vec<String> = (1..=count).rev().map(|id| id.to_string()).collect();
    let next = match asked.prompt.contains("No lists so far") {
        true => "diversity",
        false => "stop",
    };
    format!("{{\"ranking\":[{}],\"next\":\"{next}\"}}", ids.join(","))
}

/// A draw that depends on the prompt alone.
fn draw(asked: &Asked) -> u64 {
    asked.prompt.bytes().fold(3, |seed, byte| mix64(seed ^ u64::from(byte)))
}

/// Every seventh prompt gets a server's troubles first, and every fifth an answer that is wrong in
/// some way, for good where it is asked again, too.
fn troubled(number: usize, asked: &Asked) -> Mood {
    let good = backwards(asked);
    match (number % 7, draw(asked) % 10) {
        (1, _) => Mood::Status(429, Some("0")),
        (3, _) => Mood::Reset,
        (5, _) => Mood::Truncated,
        (_, 0) => Mood::Says("I would rather not.".into()),
        (_, 1) => Mood::Says("[3, 3, 99, 1]; diversity".into()),
        (_, 2) if asked.turns == 1 => Mood::Says("[1]; stop".into()),
        (_, 3) => Mood::Says(good.replace("stop", "nowhere")),
        _ => Mood::Says(good),
    }
}

fn shop(server: &Server, more: &str) -> Shop {
    let shop = Shop::demo();
    let said = "goal = \"mainly accuracy, then diversity, then fairness\", candidates = 40";
    let step = "goal = \"as good as it gets\", candidates = 12, ranker = \"far\", \
                navigator = \"far\", model_share = 0.4";
    let guide = format!(
        "[[guide]]\nname = \"far\"\nwindow = 8\nstride = 4\n\n[guide.server]\nbase_url = {:?}\n\
         model = \"judge-1\"\nkey_variable = \"{KEY_VARIABLE}\"\nwait_ms = 1\ntries_max = 40\n{more}\n[metrics]",
        server.base_url
    );
    shop.change("demo.toml", &[(said, step), ("[metrics]", &guide)]);
    shop
}

fn run(shop: &Shop, more: &[&str]) -> crate::support::Said {
    let mut command = shop.steerage(&[&["run", "demo.toml"], more].concat());
    crate::support::Said::of(command.env(KEY_VARIABLE, KEY).output().unwrap())
}

#[test]
fn a_server_guides_whatever_it_answers() {
    let server = Server::start(troubled);
    let shop = shop(&server, "");
    let said = run(&shop, &["--workers", "1"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let paid = server.paid();
    let again = run(&shop, &["--workers", "3", "--set", "run.root=runs"]);
    assert_eq!(again.code, Some(0), "{}", again.err);
    assert_eq!(server.paid(), paid, "nothing is paid twice");
    let name = shop.run_of("runs", "demo");
    let lists = shop.lists(&name);
    let of = |arm: &str| {
        let rows = lists.iter().filter(|row| row.arm == arm);
        rows.map(|row| (row.user.clone(), row.items.clone())).collect::<Vec<(Key, Vec<Key>)>>()
    };
    let (before, after) = (of("retrieval-order"), of("node-graph"));
    let moved = before.iter().zip(&after).filter(|(a, b)| a.1 != b.1).count();
    assert!((60..200).contains(&moved), "about two fifths of 300 users: {moved}");
    for ((_, before), (_, after)) in before.iter().zip(&after) {
        let set = |items: &[Key]| items[..12].iter().cloned().collect::<BTreeSet<Key>>();
        assert_eq!(set(before), set(after), "an order over the same candidates");
    }
    let sheet = shop.report(&name)["sheets"][0].clone();
    let note = sheet["note"].to_string();
    for words in ["Models guided", "of the wrong format", "with repetitions", "tokens"] {
        assert!(note.contains(words), "{note}");
    }
    let text = std::fs::read_to_string(shop.path(&format!("{name}/report.md"))).unwrap();
    assert!(!text.contains(KEY) && !said.err.contains(KEY), "the key is told");
}

#[test]
fn a_run_that_is_cut_off_comes_to_the_same_lists() {
    let server = Server::start(troubled);
    let whole = shop(&server, "");
    let said = run(&whole, &["--workers", "2"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let server = Server::start(troubled);
    let cut = shop(&server, "");
    for most in ["40", "90"] {
        let budget = format!("budget.requests_max={most}");
        let said = run(&cut, &["--workers", "1", "--set", &budget]);
        assert_eq!(said.code, Some(1), "{}", said.err);
        assert!(said.err.contains("budget.requests_max"), "{}", said.err);
    }
    let said = run(&cut, &["--workers", "3"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let parts = |shop: &Shop| {
        let mut objects = shop.objects("runs");
        // The address is no part of a run's name, and answers say what they took.
        objects.retain(|path, _| !path.starts_with("answers/"));
        objects
    };
    assert_same(&parts(&cut), &parts(&whole), "cut off twice");
}

/// Answers what the schema asks for and nothing else, and nobody who brings none.
fn held_to_the_schema(_: usize, asked: &Asked) -> Mood {
    let schema = &asked.format["json_schema"]["schema"];
    let fields = &schema["properties"];
    let Some(ids) = fields["ranking"]["items"]["enum"].as_array() else {
        return Mood::Status(400, None);
    };
    assert_eq!(asked.format["type"], "json_schema");
    assert_eq!(fields["ranking"]["minItems"], ids.len());
    assert_eq!(fields["ranking"]["maxItems"], ids.len());
    assert_eq!(schema["required"], serde_json::json!(["ranking", "next"]));
    let nodes = fields["next"]["enum"].as_array().unwrap();
    assert!(nodes.contains(&"accuracy".into()) && nodes.contains(&"stop".into()), "{nodes:?}");
    let backwards: Vec<_> = ids.iter().rev().collect();
    Mood::Says(serde_json::json!({ "ranking": backwards, "next": "stop" }).to_string())
}

#[test]
fn a_server_can_be_told_the_schema_of_answers() {
    let server = Server::start(held_to_the_schema);
    let told = shop(&server, "format = \"schema\"");
    let said = run(&told, &["--workers", "2"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let note = told.report(&told.run_of("runs", "demo"))["sheets"][0]["note"].to_string();
    assert!(note.contains("ok") && !note.contains("wrong format"), "{note}");
    let untold = shop(&server, "");
    let said = run(&untold, &["--workers", "2"]);
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(said.err.contains("found status 400"), "{}", said.err);
}

#[test]
fn a_plan_says_what_a_server_would_be_asked_and_asks_nothing() {
    let server = Server::start(troubled);
    let shop = shop(&server, "");
    let budget = |text: &str| format!("[budget]\ninput_price = 2.0\n\n{text}");
    shop.change("demo.toml", &[("[metrics]", &budget("[metrics]"))]);
    shop.run("retriever.toml", &[]);
    let plan = |shop: &Shop| {
        let said = shop.say(&["plan", "demo.toml"]);
        assert_eq!(said.code, Some(0), "{}", said.err);
        let line = said.out.lines().find(|line| line.starts_with("  guide")).map(str::to_owned);
        line.unwrap_or(said.out)
    };
    // Of 300 users 120; of 12 candidates windows of 8 and of 4 places more, at each of 5 visits.
    let line = plan(&shop);
    assert!(line.starts_with("  guide        far: up to 1200 prompts, about "), "{line}");
    assert!(line.contains("written, cost ") && !line.contains("cost 0.00"), "{line}");
    shop.change("demo.toml", &[("navigator = \"far\"", "path = [\"accuracy\"]")]);
    assert!(plan(&shop).contains("far: up to 240 prompts"), "{}", plan(&shop));
    assert_eq!(server.asked(), 0);
}

#[test]
fn a_guide_that_nobody_knows_is_refused() {
    let server = Server::start(troubled);
    let shop = shop(&server, "");
    shop.change("demo.toml", &[("navigator = \"far\"", "navigator = \"near\"")]);
    let said = shop.say(&["check", "demo.toml"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("navigator: no [[guide]] is called \"near\""), "{}", said.err);
}
