//! Do rows come back from their files, and only from their files?

use crate::support::wrapped;
use bytes::Bytes;
use insta::assert_snapshot;
use proptest::collection::vec;
use proptest::prelude::*;
use steerage::error::Result;
use steerage::store::part::{catalogue, exposure, faults, interactions, lists, sequences};
use steerage::types::*;

fn keys_of(texts: bool) -> BoxedStrategy<Key> {
    if texts {
        "[a-zé\u{1f980}]{0,12}".prop_map(|text| Key::from(text.as_str())).boxed()
    } else {
        any::<i64>().prop_map(Key::Int).boxed()
    }
}

fn origin() -> impl Strategy<Value = Origin> {
    any::<(u32, u32)>().prop_map(|(shard, row)| Origin { shard, row })
}

fn some_interactions() -> impl Strategy<Value = Vec<Interaction>> {
    any::<(bool, bool)>().prop_flat_map(|(users, items)| {
        let row = (origin(), keys_of(users), keys_of(items), any::<i64>(), -1e9f32..1e9);
        let row = row.prop_map(|(origin, user, item, time, weight)| Interaction {
            origin,
            user,
            item,
            time,
            weight,
        });
        vec(row, 0..50)
    })
}

fn some_sequences() -> impl Strategy<Value = Vec<Sequence>> {
    any::<bool>().prop_flat_map(|texts| {
        let events = vec(any::<(u32, i64)>(), 0..30);
        let split = (0.0..1.0, 0.0..1.0);
        let row = (keys_of(texts), events, split, vec(any::<u32>(), 0..3));
        let row = row.prop_map(|(user, events, (train, valid), segments)| {
            let (items, times): (Vec<_>, Vec<_>) = events.into_iter().unzip();
            let train = (items.len() as f64 * train) as u32;
            let valid = ((items.len() as u32 - train) as f64 * valid) as u32;
            Sequence { user, items, times, train, valid, segments }
        });
        vec(row, 0..40)
    })
}

fn some_attribute(name: usize, items: usize) -> impl Strategy<Value = Attribute> {
    let labels = proptest::collection::btree_set("[a-z.\" ]{1,5}", 1..6);
    let codes = vec(proptest::collection::btree_set(0u32..6, 0..4), items);
    let numbers = proptest::option::of(vec(-1e6f32..1e6, items));
    (labels, codes, numbers).prop_map(move |(labels, codes, numbers)| {
        let labels: Vec<String> = labels.into_iter().rev().collect();
        let mut attribute = Attribute {
            name: ["title", "a.b", "price", "item"][name].to_owned(),
            offsets: vec![0],
            codes: Vec::new(),
            numbers: numbers.unwrap_or_default(),
            labels,
        };
        for codes in codes {
            let known = codes.into_iter().filter(|&code| (code as usize) < attribute.labels.len());
            attribute.codes.extend(known);
            attribute.offsets.push(attribute.codes.len() as u32);
        }
        attribute
    })
}

fn some_catalogue(texts: bool) -> impl Strategy<Value = Catalogue> {
    let keys = proptest::collection::btree_set(keys_of(texts), 1..40);
    keys.prop_flat_map(|keys| {
        let items = keys.len();
        let titles = vec("[ -~]{0,10}".prop_map(|title| title.into_boxed_str()), items);
        let attributes = (some_attribute(0, items), some_attribute(1, items));
        let attributes = attributes.prop_map(|(a, b)| vec![a, b]);
        let described = proptest::option::of(vec("[ -~]{0,9}".prop_map(Into::into), items));
        let columns = (titles, described, vec(any::<u32>(), items), attributes);
        columns.prop_map(move |(titles, described, popularity, attributes)| Catalogue {
            keys: keys.iter().cloned().collect(),
            titles,
            descriptions: described.unwrap_or_default(),
            popularity,
            attributes,
        })
    })
}

fn control() -> impl Strategy<Value = Control> {
    let relation = prop_oneof![Just(Relation::Is), Just(Relation::AtMost)];
    let control = (0u16..2, relation, vec(0u32..5, 0..3), -5.0f32..5.0);
    control.prop_map(|(attribute, relation, codes, bound)| Control {
        attribute,
        relation,
        codes,
        bound,
    })
}

fn some_query(texts: bool) -> impl Strategy<Value = Query> {
    let conflict = prop_oneof![
        Just(None),
        Just(Some(Conflict::Contradiction(0, 1))),
        Just(Some(Conflict::Unsatisfiable(2))),
        Just(Some(Conflict::Jointly)),
    ];
    let source = prop_oneof![
        Just(ControlSource::None),
        Just(ControlSource::Table),
        Just(ControlSource::Oracle)
    ];
    let query = (origin(), keys_of(texts), vec(control(), 0..3), source, conflict);
    query.prop_map(|(origin, user, controls, source, conflict)| Query {
        origin,
        user,
        controls,
        source,
        conflict,
        ..Query::default()
    })
}

