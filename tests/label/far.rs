//! A teacher behind a server: is nothing lost, nothing paid twice, and no key told, whatever the
//! server does?

use super::server::{Asked, KEY, Mood, Server};
use super::{demo, judgements};
use crate::support::{Said, Shop, assert_same, names};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use steerage::types::Judgement;

/// A shop whose label job asks a server, for 30 users: at most 4 requests each, of 12 items in
/// prompts of 5.
pub fn asking(server: &Server) -> Shop {
    let shop = demo();
    let teacher = format!(
        "[teacher]\nkind = \"http\"\nbase_url = \"{}\"\nmodel = \"judge-1\"\n\
         key_variable = \"JUDGE_KEY\"\nitems_per_prompt = 5\nat_once = 3\nwait_ms = 5\n\
         timeout_seconds = 5\ntries_max = 5",
        server.base_url
    );
    let few = "per_user = 2\nusers_max = 30";
    let changes = [("[teacher]\nkind = \"attributes\"", teacher.as_str()), ("per_user = 4", few)];
    shop.change("label.toml", &changes);
    shop
}

fn call(shop: &Shop, args: &[&str]) -> Command {
    let mut command = shop.steerage(&[&["run", "label.toml"], args].concat());
    command.env("JUDGE_KEY", KEY);
    command
}

fn say(shop: &Shop, args: &[&str]) -> Said {
    Said::of(call(shop, args).output().unwrap())
}

pub fn run(shop: &Shop, args: &[&str]) -> Said {
    let said = say(shop, args);
    assert_eq!(said.code, Some(0), "{}\n{}", said.out, said.err);
    said
}

/// Whether any file under a folder holds the key.
fn told(folder: &Path) -> bool {
    names(folder).iter().any(|name| {
        let path = folder.join(name);
        if path.is_dir() {
            return told(&path);
        }
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(KEY.len()).any(|window| window == KEY.as_bytes())
    })
}

fn by_item(judgements: &[Judgement]) -> BTreeMap<(String, String, u32), f32> {
    let key = |j: &Judgement| (j.user.to_string(), j.request.clone(), j.item);
    judgements.iter().map(|judgement| (key(judgement), judgement.score)).collect()
}

#[test]
fn a_server_is_asked_once_and_its_key_is_told_nobody() {
    let server = Server::start(|_, _| Mood::Good);
    let shop = asking(&server);
    shop.run("prepare.toml", &[]);
    let plan = shop.say(&["plan", "label.toml"]);
    assert_eq!(plan.code, Some(0), "{}", plan.err);
    assert!(plan.out.contains("up to 60 requests, 720 judgements"), "{}", plan.out);
    assert!(plan.out.contains("180 prompts"), "{}", plan.out);
    assert_eq!(server.asked(), 0, "a plan asks nobody");

    let said = run(&shop, &["--workers", "2"]);
    let good = server.good();
    assert!(good.len() > 150, "{} prompts", good.len());
    assert!(good.values().all(|count| *count == 1), "each once");
    assert_eq!(server.asked(), good.len());
    assert_eq!(server.keys(), [format!("Bearer {KEY}")]);
    let judged = judgements(&shop, "runs");
    assert!(judged.len() > 600 && judged.iter().any(|one| one.score == 0.7));
    assert!(!told(&shop.path("runs")), "the key is in a file");
    assert!(!said.out.contains(KEY) && !said.err.contains(KEY));

    // Another run asks for some of the same: what was answered is there.
    let other = ["--set", "items.held_out=0.5", "--workers", "1"];
    run(&shop, &other);
    assert_eq!(server.asked(), good.len(), "nothing new was asked");
}

#[test]
fn workers_change_no_judgement_of_a_server() {
    let server = Server::start(|_, _| Mood::Good);
    let shop = asking(&server);
    run(&shop, &["--workers", "1"]);
    for workers in ["2", "5"] {
        let root = format!("runs-{workers}");
        run(&shop, &["--workers", workers, "--set", &format!("run.root={root}")]);
        assert_same(&shop.objects(&root), &shop.objects("runs"), workers);
    }
}

/// Every kind of misbehaviour again and again; what comes out is what a good server gives.
#[test]
fn a_server_that_misbehaves_costs_time_and_nothing_else() {
    let good = Server::start(|_, _| Mood::Good);
    let expected = asking(&good);
    run(&expected, &[]);
    let moods = |nth: usize, _: &Asked| match nth % 17 {
        1 => Mood::Status(500, None),
        3 => Mood::Truncated,
        5 => Mood::Reset,
        6 => Mood::WrongIds,
        8 => Mood::MissingIds,
        9 => Mood::Status(429, Some("0.05")),
        11 => Mood::Slow(30),
        12 => Mood::Broken,
        13 => Mood::Says("I would rather not".into()),
        15 => Mood::Long(3_000_000),
        _ => Mood::Good,
    };
    let server = Server::start(moods);
    let shop = asking(&server);
    run(&shop, &["--set", "teacher.at_once=1", "--workers", "1"]);
    let found = judgements(&shop, "runs");
    assert_eq!(by_item(&found), by_item(&judgements(&expected, "runs")));
    assert!(server.good().values().all(|count| *count == 1), "nothing is paid twice");
    assert_eq!(server.good(), good.good());
}

