//! Candidates' logits, and the best of all items.

use super::jobs::Noting;
use super::*;
use crate::kernels::{assert_close, dot};
use steerage::device::Turns;
use steerage::device::cpu::top_k::{BitSet, ItemIndex, TopKQuery, TopKShape, reference};
use steerage::device::cuda::kernels::{
    CandidateLogits, CandidateLogitsBackward, Coarse, CoarseUsers, Draw, Exclusions, Indices,
    OwnRows, Rows, ScreenRoom, Screened, TopK, TopKNumber, Uses, found_length,
};
use steerage::device::cuda::{Asked, Counted, Items, SharedDriver};
use steerage::stage::retrieve::{Retrieve, Retriever, Search};
use steerage::stage::{Outcomes, Stage};
use steerage::types::{Key, Origin, Query, StageName, mix64};

#[test]
fn logits_are_products_with_rows_of_two_tables() {
    for (hidden, prompts, candidates) in [(8, 1, 1), (264, 5, 11), (1032, 3, 20)] {
        let (table, own) = (random_bf16(71, 30 * hidden), random_bf16(72, 3 * hidden));
        let h = random_bf16(73, prompts * hidden);
        let rows: Vec<i32> = (0..2 * candidates as i32).map(|i| (i * 7 + 1) % 33 - 3).collect();
        let lists: Vec<u32> = (0..prompts as u32).map(|p| p % 2).collect();
        let run = |device: &Device, range: std::ops::Range<usize>| {
            let logits = Buffer::new(device, range.len() * candidates)?;
            let call = CandidateLogits {
                hidden,
                candidates,
                h: &Buffer::of(device, &h[range.start * hidden..range.end * hidden])?,
                table: &Buffer::of(device, &table)?,
                own: Some(&Buffer::of(device, &own)?),
                rows: &Rows::of(device, &rows)?,
                lists: &Indices::of(device, &lists[range])?,
                logits: &logits,
            };
            launch(device, call.launch())?;
            Ok(bits_of_f32(&logits.read(device)?))
        };
        let Some(found) = under_all_orders(|device| run(device, 0..prompts)) else { return };
        let row = |prompt: usize, j: usize| match rows[lists[prompt] as usize * candidates + j] {
            row if row >= 0 => f32s(&table[row as usize * hidden..][..hidden]),
            row => f32s(&own[(-1 - row) as usize * hidden..][..hidden]),
        };
        let (mut exact, mut naive) = (Vec::new(), Vec::new());
        for (p, h) in h.chunks(hidden).enumerate() {
            let h = f32s(h);
            for j in 0..candidates {
                let row = row(p, j);
                naive.push(dot(&h, &row));
                exact.push(h.iter().zip(&row).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum());
            }
            let alone = once(|device| run(device, p..p + 1)).unwrap();
            assert_eq!(alone, found[p * candidates..(p + 1) * candidates]);
        }
        assert_close(&f32_of_bits(&found), &naive, &exact);
    }
}

/// The lists, then the scores' bits.
fn search<T: TopKNumber>(
    device: &Device,
    shape: TopKShape,
    [users, items]: [&[T]; 2],
    excluded: &[&[u32]],
    barred: Option<&[u32]>,
) -> Result<Vec<u32>> {
    let places = shape.users * shape.k;
    let (lists, scores) = (Buffer::new(device, places)?, Buffer::new(device, places)?);
    let barred = barred.map(|barred| Buffer::of(device, barred)).transpose()?;
    let call = TopK {
        shape,
        users: &Buffer::of(device, users)?,
        items: &Buffer::of(device, items)?,
        excluded: &Exclusions::of(device, excluded)?,
        barred: barred.as_ref(),
        found: &Buffer::new(device, found_length(&shape))?,
        lists: &lists,
        scores: &scores,
    };
    call.launches()?.iter().try_for_each(|launch| device.launch(launch))?;
    let mut bits = lists.read(device)?;
    bits.extend(bits_of_f32(&scores.read(device)?));
    Ok(bits)
}

