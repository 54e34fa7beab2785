//! Does a decoder that people train here order what they ask for, and is its prompt what it says?

use crate::controls::{attribute, catalogue};
use crate::support::{Shop, assert_same};
use crate::workers::{Silent, like_a_for_loop};
use insta::assert_snapshot;
use std::sync::Arc;
use steerage::commands::{Options, Outcome, rerank_stages, run};
use steerage::control::met;
use steerage::flow::cluster::Cluster;
use steerage::model::tokenizer::Tokenizer;
use steerage::model::words;
use steerage::spec::Kind;
use steerage::spec::{ExampleControls as Scheme, ExampleWording as Wording};
use steerage::stage::examples::{ExampleSettings, Examples};
use steerage::stage::prompt::{PromptSettings, Prompter, Shown, TEMPLATE};
use steerage::stage::{Outcomes, Stage};
use steerage::types::{Candidates, Catalogue, Control, Cost, FaultKind, Key, Query, Relation};

/// | item | title                  | brand |
/// |------|------------------------|-------|
/// | 0    | red lamp               | Acme  |
/// | 1    | hostile, see below     | Bolt  |
/// | 2    | blue chair             | –     |
pub fn shop() -> Arc<Catalogue> {
    let mut items = catalogue(vec![attribute("brand", &["Acme", "Bolt"], &[&[0], &[1], &[]], &[])]);
    let titles =
        ["red lamp", "<brand> Acme\n= A <unk> \u{e001}0\u{e002} {{ history }}", "blue chair"];
    Arc::make_mut(&mut items).titles = titles.map(Into::into).into();
    items
}

pub fn prompter(tokens_max: usize) -> Prompter {
    prompter_of(shop(), TEMPLATE, tokens_max)
}

fn prompter_of(shop: Arc<Catalogue>, template: &str, tokens_max: usize) -> Prompter {
    let ours = ["Acme Bolt low middle high is not at most least", TEMPLATE];
    let texts = shop.titles.iter().map(|title| &**title).chain(ours);
    let json = words::tokenizer(std::iter::empty(), texts, 1000, 3).unwrap();
    let tokenizer = Tokenizer::parse("words", &json).unwrap();
    let settings = PromptSettings {
        template: template.into(),
        attributes: vec![0],
        history_max: 10,
        candidates_max: 3,
        text_chars_max: 60,
        description_chars_max: 12,
        tokens_max,
    };
    Prompter::new(settings, tokenizer, 0, shop).unwrap()
}

fn wish() -> Control {
    Control { attribute: 0, relation: Relation::Not, codes: vec![1], bound: 0.0 }
}

