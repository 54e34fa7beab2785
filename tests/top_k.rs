//! Is the screened search the plain one, bit for bit?

use proptest::prelude::*;
use steerage::device::cpu::top_k::reference;
use steerage::device::cpu::top_k::{BitSet, ItemIndex, Path, TopK, TopKQuery};
use steerage::types::{mix64, unit_f64};

const ALL: TopKQuery<'static> = TopKQuery { k: 10, excluded: &[], barred: None, threads: 1 };

/// Normally distributed numbers.
fn normal(count: usize, seed: u64) -> Vec<f32> {
    let draw = |at: u64| unit_f64(mix64(mix64(seed) ^ at));
    let one = |at: u64| {
        let radius = (-2.0 * (1.0 - draw(2 * at)).ln()).sqrt();
        (radius * (std::f64::consts::TAU * draw(2 * at + 1)).cos()) as f32
    };
    (0..count as u64).map(one).collect()
}

/// Numbers that try the bound: of every size, repeated, alike, on a line, or with a large mean.
fn awkward(kind: u64, rows: usize, width: usize, seed: u64) -> Vec<f32> {
    let mut numbers = normal(rows * width, seed);
    let dice = |row: usize, sides: u64| mix64(seed ^ 0xd1ce ^ row as u64) % sides;
    for (at, row) in numbers.chunks_mut(width).enumerate() {
        let first = dice(at, 7);
        match kind {
            0 => {}
            1 => row.fill((first as f32 - 3.0) * 0.5),
            2 => row.iter_mut().for_each(|x| *x = x.round()),
            3 => row.iter_mut().for_each(|x| *x *= 10f32.powi(first as i32 * 5 - 15)),
            4 => row.iter_mut().for_each(|x| *x *= 1e-41),
            5 => row.iter_mut().for_each(|x| *x = -x.abs()),
            6 => row.iter_mut().for_each(|x| *x = *x * 1e-4 + 1.0),
            7 => row.iter_mut().enumerate().for_each(|(i, x)| {
                *x = if i as u64 == first { 1e3 * *x } else { 1e-3 * *x };
            }),
            8 => row.iter_mut().for_each(|x| *x = if first < 5 { 0.0 } else { *x }),
            _ => row.iter_mut().for_each(|x| *x *= 1e-20),
        }
    }
    numbers
}

/// Compares every path and several numbers of threads with the reference.
fn check(items: &[f32], users: &[f32], width: usize, query: &TopKQuery<'_>) -> TopK {
    let expected = reference::top_k(items, users, width, query);
    for path in Path::all() {
        let index = ItemIndex::new_for(path, items, width).unwrap();
        for threads in [1, 2, 3] {
            let found = index.search(users, &TopKQuery { threads, ..*query });
            assert_same(&found, &expected);
        }
    }
    expected
}

fn assert_same(found: &TopK, expected: &TopK) {
    assert_eq!(found.offsets, expected.offsets);
    assert_eq!(found.items, expected.items);
    assert_eq!(found.unscored, expected.unscored);
    let bits = |list: &TopK| list.scores.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(found), bits(expected));
}

#[test]
fn a_list_by_hand() {
    let items = [1.0, 0.0, 0.0, 2.0, 3.0, 0.0, 0.0, 2.0, -9.0, 1.0];
    let users = [1.0, 0.0, 0.0, 1.0, -1.0, 0.0];
    let found = check(&items, &users, 2, &TopKQuery { k: 3, ..ALL });
    assert_eq!(found.items, [2, 0, 1, 1, 3, 4, 4, 1, 3]);
    assert_eq!(found.scores, [3.0, 1.0, 0.0, 2.0, 2.0, 1.0, 9.0, 0.0, 0.0]);
    assert!(found.scores.iter().all(|score| score.to_bits() != (-0.0f32).to_bits()));
}

