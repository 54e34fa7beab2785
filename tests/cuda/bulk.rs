//! Keys and values that come by Hopper's bulk copies, and those that cannot.

use super::attention::{attend, plain, random_qkv, scale_of};
use super::*;
use crate::kernels::{assert_close, real};
use std::ops::Range;
use steerage::device::Queries;
use steerage::device::cuda::kernels::{Dropout, GroupedAttention, Paths};
use steerage::device::shape::GroupedShape;

/// Whether a launch so far has waited for bulk copies of keys and values; not told by a real device.
fn waited_for_bulk(device: &Device) -> Option<bool> {
    let Device::Emulated(emulator) = device else { return None };
    let file = "grouped_attention_hopper.cu";
    let text = include_str!("../../kernels/grouped_attention_hopper.cu");
    let line = text.lines().position(|line| line.contains("MBARRIER_WAIT")).unwrap() + 1;
    let place = format!("{file}:{line}");
    Some(emulator.places().iter().any(|waited| waited.ends_with(&place)))
}

/// Five tiles of a sequence's own; a tile half of which is the prefix's; the end of a sequence that
/// nobody has filled; and a prefix of a prefix, which begins inside a tile and fills others.
#[test]
fn attention_is_its_formula_in_bulk_and_where_tiles_straddle() {
    let (parents, lengths) = ([None, Some(0), None, Some(1), Some(0)], [130, 100, 330, 140, 1]);
    let mut offsets = vec![0];
    lengths.iter().for_each(|length| offsets.push(offsets[offsets.len() - 1] + length));
    for (heads, shared, width) in [(4, 2, 64), (2, 1, 128), (2, 2, 64)] {
        let shape = GroupedShape { offsets: &offsets, parents: &parents, heads, shared, width };
        let qkv = random_qkv(71, &shape);
        let case = |device: &Device| {
            let found = attend(device, true, &shape, Queries::All, &qkv)?;
            let bulk = device.has_group_products();
            assert!(waited_for_bulk(device).is_none_or(|waited| waited == bulk));
            Ok(found)
        };
        let found = if heads == 4 { under_all_orders(case) } else { once(case) };
        let Some(found) = found else { return };
        let numbers = f32s(&qkv);
        let causal = Some(Queries::All);
        let (exact, exact_statistics) = plain::<f64>(&shape, causal, &real(&numbers), |p| p);
        let (naive, naive_statistics) =
            plain::<f32>(&shape, causal, &numbers, |p| Bf16::of(p).f32());
        let (out, statistics) = found.split_at(exact.len());
        assert_close(&bf16_of_bits(out), &rounded(&naive), &exact);
        assert_close(&f32_of_bits(statistics), &naive_statistics, &exact_statistics);
    }
}

/// Every place where threads wait, say how many bytes come, or make their writes known: each is
/// missed. Few queries, so that few blocks go over many tiles.
#[test]
fn nothing_that_bulk_copies_need_can_be_left_out() {
    let (offsets, parents) = ([0, 290, 297], [None, Some(0)]);
    for (heads, shared, width) in [(2, 1, 64), (1, 1, 128)] {
        let shape = GroupedShape { offsets: &offsets, parents: &parents, heads, shared, width };
        let qkv = random_qkv(72, &shape);
        let case = |device: &Device| attend(device, true, &shape, Queries::Last, &qkv);
        with_every_wait(case);
    }
}

/// Bits of what the last tokens of a text see of it, all of which is kept, as these rows.
fn attend_rows(
    device: &Device,
    shape: &GroupedShape<'_>,
    [qkv, kept]: [&[Bf16]; 2],
    rows: &[Range<usize>],
) -> Result<Vec<u32>> {
    device.with_group_products(true);
    let paths = &Paths::kept(device, shape, Queries::All, &[rows.to_vec()])?;
    let [qkv, kept] = &[Buffer::of(device, qkv)?, Buffer::of(device, kept)?];
    let out = Buffer::new(device, paths.rows() * shape.queries())?;
    let statistics = &Buffer::new(device, paths.rows() * shape.heads)?;
    let scale = scale_of(shape);
    let (kept, dropout) = (Some(kept), Dropout::NONE);
    let call = GroupedAttention { paths, scale, qkv, kept, dropout, statistics, out: &out };
    launch(device, call.launch())?;
    let mut bits = bits_of_bf16(&out.read(device)?);
    bits.extend(bits_of_f32(&statistics.read(device)?));
    Ok(bits)
}

/// A segment that is said as several comes by other copies: no tile lies in one of them.
#[test]
fn what_comes_in_bulk_has_the_bits_of_what_comes_by_sixteen_bytes() {
    let (own, length) = (70, 331);
    for (heads, shared, width) in [(4, 2, 64), (2, 1, 128)] {
        let shape = GroupedShape { offsets: &[0, own], parents: &[], heads, shared, width };
        let qkv = random_qkv(73, &shape);
        let kept = random_bf16(74, (length + 9) * 2 * shared * width);
        // From a row that is no multiple of anything.
        let whole = 7..7 + length;
        let cut: Vec<Range<usize>> =
            (0..length).step_by(41).map(|first| 7 + first..7 + length.min(first + 41)).collect();
        let under = |rows: &[Range<usize>], bulk: bool| {
            under_all_orders(|device| {
                let found = attend_rows(device, &shape, [&qkv, &kept], rows)?;
                assert!(waited_for_bulk(device).is_none_or(|waited| waited == bulk));
                Ok(found)
            })
        };
        assert_eq!(under(&[whole], true), under(&cut, false));
    }
}

/// A tile of one segment that a block sees in part.
#[test]
fn what_no_query_of_a_block_sees_may_be_no_number() {
    let (heads, shared, width, first) = (4, 2, 64, 100);
    let shape = GroupedShape { offsets: &[0, 130], parents: &[], heads, shared, width };
    let clean = random_qkv(75, &shape);
    let mut spoilt = clean.clone();
    spoilt[first * shape.row()..].fill(Bf16::of(f32::NAN));
    // Blocks of 32 queries.
    let before = first / 32 * 32 * shape.queries();
    for hopper in [false, true] {
        let attend =
            |qkv: &[Bf16]| once(|device| attend(device, hopper, &shape, Queries::All, qkv));
        let (Some(clean), Some(spoilt)) = (attend(&clean), attend(&spoilt)) else { return };
        assert_eq!(clean[..before], spoilt[..before]);
        assert_ne!(clean, spoilt);
    }
}
