//! Does a control mean what its words say, and is an impossible wish found?

use proptest::prelude::*;
use std::sync::Arc;
use steerage::control::{
    CONTROLS_MAX, ConflictIndex, ControlTable, Names, Postings, all_met, conflict, describe, met,
    met_mask, oracle, resolve, sampled,
};
use steerage::spec::ControlFrom;
use steerage::stage::ask::{Ask, Asks};
use steerage::stage::{Outcomes, Setback, Stage};
use steerage::types::Relation::{AtLeast, AtMost, Is, Not};
use steerage::types::{
    Asked, Attribute, Candidates, Catalogue, Conflict, Control, ControlSource, FaultKind, ItemId,
    Key, Query, Relation, StageName,
};

/// An attribute of items from their labels' codes and, if it has any, their numbers.
pub fn attribute(name: &str, labels: &[&str], codes: &[&[u32]], numbers: &[f32]) -> Attribute {
    let mut offsets = vec![0];
    offsets.extend(codes.iter().scan(0, |at, codes| {
        *at += codes.len() as u32;
        Some(*at)
    }));
    Attribute {
        name: name.into(),
        labels: labels.iter().map(|&label| label.into()).collect(),
        offsets,
        codes: codes.concat(),
        numbers: numbers.into(),
    }
}

/// A catalogue of as many items as the attributes have.
pub fn catalogue(attributes: Vec<Attribute>) -> Arc<Catalogue> {
    let items = attributes[0].offsets.len() - 1;
    Arc::new(Catalogue {
        keys: (0..items as i64).map(Key::Int).collect(),
        titles: vec!["".into(); items],
        popularity: vec![0; items],
        attributes,
        ..Catalogue::default()
    })
}

/// | item | price (bin)   | brand | genre          |
/// |------|---------------|-------|----------------|
/// | 0    | 5 (0)         | Acme  | Drama          |
/// | 1    | 12 (1)        | Bolt  | Drama, Comedy  |
/// | 2    | 14.5 (1)      | Acme  | Horror         |
/// | 3    | unknown       | –     | –              |
/// | 4    | 40 (2)        | acme  | Comedy         |
fn shop() -> Arc<Catalogue> {
    let bins = ["under 10", "10 to under 15", "15 and over"];
    let prices = [5.0, 12.0, 14.5, f32::NAN, 40.0];
    catalogue(vec![
        attribute("price", &bins, &[&[0], &[1], &[1], &[], &[2]], &prices),
        attribute("Brand", &["Acme", "Bolt", "acme"], &[&[0], &[1], &[0], &[], &[2]], &[]),
        attribute(
            "genre",
            &["Comedy", "Drama", "Horror", "Western"],
            &[&[1], &[0, 1], &[2], &[], &[0]],
            &[],
        ),
    ])
}

fn ask(attribute: &str, relation: Relation, value: &str) -> Asked {
    Asked { attribute: attribute.into(), relation, value: value.into() }
}

fn control(attribute: u16, relation: Relation, codes: &[u32], bound: f32) -> Control {
    Control { attribute, relation, codes: codes.into(), bound }
}

fn those_that_meet(catalogue: &Catalogue, control: &Control) -> Vec<ItemId> {
    (0..catalogue.len() as ItemId).filter(|&item| met(catalogue, control, item)).collect()
}

/// Resolves one ask that has no problem.
fn one(catalogue: &Catalogue, attribute: &str, relation: Relation, value: &str) -> Control {
    let (controls, problems) = resolve(catalogue, &[ask(attribute, relation, value)]);
    assert_eq!((controls.len(), problems), (1, vec![]));
    controls[0].clone()
}

#[test]
fn words_mean_these_items() {
    let shop = shop();
    let cases: [(&str, Relation, &str, &[ItemId]); 9] = [
        ("price", Is, "10 to under 15", &[1, 2]),
        ("PRICE", AtMost, " 12 ", &[0, 1]),
        ("price", AtLeast, "12", &[1, 2, 4]),
        ("price", Not, "under 10", &[1, 2, 3, 4]),
        ("brand", Is, "ACME", &[0, 2, 4]), // both spellings
        ("brand", Not, "acme | bolt", &[3]),
        ("genre", Is, "comedy", &[1, 4]),
        ("genre", Is, "Horror|comedy", &[1, 2, 4]),
        ("genre", Is, "western", &[]), // a label that no item has
    ];
    for (attribute, relation, value, items) in cases {
        let control = one(&shop, attribute, relation, value);
        assert_eq!(those_that_meet(&shop, &control), items, "{attribute} {relation:?} {value}");
    }
}

