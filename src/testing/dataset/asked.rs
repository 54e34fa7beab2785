//! What people ask for: mostly what they then buy, and now and then something impossible.

use super::DemoAsked;
use super::draws::Draws;
use super::items::Shelves;
use super::people::{Person, Purchase, WISHED_LAST};
use super::words::{BRANDS, DEPARTMENTS};
use crate::types::{Asked, Relation};

/// The rows of one person, oldest first; none of who has no wish.
pub(super) fn asked(person: &Person, shelves: &Shelves, bought: &[Purchase]) -> Vec<DemoAsked> {
    let (Some(wish), Some(last)) = (person.wish, bought.last()) else { return Vec::new() };
    let mut draws = Draws::new(person.seed, "asked", person.user as u64);
    let mut rows = Vec::new();
    let mut ask = |time: Option<i64>, attribute: &str, relation: Relation, value: String| {
        let asked = Asked { attribute: attribute.to_owned(), relation, value };
        rows.push(DemoAsked { user: person.user, time, asked });
    };
    let department = |at: usize| DEPARTMENTS[at % DEPARTMENTS.len()].0.to_owned();
    let time = Some(last.time - 3_600);
    if draws.chance(0.25) {
        // An older wish, of which the later one must leave nothing.
        let before = Some(bought[0].time);
        ask(before, "department", Relation::Is, department(wish.department + 1));
    }
    match draws.below(50) {
        0 => {
            ask(time, "department", Relation::Is, department(wish.department));
            ask(time, "department", Relation::Is, department(wish.department + 3));
        }
        1 => {
            ask(time, "price", Relation::AtLeast, "60".to_owned());
            ask(time, "price", Relation::AtMost, "20".to_owned());
        }
        2 => ask(time, "price", Relation::AtMost, "0.01".to_owned()),
        3 => ask(time, "brand", Relation::Is, "Nonesuch".to_owned()),
        4..10 => {
            let either =
                format!("{}|{}", department(wish.department), department(wish.department + 2));
            ask(time, "department", Relation::Is, either);
        }
        _ => ask(time, "department", Relation::Is, department(wish.department)),
    }
    if wish.brand {
        let names = person.brands.map(|brand| BRANDS[brand]);
        ask(None, "brand", Relation::Is, names.join("|"));
    } else if draws.chance(0.3) {
        let other = (person.brands[0] + 1 + draws.below(BRANDS.len() - 1)) % BRANDS.len();
        ask(None, "brand", Relation::Not, BRANDS[other].to_owned());
    }
    if draws.chance(0.35)
        && let Some(price) = usual_price(shelves, bought)
    {
        ask(None, "price", Relation::AtMost, format!("{}", (price / 5.0).ceil() * 5.0));
    }
    rows
}

/// The price that three of four of their earlier purchases keep within. The last ones are not
/// looked at: a control must not say what the answer is.
fn usual_price(shelves: &Shelves, bought: &[Purchase]) -> Option<f32> {
    let earlier = &bought[..bought.len().saturating_sub(WISHED_LAST)];
    let mut prices: Vec<f32> = earlier.iter().filter_map(|p| shelves.items[p.item].price).collect();
    prices.sort_by(f32::total_cmp);
    prices.get(prices.len() * 3 / 4).copied()
}
