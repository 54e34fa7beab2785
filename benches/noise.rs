//! What do wrong and missing attributes cost, and how much of it does inference give back?
//!
//! `cargo bench --bench noise [-- JOBS [ATTRIBUTE…]] [SET…]`, by default `jobs/demo department
//! brand`; a SET is `vars.NAME=VALUE` or `run.root=FOLDER`. It brings the folder's
//! `embeddings.toml` and `retriever.toml` up to date. Of an attribute then a share of the items has
//! no value (hidden), or another item's in place of one (flipped), or the hidden values are
//! inferred from the other attributes (as `[infer]` does with the catalogue as the teacher, with a
//! confidence of at least a half). Requests are made up over the true catalogue, and each asks for
//! something of the attribute. Filters, texts and vectors know the spoiled catalogue alone; lists
//! are judged by the true one.
//!
//! ```text
//! satisfaction@10 = #{j ≤ 10: item j meets all that the request means} / 10, mean over users
//! ```
//!
//! Beside it the paired difference to the same arm with the true catalogue, and half the width of
//! its 95 % interval by the normal approximation. The encoder has learned from the true catalogue.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use steerage::commands::label::Labelled;
use steerage::commands::{Options, Outcome, Watcher, bring_up};
use steerage::control::{Requests, all_met, fill_in, met_mask};
use steerage::device::cpu::top_k::every_score;
use steerage::error::Result;
use steerage::flow::Meters;
use steerage::flow::cluster::Cluster;
use steerage::model::encoder::Encoder;
use steerage::stage::judge::{Namer, Neighbours};
use steerage::stage::language::{Fusion, LanguageControl, Said, Speaker, order};
use steerage::stage::rerank::{HardFilter, hard_filter, retrieval_order};
use steerage::stage::retrieve::Encode;
use steerage::store::{RunDir, part};
use steerage::train::Progress;
use steerage::types::{
    ArmList, Attribute, Candidates, Catalogue, Category, Inferred, ItemId, Query, Request, mix64,
    unit_f64,
};

const K: usize = 100;
const DEPTH: usize = 10;
const USERS: usize = 1500;
const TRIES: u64 = 30;
const CONFIDENCE: f32 = 0.5;
const THREADS: usize = 2;
/// Hidden and flipped shares.
const SHARES: [(f64, f64); 6] =
    [(0.1, 0.0), (0.3, 0.0), (0.5, 0.0), (0.0, 0.1), (0.0, 0.3), (0.3, 0.1)];
const ARMS: [&str; 3] = ["retrieval-order", "hard-filter", "language-control"];

struct Silent;

impl Watcher for Silent {
    fn begin(&self, _: &RunDir, _: &Arc<Meters>) {}
    fn step(&self, _: &RunDir, _: &Progress) {}
    fn end(&self, _: &RunDir, _: bool, _: std::time::Duration) {}
}

/// What does not change with the attributes.
struct Setting {
    labelled: Labelled,
    encoder: Arc<Encoder>,
    base: Base,
}

/// The base recommender.
struct Base {
    encode: Encode,
    items: Vec<f32>,
    width: usize,
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let (sets, words): (Vec<_>, Vec<_>) = words.into_iter().partition(|word| word.contains('='));
    let folder = words.first().map_or("jobs/demo", String::as_str);
    let attributes: Vec<&str> = match words.get(1..) {
        Some(named) if !named.is_empty() => named.iter().map(String::as_str).collect(),
        _ => vec!["department", "brand"],
    };
    let setting = Setting::of(Path::new(folder), sets)?;
    for name in attributes {
        measure(&setting, name)?;
    }
    Ok(())
}

impl Setting {
    fn of(folder: &Path, sets: Vec<String>) -> Result<Setting> {
        let options = Options { sets, cluster: Cluster::local(THREADS) };
        let brought = bring_up(&folder.join("embeddings.toml"), &options, &Silent)?;
        let Outcome::Embedded(embeddings) = brought.outcome else { panic!("an embed job") };
        let brought = bring_up(&folder.join("retriever.toml"), &options, &Silent)?;
        let Outcome::Trained(trained) = brought.outcome else { panic!("a train-retriever job") };
        let items = trained.item_embeddings().to_vec();
        let base = Base { encode: trained.encode(), items, width: trained.width() };
        let encoder = Arc::new(embeddings.encoder.encoder()?);
        Ok(Setting { labelled: embeddings.encoder.labelled, encoder, base })
    }

