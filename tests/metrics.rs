//! Is every figure what its formula says, however the rows were grouped?
//!
//! `by_hand`: one family a test, values written as arithmetic. `brute_force`: the formulas again in
//! plain f64 over random rows. `laws`: grouping, order, storage, the bootstrap, the slices.

mod brute_force;
mod by_hand;
mod laws;

use std::sync::Arc;
use steerage::metric::{
    Distance, Embeddings, Exposure, FairnessGroups, Judge, MetricPlan, Segment, Split, Summary,
    Tally, Threshold, summarise,
};
use steerage::types::{
    ArmList, Attribute, Candidates, Catalogue, Conflict, Control, ControlSource, ItemId, Key,
    Query, Ranked, Relation, Standing, mix64,
};

/// A categorical attribute from each item's label codes.
fn attribute(labels: usize, codes: &[&[u32]]) -> Attribute {
    let mut offsets = vec![0];
    codes.iter().for_each(|c| offsets.push(offsets.last().unwrap() + c.len() as u32));
    Attribute {
        name: "genre".into(),
        labels: (0..labels).map(|l| format!("label {l}")).collect(),
        offsets,
        codes: codes.concat(),
        numbers: Vec::new(),
    }
}

fn catalogue(popularity: Vec<u32>, attributes: Vec<Attribute>) -> Arc<Catalogue> {
    let keys = (0..popularity.len() as i64).map(Key::Int).collect();
    Arc::new(Catalogue { keys, popularity, attributes, ..Catalogue::default() })
}

/// A user whose candidates are `items`, with one list that leaves their order.
fn row(user: i64, items: &[ItemId], targets: &[ItemId]) -> Ranked {
    let query = Query {
        user: Key::Int(user),
        history: vec![0; 3],
        targets: targets.to_vec(),
        ..Query::default()
    };
    let scores = (0..items.len()).map(|i| -(i as f32)).collect();
    let met = vec![0; items.len()];
    let candidates = Candidates { query, items: items.to_vec(), scores, met, reach: None };
    let order = (0..items.len() as u32).collect();
    Ranked {
        candidates,
        arms: vec![ArmList { order, scores: vec![0.0; items.len()] }],
        ..Ranked::default()
    }
}

/// Gives a row `controls` controls, and each candidate the bits of those it meets.
fn with_controls(mut row: Ranked, source: ControlSource, controls: usize, met: &[u32]) -> Ranked {
    let control = Control { attribute: 0, relation: Relation::Is, codes: vec![0], bound: 0.0 };
    row.candidates.query.controls = vec![control; controls];
    row.candidates.query.source = source;
    row.candidates.met = met.to_vec();
    row
}

fn plan(cutoffs: &[usize]) -> MetricPlan {
    MetricPlan {
        cutoffs: cutoffs.to_vec(),
        arms: vec!["as retrieved".into()],
        replicates: 0,
        ..MetricPlan::default()
    }
}

fn measure(plan: &MetricPlan, catalogue: &Arc<Catalogue>, rows: &[Ranked]) -> Summary {
    let mut judge = Judge::new(plan, catalogue, None).unwrap();
    let (mut tally, mut exposure) = (Tally::default(), Exposure::default());
    judge.add(rows, &mut tally, &mut exposure);
    summarise(plan, &tally, &exposure, catalogue.len())
}

fn mean(summary: &Summary, name: &str) -> f64 {
    let metrics = &summary.arms[0].metrics;
    metrics.get(name).unwrap_or_else(|| panic!("no {name} among {:?}", metrics.keys())).mean
}

/// Equal but for the fixed point: half of 2⁻²⁰ for each user's value, a few times that for ratios.
#[track_caller]
fn assert_near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 4.0e-6, "expected {expected}, found {found}");
}

/// A sequence of draws below given bounds.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = mix64(self.0);
        (self.0 >> 20) as usize % bound
    }

    fn shuffle<T>(&mut self, values: &mut [T]) {
        for i in (1..values.len()).rev() {
            values.swap(i, self.below(i + 1));
        }
    }
}

const ITEMS: usize = 60;
const WIDTH: usize = 21;

