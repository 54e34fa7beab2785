//! A decoder as a guide: what is kept between visits, how many workers there are and how the order
//! is read change no byte that they should not.

use super::{facts, graph, is_a_ranking, models, row, walked};
use crate::cuda::{Device, Order};
use crate::support::{Shop, assert_same};
use std::collections::BTreeSet;
use std::sync::Arc;
use steerage::model::adapter::{Adapter, AdapterConfig};
use steerage::model::decoder::{DecoderFiles, Projection, SharedDriver};
use steerage::model::generate::Sampling;
use steerage::model::tokenizer::Tokenizer;
use steerage::model::words;
use steerage::stage::node_graph::{Near, NearSettings};
use steerage::stage::texts::Texts;
use steerage::types::{Candidates, Walk, mix64, unit_f64};

const WORDS: &str = "The person Candidates with score of a first ranking No lists so far Lists the \
    latest last goal for list accuracy diversity fairness novelty backward stop Now rank all again \
    in mind Keep Then say what to look at next label best candidate then and on";

/// A shop whose arms are guided by a small decoder of random weights: its order from logits and
/// from labels that it writes, the way by rules, and the other way round.
fn shop() -> Shop {
    let shop = Shop::demo();
    let json = words::tokenizer([WORDS].into_iter(), std::iter::empty(), 400, 8).unwrap();
    let config = shop.write_decoder("guide", &json, 2048);
    let lora = AdapterConfig {
        rank: 2,
        alpha: 8.0,
        rslora: false,
        targets: vec![Projection::Query, Projection::Down],
        tokens: Vec::new(),
        base: None,
    };
    let draw = |i: usize| unit_f64(mix64(i as u64)) as f32 - 0.5;
    for (name, bytes) in Adapter::new(lora, &config, draw).to_files().unwrap() {
        shop.write(&format!("adapter/{name}"), bytes);
    }
    let folder = shop.path("guide").display().to_string();
    let guide = |name: &str, more: &str| {
        format!(
            "[[guide]]\nname = \"{name}\"\nwindow = 6\nstride = 3\n\n[guide.decoder]\npath = {folder:?}\n{more}\n"
        )
    };
    let arm = |name: &str, ranker: &str, navigator: &str| {
        format!(
            "[[arm]]\nname = \"{name}\"\nsteps = [{{ method = \"node-graph\", goal = \"diversity, \
             then accuracy\", candidates = 9, hops_max = 4, model_share = 0.3, ranker = {ranker:?}, \
             navigator = {navigator:?} }}]\n"
        )
    };
    let text = [
        arm("logits", "logits", "rules"),
        arm("written", "written", "written"),
        arm("led", "rules", "logits"),
        arm("adapted", "adapted", "rules"),
        guide("logits", ""),
        guide("adapted", &format!("adapter = {:?}", shop.path("adapter").display().to_string())),
        guide("written", "ranking = \"written\"\ntemperature = 2.0\nseed = 4"),
        "[metrics]".into(),
    ];
    shop.change("demo.toml", &[("[metrics]", &text.concat())]);
    shop
}

#[test]
fn a_decoder_guides_alike_however_it_is_asked() {
    let shop = shop();
    shop.run("demo.toml", &["--workers", "1"]);
    shop.run("demo.toml", &["--workers", "3", "--set", "run.root=three"]);
    assert_same(&shop.objects("three"), &shop.objects("runs"), "3 workers");
    let run = shop.run_of("runs", "demo");
    let report = shop.report(&run);
    for (at, title) in
        [(1, "Ways of logits"), (2, "Ways of written"), (3, "Ways of led"), (4, "Ways of adapted")]
    {
        let sheet = &report["sheets"][at];
        assert_eq!(sheet["title"], title);
        assert!(
            !sheet["note"].to_string().contains("format"),
            "no reply can be malformed: {sheet}"
        );
    }
    let lists = shop.lists(&run);
    let of = |arm: &str| -> Vec<Vec<String>> {
        let rows = lists.iter().filter(|row| row.arm == arm);
        rows.map(|row| row.items[..9].iter().map(|key| key.to_string()).collect()).collect()
    };
    let before = of("retrieval-order");
    for arm in ["logits", "written", "adapted"] {
        let after = of(arm);
        let moved = before.iter().zip(&after).filter(|(a, b)| a != b).count();
        assert!(moved > 50, "{arm}: {moved}");
        for (before, after) in before.iter().zip(&after) {
            let set = |items: &[String]| items.iter().cloned().collect::<BTreeSet<String>>();
            assert_eq!(set(before), set(after), "{arm}");
        }
    }
    assert_ne!(of("logits"), of("written"));
    assert_ne!(of("logits"), of("adapted"));
}

