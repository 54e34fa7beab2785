//! Do jobs that name a device make the lists that they make on the processor, and train there what
//! they train here? The device is emulated, and a process's own: the jobs run in this one.

use super::{Device, Order};
use crate::encoders::shop as shop_with_an_encoder;
use crate::label::judgements;
use crate::label::near::asking as asking_a_decoder;
use crate::rerankers::RERANKER;
use crate::support::Shop;
use crate::workers::Silent;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use steerage::commands::{Options, run};
use steerage::device::cuda::{Driver, Launch, Memory, Product, View};
use steerage::error::Result;
use steerage::flow::cluster::Cluster;
use steerage::store::part::lists::ListRow;
use steerage::testing::stand_in;

/// A device that notes what has run on it.
pub struct Noting {
    device: Device,
    ran: Mutex<BTreeSet<&'static str>>,
}

impl Driver for Noting {
    fn take(&self, bytes: usize) -> Result<Arc<dyn Memory>> {
        self.device.take(bytes)
    }
    fn upload(&self, from: &[u8], to: &View) -> Result<()> {
        self.device.upload(from, to)
    }
    fn download(&self, from: &View, to: &mut [u8]) -> Result<()> {
        self.device.download(from, to)
    }
    fn launch(&self, launch: &Launch) -> Result<()> {
        self.ran.lock().unwrap().insert(launch.kernel().name);
        self.device.launch(launch)
    }
    fn product(&self, product: &Product) -> Result<()> {
        self.device.product(product)
    }
    fn has_fp8(&self) -> bool {
        self.device.has_fp8()
    }
    fn has_group_products(&self) -> bool {
        self.device.has_group_products()
    }
    fn synchronize(&self) -> Result<()> {
        self.device.synchronize()
    }
}

/// Small, since it is emulated: a retriever, a decoder and an encoder, and an arm of each.
pub fn shop() -> Shop {
    let shop = shop_with_an_encoder();
    shop.change("prepare.toml", &[("users = 300", "users = 60"), ("items = 200", "items = 100")]);
    shop.write("reranker.toml", RERANKER);
    let arms = "[[arm]]\nname = \"token-control\"\nsteps = [{ method = \"token-control\", \
                reranker = \"run:reranker\", weight = 0.5 }]\n\n[metrics]";
    shop.change("demo.toml", &[("[metrics]", arms)]);
    shop
}

/// Makes a job, and what it reads from, under a root.
fn make(shop: &Shop, job: &str, root: &str, sets: &[&str]) -> String {
    make_by(2, shop, job, root, sets)
}

/// The same, by so many workers.
pub fn make_by(workers: usize, shop: &Shop, job: &str, root: &str, sets: &[&str]) -> String {
    let root_set = format!("run.root={}", shop.path(root).display());
    let sets = [root_set].into_iter().chain(sets.iter().map(|set| (*set).to_owned()));
    let options = Options { sets: sets.collect(), cluster: Cluster::local(workers) };
    let finished = run(&shop.path(&format!("{job}.toml")), &options, &Silent).unwrap();
    let run = finished.page.parent().unwrap().file_name().unwrap().to_str().unwrap();
    format!("{root}/{run}")
}

/// A device of this number, and the setting that names it. No machine has so many.
fn on_device(number: u16) -> Option<(Arc<Noting>, String)> {
    let device = Device::open(Order::ALL[0], None)?;
    let noting = Arc::new(Noting::of(device));
    stand_in(number, noting.clone());
    Some((noting, format!("device=\"cuda:{number}\"")))
}

impl Noting {
    pub fn of(device: Device) -> Self {
        Self { device, ran: Mutex::default() }
    }

    /// Whether a kernel has run since the last time that somebody asked for any.
    pub fn ran(&self, kernel: &str) -> bool {
        self.ran.lock().unwrap().contains(kernel)
    }

    /// That all of these have run since the last time that somebody asked.
    fn has_run(&self, kernels: &[&str]) {
        let ran = std::mem::take(&mut *self.ran.lock().unwrap());
        let missing: Vec<&&str> = kernels.iter().filter(|name| !ran.contains(**name)).collect();
        assert!(missing.is_empty(), "{missing:?} have not run: {ran:?}");
    }
}

fn by_user_and_arm(lists: Vec<ListRow>) -> BTreeMap<(String, String), ListRow> {
    let keyed = lists.into_iter().map(|row| ((row.user.to_string(), row.arm.to_string()), row));
    keyed.collect()
}