/// What the definition finds, laid out as the kernel lays it out.
fn expected(shape: TopKShape, [users, items]: [&[f32]; 2], query: &TopKQuery<'_>) -> Vec<u32> {
    let found = reference::top_k(items, users, shape.width, query);
    let mut lists = vec![u32::MAX; shape.users * shape.k];
    let mut scores = vec![0x7fc0_0000; shape.users * shape.k];
    for (u, ends) in found.offsets.windows(2).enumerate() {
        for (place, i) in (ends[0]..ends[1]).enumerate() {
            lists[u * shape.k + place] = found.items[i];
            scores[u * shape.k + place] = found.scores[i].to_bits();
        }
    }
    lists.extend(scores);
    lists
}

#[test]
fn lists_are_those_of_the_definition_bit_for_bit() {
    for (users, items, width, k) in
        [(1, 1, 1, 1), (9, 700, 17, 5), (3, 1500, 64, 40), (2, 20, 33, 40)]
    {
        let shape = TopKShape { users, items, width, k };
        let (u, mut v) = (random(81, users * width), random(82, items * width));
        if items > 10 {
            // Equal scores: the lower id comes first.
            v.copy_within(0..5 * width, (items - 5) * width);
            v[7 * width..8 * width].fill(0.0);
        }
        let some: Vec<u32> = (0..items as u32).filter(|i| i % 9 == 4).collect();
        let excluded: Vec<&[u32]> = (0..users).map(|u| &some[..some.len() * (u % 2)]).collect();
        let mut barred = BitSet::new(items);
        let mut words = vec![0; items.div_ceil(32)];
        for id in (0..items as u32).filter(|id| id % 13 == 6) {
            barred.insert(id);
            words[id as usize / 32] |= 1 << (id % 32);
        }
        let query = TopKQuery { k, excluded: &excluded, barred: Some(&barred), threads: 1 };
        let case = |device: &Device| search(device, shape, [&u, &v], &excluded, Some(&words));
        let found = if k == 40 && items > k { with_every_wait(case) } else { once(case) };
        let Some(found) = found else { return };
        assert_eq!(found, expected(shape, [&u, &v], &query));
        let [narrow_u, narrow_v] =
            [&u, &v].map(|x| x.iter().copied().map(Bf16::of).collect::<Vec<Bf16>>());
        let found = once(|device| search(device, shape, [&narrow_u, &narrow_v], &excluded, None));
        let query = TopKQuery { barred: None, ..query };
        let wide = [&narrow_u, &narrow_v].map(|x| f32s(x));
        assert_eq!(found.unwrap(), expected(shape, [&wide[0], &wide[1]], &query));
    }
}

/// Items that stay on a device, against those that are packed for the processor: users without a
/// score, lists that items are too few for, ids that nobody and that some may have.
#[test]
fn a_device_finds_what_the_processor_finds() {
    for (users, items, width, k) in [(5, 900, 33, 20), (3, 70, 8, 100), (0, 5, 2, 3), (2, 0, 4, 3)]
    {
        let (mut u, v) = (random(83, users * width), random(84, items * width));
        if users > 2 {
            u[width] = f32::NAN;
            u[2 * width] = f32::MAX;
        }
        let some: Vec<u32> = (0..items as u32).filter(|i| i % 7 == 3).collect();
        let excluded: Vec<&[u32]> = (0..users).map(|u| &some[..some.len() * (u % 2)]).collect();
        let mut barred = BitSet::new(items);
        (0..items as u32).filter(|id| id % 11 == 6).for_each(|id| barred.insert(id));
        let Some(device) = Device::open(Order::ALL[0], None) else { return };
        let there = Items::new(Arc::new(device), &v, width, &barred, k).unwrap();
        let found = there.search(&Asked { users: &u, excluded: &excluded, k }).unwrap();
        let query = TopKQuery { k, excluded: &excluded, barred: Some(&barred), threads: 1 };
        let expected = ItemIndex::new(&v, width).unwrap().search(&u, &query);
        assert_eq!(found.items, expected.items);
        assert_eq!(bits_of_f32(&found.scores), bits_of_f32(&expected.scores));
        assert_eq!((found.offsets, &found.unscored), (expected.offsets, &expected.unscored));
        assert_eq!(found.unscored.is_empty(), users < 3);
        let wrong = Asked { users: &[0.0; 3], excluded: &[], k };
        assert!(there.search(&wrong).unwrap_err().to_string().contains("a list for each"));
    }
    let Some(device) = Device::open(Order::ALL[0], None) else { return };
    let device: SharedDriver = Arc::new(device);
    let new = |items: &[f32], width, k| {
        let barred = BitSet::new(items.len() / width);
        Items::new(device.clone(), items, width, &barred, k).err().unwrap().to_string()
    };
    assert!(new(&[0.0; 1026], 513, 1).contains("at most 512, found 513"));
    assert!(new(&[0.0; 4], 2, 1025).contains("at most 1024, found 1025"));
    assert!(new(&[0.0, f32::NAN], 2, 1).contains("item 0, column 1"));
}