#[test]
fn what_a_server_cannot_judge_goes_to_the_dead_letter() {
    let moods = |_: usize, asked: &Asked| match asked.prompt.contains("Kettle") {
        true => Mood::Says(format!("Sorry, no kettles today ({} turns).", asked.turns)),
        false => Mood::Good,
    };
    let server = Server::start(moods);
    let shop = asking(&server);
    run(&shop, &["--workers", "2"]);
    let letters = shop.dead_letters(&shop.run_of("runs", "label"));
    assert!(!letters.is_empty());
    for letter in &letters {
        assert_eq!(
            (letter.kind.as_str(), letter.stage.to_string().as_str()),
            ("unjudged", "judge")
        );
        assert!(letter.reason.contains("Sorry, no kettles today (4 turns)."), "{}", letter.reason);
    }
    let judged = judgements(&shop, "runs");
    let lost = 60 * 12 - judged.len();
    assert!(lost >= letters.len(), "{lost} items of {} answers", letters.len());
    assert!(judged.len() > 300, "the others are judged: {}", judged.len());
}

#[test]
fn a_kill_pays_nothing_twice() {
    let good = Server::start(|_, _| Mood::Good);
    let expected = asking(&good);
    run(&expected, &[]);
    let server = Server::start(|_, _| Mood::Slow(4));
    let shop = asking(&server);
    shop.run("prepare.toml", &[]);
    let all = good.paid();
    for kill_at in [all / 4, all / 2] {
        let mut child = call(&shop, &["--workers", "1"]).spawn().unwrap();
        while server.paid() < kill_at {
            assert!(child.try_wait().unwrap().is_none(), "ended after {}", server.paid());
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    run(&shop, &["--workers", "2"]);
    let twice = server.good().values().filter(|count| **count > 1).count();
    // What was on its way at the moment of a kill, 3 prompts at most, may be asked again.
    assert!(twice <= 6, "{twice} prompts were paid twice");
    assert_eq!(server.good().len(), all);
    assert_eq!(by_item(&judgements(&shop, "runs")), by_item(&judgements(&expected, "runs")));
}

#[test]
fn a_budget_that_is_spent_stops_the_job_which_goes_on_with_more() {
    let server = Server::start(|_, _| Mood::Good);
    let shop = asking(&server);
    let said = say(&shop, &["--workers", "1", "--set", "budget.requests_max=50"]);
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(
        said.err.contains("budget.requests_max: the next prompt would come to 51"),
        "{}",
        said.err
    );
    assert_eq!(server.paid(), 50);
    let again = say(&shop, &["--workers", "1", "--set", "budget.requests_max=50"]);
    assert_eq!((again.code, server.paid()), (Some(1), 50), "nothing is left: {}", again.err);
    let prices = ["budget.input_price=2.0", "budget.output_price=8.0", "budget.cost_max=1000"];
    let sets = prices.map(|price| ["--set", price]).concat();
    run(&shop, &sets);
    assert!(server.good().values().all(|count| *count == 1));
    let run_name = shop.run_of("runs", "label");
    let spent = std::fs::read_to_string(shop.path(&format!("{run_name}/spent.json"))).unwrap();
    let spent: serde_json::Value = serde_json::from_str(&spent).unwrap();
    assert_eq!(spent["requests"], server.paid());
    assert!(spent["cost"].as_f64().unwrap() > 0.0, "{spent}");
}

#[test]
fn who_does_not_answer_is_waited_for_within_bounds() {
    let server = Server::start(|nth, _| match nth {
        0 => Mood::Status(429, Some("1")),
        1 => Mood::Slow(2_500),
        _ => Mood::Good,
    });
    let shop = asking(&server);
    shop.run("prepare.toml", &[]);
    let sets = ["requests.users_max=1", "teacher.timeout_seconds=1", "teacher.at_once=1"];
    let start = Instant::now();
    run(&shop, &sets.map(|set| ["--set", set]).concat());
    assert!(start.elapsed() >= Duration::from_millis(1900), "a second asked for, and one waited");

    let silent = Server::start(|_, _| Mood::Status(503, None));
    let shop = asking(&silent);
    let said = say(&shop, &["--set", "requests.users_max=1", "--set", "teacher.at_once=1"]);
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(said.err.contains("no answer in 5 tries"), "{}", said.err);
    assert!(said.err.contains("status 503: \"busy\""), "{}", said.err);
    assert_eq!(silent.asked(), 5);
}

#[test]
fn a_key_that_is_missing_or_wrong_is_said_and_not_told() {
    let server = Server::start(|_, _| Mood::Good);
    let shop = asking(&server);
    let said = shop.say(&["run", "label.toml"]);
    assert_eq!(said.code, Some(2), "{}", said.err);
    assert!(said.err.contains("the environment variable JUDGE_KEY"), "{}", said.err);
    let mut wrong = shop.steerage(&["run", "label.toml"]);
    let said = Said::of(wrong.env("JUDGE_KEY", "sk-another-key-987").output().unwrap());
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(said.err.contains("found status 401"), "{}", said.err);
    assert!(!said.err.contains("sk-another-key-987"), "{}", said.err);
}
