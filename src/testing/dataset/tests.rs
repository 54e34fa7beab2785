//! Is there something to learn in the made-up data, and is it the same every time?

use super::{Dataset, DatasetSettings, DemoAsked, DemoInteraction};
use crate::types::Relation;
use std::collections::{BTreeMap, BTreeSet, HashMap};

fn make(settings: &DatasetSettings) -> Dataset {
    Dataset::new(settings).expect("the settings are in range")
}

fn demo() -> Dataset {
    make(&DatasetSettings::default())
}

/// Each user's valid purchases, oldest first.
fn histories(data: &Dataset) -> BTreeMap<i64, Vec<&str>> {
    let known: BTreeSet<&str> = data.items.iter().map(|item| item.item.as_str()).collect();
    let mut histories: BTreeMap<i64, Vec<&str>> = BTreeMap::new();
    for row in data.interactions.iter().flatten() {
        if let Some(item) = row.item.as_deref().filter(|item| known.contains(item)) {
            histories.entry(row.user).or_default().push(item);
        }
    }
    histories
}

#[test]
fn a_seed_is_the_whole_data() {
    let settings = DatasetSettings { users: 50, ..DatasetSettings::default() };
    let data = make(&settings);
    assert_eq!(data, make(&settings));
    assert_ne!(data, make(&DatasetSettings { seed: 2, ..settings.clone() }));
    // A user does not depend on how many others there are.
    let more = make(&DatasetSettings { users: 60, bad_rows: 0, ..settings.clone() });
    let fewer = make(&DatasetSettings { bad_rows: 0, ..settings });
    let (more, fewer) = (histories(&more), histories(&fewer));
    assert!(fewer.iter().all(|(user, bought)| more[user] == *bought));
}

#[test]
fn too_little_is_refused() {
    let few = DatasetSettings { items: 99, ..DatasetSettings::default() };
    let message = Dataset::new(&few).map(|_| ()).map_err(|error| error.to_string());
    assert_eq!(message, Err("demo data: expected items of at least 100, found 99".to_owned()));
}

#[test]
fn the_smallest_shop_can_be_made() {
    for items in 100..105 {
        let (users, interactions_mean, shards) = (40, 8, 1);
        let least = DatasetSettings::default();
        make(&DatasetSettings { items, users, interactions_mean, shards, ..least.clone() });
        make(&DatasetSettings { items, users: 0, ..least });
    }
}

#[test]
fn the_rows_are_as_the_settings_say() {
    let (settings, data) = (DatasetSettings::default(), demo());
    assert_eq!((data.items.len(), data.users.len()), (2_000, 4_000));
    assert_eq!(data.interactions.len(), 8);
    let rows: Vec<&DemoInteraction> = data.interactions.iter().flatten().collect();
    assert!(
        rows.windows(2).all(|pair| (pair[0].time, pair[0].user) <= (pair[1].time, pair[1].user))
    );
    let histories = histories(&data);
    let good: usize = histories.values().map(Vec::len).sum();
    assert_eq!(rows.len() - good, settings.bad_rows as usize);
    assert_eq!(histories.len(), 4_000);
    assert!((good as f64 / 4_000.0 - 25.0).abs() < 2.5, "{good} interactions");
    for (user, bought) in &histories {
        let once: BTreeSet<_> = bought.iter().collect();
        assert_eq!(once.len(), bought.len(), "user {user} bought something twice");
        assert!(bought.len() >= 3, "user {user} bought {} items", bought.len());
    }
    assert!(data.items.is_sorted_by(|a, b| a.item < b.item));
    assert!(data.items.iter().all(|item| item.price.is_none_or(|price| price > 0.0)));
}

#[test]
fn what_was_bought_last_says_more_than_what_sells() {
    let data = demo();
    let histories = histories(&data);
    let mut sales: HashMap<&str, u32> = HashMap::new();
    let mut after: HashMap<&str, HashMap<&str, u32>> = HashMap::new();
    for bought in histories.values() {
        let learned = &bought[..bought.len() - 1];
        learned.iter().for_each(|&item| *sales.entry(item).or_default() += 1);
        for pair in learned.windows(2) {
            *after.entry(pair[0]).or_default().entry(pair[1]).or_default() += 1;
        }
    }
    let top = |counts: &HashMap<&str, u32>| -> Vec<String> {
        let mut ranked: Vec<_> = counts.iter().map(|(item, n)| (u32::MAX - n, *item)).collect();
        ranked.sort_unstable();
        ranked.into_iter().take(10).map(|(_, item)| item.to_owned()).collect()
    };
    let popular = top(&sales);
    let (mut by_sales, mut by_last) = (0, 0);
    for bought in histories.values() {
        let [.., last, target] = bought[..] else { continue };
        by_sales += u32::from(popular.iter().any(|item| item == target));
        by_last += u32::from(after.get(last).is_some_and(|n| top(n).iter().any(|i| i == target)));
    }
    let (by_sales, by_last) = (f64::from(by_sales) / 4_000.0, f64::from(by_last) / 4_000.0);
    show("hit@10", by_sales, by_last);
    assert!(by_last > 0.15 && by_last > 3.0 * by_sales, "popularity {by_sales}, last {by_last}");
}

#[test]
fn people_mostly_buy_what_they_ask_for() {
    let data = demo();
    let department: HashMap<&str, &str> =
        data.items.iter().map(|item| (item.item.as_str(), item.department.as_str())).collect();
    let mut wished: BTreeMap<i64, &DemoAsked> = BTreeMap::new();
    for row in &data.asked {
        let latest = wished.get(&row.user).is_none_or(|before| before.time <= row.time);
        if row.asked.attribute == "department" && !row.asked.value.contains('|') && latest {
            wished.insert(row.user, row);
        }
    }
    let histories = histories(&data);
    let share = |place: fn(usize) -> usize| {
        let met = wished.iter().filter(|(user, row)| {
            let bought = &histories[user];
            department[bought[place(bought.len())]] == row.asked.value
        });
        met.count() as f64 / wished.len() as f64
    };
    let (first, last) = (share(|_| 0), share(|count| count - 1));
    show("asked for", first, last);
    assert!(wished.len() > 2_000, "{} wishes", wished.len());
    assert!(last > 0.6 && last > 1.4 * first, "first {first}, last {last}");
}

#[test]
fn some_ask_for_the_impossible_and_some_change_their_minds() {
    let data = demo();
    let count = |test: &dyn Fn(&DemoAsked) -> bool| data.asked.iter().filter(|r| test(r)).count();
    assert!(count(&|row| row.asked.value == "Nonesuch") > 0);
    assert!(count(&|row| row.asked.value == "0.01") > 0);
    assert!(count(&|row| row.asked.relation == Relation::AtLeast) > 0);
    let mut times: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
    for row in &data.asked {
        times.entry(row.user).or_default().extend(row.time);
    }
    assert!(times.values().filter(|times| times.len() > 1).count() > 300);
    assert!(times.len() > 2_600 && times.len() < 3_000, "{} of 4,000 ask", times.len());
}

/// Shown with `--nocapture`, to tune by.
fn show(what: &str, baseline: f64, found: f64) {
    eprintln!("{what}: {baseline:.3} without, {found:.3} with");
}