/// But for what is excluded of each user.
#[test]
fn what_a_search_is_planned_to_take_is_what_a_device_is_asked_for() {
    for (users, items, width, k) in [(7, 900, 33, 20), (300, 20_011, 64, 100)] {
        let shape = TopKShape { users, items, width, k };
        let [kept, computed] = Items::bytes(&shape);
        let device = Arc::<Counted>::default();
        let rows = random(95, items * width);
        let there = Items::new(device.clone(), &rows, width, &BitSet::new(items), k).unwrap();
        assert_eq!(device.bytes(), kept);
        let excluded = vec![&[][..]; users];
        let asked = Asked { users: &rows[..users * width], excluded: &excluded, k };
        there.search(&asked).unwrap();
        let starts = (users + 1) * size_of::<u32>();
        let (planned, peak) = (kept + computed + starts, device.peak_bytes());
        match items {
            900 => assert_eq!(peak, planned),
            // Afterwards there may be a search without a screen, which takes more.
            _ => assert!(peak <= planned && peak > planned / 2, "{peak} of {planned}"),
        }
    }
}

/// A search behind a screen, in two rounds: lists, scores' bits, and who overflowed.
fn screened(device: &Device, shape: TopKShape, [u, v]: [&[f32]; 2]) -> Result<Vec<u32>> {
    let places = shape.users * shape.k;
    let (lists, scores) = (Buffer::new(device, places)?, Buffer::new(device, places)?);
    let room = ScreenRoom::new(device, shape.users, shape.k)?;
    let call = Screened {
        shape,
        users: &Buffer::of(device, u)?,
        coarse_users: &CoarseUsers::of(device, u, shape.width)?,
        items: &Buffer::of(device, v)?,
        coarse: &Coarse::of(device, v, shape.width)?,
        excluded: &Exclusions::of(device, &vec![&[][..]; shape.users])?,
        barred: None,
        room: &room,
        lists: &lists,
        scores: &scores,
    };
    let launches = call.launches(device)?;
    assert_eq!(launches.len(), 5, "two rounds, and the lists");
    device.launch_all(&launches)?;
    let mut bits = lists.read(device)?;
    bits.extend(bits_of_f32(&scores.read(device)?));
    bits.extend(room.overflowed.read(device)?);
    Ok(bits)
}

/// What the definition finds, and nobody overflows.
fn expected_behind_a_screen(shape: TopKShape, rows: [&[f32]; 2]) -> Vec<u32> {
    let query = TopKQuery { k: shape.k, excluded: &[], barred: None, threads: 1 };
    let mut expected = expected(shape, rows, &query);
    expected.extend(vec![0; shape.users]);
    expected
}

