//! Requests, teachers and the `label` job.

mod far;
mod infer;
mod jobs;
pub mod near;
mod report;
mod requests;
pub mod server;
mod written;

use crate::support::{Shop, changed};
use std::sync::OnceLock;
use steerage::store::{RunDir, Store, part};
use steerage::types::{Catalogue, Judgement};

/// The small shop with its label job as `label.toml`.
fn demo() -> Shop {
    let shop = Shop::demo();
    let label = include_str!("../jobs/demo/label.toml");
    shop.write("label.toml", changed(label, &[("demo-label", "label")]));
    shop
}

/// The small shop's items.
fn catalogue() -> Catalogue {
    static MADE: OnceLock<Catalogue> = OnceLock::new();
    let made = || {
        let shop = Shop::demo();
        shop.run("prepare.toml", &[]);
        let run = open(&shop, "runs", "prepare");
        let commits = run.commits().unwrap();
        let part = commits.values().next_back().unwrap().parts[0].clone();
        part::catalogue::decode("items", run.get_part(&part).unwrap()).unwrap()
    };
    MADE.get_or_init(made).clone()
}

/// The only run of a job under a root.
fn open(shop: &Shop, root: &str, job: &str) -> RunDir {
    let store = Store::open(&shop.path(root)).unwrap();
    let name = shop.run_of(root, job);
    RunDir::open(&store, name.rsplit('/').next().unwrap()).unwrap()
}

/// All judgements of the label job's run, in the order of its parts.
pub fn judgements(shop: &Shop, root: &str) -> Vec<Judgement> {
    let run = open(shop, root, "label");
    let commits = run.commits().unwrap();
    let judged = commits.values().filter(|commit| commit.payload.get("inferred").is_none());
    let parts = judged.flat_map(|commit| &commit.parts);
    parts
        .flat_map(|part| part::judgements::decode(&part.key, run.get_part(part).unwrap()).unwrap())
        .collect()
}
