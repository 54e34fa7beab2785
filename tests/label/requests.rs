//! Are requests what their meaning says, and do the rules read them again?

use super::catalogue;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use steerage::control::{Meaning, RequestSettings, Requests, all_met, describe, with_popularity};
use steerage::types::{
    Asked, Attribute, Catalogue, Category, Control, ItemId, Key, Relation, Request,
};

fn meaning(category: Category, says: &[&str], attribute: &str, value: &str) -> Meaning {
    let asked = Asked { attribute: attribute.into(), relation: Relation::Is, value: value.into() };
    Meaning { category, says: says.iter().map(ToString::to_string).collect(), asked }
}

fn settings() -> RequestSettings {
    let cosy = ["something for quiet evenings", "something to unwind with", "a bit of calm"];
    RequestSettings {
        meanings: vec![
            meaning(Category::Mood, &cosy, "department", "Bath|Audio"),
            meaning(Category::Audience, &["for children"], "department", "Toys"),
            meaning(Category::Aspiration, &["to write more"], "department", "Stationery"),
        ],
        ..RequestSettings::default()
    }
}

fn demo() -> Requests {
    Requests::new(Arc::new(with_popularity(&catalogue())), settings()).unwrap()
}

/// Controls as a set, in words.
fn as_set(catalogue: &Catalogue, controls: &[Control]) -> Vec<String> {
    let mut words: Vec<String> = controls.iter().map(|c| describe(catalogue, c)).collect();
    words.sort();
    words
}

/// Many requests of a category, for several histories.
fn many(requests: &Requests, category: Category, held_out: bool) -> Vec<Request> {
    let items = requests.catalogue().len() as u64;
    let write = |draw: u64| {
        let history: Vec<ItemId> =
            (0..8).map(|i| ((draw * 31 + i * 7) % items) as ItemId).collect();
        requests.write(category, draw, &history, held_out)
    };
    (0..300).filter_map(write).collect()
}

/// The share of requests whose meaning the rules recover, for each category.
fn recovered(requests: &Requests) -> BTreeMap<Category, f64> {
    let catalogue = requests.catalogue();
    let right = |request: &&Request| {
        let read = requests.understand(&request.text);
        as_set(catalogue, &read) == as_set(catalogue, &request.meaning)
    };
    let share = |category: Category| {
        let mut written = many(requests, category, false);
        written.extend(many(requests, category, true));
        assert!(written.len() > 400, "{category}: {} of 600 draws", written.len());
        let share = written.iter().filter(right).count() as f64 / written.len() as f64;
        (category, share)
    };
    requests.supported().into_iter().map(share).collect()
}

#[test]
fn the_rules_read_what_was_written() {
    let requests = demo();
    let shares = recovered(&requests);
    assert_eq!(shares.len(), 10, "the shop and the job have something for each: {shares:?}");
    for (category, share) in shares {
        assert!(share > 0.97, "{category}: {share}");
    }
}

#[test]
fn a_request_follows_from_its_draw_and_is_met_by_enough_items() {
    let requests = demo();
    let items = requests.catalogue().len();
    for category in Category::ALL {
        let (training, kept) = (many(&requests, category, false), many(&requests, category, true));
        assert_eq!(training, many(&requests, category, false), "{category}: pure");
        for request in training.iter().chain(&kept) {
            let met = requests.meeting(&request.meaning);
            let by_hand = (0..items as ItemId)
                .filter(|item| all_met(requests.catalogue(), &request.meaning, *item));
            assert_eq!(met, by_hand.collect::<Vec<_>>(), "{}", request.text);
            let excludes = request.meaning.iter().all(|c| c.relation == Relation::Not);
            let most = if excludes { items } else { items * 9 / 10 };
            assert!((5..=most).contains(&met.len()), "{:?}: {} items", request.text, met.len());
            assert!(!request.text.contains(['{', '}']), "{:?}", request.text);
        }
        let texts = |of: &[Request]| of.iter().map(|r| r.text.clone()).collect::<BTreeSet<_>>();
        let (training, kept) = (texts(&training), texts(&kept));
        let both: Vec<_> = training.intersection(&kept).collect();
        assert!(both.is_empty(), "{category}: {both:?}");
        assert!(kept.len() > 1 && training.len() > kept.len() / 2, "{category}");
    }
}