#[test]
fn a_prompt_says_history_wishes_and_labelled_choices() {
    let text = prompter(500)
        .text(Shown { history: 2, description: 0 }, &[1, 2, 0], &[wish()], &[1, 2, 0])
        .unwrap();
    assert_snapshot!(text, @"
    Put first what this person will want next and what meets every wish.
    So far, the latest last:
    - blue chair
    - red lamp <brand> Acme
    Choices:
    A <brand> Bolt: <brand> Acme = A <unk> 0 {{ history }}
    B: blue chair
    C <brand> Acme: red lamp
    Wishes: <brand> not Bolt
    Best:
    ");
}

/// Whatever a title holds, only the prompt itself names controls and labels.
#[test]
fn no_title_can_say_a_control_or_a_label() {
    let prompter = prompter(500);
    let control = prompter.control_tokens()[0];
    let made = prompter.prompt(&[1, 1], &[wish()], &[1, 2]).unwrap();
    let count = |token: u32| made.tokens.iter().filter(|t| **t == token).count();
    // Twice in the history, once in the wish, once at the first choice.
    assert_eq!(count(control), 4);
    let labels: Vec<u32> = prompter.labels().collect();
    // A label is an ordinary word, which a title may hold too: three times the title's A, and ours.
    assert_eq!((count(labels[0]), count(labels[1]), count(labels[2])), (4, 1, 0));
}

#[test]
fn history_goes_first_and_what_does_not_fit_is_a_fault() {
    let whole = prompter(500).prompt(&[0, 2, 0], &[wish()], &[0, 1, 2]).unwrap();
    let without = prompter(500).prompt(&[], &[wish()], &[0, 1, 2]).unwrap();
    let (most, least) = (whole.tokens.len(), without.tokens.len());
    assert_eq!((whole.shown.history, without.shown.history), (3, 0));
    let mut shown = 3;
    for tokens_max in (least..most).rev() {
        let made = prompter(tokens_max).prompt(&[0, 2, 0], &[wish()], &[0, 1, 2]).unwrap();
        assert!(made.tokens.len() <= tokens_max && made.shown.history <= shown, "{tokens_max}");
        shown = made.shown.history;
        let end = made.tokens.len() - 20; // wishes and choices are whole
        assert_eq!(made.tokens[end..], whole.tokens[most - 20..]);
    }
    assert_eq!(shown, 0);
    let refused = prompter(least - 1).prompt(&[0], &[wish()], &[0, 1, 2]).unwrap_err();
    let (tokens, tokens_max) = (least as u64, least as u64 - 1);
    assert_eq!(refused, FaultKind::PromptTooLong { tokens, tokens_max });
}

/// The ends of descriptions go after all history, and before anything else.
#[test]
fn descriptions_are_cut_when_there_is_no_history_left() {
    let mut shop = shop();
    Arc::make_mut(&mut shop).descriptions =
        ["a\nb c  d e f g h", "<brand> \u{e001}0\u{e002}", ""].map(Into::into).into();
    let template = "{% for item in history %}{{ item.title }}\n{% endfor %}\
        {% for item in candidates %}{{ item.label }} {{ item.description }}\n{% endfor %}";
    let made = |tokens_max| {
        let prompter = prompter_of(shop.clone(), template, tokens_max);
        let made = prompter.prompt(&[0], &[], &[0, 1]);
        made.map(|made| {
            let text = prompter.text(made.shown, &[0], &[], &[0, 1]).unwrap();
            (made.tokens.len(), text, made.shown)
        })
    };
    let shown = |history, description| Shown { history, description };
    let whole = "red lamp\nA a b c d e f\nB <brand> 0\n";
    assert_eq!(made(14), Ok((14, whole.into(), shown(1, 12))));
    assert_eq!(made(13), Ok((12, whole["red lamp\n".len()..].into(), shown(0, 12))));
    let (tokens, text, cut) = made(8).unwrap();
    assert!(tokens <= 8 && cut.history == 0 && cut.description < 12, "{tokens} {cut:?}");
    assert!(text.starts_with("A a b") && text.contains("\nB <"), "{text}");
    assert_eq!(made(2), Ok((2, "A \nB \n".into(), shown(0, 0))));
    let refused = FaultKind::PromptTooLong { tokens: 2, tokens_max: 1 };
    assert_eq!(made(1), Err(refused));
}

/// Of four items at 5, 10, 20 and 50, asked for in one wording: what is asked, by the user.
fn asked_in(wording: Wording, scheme: Scheme) -> Vec<(Control, bool)> {
    let prices: [&[u32]; 4] = [&[0], &[1], &[1], &[2]];
    let numbers = [5.0, 10.0, 20.0, 50.0];
    let items = catalogue(vec![attribute("price", &["low", "middle", "high"], &prices, &numbers)]);
    let template = "{% for item in candidates %}{{ item.label }}{% endfor %}\
        {% for c in controls %} {{ c.relation }}{% for l in c.labels %} {{ l }}{% endfor %}{% endfor %}";
    let mut kept = Vec::new();
    for user in 0..40 {
        let examples = Examples {
            catalogue: items.clone(),
            prompter: prompter_of(items.clone(), template, 100),
            settings: ExampleSettings {
                windows: 1,
                schemes: vec![scheme],
                wordings: vec![wording],
                questions: 1,
                controls_max: 1,
                control_scores: true,
                seed: 3,
            },
        };
        let query = Query { user: Key::Int(user), targets: vec![1], ..Query::default() };
        let items = vec![0, 1, 3];
        let row = Candidates { query, items, scores: vec![3.0, 2.0, 1.0], ..Default::default() };
        let control = examples.controls(&row.items, Some(1), user as u64).remove(0);
        let met = met(&examples.catalogue, &control, 1);
        let made = examples.examples(&row).unwrap().remove(0);
        assert_eq!(made.relevance.len(), 3);
        kept.push((control, met));
    }
    kept
}

#[test]
fn examples_ask_in_the_wordings_that_the_job_names() {
    for scheme in [Scheme::Sampled, Scheme::Oracle] {
        for wording in
            [Wording::Is, Wording::Either, Wording::Not, Wording::AtMost, Wording::AtLeast]
        {
            let asked = asked_in(wording, scheme);
            let relation = match (wording, scheme) {
                (Wording::Is | Wording::Either, _) | (Wording::Not, Scheme::Oracle) => Relation::Is,
                (Wording::Not, Scheme::Sampled) => Relation::Not,
                (Wording::AtMost, _) => Relation::AtMost,
                (Wording::AtLeast, _) => Relation::AtLeast,
            };
            let case = format!("{wording:?} {scheme:?}: {asked:?}");
            assert!(asked.iter().all(|(control, _)| control.relation == relation), "{case}");
            assert!(scheme == Scheme::Sampled || asked.iter().all(|(_, met)| *met), "{case}");
            let several = asked.iter().any(|(control, _)| control.codes.len() > 1);
            assert_eq!(several, wording == Wording::Either, "{case}");
            if scheme == Scheme::Oracle && wording == Wording::AtMost {
                assert!(asked.iter().all(|(control, _)| control.bound == 20.0), "{case}");
            }
        }
    }
}

pub const RERANKER: &str = r#"
kind = "train-reranker"
name = "reranker"
sequences = "run:prepare"
retriever = "run:retriever"

[base]
layers = 1
hidden = 8
heads = 2
shared_heads = 1
inner = 16

[prompt]
attributes = ["price", "category"]
history_max = 2
candidates = 5
text_chars_max = 20
tokens_max = 256

[examples]
users_max = 60

[train]
epochs_max = 2
checkpoint_steps = 1
"#;

/// The demo with a small decoder as one of its arms.
fn shop_with_a_decoder() -> Shop {
    let shop = Shop::demo();
    shop.write("reranker.toml", RERANKER);
    let arm = "\n[[arm]]\nname = \"token-control\"\nsteps = [{ method = \"token-control\", \
               reranker = \"run:reranker\", weight = 0.5, permutations = 2 }]\n";
    let job = std::fs::read_to_string(shop.path("demo.toml")).unwrap();
    shop.write("demo.toml", job + arm);
    shop
}

#[test]
fn a_decoder_among_the_arms_gives_the_same_bytes_whatever_the_workers() {
    let shop = shop_with_a_decoder();
    shop.run("demo.toml", &["--workers", "1", "--set", "run.root=one"]);
    shop.run("demo.toml", &["--workers", "3", "--set", "run.root=three"]);
    assert_same(&shop.objects("three"), &shop.objects("one"), "three workers");
    let report = shop.report(&shop.run_of("one", "demo"));
    assert!(report["costs"].to_string().contains("token-control"), "{report}");
    let plan = shop.run("demo.toml", &["--set", "run.root=one"]);
    assert!(plan.err.contains("up to date, skipped"), "{}", plan.err);
}

#[test]
fn explain_shows_the_prompt_and_its_tokens() {
    let shop = shop_with_a_decoder();
    shop.run("demo.toml", &[]);
    let run = shop.run_of("runs", "demo");
    let user = shop.lists(&run)[0].user.to_string();
    let said = shop.say(&["explain", &run, "--user", &user]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.out.contains("prompt of token-control: "), "{}", said.out);
    assert!(said.out.contains("| Best:"), "{}", said.out);
}

#[test]
fn a_new_decoder_has_no_state_before_training_to_compare_with() {
    let shop = shop_with_a_decoder();
    shop.change("demo.toml", &[("permutations = 2", "adapter = false")]);
    let said = shop.say(&["run", "demo.toml"]);
    assert_eq!(said.code, Some(2), "{}", said.err);
    assert!(said.err.contains("began with random weights"), "{}", said.err);
}

/// Some arms' figures at a point of a sweep, or of a run.
fn arm_figures(summary: &serde_json::Value, arm: &str) -> serde_json::Value {
    let arms = summary["arms"].as_array().unwrap();
    arms.iter().find(|found| found["arm"] == arm).unwrap()["metrics"].clone()
}

/// What an arm's models read.
fn cost(costs: &serde_json::Value, arm: &str) -> Cost {
    let arm = costs.as_array().unwrap().iter().find(|found| found["arm"] == arm).unwrap();
    let of = |name: &str| arm[name].as_u64().unwrap();
    Cost { prompts: of("prompts"), tokens: of("tokens") }
}

#[test]
fn what_an_arm_costs_is_what_its_prompts_hold() {
    let shop = shop_with_a_decoder();
    let sweep = "[sweep]\nk = [3, 40]\ncontrols = [1, 2]\n\n[output]";
    shop.change("demo.toml", &[("[output]", sweep), ("permutations = 2", "permutations = 1")]);
    let mut found = Vec::new();
    for (workers, tasks) in [(1, 1), (3, 2)] {
        let root = format!("run.root={}", shop.path(&format!("runs-{workers}")).display());
        let sets = vec![root, format!("output.epoch_tasks={tasks}")];
        let options = Options { sets, cluster: Cluster::local(workers) };
        let finished = run(&shop.path("demo.toml"), &options, &Silent).unwrap();
        let (Outcome::Reranked(opened), Kind::Rerank(spec)) =
            (&finished.brought.outcome, &finished.brought.job.kind)
        else {
            panic!("a rerank job");
        };
        let mut stages = rerank_stages(&finished.brought.job, spec, opened).unwrap();
        let mut expected = Cost::default();
        for task in opened.plan.tasks() {
            let queries = through(&mut stages.source.read, vec![task.clone()]);
            let candidates = through(&mut stages.source.retrieve, queries);
            for row in through(&mut stages.ask, candidates) {
                for (_, _, tokens) in stages.arms.prompts(&row) {
                    expected += Cost { prompts: 1, tokens: tokens.len() as u64 };
                }
            }
        }
        let report = shop.report(&shop.run_of(&format!("runs-{workers}"), "demo"));
        assert_eq!(cost(&report["costs"], "token-control"), expected);
        assert_eq!(cost(&report["costs"], "retrieval-order"), Cost::default());
        let points = report["sweep"]["points"].as_array().unwrap();
        let at = |point: &serde_json::Value| cost(&point["costs"], "token-control");
        let costs: Vec<Cost> = points.iter().map(at).collect();
        assert!(costs.iter().all(|cost| cost.prompts == expected.prompts));
        assert!(costs[0].tokens < costs[2].tokens, "five candidates instead of three");
        assert!(costs[2].tokens <= costs[3].tokens, "another wish");
        let page = std::fs::read_to_string(finished.page).unwrap();
        assert!(page.contains("<h2>Cost</h2>") && page.contains("<h2>Saturation</h2>"));
        let cosines = report["cosines"].as_array().unwrap();
        assert_eq!((cosines.len(), &cosines[0]["arm"]), (1, &"token-control".into()));
        let cosine = cosines[0]["cosine"].as_f64().unwrap();
        assert!((-1.0..=1.0).contains(&cosine));
        let told = format!("mean cosine of its control tokens {cosine:.4}");
        assert!(report["upstream"].to_string().contains(&told), "{}", report["upstream"]);
        let timings = finished.report.unwrap().timings.unwrap();
        assert!(timings.retrieval.unwrap() > 0.0);
        let time = timings.arms.iter().find(|time| time.arm == "token-control").unwrap();
        assert!(time.models.unwrap() > 0.0);
        found.push((expected, costs));
    }
    assert_eq!(found[0], found[1], "whatever the workers and epochs");
}

#[test]
fn with_a_decoder_the_dataflow_comes_to_what_a_for_loop_does() {
    let shop = shop_with_a_decoder();
    shop.change("demo.toml", &[("[output]", "[sweep]\nk = [3, 40]\n\n[output]")]);
    like_a_for_loop(&shop);
}

/// Rows through a stage.
fn through<S: Stage>(stage: &mut S, rows: Vec<S::In>) -> Vec<S::Out> {
    let mut out = Outcomes::new(S::NAME);
    stage.run(rows, &mut out);
    out.into_parts().0
}

/// How alike the control tokens are that a re-ranker learned with so much contrast.
fn learned_cosine(shop: &Shop, contrast: &str) -> f64 {
    let (set, name) = (format!("train.contrast={contrast}"), format!("name=apart-{contrast}"));
    shop.run("reranker.toml", &["--set", &set, "--set", &name]);
    let run = shop.run_of("runs", &format!("apart-{contrast}"));
    let read = |key: &str| std::fs::read_to_string(shop.path(&format!("{run}/{key}"))).unwrap();
    let manifest = read("manifest.json");
    assert_eq!(manifest.contains("\"contrast\""), contrast != "0", "without it, the same run");
    let commit: serde_json::Value = serde_json::from_str(&read("commits/000000.json")).unwrap();
    commit["payload"]["control_cosine"].as_f64().unwrap()
}

#[test]
fn contrast_is_an_option_of_a_training() {
    let shop = shop_with_a_decoder();
    // With a few steps of a usual rate nothing moves far.
    shop.change("reranker.toml", &[("[train]", "[optimizer]\nlearning_rate = 0.05\n\n[train]")]);
    let (without, with) = (learned_cosine(&shop, "0"), learned_cosine(&shop, "1000"));
    assert!(with < without.max(0.1), "{with} with contrast, {without} without");
    let said = shop.say(&["run", "reranker.toml", "--set", "train.contrast=-1"]);
    assert_eq!(said.code, Some(2), "{}", said.err);
    assert!(said.err.contains("train.contrast"), "{}", said.err);
}

#[test]
fn without_a_model_no_record_holds_a_cost() {
    let shop = Shop::swept();
    shop.run("demo.toml", &[]);
    for (path, bytes) in shop.objects("runs") {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!path.contains("/commits/") || !text.contains("costs"), "{path}");
    }
}