/// The first round looks at 64 tiles, of which everything passes; in the second there is no room for
/// that.
#[test]
fn a_screen_needs_every_wait() {
    let shape = TopKShape { users: 9, items: 136 * 64 - 5, width: 33, k: 60 };
    let (u, v) = (random(93, shape.users * shape.width), random(94, shape.items * shape.width));
    for by_groups in [false, true] {
        let found = with_every_wait(|device| {
            device.with_group_products(by_groups);
            screened(device, shape, [&u, &v])
        });
        let Some(found) = found else { return };
        assert_eq!(found, expected_behind_a_screen(shape, [&u, &v]));
    }
}

/// Several blocks of users, the last ones with groups that nobody is in; on a large device blocks
/// have few tiles, or one.
#[test]
fn a_screen_takes_many_users() {
    for (users, width) in [(330, 8), (150, 100)] {
        let shape = TopKShape { users, items: 70 * 64, width, k: 6 };
        let (u, v) = (random(96, users * width), random(97, shape.items * width));
        for (by_groups, processors) in [(false, 1), (true, 1), (true, 24), (false, 132)] {
            let found = once(|device| {
                device.with_group_products(by_groups);
                device.with_processors(processors);
                screened(device, shape, [&u, &v])
            });
            let Some(found) = found else { return };
            assert_eq!(found, expected_behind_a_screen(shape, [&u, &v]), "{users} {width}");
        }
    }
}

/// The best items lie where the first round does not look, and are rounded so that they seem to be
/// worse than others by nearly as much as a screen can be wrong. Numbers that rounding would make
/// infinite are such a case, too.
#[test]
fn a_screen_stops_nothing_that_rounding_has_made_small() {
    let (items, width, k) = (140 * 64, 64, 10);
    let half = 1.0 + 1.0 / 256.0; // becomes 1
    let mut near = vec![0.0f32; items * width];
    for (at, row) in near.chunks_exact_mut(width).enumerate() {
        match (at, at / 64 % 10) {
            (0..10, _) => (row.fill(1.0), row[63] = 1.148_437_5).1, // a little less than the best
            (_, 3) if at % 64 == 5 => row.fill(half),
            _ => {}
        }
    }
    let mut large = vec![0.0f32; items * width];
    for (at, row) in large.chunks_exact_mut(width).enumerate() {
        let other = (0.0, 3e36 / (1.0 + at as f32 / 100.0));
        (row[0], row[1]) = if at % 640 == 197 { (3.4e38, 1e37) } else { other };
    }
    let mut user = vec![0.0f32; width];
    (user[0], user[1]) = (-1e-30, 0.3);
    let (users, shape) = (vec![half; width], TopKShape { users: 1, items, width, k });
    for (user, items) in [(&users, &near), (&user, &large)] {
        let expected = expected_behind_a_screen(shape, [user, items]);
        assert!(expected[0] >= 10, "one of those that seem to be worse");
        for by_groups in [false, true] {
            let found = once(|device| {
                device.with_group_products(by_groups);
                screened(device, shape, [user, items])
            });
            let Some(found) = found else { return };
            assert_eq!(found, expected);
        }
    }
}

