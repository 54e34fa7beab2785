//! Requests, teachers and the `label` job.

mod requests;

use crate::support::Shop;
use std::sync::OnceLock;
use steerage::store::{RunDir, Store, part};
use steerage::types::Catalogue;

/// The small shop's items.
fn catalogue() -> Catalogue {
    static MADE: OnceLock<Catalogue> = OnceLock::new();
    let made = || {
        let shop = Shop::demo();
        shop.run("prepare.toml", &[]);
        let store = Store::open(&shop.path("runs")).unwrap();
        let name = shop.run_of("runs", "prepare").replace("runs/", "");
        let run = RunDir::open(&store, &name).unwrap();
        let commits = run.commits().unwrap();
        let part = commits.values().next_back().unwrap().parts[0].clone();
        part::catalogue::decode("items", run.get_part(&part).unwrap()).unwrap()
    };
    MADE.get_or_init(made).clone()
}