/// Places may change between neighbours whose scores are nearly the same.
#[test]
fn lists_are_those_of_the_processor() {
    let Some((noting, device)) = on_device(900) else { return };
    let shop = shop();
    let here = make(&shop, "demo", "runs", &[]);
    let there = make(&shop, "demo", "runs", &[&device]);
    noting.has_run(&["sequence_attention_64", "top_k_f32", "candidate_logits", "pool_mean"]);
    assert_ne!(here, there, "on another device it is another run");
    let again = make(&shop, "demo", "again", &[&device, "device_tokens_max=600"]);
    assert_eq!(shop.lists(&again), shop.lists(&there), "in other batches");
    assert!(shop.dead_letters(&there).len() == shop.dead_letters(&here).len());
    let [here, there] = [&here, &there].map(|run| by_user_and_arm(shop.lists(run)));
    assert!(here.len() > 100 && here.keys().eq(there.keys()));
    let (mut same, mut all, mut worst) = (0, 0, 0.0f32);
    for ((user, arm), here) in &here {
        let there = &there[&(user.clone(), arm.clone())];
        let ten = |row: &ListRow| row.items.iter().take(10).cloned().collect::<Vec<_>>();
        all += ten(here).len();
        same += ten(here).iter().filter(|item| ten(there).contains(item)).count();
        if arm != "retrieval-order" {
            continue; // models in bf16, and scores by ranks, which neighbours swap
        }
        for (place, item) in here.items.iter().enumerate() {
            let Some(other) = there.items.iter().position(|found| found == item) else { continue };
            let apart = (here.scores[place] - there.scores[other]).abs();
            let scale = here.scores.iter().fold(0.0f32, |most, score| most.max(score.abs()));
            worst = worst.max(apart / scale);
        }
    }
    let share = same as f64 / all as f64;
    println!("{share} of the first ten of {} lists, scores up to {worst} apart", here.len());
    assert!(share > 0.99 && worst < 1e-5, "{share} {worst}");
}

/// Many users' prompts together, and not one user's after the other.
#[test]
fn a_teacher_judges_as_on_the_processor() {
    let Some((noting, device)) = on_device(902) else { return };
    let shop = asking_a_decoder();
    make(&shop, "label", "runs", &[]);
    make(&shop, "label", "there", &[&format!("teacher.{device}")]);
    noting.has_run(&["lookup", "candidate_logits"]);
    let again = [&format!("teacher.{device}"), "teacher.device_tokens_max=256"];
    make_by(1, &shop, "label", "again", &again);
    let [here, there, again] = ["runs", "there", "again"].map(|root| judgements(&shop, root));
    assert_eq!(there, again, "in other batches");
    assert_eq!(here.len(), there.len());
    for (here, there) in here.iter().zip(&there) {
        assert_eq!((&here.user, &here.item), (&there.user, &there.item));
        assert!((here.score - there.score).abs() < 0.02, "{here:?} {there:?}");
    }
}

#[test]
fn all_that_is_trained_can_be_trained_on_a_device() {
    let Some((noting, device)) = on_device(901) else { return };
    let shop = shop();
    let job = format!("{}\n", device.replace('=', " = "));
    for (name, kind) in [
        ("retriever", "train-retriever"),
        ("reranker", "train-reranker"),
        ("encoder", "train-encoder"),
        ("embeddings", "embed"),
        ("demo", "rerank"),
    ] {
        let kind = format!("kind = \"{kind}\"\n");
        shop.change(&format!("{name}.toml"), &[(&kind, &(kind.clone() + &job))]);
    }
    make(&shop, "retriever", "runs", &[]);
    noting.has_run(&["dropped_keys_64", "cross_entropy", "lookup_backward_f32", "adam_w"]);
    make(&shop, "reranker", "runs", &[]);
    noting.has_run(&["candidates_backward", "gated_backward", "rms_norm_backward", "adam_w"]);
    make(&shop, "encoder", "runs", &[]);
    noting.has_run(&["lora_gelu_backward", "pool_mean_backward", "adam_w"]);
    let run = make(&shop, "demo", "runs", &[]);
    noting.has_run(&["sequence_attention_64", "top_k_f32", "candidate_logits", "pool_mean"]);
    let arms: Vec<String> = shop.report(&run)["summary"]["arms"]
        .as_array()
        .unwrap()
        .iter()
        .map(|arm| arm["arm"].as_str().unwrap().to_owned())
        .collect();
    assert!(arms.contains(&"token-control".into()) && arms.contains(&"language-control".into()));
    let plan = shop.say(&["plan", "demo.toml"]).out;
    for what in ["the retriever", "the decoder", "the encoder", "models and items"] {
        let line = plan.lines().find(|line| line.contains(&format!(" MiB for {what}, ")));
        assert!(line.is_some_and(|line| line.contains("cuda:901")), "{what}: {plan}");
    }
}
