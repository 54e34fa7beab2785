//! The shop: what is sold, how well, and what goes with what.

use super::DemoItem;
use super::draws::Draws;
use super::words::{BRANDS, DEPARTMENTS, LINES};

/// Volumes of one series: bought one after the other.
const SERIES: usize = 5;

/// The spread of prices around the usual one of a category, as a natural logarithm.
pub(super) const PRICE_SPREAD: f64 = 0.45;

/// What is sold, with what its buyers go by.
pub(super) struct Shelves {
    pub(super) items: Vec<DemoItem>,
    /// The rest of what is known of each item.
    pub(super) traits: Vec<Traits>,
    /// The items of each department, with the running sums of how well they sell.
    pub(super) departments: Vec<(Vec<usize>, Vec<f64>)>,
}

/// What the tables say in words, in numbers.
pub(super) struct Traits {
    pub(super) department: usize,
    pub(super) brand: usize,
    /// How far the price is from the usual one, in steps of the spread.
    pub(super) price_level: f64,
    /// What is bought after it: the rest of its series, then accessories.
    pub(super) next: Vec<usize>,
}

impl Shelves {
    pub(super) fn new(seed: u64, count: usize) -> Shelves {
        let mut shelves =
            Shelves { items: Vec::new(), traits: Vec::new(), departments: Vec::new() };
        let mut sales = Vec::with_capacity(count);
        for at in 0..count {
            let (item, traits, weight) = make(seed, at, count);
            shelves.items.push(item);
            shelves.traits.push(traits);
            sales.push(weight);
        }
        for department in 0..DEPARTMENTS.len() {
            let here = |at: &usize| shelves.traits[*at].department == department;
            let mut items: Vec<usize> = (0..count).filter(here).collect();
            items.sort_by(|&a, &b| sales[b].total_cmp(&sales[a]).then(a.cmp(&b)));
            for (rank, &at) in (1..).zip(&items) {
                shelves.items[at].sales_rank = rank;
            }
            let mut sum = 0.0;
            let mut add = |&at: &usize| {
                sum += sales[at];
                sum
            };
            let sums = items.iter().map(&mut add).collect();
            shelves.departments.push((items, sums));
        }
        shelves
    }
}

/// One item with its sales. Its series decides all that its volumes share: items `n`, `n + 1`, …
/// of one series have the same department, category, brand and line.
fn make(seed: u64, at: usize, count: usize) -> (DemoItem, Traits, f64) {
    let (series, volume) = (at / SERIES, at % SERIES);
    let mut shared = Draws::new(seed, "series", series as u64);
    let department = series % DEPARTMENTS.len();
    let (name, categories) = DEPARTMENTS[department];
    let (category, thing, usual) = categories[shared.below(categories.len())];
    let brand = shared.below(BRANDS.len());
    let line = LINES[shared.below(LINES.len())];
    let appeal = shared.unit();
    let level = shared.normal();
    let mut own = Draws::new(seed, "item", at as u64);
    let price_level = 0.9 * level + 0.3 * own.normal();
    let price = (usual * (PRICE_SPREAD * price_level).exp() * 100.0).round() / 100.0;
    let item = DemoItem {
        item: format!("B{at:05}"),
        title: format!("{} {line} {thing} No. {}", BRANDS[brand], volume + 1),
        brand: (!own.chance(0.02)).then(|| BRANDS[brand].to_owned()),
        department: name.to_owned(),
        category: category.to_owned(),
        price: (!own.chance(0.03)).then_some(price as f32),
        sales_rank: 0, // known when the department is full
        year: 2025 - (20.0 * own.unit() * own.unit()) as i32,
    };
    let next = successors(seed, series, volume, count);
    // A long tail: the best-selling series sells about thirty times as well as the worst.
    let weight = 1.0 / (0.03 + appeal) * (0.6 + 0.8 * own.unit());
    (item, Traits { department, brand, price_level, next }, weight)
}

/// The next two volumes of the series, and two volumes of the series that goes with it.
fn successors(seed: u64, series: usize, volume: usize, count: usize) -> Vec<usize> {
    let all = count.div_ceil(SERIES);
    let companion = Draws::new(seed, "companion", series as u64).below(all);
    let mut next = vec![
        series * SERIES + (volume + 1) % SERIES,
        series * SERIES + (volume + 2) % SERIES,
        companion * SERIES + volume,
        companion * SERIES + (volume + 1) % SERIES,
    ];
    next.retain(|&at| at < count);
    next
}