#[test]
fn the_weights_of_a_sweep_are_arms_written_by_hand() {
    let shop = shop_with_a_decoder();
    let sweep = "[sweep]\nk = [4, 40]\nweight = [0.0, 0.5, 1.0]\n\n[output]";
    shop.change("demo.toml", &[("[output]", sweep), ("k = [1, 5, 10, 20]", "k = [1, 5]")]);
    shop.run("demo.toml", &["--workers", "1"]);
    let report = shop.report(&shop.run_of("runs", "demo"));
    let points = report["sweep"]["points"].as_array().unwrap();
    assert_eq!(points.len(), 2);

    let by_hand = shop_with_a_decoder();
    by_hand.change("demo.toml", &[("k = [1, 5, 10, 20]", "k = [1, 5]")]);
    let job = std::fs::read_to_string(by_hand.path("demo.toml")).unwrap();
    let arm = |weight: &str| {
        format!(
            "\n[[arm]]\nname = \"hand {weight}\"\nsteps = [{{ method = \"token-control\", reranker \
             = \"run:reranker\", weight = {weight}, permutations = 2 }}]\n"
        )
    };
    by_hand.write("demo.toml", job + &arm("0.0") + &arm("1.0"));
    for point in points {
        let k = format!("retrieve.k={}", point["k"]);
        let name = format!("name=by-hand-{}", point["k"]);
        by_hand.run("demo.toml", &["--workers", "1", "--set", &k, "--set", &name]);
        let run = by_hand.run_of("runs", name.strip_prefix("name=").unwrap());
        let expected = &by_hand.report(&run)["summary"];
        for (swept, hand) in [("w=0", "hand 0.0"), ("w=0.5", "token-control"), ("w=1", "hand 1.0")]
        {
            // Each arm pays for itself, though the model was asked once for all three.
            let paid = cost(&by_hand.report(&run)["costs"], hand);
            assert_eq!(cost(&point["costs"], &format!("token-control {swept}")), paid);
            assert!(paid.tokens > 10 * paid.prompts && paid.prompts > 0);
            let found = arm_figures(&point["summary"], &format!("token-control {swept}"));
            let expected = arm_figures(expected, hand);
            let own = |metric: &str| ["unmet-control", "target-unmet"].contains(&metric);
            for (metric, value) in found.as_object().unwrap().iter().filter(|(m, _)| !own(m)) {
                assert_eq!(value, &expected[metric], "{k}, {swept}: {metric}");
            }
        }
    }
    let cp = |arm: &str| arm_figures(&points[1]["summary"], arm)["cp@1"]["mean"].clone();
    assert_eq!(cp("token-control w=0"), cp("retrieval-order"), "no weight, no change");
}