#[test]
fn memory_changes_no_list() {
    let shop = shop();
    shop.run("demo.toml", &["--workers", "2"]);
    let expected = shop.objects("runs");
    shop.change("demo.toml", &[("[guide.decoder]\n", "[guide.decoder]\nkept_mib = 0\n")]);
    shop.run("demo.toml", &["--workers", "2", "--set", "run.root=none"]);
    assert_same(&shop.objects("none"), &expected, "nothing is kept");
}

#[test]
fn a_prompt_that_is_too_long_keeps_the_list_and_is_told() {
    let shop = shop();
    shop.change("demo.toml", &[("[guide.decoder]\n", "[guide.decoder]\ntokens_max = 60\n")]);
    shop.run("demo.toml", &[]);
    let letters = shop.dead_letters(&shop.run_of("runs", "demo"));
    let long = letters.iter().filter(|letter| letter.kind == "prompt-too-long").count();
    assert!(long > 50, "{long}");
}

/// Ways that a decoder on a device has led, and how many tokens it did not read again.
fn led(shop: &Shop, written: bool, [tokens_max, kept]: [usize; 2]) -> Option<(Vec<Walk>, u64)> {
    let device = Arc::new(Device::open(Order::ALL[0], None)?) as SharedDriver;
    let settings = NearSettings {
        window: 6,
        stride: 3,
        tokens_max: 512,
        written,
        sampling: Sampling::Greedy,
        kept_bytes_max: kept,
    };
    let texts = Texts {
        catalogue: facts().catalogue,
        attributes: vec![0],
        history_max: 3,
        description_chars_max: 0,
    };
    let folder = shop.path("guide");
    let files = DecoderFiles::open(&folder).unwrap();
    let tokenizer = Tokenizer::open(&folder).unwrap();
    let device = Some((device, tokens_max));
    let near = Near::new(settings, (&files, None), device, tokenizer, None, Arc::new(texts));
    let near = Arc::new(near.unwrap());
    let meter = Arc::clone(&near.meter);
    let rows: Vec<Candidates> = (0..3).map(|user| row(user, 9)).collect();
    let walks = walked(graph("diversity", 3, models(near, 1.0, false)), &rows);
    walks.iter().zip(&rows).for_each(|(walk, row)| is_a_ranking(walk, row));
    Some((walks, meter.reused()))
}

#[test]
fn a_device_guides_alike_whatever_it_keeps() {
    let shop = Shop::empty();
    let json = words::tokenizer([WORDS].into_iter(), std::iter::empty(), 400, 8).unwrap();
    shop.write_decoder("guide", &json, 2048);
    for written in [false, true] {
        let Some((walks, reused)) = led(&shop, written, [4096, 1 << 20]) else { return };
        assert!(reused > 0 && walks.iter().all(|walk| walk.by_models));
        let (narrow, less) = led(&shop, written, [640, 110_000]).unwrap();
        assert_eq!((&narrow, less < reused), (&walks, true), "{less} of {reused}");
        let (bare, none) = led(&shop, written, [640, 0]).unwrap();
        assert_eq!((&bare, none), (&walks, 0));
    }
}