/// Users with candidates among `items` items and two arms each.
fn some_ranked(texts: bool, items: usize) -> impl Strategy<Value = Vec<Ranked>> {
    let candidates = proptest::collection::hash_set(0..items as u32, 0..=items.min(12));
    let row = (some_query(texts), candidates, vec((-9.0f32..9.0, 0u32..8), 12), any::<u64>());
    let row = row.prop_map(|(query, items, values, seed)| {
        let items: Vec<u32> = items.into_iter().collect();
        let n = items.len();
        let scores: Vec<f32> = values[..n].iter().map(|value| value.0).collect();
        let met = values[..n].iter().map(|value| value.1).collect();
        let mut order: Vec<u32> = (0..n as u32).collect();
        order.sort_by_key(|&at| mix64(seed ^ u64::from(at)));
        let shuffled = ArmList { order, scores: scores.clone() };
        let short = ArmList { order: (0..n as u32 / 2).collect(), scores: scores[..n / 2].into() };
        Ranked {
            candidates: Candidates { query, items, scores, met, reach: None },
            arms: vec![shuffled, short],
            ..Ranked::default()
        }
    });
    vec(row, 0..30)
}

/// What [`lists::Encoder`] is to write, said in the simplest way.
fn expected_rows(
    ranked: &[Ranked],
    catalogue: &Catalogue,
    depth_max: usize,
) -> Vec<lists::ListRow> {
    let mut rows: Vec<&Ranked> = ranked.iter().collect();
    rows.sort_by_key(|row| (row.candidates.query.user.clone(), row.candidates.query.origin));
    let row = |row: &Ranked, arm: usize| {
        let query = &row.candidates.query;
        let places: Vec<usize> =
            row.arms[arm].order.iter().take(depth_max).map(|&at| at as usize).collect();
        let asked = !query.controls.is_empty();
        lists::ListRow {
            user: query.user.clone(),
            arm: ["first", "second"][arm].to_owned(),
            items: places
                .iter()
                .map(|&at| catalogue.keys[row.candidates.items[at] as usize].clone())
                .collect(),
            scores: row.arms[arm].scores.iter().take(depth_max).copied().collect(),
            retrieval_ranks: places.iter().map(|&at| at as i32 + 1).collect(),
            controls_met: places
                .iter()
                .filter(|_| asked)
                .map(|&at| row.candidates.met[at])
                .collect(),
            controls: query.controls.iter().map(describe).collect(),
            source: serde_json::to_value(query.source).unwrap().as_str().unwrap().to_owned(),
            conflict: query.conflict.as_ref().map(|conflict| match conflict {
                Conflict::Contradiction(a, b) => format!("controls {a} and {b} exclude each other"),
                Conflict::Unsatisfiable(a) => format!("no item meets control {a}"),
                Conflict::Jointly => "no item meets all controls".to_owned(),
            }),
        }
    };
    rows.iter().flat_map(|ranked| [row(ranked, 0), row(ranked, 1)]).collect()
}

fn describe(control: &Control) -> String {
    format!("{} {:?} {:?}", control.attribute, control.relation, control.codes)
}

fn arms() -> Vec<String> {
    vec!["first".to_owned(), "second".to_owned()]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn interactions_come_back(rows in some_interactions()) {
        let bytes = interactions::encode(&rows).unwrap();
        prop_assert_eq!(&bytes, &interactions::encode(&rows).unwrap());
        prop_assert_eq!(interactions::decode("x", bytes.into()).unwrap(), rows);
    }

    #[test]
    fn sequences_come_back(rows in some_sequences()) {
        let bytes = sequences::encode(&rows).unwrap();
        prop_assert_eq!(&bytes, &sequences::encode(&rows).unwrap());
        prop_assert_eq!(sequences::decode("x", bytes.into()).unwrap(), rows);
    }

    #[test]
    fn catalogues_come_back(
        catalogue in any::<bool>().prop_flat_map(some_catalogue),
    ) {
        let bytes = catalogue::encode(&catalogue).unwrap();
        prop_assert_eq!(&bytes, &catalogue::encode(&catalogue).unwrap());
        prop_assert_eq!(catalogue::decode("x", bytes.into()).unwrap(), catalogue);
    }

    #[test]
    fn lists_come_back_sorted_and_cut(
        (catalogue, ranked) in any::<(bool, bool)>().prop_flat_map(|(users, items)| {
            some_catalogue(items).prop_flat_map(move |catalogue| {
                let items = catalogue.len();
                (Just(catalogue), some_ranked(users, items))
            })
        }),
        depth_max in 1usize..8,
    ) {
        let arms = arms();
        let encoder = lists::Encoder::new(&catalogue, &arms, depth_max, &describe).unwrap();
        let bytes = encoder.encode(&ranked).unwrap();
        let mut backwards = ranked.clone();
        backwards.reverse();
        prop_assert_eq!(&bytes, &encoder.encode(&backwards).unwrap(), "whatever the order");
        let expected = expected_rows(&ranked, &catalogue, depth_max);
        prop_assert_eq!(lists::decode("x", bytes.into()).unwrap(), expected);
    }

    #[test]
    fn arbitrary_and_truncated_bytes_are_refused(
        noise in vec(any::<u8>(), 0..200),
        rows in some_sequences(),
        cut in 0.0..1.0,
    ) {
        prop_assert!(sequences::decode("x", noise.clone().into()).is_err());
        prop_assert!(catalogue::decode("x", noise.into()).is_err());
        let bytes = sequences::encode(&rows).unwrap();
        let cut = (bytes.len() as f64 * cut) as usize;
        prop_assert!(sequences::decode("x", Bytes::from(bytes).slice(..cut)).is_err());
    }
}