/// What a screen lets pass is scored exactly: lists are the definition's, by whichever products, for
/// items in any order, where all or nearly all of them are alike or forbidden, and at the edges of
/// numbers.
#[test]
fn lists_behind_a_screen_are_those_of_the_processor() {
    let (users, items) = (70, 20_011);
    for (case, width, k) in [("", 33, 20), ("", 128, 100), ("rising", 64, 10), ("equal", 64, 7)]
        .into_iter()
        .chain([("barred", 16, 50), ("tiny", 64, 5), ("norms", 64, 10)])
    {
        let (u, mut v) = (random(91, users * width), random(92, items * width));
        for (item, row) in v.chunks_exact_mut(width).enumerate() {
            let scale = match case {
                "rising" => 1e-3 * item as f32, // by the longer ones at last
                "equal" => 0.0,
                "tiny" => 1e-35,
                "norms" => 10f32.powi(item as i32 % 40 - 20),
                _ => 1.0,
            };
            row.iter_mut().for_each(|x| *x *= scale);
        }
        let some: Vec<u32> = (0..items as u32).filter(|i| i % 7 == 3).collect();
        let excluded: Vec<&[u32]> = (0..users).map(|u| &some[..some.len() * (u % 2)]).collect();
        let mut barred = BitSet::new(items);
        let is_barred = |id: u32| id % 11 == 6 || case == "barred" && id % 500 != 1;
        (0..items as u32).filter(|id| is_barred(*id)).for_each(|id| barred.insert(id));
        let query = TopKQuery { k, excluded: &excluded, barred: Some(&barred), threads: 1 };
        let expected = ItemIndex::new(&v, width).unwrap().search(&u, &query);
        for by_groups in if case.is_empty() { vec![false, true] } else { vec![width == 64] } {
            let Some(device) = Device::open(Order::ALL[usize::from(by_groups)], None) else {
                return;
            };
            let by_groups = device.with_group_products(by_groups);
            let device = Arc::new(Noting::of(device));
            let there = Items::new(device.clone(), &v, width, &barred, k).unwrap();
            let found = there.search(&Asked { users: &u, excluded: &excluded, k }).unwrap();
            assert_eq!(found.items, expected.items, "{case} {width} {by_groups}");
            assert_eq!(bits_of_f32(&found.scores), bits_of_f32(&expected.scores));
            let screen = if by_groups { "hopper_screen" } else { "screen" };
            assert!(device.ran(&format!("{screen}_{}", width.next_multiple_of(64))));
            let all_pass = ["equal", "tiny"].contains(&case); // or are within rounding of the bar
            assert_eq!(device.ran("top_k_f32"), all_pass, "{case}");
        }
    }
}

/// The stage of a job: what people saw and what they are not to be shown is left out in both places,
/// and who cannot be scored, or has nothing left, is told of.
#[test]
fn candidates_are_those_of_the_processor() {
    let (users, items, width, k) = (40usize, 60usize, 8, 12);
    let (mut vectors, table) = (random(85, users * width), random(86, items * width));
    vectors[9 * width] = f32::INFINITY;
    let mut barred = BitSet::new(items);
    (0..items as u32).filter(|id| id % 5 == 1).for_each(|id| barred.insert(id));
    let queries: Vec<Query> = (0..users as u32)
        .map(|row| Query {
            origin: Origin { shard: 0, row },
            user: Key::Int(i64::from(row)),
            history: match row {
                7 => (0..items as u32).collect(),
                _ => vec![row, (row * 7) % items as u32, row],
            },
            ..Query::default()
        })
        .collect();
    let run = |search: Search| {
        let vectors = vectors.clone();
        let retriever = Retriever {
            encode: Arc::new(move |histories| Ok(vectors[..histories.len() * width].to_vec())),
            search,
            excluded: [(Key::Int(3), vec![2, 50])].into(),
            exclude_seen: true,
            k,
        };
        let mut out = Outcomes::new(StageName::Retrieve);
        Retrieve(Arc::new(retriever)).run(queries.clone(), &mut out);
        out.into_parts()
    };
    let Some(device) = Device::open(Order::ALL[0], None) else { return };
    let there = Items::new(Arc::new(device), &table, width, &barred, k).unwrap();
    let here = run(Search::Cpu(ItemIndex::new(&table, width).unwrap(), barred));
    let there = run(Search::Devices(Turns::new(vec![there])));
    assert_eq!(format!("{:?}", here.1), format!("{:?}", there.1));
    assert_eq!((here.0.len(), here.1.len()), (users - 2, 2));
    for (here, there) in here.0.iter().zip(&there.0) {
        assert_eq!(here, there);
        assert_eq!(bits_of_f32(&here.scores), bits_of_f32(&there.scores));
        assert!(here.items.iter().all(|item| !here.query.history.contains(item)));
    }
}