#[test]
fn a_control_reads_as_it_was_asked() {
    let shop = shop();
    let words = |name, relation, value| describe(&shop, &one(&shop, name, relation, value));
    assert_eq!(words("price", Is, "10 to under 15"), "price is 10 to under 15");
    assert_eq!(words("brand", Not, "Bolt"), "Brand is not Bolt");
    assert_eq!(words("genre", Is, "drama|comedy"), "genre is Comedy or Drama");
    assert_eq!(words("price", AtMost, "20"), "price at most 20");
    assert_eq!(words("price", AtLeast, "9.99"), "price at least 9.99");
}

#[test]
fn what_cannot_be_understood_is_named_and_the_rest_is_kept() {
    let asked = [
        ask("colour", Is, "red"),
        ask("brand", Is, "Bolt|Crane"),
        ask("brand", Is, "Crane"),
        ask("price", AtMost, "cheap"),
        ask("price", AtMost, "inf"),
        ask("genre", AtMost, "3"),
        ask("price", AtMost, "3"),
    ];
    let (controls, problems) = resolve(&shop(), &asked);
    assert_eq!(controls, [control(1, Is, &[1], 0.0), control(0, AtMost, &[], 3.0)]);
    let unknown = |asked: &str| FaultKind::UnknownControl { asked: asked.into() };
    let unreadable =
        |found: &str| FaultKind::Unreadable { column: "price".into(), found: found.into() };
    assert_eq!(
        problems,
        [
            unknown("attribute \"colour\""),
            unknown("brand \"Crane\""),
            unknown("brand \"Crane\""),
            unreadable("cheap"),
            unreadable("inf"),
            unknown("a number of \"genre\""),
        ]
    );
}

#[test]
fn a_wish_that_nobody_understands_is_told_and_the_user_keeps_a_list() {
    let catalogue = shop();
    let wish = |value: &str| (Key::Int(7), None, ask("brand", Is, value));
    let asks = Asks {
        goals: None,
        names: Names::new(&catalogue),
        postings: Arc::new(Postings::new(Arc::clone(&catalogue))),
        from: ControlFrom::Table,
        table: ControlTable::new(vec![wish("Bolt"), wish("Crane")]),
        as_of: None,
        job: Vec::new(),
        attributes: Vec::new(),
        seed: 0,
        told: None,
        catalogue,
    };
    let query = Query { user: Key::Int(7), ..Query::default() };
    let row =
        Candidates { query, items: vec![0, 1], scores: vec![2.0, 1.0], ..Candidates::default() };
    let mut out = Outcomes::new(StageName::Control);
    Ask::new(Arc::new(asks)).run(vec![row], &mut out);
    let (rows, setbacks) = out.into_parts();
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!(row.query.controls, [control(1, Is, &[1], 0.0)]);
    assert_eq!((&row.met[..], row.query.source), (&[0, 1][..], ControlSource::Table));
    let [Setback::Fault(fault)] = setbacks.as_slice() else { panic!("{setbacks:?}") };
    assert_eq!(fault.kind, FaultKind::UnknownControl { asked: "brand \"Crane\"".into() });
}

#[test]
fn a_row_has_as_many_controls_as_a_mask_has_bits() {
    let asked = vec![ask("price", AtMost, "10"); CONTROLS_MAX + 1];
    let (controls, problems) = resolve(&shop(), &asked);
    assert_eq!((controls.len(), problems.len()), (32, 1));
    assert_eq!(met_mask(&shop(), &controls, 0), u32::MAX);
    assert_eq!(met_mask(&shop(), &controls, 4), 0);
}

#[test]
fn bit_c_is_control_c() {
    let shop = shop();
    let controls =
        [control(0, AtMost, &[], 14.5), control(1, Is, &[1], 0.0), control(2, Not, &[0], 0.0)];
    let masks: Vec<u32> = (0..5).map(|item| met_mask(&shop, &controls, item)).collect();
    assert_eq!(masks, [0b101, 0b011, 0b101, 0b100, 0b000]);
}