#[test]
fn a_score_is_the_inner_product() {
    for width in [1, 2, 15, 16, 17, 50, 64, 100, 128, 256] {
        let (a, b) = (normal(width, 1), normal(width, 2));
        let exact: f64 = a.iter().zip(&b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
        assert!((f64::from(reference::score(&a, &b)) - exact).abs() < 1e-6 * width as f64);
    }
}

#[test]
fn every_width_and_size() {
    for width in [1, 2, 3, 7, 31, 32, 33, 50, 64, 100, 128, 256] {
        for count in [0, 1, 63, 64, 65, 255, 256, 257, 1500] {
            let items = normal(count * width, count as u64);
            check(&items, &normal(5 * width, 99), width, &ALL);
        }
    }
}

#[test]
fn every_path_lets_the_same_items_pass() {
    let names: Vec<String> = Path::all().iter().map(Path::to_string).collect();
    assert!(names.iter().eq(["portable", "avx2", "vnni"][..names.len()].iter()), "{names:?}");
    for (width, users) in [(64, 1), (50, 3), (33, 4), (128, 7), (2, 9)] {
        let (items, users) = (normal(5_000 * width, 7), normal(users * width, 8));
        let query = TopKQuery { k: 20, ..ALL };
        let search = |path| ItemIndex::new_for(path, &items, width).unwrap().search(&users, &query);
        let found: Vec<TopK> = Path::all().into_iter().map(search).collect();
        assert!(found.iter().all(|other| *other == found[0]), "{width}: {names:?}");
        assert_same(&found[0], &reference::top_k(&items, &users, width, &query));
    }
}

#[test]
fn many_items_and_more_users_than_a_batch() {
    let (items, users) = (normal(9_000 * 64, 5), normal(1_100 * 64, 6));
    let index = ItemIndex::new(&items, 64).unwrap();
    let query = TopKQuery { k: 100, ..ALL };
    let all = index.search(&users, &TopKQuery { threads: 4, ..query });
    assert_same(&all, &reference::top_k(&items, &users, 64, &query));
    assert!(all.scored < 1_100 * 9_000 / 3, "{} pairs passed the screen", all.scored);
    for (at, user) in users.chunks(64).enumerate().step_by(97) {
        let one = index.search(user, &query);
        assert_eq!(one.items, all.items[all.offsets[at]..all.offsets[at + 1]]);
    }
}

#[test]
fn lists_shorter_than_k() {
    let (items, users) = (normal(30 * 8, 1), normal(3 * 8, 2));
    assert_eq!(check(&items, &users, 8, &TopKQuery { k: 0, ..ALL }).items.len(), 0);
    assert_eq!(check(&items, &users, 8, &TopKQuery { k: 31, ..ALL }).items.len(), 3 * 30);
    assert_eq!(check(&items, &users, 8, &TopKQuery { k: usize::MAX, ..ALL }).offsets[1], 30);
    let mut barred = BitSet::new(30);
    (0..25).for_each(|id| barred.insert(id));
    let excluded: [&[u32]; 3] = [&[], &[3, 29], &[25, 26, 27, 28, 29]];
    let query = TopKQuery { barred: Some(&barred), excluded: &excluded, ..ALL };
    assert_eq!(check(&items, &users, 8, &query).offsets, [0, 5, 9, 9]);
}

#[test]
fn what_may_not_be_listed_takes_no_place() {
    let (items, users) = (normal(4_000 * 32, 3), normal(40 * 32, 4));
    let open = check(&items, &users, 32, &TopKQuery { k: 20, ..ALL });
    let mut seen: Vec<Vec<u32>> =
        open.offsets.windows(2).map(|at| open.items[at[0]..at[1]][..10].to_vec()).collect();
    seen.iter_mut().for_each(|ids| ids.sort_unstable());
    let excluded: Vec<&[u32]> = seen.iter().map(Vec::as_slice).collect();
    let found = check(&items, &users, 32, &TopKQuery { excluded: &excluded, ..ALL });
    for user in 0..40 {
        assert_eq!(found.items[user * 10..][..10], open.items[user * 20 + 10..][..10]);
    }
    let mut barred = BitSet::new(4_000);
    (0..4_000).filter(|id| id % 10 != 7).for_each(|id| barred.insert(id));
    let query = TopKQuery { excluded: &excluded, barred: Some(&barred), ..ALL };
    let found = check(&items, &users, 32, &query);
    assert_eq!(found.items.len(), 400);
    assert!(found.items.iter().all(|id| id % 10 == 7));
}

#[test]
fn equal_scores_in_the_order_of_ids() {
    let one = normal(16, 8);
    let items = one.repeat(700);
    let users: Vec<f32> = [one.clone(), vec![0.0; 16], one.iter().map(|x| -x).collect()].concat();
    let found = check(&items, &users, 16, &TopKQuery { k: 300, ..ALL });
    let ascending: Vec<u32> = (0..300).collect();
    assert_eq!(found.items, ascending.repeat(3));
}

#[test]
fn what_is_not_a_number_is_reported() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut items = normal(20 * 3, 1);
        items[3 * 7 + 2] = bad;
        let error = ItemIndex::new(&items, 3).err().unwrap().to_string();
        assert!(error.contains("item 7, column 2"), "{error}");
        let mut users = normal(4 * 3, 2);
        users[3] = bad;
        let found = check(&normal(20 * 3, 1), &users, 3, &ALL);
        assert_eq!((found.unscored, found.offsets), (vec![1], vec![0, 10, 10, 20, 30]));
    }
    assert!(ItemIndex::new(&[1.0; 7], 2).is_err());
    assert!(ItemIndex::new(&[], 0).is_err());
}

#[test]
fn a_score_that_may_overflow_is_reported() {
    let items = [1e30f32, 1e30, 1.0, 1.0, f32::MAX / 2.0, 0.0];
    let users = [1e10f32, 0.0, 0.5, 0.5, f32::MAX, -f32::MAX, 0.0, 0.0];
    let found = check(&items, &users, 2, &ALL);
    assert_eq!(found.unscored, [0, 2]);
    assert!(found.scores.iter().all(|score| score.is_finite()));
}

#[test]
fn a_wide_index_of_one_direction() {
    let items: Vec<f32> = (0..2_000 * 24).map(|at| (at / 24) as f32 * 1e-3 + 5.0).collect();
    let users = [vec![1.0; 24], vec![-1.0; 24]].concat();
    let found = check(&items, &users, 24, &TopKQuery { k: 3, ..ALL });
    assert_eq!(found.items[..3], [1_999, 1_998, 1_997]);
    assert_eq!(found.items[3..], [0, 1, 2]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn equals_the_reference(
        (item_kind, user_kind, seed) in (0u64..10, 0u64..10, any::<u64>()),
        (count, users, width, k) in (0usize..900, 1usize..9, 1usize..70, 0usize..40),
        (bar, exclude) in (any::<bool>(), 0u64..5),
    ) {
        let items = awkward(item_kind, count, width, seed);
        let users = awkward(user_kind, users, width, !seed);
        let mut barred = BitSet::new(count);
        (0..count as u32).filter(|id| id % 3 == 0).for_each(|id| barred.insert(id));
        let seen: Vec<Vec<u32>> = (0..(users.len() / width) as u64)
            .map(|user| (0..count as u32)
                .filter(|&id| mix64(seed ^ user << 32 ^ u64::from(id)) % 10 < exclude)
                .collect())
            .collect();
        let excluded: Vec<&[u32]> = seen.iter().map(Vec::as_slice).collect();
        let barred = bar.then_some(&barred);
        let query = TopKQuery { k, excluded: &excluded, barred, threads: 1 };
        check(&items, &users, width, &query);
    }
}