    /// Users with their candidates and a request about the attribute.
    fn rows(&self, requests: &Requests, at: usize) -> Result<Vec<Candidates>> {
        let prepared = &self.labelled.prepared;
        let mut rows = Vec::new();
        for shard in prepared.sequences.iter() {
            let bytes = prepared.run.get_part(shard)?;
            for user in part::sequences::decode(&shard.key, bytes)? {
                let history = user.items[..(user.train + user.valid) as usize].to_vec();
                let draw = user.user.hash64();
                let Some(request) = asked(requests, draw, &history, at) else { continue };
                let (items, scores) = self.base.best(&history)?;
                let controls = request.meaning.clone();
                let request = Some(Box::new(request));
                let query =
                    Query { user: user.user, history, controls, request, ..Query::default() };
                rows.push(Candidates { query, items, scores, ..Candidates::default() });
                if rows.len() == USERS {
                    return Ok(rows);
                }
            }
        }
        Ok(rows)
    }

    /// The items as an encoder sees them that knows this catalogue.
    fn speaker(&self, catalogue: &Arc<Catalogue>) -> Result<Arc<Speaker>> {
        let texts = self.labelled.texts(catalogue)?;
        let items: Vec<String> = (0..catalogue.len() as ItemId).map(|i| texts.item(i)).collect();
        let encoder = Arc::clone(&self.encoder);
        Ok(Arc::new(Speaker {
            number: 0,
            items: encoder.items(&items, THREADS)?,
            width: encoder.width(),
            hear: Arc::new(move |requests| encoder.requests(requests, THREADS)),
            describe: Arc::new(move |history| texts.context(history)),
            meter: Arc::default(),
        }))
    }

    /// Each user's satisfaction with the list of each arm.
    fn satisfaction(
        &self,
        catalogue: &Arc<Catalogue>,
        rows: &[Candidates],
    ) -> Result<Vec<[f64; 3]>> {
        let (speaker, mut said) = (self.speaker(catalogue)?, Said::default());
        speaker.listen(rows.iter().map(|row| &row.query), &mut said)?;
        let step = LanguageControl { speaker, weight: 0.5, fusion: Fusion::Ranks };
        let truth = &self.labelled.catalogue;
        let one = |row: &Candidates| {
            let met = |item: &ItemId| met_mask(catalogue, &row.query.controls, *item);
            let known = Candidates { met: row.items.iter().map(met).collect(), ..row.clone() };
            let plain = retrieval_order(&known);
            let filtered = hard_filter(HardFilter::First, &known, plain.clone());
            let spoken = step.apply(&known, plain.clone(), &said);
            [plain, filtered, spoken].map(|list| satisfied(truth, row, &list))
        };
        Ok(rows.iter().map(one).collect())
    }
}

impl Base {
    /// The best items that are not of the history, and their scores.
    fn best(&self, history: &[ItemId]) -> Result<(Vec<ItemId>, Vec<f32>)> {
        let user = (self.encode)(&[history])?;
        let mut scores = vec![0.0; self.items.len() / self.width];
        every_score(&user, &self.items, self.width, &mut scores);
        let seen: HashSet<ItemId> = history.iter().copied().collect();
        let all: Vec<f64> = scores.iter().map(|score| f64::from(*score)).collect();
        let best = order(&all).into_iter().filter(|item| !seen.contains(item)).take(K);
        Ok(best.map(|item| (item, scores[item as usize])).unzip())
    }
}

/// A request that asks for something of the attribute.
fn asked(requests: &Requests, draw: u64, history: &[ItemId], at: usize) -> Option<Request> {
    let categories = [Category::Attribute, Category::Exclusion, Category::Composition];
    (0..TRIES).find_map(|nth| {
        let draw = mix64(draw ^ mix64(nth));
        let category = categories[(draw % categories.len() as u64) as usize];
        let request = requests.write(category, draw, history, false)?;
        let about = request.meaning.iter().any(|control| usize::from(control.attribute) == at);
        about.then_some(request)
    })
}

/// The share of a list's first places that hold what the request means.
fn satisfied(truth: &Catalogue, row: &Candidates, list: &ArmList) -> f64 {
    let first = list.order.iter().take(DEPTH).map(|at| row.items[*at as usize]);
    let good = first.filter(|item| all_met(truth, &row.query.controls, *item)).count();
    good as f64 / DEPTH as f64
}

/// An attribute of which some items have no value, and some another item's.
fn spoiled(attribute: &Attribute, hidden: f64, flipped: f64) -> Attribute {
    let items = attribute.offsets.len() as u64 - 1;
    let draw = |item: u64, of: u64| mix64(mix64(of ^ 0x6e6f_6973) ^ item);
    let (mut offsets, mut codes) = (vec![0], Vec::new());
    for item in 0..items {
        let own = attribute.codes(item as ItemId);
        let fate = unit_f64(draw(item, 1));
        if fate >= hidden + flipped {
            codes.extend(own);
        } else if fate >= hidden && !own.is_empty() {
            let others = (2..50).flat_map(|of| {
                attribute.codes((draw(item, of) % items) as ItemId).first().copied()
            });
            let other = others.into_iter().find(|code| !own.contains(code));
            codes.extend(other.into_iter().chain(own[1..].iter().copied()));
        }
        offsets.push(codes.len() as u32);
    }
    Attribute { offsets, codes, ..attribute.clone() }
}