#[test]
fn numbers_are_drawn_by_their_places() {
    let (seed, scale, count) = (u64::MAX - 100, 3.0, 700);
    let found = under_all_orders(|device| {
        let (wide, narrow) =
            (Buffer::<f32>::new(device, count)?, Buffer::<Bf16>::new(device, count)?);
        launch(device, Draw { seed, scale, out: &wide }.launch())?;
        launch(device, Draw { seed, scale, out: &narrow }.launch())?;
        let mut bits = bits_of_f32(&wide.read(device)?);
        bits.extend(bits_of_bf16(&narrow.read(device)?));
        Ok(bits)
    });
    let Some(found) = found else { return };
    let expected: Vec<f32> = (0..count as u64)
        .map(|i| mix64(seed.wrapping_add(i)) >> 40)
        .map(|upper| scale * (upper as f32 / (1u32 << 24) as f32 - 0.5))
        .collect();
    assert_eq!(f32_of_bits(&found[..count]), expected);
    assert_eq!(bf16_of_bits(&found[count..]), rounded(&expected));
}

#[test]
fn the_gradient_of_logits_reaches_rows_and_prompts() {
    let (hidden, prompts, candidates) = (264, 3, 7);
    let (table, own) = (random_bf16(91, 30 * hidden), random_bf16(92, 3 * hidden));
    let h = random_bf16(93, prompts * hidden);
    let (d_logits, before) = (random(94, prompts * candidates), random(95, 3 * hidden));
    let rows: Vec<i32> = (0..2 * candidates as i32).map(|i| (i * 7 + 1) % 33 - 3).collect();
    let lists = [1, 0, 1];
    let row = |i: usize| rows[lists[i / candidates] as usize * candidates + i % candidates];
    let used: Vec<Option<u32>> =
        (0..prompts * candidates).map(|i| u32::try_from(-1 - row(i)).ok()).collect();
    let found = under_all_orders(|device| {
        let (d_h, d_own) = (Buffer::new(device, h.len())?, Buffer::of(device, &before)?);
        let call = CandidateLogitsBackward {
            forward: CandidateLogits {
                hidden,
                candidates,
                h: &Buffer::of(device, &h)?,
                table: &Buffer::of(device, &table)?,
                own: Some(&Buffer::of(device, &own)?),
                rows: &Rows::of(device, &rows)?,
                lists: &Indices::of(device, &lists)?,
                logits: &Buffer::new(device, prompts * candidates)?,
            },
            d_logits: &Buffer::of(device, &d_logits)?,
            d_h: &d_h,
            d_own: Some(OwnRows {
                uses: &Uses::of(device, [3, hidden], used.iter().copied())?,
                d_own: &d_own,
            }),
        };
        call.launches()?.iter().try_for_each(|launch| device.launch(launch))?;
        let mut bits = bits_of_bf16(&d_h.read(device)?);
        bits.extend(bits_of_f32(&d_own.read(device)?));
        Ok(bits)
    });
    let Some(found) = found else { return };
    let (mut exact_h, mut exact_own) = (vec![0.0; h.len()], vec![0.0; before.len()]);
    for (i, d) in d_logits.iter().enumerate() {
        let (p, row) = (i / candidates, row(i));
        for c in 0..hidden {
            let x = match usize::try_from(row) {
                Ok(row) => table[row * hidden + c],
                Err(_) => {
                    let own_row = (-1 - row) as usize;
                    exact_own[own_row * hidden + c] +=
                        f64::from(*d) * f64::from(h[p * hidden + c].f32());
                    own[own_row * hidden + c]
                }
            };
            exact_h[p * hidden + c] += f64::from(*d) * f64::from(x.f32());
        }
    }
    let (d_h, d_own) = found.split_at(h.len());
    for (found, exact) in bf16_of_bits(d_h).iter().zip(&exact_h) {
        assert!((f64::from(*found) - exact).abs() <= exact.abs() / 255.0 + 1e-5);
    }
    for ((found, exact), before) in f32_of_bits(d_own).iter().zip(&exact_own).zip(&before) {
        assert!((f64::from(*found) - exact - f64::from(*before)).abs() <= 1e-5);
    }
}