#[test]
fn faults_and_exposure_come_back() {
    let fault = |row, stage, kind| Fault { origin: Origin { shard: 1, row }, stage, kind };
    let some = [
        fault(3, StageName::Read, FaultKind::Null { column: "user".to_owned() }),
        fault(4, StageName::Prepare, FaultKind::UnknownItem { item: Key::Int(7) }),
        fault(9, StageName::Rerank, FaultKind::NoCandidates),
    ];
    let shards = ["a.parquet", "b.parquet"];
    let bytes = faults::encode(&some, |shard| shards[shard as usize]).unwrap();
    let letters = faults::decode("x", bytes.into()).unwrap();
    for (letter, fault) in letters.iter().zip(&some) {
        assert_eq!(letter.shard, "b.parquet");
        assert_eq!((letter.row, letter.stage), (fault.origin.row, fault.stage));
        assert_eq!(letter.reason, fault.kind.to_string());
    }
    let kinds: Vec<_> = letters.iter().map(|letter| letter.kind.as_str()).collect();
    assert_eq!(kinds, ["null", "unknown-item", "no-candidates"]);

    let counts: Vec<_> = (0..100_000u32)
        .map(|at| exposure::Exposure {
            arm: at / 50_000,
            item: at % 50_000,
            cutoff: at % 3,
            count: at.into(),
        })
        .collect();
    let bytes = exposure::encode(&counts).unwrap();
    assert_eq!(exposure::decode("x", bytes.into()).unwrap(), counts, "over several row groups");
}

#[test]
fn many_rows_are_streamed_by_row_group() {
    let rows: Vec<Sequence> =
        (0..150_000).map(|user| Sequence { user: Key::Int(user), ..Sequence::default() }).collect();
    let bytes = Bytes::from(sequences::encode(&rows).unwrap());
    let groups: Vec<_> =
        sequences::stream("x", bytes).unwrap().map(|group| group.unwrap()).collect();
    assert_eq!(groups.iter().map(Vec::len).collect::<Vec<_>>(), [65_536, 65_536, 18_928]);
    assert_eq!(groups.concat(), rows);
}

#[test]
fn foreign_and_truncated_files_are_refused_by_name() {
    let sequence = Sequence { items: vec![1], times: vec![2], ..Sequence::default() };
    let bytes = Bytes::from(sequences::encode(std::slice::from_ref(&sequence)).unwrap());
    let text = |result: Result<()>| wrapped(&result.unwrap_err().to_string());
    let catalogue = catalogue::decode("p/part=00.parquet", bytes.clone()).map(drop);
    assert_snapshot!(text(catalogue), @"
    p/part=00.parquet: expected a part of kind catalogue/1, found sequences/1: the
    file is another job's or another release's
    ");
    let half = bytes.slice(..bytes.len() / 2);
    assert_snapshot!(text(sequences::decode("p/part=00.parquet", half).map(drop)), @"
    p/part=00.parquet: expected a whole Parquet file, found 740 bytes that are none
    (Parquet error: Invalid Parquet file. Corrupt footer): it is truncated or
    something else
    ");
    let empty = Bytes::new();
    assert_snapshot!(text(sequences::decode("p/part=00.parquet", empty).map(drop)), @"
    p/part=00.parquet: expected a whole Parquet file, found 0 bytes that are none
    (EOF: Parquet file too small. Size is 0 but need 8): it is truncated or
    something else
    ");
    let uneven = Sequence { times: vec![], ..sequence };
    let uneven = sequences::encode(&[uneven]).unwrap();
    assert_snapshot!(text(sequences::decode("p/part=00.parquet", uneven.into()).map(drop)), @"
    p/part=00.parquet: user 0: expected a time for each item and a split within
    them, found 1 items, 0 times, split 0 + 0
    ");
    let mixed = [Key::Int(1), Key::from("one")];
    let mixed = mixed.map(|user| Sequence { user, ..Sequence::default() });
    assert_snapshot!(text(sequences::encode(&mixed).map(drop)), @r#"
    column "user": expected ids of one type, found texts and the integer 1: give the
    id column the same type in every input file
    "#);
}