/// A few films of which everything is known.
fn films() -> Requests {
    let labels = ["Comedy", "Drama", "Horror", "Children's"];
    let n = 40usize;
    let genre = Attribute {
        name: "genre".into(),
        labels: labels.map(str::to_owned).to_vec(),
        offsets: (0..=n as u32).collect(),
        codes: (0..n as u32).map(|i| i % 4).collect(),
        numbers: Vec::new(),
    };
    let numeric = |name: &str, number: fn(usize) -> f32| Attribute {
        name: name.into(),
        labels: vec!["all".into()],
        offsets: (0..=n as u32).collect(),
        codes: vec![0; n],
        numbers: (0..n).map(number).collect(),
    };
    let catalogue = Catalogue {
        keys: (0..n as i64).map(Key::Int).collect(),
        titles: (0..n).map(|i| format!("Number {i}, The (19{:02})", 60 + i).into()).collect(),
        popularity: (0..n as u32).collect(),
        attributes: vec![
            genre,
            numeric("year", |i| 1960.0 + i as f32),
            numeric("price", |i| 5.0 + i as f32),
        ],
        ..Catalogue::default()
    };
    let settings = RequestSettings { noun: "film".into(), ..RequestSettings::default() };
    Requests::new(Arc::new(with_popularity(&catalogue)), settings).unwrap()
}

#[test]
fn words_of_other_people_are_understood_too() {
    let requests = films();
    for (text, meaning) in [
        ("A COMEDY, please", "genre is Comedy"),
        ("anything but comedies!", "genre is not Comedy"),
        ("no horror or drama, thanks", "genre is not Drama or Horror"),
        ("comedies or dramas", "genre is Comedy or Drama"),
        ("a film for $20 or less", "price at most 20"),
        ("not more than 20 dollars", "price at most 20"),
        ("drama under 12.50 dollars", "genre is Drama; price at most 12.5"),
        ("nothing under 30 dollars", "price at least 30"),
        (
            "some childrens film of the nineties",
            "genre is Children's; year at least 1990; \
          year at most 1999",
        ),
        ("drama but not from before 1970", "genre is Drama; year at most 1969"),
        ("cheap horror since 1980", "genre is Horror; price at most 15; year at least 1980"),
        ("like The Number 7 but cheaper", "genre is Children's; price at most 11.99"),
        ("something like Number 7, The: no", ""),
        (
            "comedy from the sixties on, 20 dollars at most",
            "genre is Comedy; price at most 20; \
          year at least 1960; year at most 1969",
        ),
        ("comedy from somebody for 20 dollars at most", "genre is Comedy; price at most 20"),
        ("hidden gems", "popularity at most 12"),
        ("tell me a joke", ""),
        ("", ""),
    ] {
        let read = as_set(requests.catalogue(), &requests.understand(text));
        assert_eq!(read.join("; "), meaning, "{text:?}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_fail(text in ".{0,60}", number in 0u64..u64::MAX) {
        let requests = films();
        requests.understand(&text);
        requests.understand(&format!("like {text} but under {number} or less than {number}s"));
    }
}

#[test]
fn what_the_catalogue_lacks_is_said() {
    let refuse = |settings| {
        let catalogue = Arc::new(with_popularity(&catalogue()));
        Requests::new(catalogue, settings).err().unwrap().to_string()
    };
    let settings =
        RequestSettings { attributes: vec!["colour".into()], ..RequestSettings::default() };
    assert_eq!(
        refuse(settings),
        "requests: expected an attribute of department, category, brand, price, sales_rank, year, \
         popularity, found \"colour\""
    );
    let scary = meaning(Category::Mood, &["something scary"], "department", "Horror");
    let settings = RequestSettings { meanings: vec![scary], ..RequestSettings::default() };
    assert_eq!(
        refuse(settings),
        "requests.meaning: \"something scary\" means nothing here: nothing in the catalogue is \
         called department \"Horror\""
    );
}