#[test]
fn a_conflict_says_what_excludes_what() {
    let shop = shop();
    let find = |controls: &[Control]| conflict(&shop, controls);
    let (acme, bolt) = (control(1, Is, &[0], 0.0), control(1, Is, &[1], 0.0));
    let not_acme = control(1, Not, &[0, 2], 0.0);
    let (cheap, dear) = (control(0, AtMost, &[], 12.0), control(0, AtLeast, &[], 12.5));
    let middle = control(0, Is, &[1], 0.0);
    let (comedy, horror) = (control(2, Is, &[0], 0.0), control(2, Is, &[2], 0.0));
    let western = control(2, Is, &[3], 0.0);
    assert_eq!(find(&[]), None);
    assert_eq!(find(&[acme.clone(), cheap.clone()]), None);
    assert_eq!(find(&[acme.clone(), bolt.clone()]), Some(Conflict::Contradiction(0, 1)));
    let three = [cheap.clone(), acme.clone(), not_acme.clone()];
    assert_eq!(find(&three), Some(Conflict::Contradiction(1, 2)));
    assert_eq!(find(&[cheap.clone(), dear.clone()]), Some(Conflict::Contradiction(0, 1)));
    let below = control(0, AtMost, &[], 11.0);
    assert_eq!(find(&[below, middle.clone()]), Some(Conflict::Contradiction(0, 1)));
    assert_eq!(find(&[dear.clone(), middle]), None);
    // A film may have both genres, though none here has.
    assert_eq!(find(&[comedy, horror.clone()]), Some(Conflict::Jointly));
    assert_eq!(find(&[horror, cheap.clone()]), Some(Conflict::Jointly));
    assert_eq!(find(&[cheap, western]), Some(Conflict::Unsatisfiable(1)));
    assert_eq!(find(&[control(0, AtLeast, &[], 41.0)]), Some(Conflict::Unsatisfiable(0)));
    // A label in no item excludes nothing but itself.
    assert_eq!(find(&[control(1, Is, &[], 0.0), bolt]), Some(Conflict::Unsatisfiable(0)));
}

#[test]
fn the_latest_ask_of_an_attribute_wins() {
    let row = |user: &str, time, attribute: &str, value: &str| {
        (Key::from(user), time, ask(attribute, Is, value))
    };
    let table = ControlTable::new(vec![
        row("ann", Some(5), "brand", "Bolt"),
        row("bob", Some(9), "brand", "Crane"),
        row("ann", None, "price", "low"),
        row("ann", None, "brand", "Acme"),
        row("ann", Some(7), "Brand", "Dorn"),
        row("ann", Some(7), "brand", "Elk"),
        row("ann", Some(7), "brand", "Elk"),
    ]);
    let values = |user: &str, as_of| -> Vec<String> {
        table.for_user(&user.into(), as_of).into_iter().map(|asked| asked.value).collect()
    };
    assert_eq!(values("ann", None), ["low", "Dorn", "Elk"]);
    assert_eq!(values("ann", Some(7)), ["low", "Dorn", "Elk"]);
    assert_eq!(values("ann", Some(6)), ["Bolt", "low"]);
    assert_eq!(values("ann", Some(4)), ["low", "Acme"]);
    assert_eq!(values("bob", Some(8)), [""; 0]);
    assert_eq!(values("cat", None), [""; 0]);
    assert_eq!((table.len(), table.is_empty()), (7, false));
}

#[test]
fn oracle_controls_are_the_targets_own_values() {
    let shop = shop();
    let all = [0, 1, 2];
    let expected =
        [control(0, Is, &[1], 0.0), control(1, Is, &[1], 0.0), control(2, Is, &[0, 1], 0.0)];
    assert_eq!(oracle(&shop, &all, 1), expected);
    assert_eq!(oracle(&shop, &[2], 2), [control(2, Is, &[2], 0.0)]);
    assert_eq!(oracle(&shop, &all, 3), []); // nothing is known of it
}

#[test]
fn sampled_controls_come_from_candidates_and_depend_on_the_user() {
    let shop = shop();
    let draw = |candidates: &[ItemId], user| sampled(&shop, &[1], candidates, user, 42);
    assert_eq!(draw(&[3], 1), []);
    assert_eq!(draw(&[], 1), []);
    assert_eq!(draw(&[3, 1], 1), [control(1, Is, &[1], 0.0)]);
    let drawn: Vec<_> = (0..200u64).map(|user| draw(&[0, 1, 3], user * 977)).collect();
    let again: Vec<_> = (0..200u64).map(|user| draw(&[0, 1, 3], user * 977)).collect();
    assert_eq!(drawn, again);
    // Fair between the two whose brand is known: 200 draws, deviation √(200/4) ≈ 7.
    let acme = drawn.iter().filter(|c| c[0].codes == [0]).count();
    assert!((100 - 35..=100 + 35).contains(&acme), "{acme} of 200");
}

