//! The demo's data: a made-up shop, its people and what they bought, as a pure function of a seed.
//!
//! What there is to learn is known. Taste: a person has preferred departments, brands and a price
//! level, which follow from their segment and age. Sequence: about half of all purchases are one
//! of a few successors of the last one (the next of its series, or an accessory of it). Wishes:
//! who asks for something mostly buys accordingly in the end. So a sequence model must beat
//! popularity, and a control must be worth following.

mod asked;
mod draws;
mod items;
mod people;
#[cfg(test)]
mod tests;
mod words;

use crate::error::{Error, Result};
use crate::types::Asked;
use draws::Draws;
use items::Shelves;
use people::Person;

/// What to make, and how much of it.
#[derive(Clone, Debug, PartialEq)]
pub struct DatasetSettings {
    /// The same seed and settings give the same data.
    pub seed: u64,
    /// How many users.
    pub users: u32,
    /// How many items; at least 100.
    pub items: u32,
    /// Mean interactions of a user; at least 8.
    pub interactions_mean: u32,
    /// Into how many shards the interactions are split, by time; at least 1.
    pub shards: u32,
    /// The share of users who ask for something, in [0, 1].
    pub asking_share: f64,
    /// How many rows are broken on purpose: no item, or one that the item table lacks.
    pub bad_rows: u32,
}

impl Default for DatasetSettings {
    fn default() -> Self {
        DatasetSettings {
            seed: 1,
            users: 4_000,
            items: 2_000,
            interactions_mean: 25,
            shards: 8,
            asking_share: 0.7,
            bad_rows: 12,
        }
    }
}

impl DatasetSettings {
    fn check(&self) -> Result<()> {
        let least = [
            ("items", self.items, 100),
            ("interactions_mean", self.interactions_mean, 8),
            ("shards", self.shards, 1),
        ];
        match least.into_iter().find(|(_, found, min)| found < min) {
            None => Ok(()),
            Some((name, found, min)) => Err(Error::Input(format!(
                "demo data: expected {name} of at least {min}, found {found}"
            ))),
        }
    }
}

/// A row of the item table.
#[derive(Clone, Debug, PartialEq)]
pub struct DemoItem {
    /// Its key: `B0001`, …
    pub item: String,
    /// What the shop calls it.
    pub title: String,
    /// Who makes it; unknown for some.
    pub brand: Option<String>,
    /// The upper level of its category: `Kitchen`.
    pub department: String,
    /// The lower level of its category: `Kettles`.
    pub category: String,
    /// In units of money, to the cent; unknown for some.
    pub price: Option<f32>,
    /// Its place by sales in its department, from 1.
    pub sales_rank: u32,
    /// When it came out.
    pub year: i32,
}

/// A row of the user table.
#[derive(Clone, Debug, PartialEq)]
pub struct DemoUser {
    /// The user's key.
    pub user: i64,
    /// `thrifty`, `balanced` or `premium`: how much they pay.
    pub segment: String,
    /// `18-29`, `30-49`, `50+`: what they like.
    pub age_group: String,
}

/// A row of an interaction shard.
#[derive(Clone, Debug, PartialEq)]
pub struct DemoInteraction {
    /// Who.
    pub user: i64,
    /// What; missing in some of the bad rows.
    pub item: Option<String>,
    /// When, in seconds since 1970.
    pub time: i64,
    /// How they liked it, 1 to 5.
    pub rating: f32,
}

/// A row of the table of controls.
#[derive(Clone, Debug, PartialEq)]
pub struct DemoAsked {
    /// Who asks.
    pub user: i64,
    /// When, in seconds since 1970; a standing wish has no time.
    pub time: Option<i64>,
    /// For what.
    pub asked: Asked,
}

/// Everything the demo needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// The item table.
    pub items: Vec<DemoItem>,
    /// The user table.
    pub users: Vec<DemoUser>,
    /// The interactions, by shard; (time, user) ascends through all of them.
    pub interactions: Vec<Vec<DemoInteraction>>,
    /// The per-user controls, by user.
    pub asked: Vec<DemoAsked>,
}

impl Dataset {
    /// Makes the data.
    ///
    /// Errors: fewer than 100 items, a mean below 8, or no shard.
    pub fn new(settings: &DatasetSettings) -> Result<Dataset> {
        settings.check()?;
        let shelves = Shelves::new(settings.seed, settings.items as usize);
        let (mut users, mut rows, mut wishes) = (Vec::new(), Vec::new(), Vec::new());
        for user in 0..settings.users {
            let person = Person::new(settings, &shelves, user);
            let bought = person.shop(&shelves, settings.interactions_mean);
            rows.extend(bought.iter().map(|purchase| DemoInteraction {
                user: person.user,
                item: Some(shelves.items[purchase.item].item.clone()),
                time: purchase.time,
                rating: purchase.rating,
            }));
            wishes.extend(asked::asked(&person, &shelves, &bought));
            users.push(person.row());
        }
        spoil(settings, &mut rows);
        rows.sort_by_key(|row| (row.time, row.user));
        let size = rows.len().div_ceil(settings.shards as usize).max(1);
        let interactions = rows.chunks(size).map(<[_]>::to_vec).collect();
        Ok(Dataset { items: shelves.items, users, interactions, asked: wishes })
    }
}

/// Adds copies of some rows without their item, or with one that nobody sells.
fn spoil(settings: &DatasetSettings, rows: &mut Vec<DemoInteraction>) {
    if rows.is_empty() {
        return;
    }
    let mut draws = Draws::new(settings.seed, "spoil", 0);
    for nth in 0..settings.bad_rows {
        let item = (nth % 2 == 1).then(|| format!("X{nth:04}"));
        let row = rows[draws.below(rows.len())].clone();
        rows.push(DemoInteraction { item, ..row });
    }
}