/// The catalogue with what can be inferred of an attribute where an item has none, and how many
/// values that are.
fn inferred(spoiled: &Arc<Catalogue>, at: usize) -> Result<(Catalogue, usize)> {
    let attribute = &spoiled.attributes[at];
    let items = 0..spoiled.len() as ItemId;
    let (known, unknown): (Vec<_>, Vec<_>) =
        items.partition(|item| !attribute.codes(*item).is_empty());
    let (guesses, _) = Neighbours::new(Arc::clone(spoiled), at, &known).name(&unknown)?;
    let guesses = unknown.iter().zip(guesses).filter_map(|(item, guess)| {
        let (code, confidence) = guess.ok()?;
        let label = attribute.labels[code as usize].clone();
        let attribute = attribute.name.clone();
        Some(Inferred { item: *item, attribute, label, confidence, known: false })
    });
    let filled = fill_in(spoiled, &guesses.collect::<Vec<_>>(), CONFIDENCE);
    Ok((filled.catalogue, filled.inferred.len()))
}

/// How many items with a value have one that is not true.
fn wrong(truth: &Attribute, other: &Attribute) -> usize {
    let items = 0..truth.offsets.len() as ItemId - 1;
    let lies = |item: &ItemId| other.codes(*item).iter().any(|c| !truth.codes(*item).contains(c));
    items.filter(lies).count()
}

fn measure(setting: &Setting, name: &str) -> Result<()> {
    let truth = Arc::clone(&setting.labelled.catalogue);
    let Some(at) = truth.attribute(name) else { panic!("no attribute {name:?}") };
    let requests = setting.labelled.requests(&truth)?;
    let rows = setting.rows(&requests, at)?;
    println!(
        "\n{name}: {} users of {} who ask for something of it, {} items, {K} candidates",
        rows.len(),
        setting.labelled.run.name(),
        truth.len()
    );
    println!("| {name} | without | wrong | {} |", ARMS.join(" | "));
    println!("|---|---|---|---|---|---|");
    let clean = setting.satisfaction(&truth, &rows)?;
    line("as it is", (&truth, &truth, at), (&clean, &clean));
    for (hidden, flipped) in SHARES {
        let mut catalogue = (*truth).clone();
        catalogue.attributes[at] = spoiled(&truth.attributes[at], hidden, flipped);
        let catalogue = Arc::new(catalogue);
        let share = |share: f64, what: &str| {
            (share > 0.0).then(|| format!("{:.0} % {what}", share * 100.0))
        };
        let parts: Vec<String> =
            [share(hidden, "hidden"), share(flipped, "flipped")].into_iter().flatten().collect();
        let told = parts.join(", ");
        let found = setting.satisfaction(&catalogue, &rows)?;
        line(&told, (&truth, &catalogue, at), (&clean, &found));
        if hidden > 0.0 {
            let (filled, count) = inferred(&catalogue, at)?;
            let filled = Arc::new(filled);
            let found = setting.satisfaction(&filled, &rows)?;
            let told = format!("{told}, {count} inferred");
            line(&told, (&truth, &filled, at), (&clean, &found));
        }
    }
    Ok(())
}

fn line(
    told: &str,
    (truth, catalogue, at): (&Catalogue, &Catalogue, usize),
    (clean, found): (&[[f64; 3]], &[[f64; 3]]),
) {
    let attribute = &catalogue.attributes[at];
    let items = 0..catalogue.len() as ItemId;
    let without = items.filter(|item| attribute.codes(*item).is_empty()).count();
    let wrong = wrong(&truth.attributes[at], attribute);
    print!("| {told} | {without} | {wrong} ");
    for arm in 0..ARMS.len() {
        let all: Vec<f64> = found.iter().map(|user| user[arm]).collect();
        let apart: Vec<f64> = found.iter().zip(clean).map(|(f, c)| f[arm] - c[arm]).collect();
        let (mean, _) = mean_and_margin(&all);
        let (less, margin) = mean_and_margin(&apart);
        match apart.iter().any(|apart| *apart != 0.0) {
            true => print!("| {mean:.3}, {less:+.3} ± {margin:.3} "),
            false => print!("| {mean:.3} "),
        }
    }
    println!("|");
}

/// The mean, and half the width of its 95 % interval.
fn mean_and_margin(values: &[f64]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, 1.96 * (squares / (n - 1.0).max(1.0) / n).sqrt())
}