/// A small catalogue: a single-valued attribute with numbers, and one with several labels each.
fn catalogues() -> impl Strategy<Value = Arc<Catalogue>> {
    let item = (prop::option::of(0u8..6), prop::collection::btree_set(0u32..4, 0..3));
    prop::collection::vec(item, 1..8).prop_map(|items| {
        let bin = |number: &Option<u8>| number.map(|n| vec![u32::from(n) / 2]).unwrap_or_default();
        let bins: Vec<Vec<u32>> = items.iter().map(|(number, _)| bin(number)).collect();
        let sets: Vec<Vec<u32>> =
            items.iter().map(|(_, set)| set.iter().copied().collect()).collect();
        let numbers: Vec<f32> =
            items.iter().map(|(number, _)| number.map_or(f32::NAN, f32::from)).collect();
        let bins: Vec<&[u32]> = bins.iter().map(Vec::as_slice).collect();
        let sets: Vec<&[u32]> = sets.iter().map(Vec::as_slice).collect();
        catalogue(vec![
            attribute("price", &["0 to 1", "2 to 3", "4 to 5"], &bins, &numbers),
            attribute("genre", &["a", "b", "c", "d"], &sets, &[]),
        ])
    })
}

fn controls() -> impl Strategy<Value = Vec<Control>> {
    let codes = |labels| prop::collection::btree_set(0..labels, 1..3);
    let label = prop_oneof![(Just(0u16), codes(3u32)).boxed(), (Just(1u16), codes(4u32)).boxed(),];
    let by_label = (label, any::<bool>()).prop_map(|((attribute, codes), is)| {
        let codes: Vec<u32> = codes.into_iter().collect();
        control(attribute, if is { Is } else { Not }, &codes, 0.0)
    });
    let by_bound = (any::<bool>(), -1i8..7).prop_map(|(most, bound)| {
        control(0, if most { AtMost } else { AtLeast }, &[], f32::from(bound) + 0.5)
    });
    prop::collection::vec(prop_oneof![by_label, by_bound], 0..5)
}

proptest! {
    #[test]
    fn conflicts_equal_brute_force(
        shop in catalogues(),
        sets in prop::collection::vec(controls(), 1..6),
    ) {
        let mut index = ConflictIndex::new(Arc::new(Postings::new(shop.clone())));
        let items = || 0..shop.len() as ItemId;
        let some = |controls: &[Control]| items().any(|item| all_met(&shop, controls, item));
        for controls in sets.iter().chain(&sets) {
            // The second time round the answer is remembered.
            let found = index.conflict(controls);
            prop_assert_eq!(&found, &conflict(&shop, controls));
            match found {
                None => prop_assert!(controls.is_empty() || some(controls)),
                Some(Conflict::Contradiction(i, j)) => {
                    let pair = [controls[i as usize].clone(), controls[j as usize].clone()];
                    prop_assert!(i < j && pair[0].attribute == pair[1].attribute && !some(&pair));
                }
                Some(Conflict::Unsatisfiable(c)) => {
                    let first = controls.iter().position(|c| !some(std::slice::from_ref(c)));
                    prop_assert_eq!(first, Some(c as usize));
                }
                Some(Conflict::Jointly) => {
                    prop_assert!(!some(controls));
                    prop_assert!(controls.iter().all(|c| some(std::slice::from_ref(c))));
                }
            }
        }
    }

    #[test]
    fn what_is_in_force_is_the_latest(
        rows in prop::collection::vec(
            (0i64..3, prop::option::of(0i64..4), 0u8..3, 0u8..3),
            0..20,
        ),
        as_of in prop::option::of(0i64..4),
    ) {
        let asked = |attribute: u8, value: u8| {
            ask(&format!("a{attribute}"), Is, &value.to_string())
        };
        let table = ControlTable::new(
            rows.iter().map(|&(user, time, a, v)| (Key::Int(user), time, asked(a, v))).collect(),
        );
        for user in 0..3 {
            let mut expected = Vec::new();
            for attribute in 0..3u8 {
                let mine = rows.iter().filter(|row| row.0 == user && row.2 == attribute);
                let seen = mine.filter(|row| as_of.is_none() || row.1.is_none() || row.1 <= as_of);
                let seen: Vec<_> = seen.collect();
                let latest = seen.iter().map(|row| row.1).max();
                let in_force = seen.iter().filter(|row| Some(row.1) == latest);
                expected.extend(in_force.map(|row| asked(row.2, row.3)));
            }
            expected.sort();
            expected.dedup();
            let mut found = table.for_user(&Key::Int(user), as_of);
            let count = found.len();
            found.sort();
            found.dedup();
            prop_assert_eq!(found.len(), count);
            prop_assert_eq!(found, expected);
        }
    }
}
