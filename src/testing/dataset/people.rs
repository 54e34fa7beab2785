//! A person: what they like, and what they buy one after the other.

use super::draws::Draws;
use super::items::Shelves;
use super::words::{AGE_GROUPS, BRANDS, DEPARTMENTS, SEGMENTS};
use super::{DatasetSettings, DemoUser};

/// 1 September 2025, and the ninety days of the shop's log that follow, in seconds.
const OPENING: i64 = 1_756_684_800;
const PERIOD: f64 = 90.0 * 86_400.0;

/// The probabilities that the next purchase follows from the last one, or the one before it.
const FROM_LAST: f64 = 0.5;
const FROM_BEFORE: f64 = 0.1;

/// How often somebody who asked for something buys it, among their last purchases.
const TRUE_TO_WISH: f64 = 0.6;
pub(super) const WISHED_LAST: usize = 3;

/// A person with their taste.
pub(super) struct Person {
    pub(super) user: i64,
    pub(super) seed: u64,
    segment: usize,
    age_group: usize,
    /// The running sums of how much each department is liked.
    departments: Vec<f64>,
    pub(super) brands: [usize; 3],
    price_level: f64,
    /// What they are after in the end, if they ask for something.
    pub(super) wish: Option<Wish>,
}

/// What somebody is after.
#[derive(Clone, Copy)]
pub(super) struct Wish {
    pub(super) department: usize,
    /// Only brands they like.
    pub(super) brand: bool,
}

/// One purchase.
pub(super) struct Purchase {
    pub(super) item: usize,
    pub(super) time: i64,
    pub(super) rating: f32,
}

impl Person {
    pub(super) fn new(settings: &DatasetSettings, shelves: &Shelves, user: u32) -> Person {
        let mut draws = Draws::new(settings.seed, "person", u64::from(user));
        let (segment, age_group) = (draws.below(SEGMENTS.len()), draws.below(AGE_GROUPS.len()));
        // The age group's order of departments, a little shuffled: the first is liked most.
        let (shift, mut sum) = (AGE_GROUPS[age_group].1 + draws.below(3), 0.0);
        let mut liking = |department: usize| {
            let place = (department + DEPARTMENTS.len() - shift % DEPARTMENTS.len()) % 8;
            sum += 0.5f64.powi(place as i32) + 0.02;
            sum
        };
        let departments = (0..shelves.departments.len()).map(&mut liking).collect();
        let brands = [0; 3].map(|_| draws.below(BRANDS.len()));
        let price_level = SEGMENTS[segment].1 + 0.3 * draws.normal();
        let mut person = Person {
            user: 10_001 + i64::from(user),
            seed: settings.seed,
            segment,
            age_group,
            departments,
            brands,
            price_level,
            wish: None,
        };
        if draws.chance(settings.asking_share) {
            let department = draws.weighted(&person.departments);
            person.wish = Some(Wish { department, brand: draws.chance(0.4) });
        }
        person
    }

    pub(super) fn row(&self) -> DemoUser {
        DemoUser {
            user: self.user,
            segment: SEGMENTS[self.segment].0.to_owned(),
            age_group: AGE_GROUPS[self.age_group].0.to_owned(),
        }
    }

    /// What they buy, oldest first and nothing twice.
    pub(super) fn shop(&self, shelves: &Shelves, mean: u32) -> Vec<Purchase> {
        let mut draws = Draws::new(self.seed, "shop", self.user as u64);
        // Skewed as real histories are: half the mean for all, and on average as much again.
        let half = f64::from(mean) / 2.0;
        let count = (half + half * -(1.0 - draws.unit()).ln()).min(f64::from(mean) * 6.0) as usize;
        let count = count.clamp(4, shelves.items.len() / 4);
        let mut times: Vec<i64> =
            (0..count).map(|_| OPENING + (PERIOD * draws.unit()) as i64).collect();
        times.sort_unstable();
        let mut bought: Vec<Purchase> = Vec::with_capacity(count);
        for (nth, time) in times.into_iter().enumerate() {
            let wish = self.wish.filter(|_| nth + WISHED_LAST >= count);
            // Taken already: another try, and rather nothing than the same again.
            let fresh = (0..12)
                .map(|_| self.choose(shelves, &bought, wish, &mut draws))
                .find(|&item| bought.iter().all(|purchase| purchase.item != item));
            let Some(item) = fresh else { continue };
            let liking = self.liking(shelves, item);
            let rating = (3.0 + 1.5 * liking + 0.7 * draws.normal()).round().clamp(1.0, 5.0) as f32;
            bought.push(Purchase { item, time, rating });
        }
        bought
    }

    fn choose(
        &self,
        shelves: &Shelves,
        bought: &[Purchase],
        wish: Option<Wish>,
        draws: &mut Draws,
    ) -> usize {
        if let Some(wish) = wish
            && draws.chance(TRUE_TO_WISH)
        {
            return self.by_taste(shelves, wish.department, wish.brand, draws);
        }
        let which = draws.unit();
        let back = if which < FROM_LAST { 1 } else { 2 };
        if which < FROM_LAST + FROM_BEFORE
            && let Some(from) = bought.len().checked_sub(back)
        {
            let next = &shelves.traits[bought[from].item].next;
            // The first successor half of the time, the second a quarter, …
            let nth = (0..next.len() - 1).find(|_| draws.chance(0.5)).unwrap_or(next.len() - 1);
            return next[nth];
        }
        let department = draws.weighted(&self.departments);
        self.by_taste(shelves, department, false, draws)
    }

    /// The best liked of a few that sell well; with `brand`, a brand they like if there is one.
    fn by_taste(
        &self,
        shelves: &Shelves,
        department: usize,
        brand: bool,
        draws: &mut Draws,
    ) -> usize {
        let (items, sums) = &shelves.departments[department];
        let tries = if brand { 24 } else { 4 };
        let tried: Vec<usize> = (0..tries).map(|_| items[draws.weighted(sums)]).collect();
        let value = |&item: &usize| {
            let mine = brand && self.brands.contains(&shelves.traits[item].brand);
            self.liking(shelves, item) + if mine { 10.0 } else { 0.0 }
        };
        tried.into_iter().max_by(|a, b| value(a).total_cmp(&value(b))).unwrap_or(items[0])
    }

    /// How well an item's brand and price suit them: about −1 to 1.
    fn liking(&self, shelves: &Shelves, item: usize) -> f64 {
        let traits = &shelves.traits[item];
        let brand = if self.brands.contains(&traits.brand) { 0.6 } else { -0.2 };
        brand + 0.5 - 0.5 * (traits.price_level - self.price_level).abs()
    }
}