/// A world of [`ITEMS`] items with everything that a plan can measure.
struct World {
    plan: MetricPlan,
    catalogue: Arc<Catalogue>,
    embeddings: Embeddings,
    rows: Vec<Ranked>,
}

impl World {
    fn judge(&self) -> Judge {
        Judge::new(&self.plan, &self.catalogue, Some(self.embeddings.clone())).unwrap()
    }

    fn sums(&self, rows: &[Ranked]) -> (Tally, Exposure) {
        let (mut tally, mut exposure) = (Tally::default(), Exposure::default());
        self.judge().add(rows, &mut tally, &mut exposure);
        (tally, exposure)
    }

    fn summary(&self) -> Summary {
        let (tally, exposure) = self.sums(&self.rows);
        summarise(&self.plan, &tally, &exposure, ITEMS)
    }
}

/// Random rows: lists empty, short and longer than the largest cutoff, none to three targets, none
/// to three controls of every source, items without labels and with three, unknown numbers.
fn world(seed: u64, users: usize) -> World {
    let mut dice = Dice(seed);
    let labels = 70; // two labels share a bit of the 64 that tell items apart
    let codes: Vec<Vec<u32>> = (0..ITEMS)
        .map(|_| {
            let mut codes: Vec<u32> =
                (0..dice.below(4)).map(|_| (dice.below(8) * 9) as u32).collect();
            codes.sort_unstable();
            codes.dedup();
            codes
        })
        .collect();
    let mut genre = attribute(labels, &codes.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let number = |_| if dice.below(6) == 0 { f32::NAN } else { dice.below(100) as f32 };
    genre.numbers = (0..ITEMS).map(number).collect();
    let popularity = (0..ITEMS).map(|_| dice.below(50) as u32).collect();
    let values: Vec<f32> = (0..ITEMS * WIDTH).map(|_| dice.below(21) as f32 - 10.0).collect();
    let rows = (0..users).map(|user| random_row(user, &mut dice)).collect();
    let plan = MetricPlan {
        cutoffs: vec![1, 3, 8],
        threshold: if dice.below(2) == 0 { Threshold::All } else { Threshold::AtLeast(2) },
        replicates: 37,
        seed,
        arms: vec!["one".into(), "two".into()],
        diversity_attribute: Some(0),
        distance: Some(if dice.below(2) == 0 {
            Distance::Embedding
        } else {
            Distance::Attribute(0)
        }),
        fairness: Some(FairnessGroups { attribute: 0, first: Split::Below(50.0) }),
        segments: vec![Segment { name: "age".into(), labels: vec!["young".into(), "old".into()] }],
        ..MetricPlan::default()
    };
    let embeddings = Embeddings { values: values.into(), width: WIDTH };
    World { plan, catalogue: catalogue(popularity, vec![genre]), embeddings, rows }
}

fn random_row(user: usize, dice: &mut Dice) -> Ranked {
    let mut items: Vec<ItemId> = (0..ITEMS as ItemId).collect();
    dice.shuffle(&mut items);
    let count = [0, 2, 5, 12, 30][dice.below(5)];
    let targets: Vec<ItemId> =
        (0..dice.below(4)).map(|_| items[dice.below(40)]).fold(Vec::new(), |mut kept, item| {
            if !kept.contains(&item) {
                kept.push(item);
            }
            kept
        });
    let controls = dice.below(4);
    let met: Vec<u32> = (0..count).map(|_| dice.below(1 << controls) as u32).collect();
    let source = [ControlSource::Job, ControlSource::Table, ControlSource::Oracle][dice.below(3)];
    let mut row =
        with_controls(row(user as i64, &items[..count], &targets), source, controls, &met);
    row.candidates.query.history = vec![0; dice.below(300)];
    row.candidates.query.segments = vec![dice.below(3) as u32]; // 2 is no label: in no part
    row.candidates.query.conflict = (dice.below(5) == 0).then_some(Conflict::Jointly);
    row.arms.push(row.arms[0].clone());
    for arm in &mut row.arms {
        dice.shuffle(&mut arm.order);
        arm.order.truncate(arm.order.len().saturating_sub(dice.below(4)));
        arm.scores.truncate(arm.order.len());
    }
    row
}
