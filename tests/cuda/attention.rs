//! Attention over packed sequences, some of which go on from others.

use super::*;
use crate::kernels::{Real, assert_close, dot, real};
use steerage::device::Queries;
use steerage::device::cuda::kernels::{
    Dropout, GroupedAttention, GroupedAttentionBackward, Indices, Keep, Paths, Visits,
};
use steerage::device::shape::GroupedShape;

/// Not the root of the width: what heads are filled up with counts nothing.
pub fn scale_of(shape: &GroupedShape<'_>) -> f32 {
    1.25 / (shape.width as f32).sqrt()
}

/// Outputs and statistics, by plain loops; `narrow` rounds each p. Without `causal` every query sees
/// all of its sequence.
pub fn plain<F: Real>(
    shape: &GroupedShape<'_>,
    causal: Option<Queries>,
    qkv: &[F],
    narrow: impl Fn(F) -> F,
) -> (Vec<F>, Vec<F>) {
    let GroupedShape { heads, shared, width, .. } = *shape;
    let (mut out, mut statistics) = (Vec::new(), Vec::new());
    let (ends, queries) = (shape.ends(), causal.unwrap_or(Queries::All));
    for s in (0..shape.sequences()).filter(|s| queries == Queries::All || ends[*s]) {
        let rows: Vec<usize> = shape.path(s).into_iter().flatten().collect();
        let own = (shape.offsets[s + 1] - shape.offsets[s]) as usize;
        let asking = if queries == Queries::All { own } else { 1 };
        for i in rows.len() - asking..rows.len() {
            for head in 0..heads {
                let part = |row: usize, head: usize| {
                    &qkv[rows[row] * shape.row() + head * width..][..width]
                };
                let group = head * shared / heads;
                let scale = F::of(f64::from(scale_of(shape)));
                let last = if causal.is_some() { i } else { rows.len() - 1 };
                let scores: Vec<F> = (0..=last)
                    .map(|j| dot(part(i, head), part(j, heads + group)) * scale)
                    .collect();
                let largest = scores.iter().fold(scores[0], |a, b| if *b > a { *b } else { a });
                let weights: Vec<F> = scores.iter().map(|x| (*x - largest).exp()).collect();
                let total = weights.iter().fold(F::of(0.0), |sum, w| sum + *w);
                let mut mixed = vec![F::of(0.0); width];
                for (j, weight) in weights.iter().enumerate() {
                    let p = narrow(*weight / total);
                    for (to, v) in mixed.iter_mut().zip(part(j, heads + shared + group)) {
                        *to += p * *v;
                    }
                }
                out.extend(mixed);
                statistics.push(F::of(largest.f64() + total.f64().ln()));
            }
        }
    }
    (out, statistics)
}

/// Bits of the outputs, then of the statistics; with the products of Hopper, or without.
pub fn attend(
    device: &Device,
    hopper: bool,
    shape: &GroupedShape<'_>,
    queries: Queries,
    qkv: &[Bf16],
) -> Result<Vec<u32>> {
    device.with_group_products(hopper);
    attend_along(device, &Paths::of(device, shape, queries)?, shape, qkv)
}

/// Bits of the outputs, then of the statistics.
fn attend_along(
    device: &Device,
    paths: &Paths,
    shape: &GroupedShape<'_>,
    qkv: &[Bf16],
) -> Result<Vec<u32>> {
    let out = Buffer::new(device, paths.rows() * shape.queries())?;
    let statistics = Buffer::new(device, paths.rows() * shape.heads)?;
    let qkv = Buffer::of(device, qkv)?;
    let scale = scale_of(shape);
    let call = GroupedAttention {
        paths,
        scale,
        qkv: &qkv,
        kept: None,
        dropout: Dropout::NONE,
        statistics: &statistics,
        out: &out,
    };
    launch(device, call.launch())?;
    let mut bits = bits_of_bf16(&out.read(device)?);
    bits.extend(bits_of_f32(&statistics.read(device)?));
    Ok(bits)
}

/// Numbers in [−2, 2), so that some probabilities are far from the others.
pub fn random_qkv(seed: u64, shape: &GroupedShape<'_>) -> Vec<Bf16> {
    let numbers = random(seed, shape.tokens() * shape.row());
    numbers.into_iter().map(|x| Bf16::of(2.0 * x)).collect()
}

#[test]
fn attention_is_its_formula_whoever_goes_on_from_whom() {
    let parents = [None, Some(0), Some(0), None, Some(2), None];
    for (heads, shared, width, lengths) in [
        (2, 1, 64, [63, 2, 65, 1, 5, 130]),
        (6, 2, 64, [70, 1, 30, 64, 3, 9]),
        (7, 1, 128, [5, 61, 4, 11, 1, 1]),
        (2, 2, 128, [64, 1, 64, 65, 2, 3]),
    ] {
        let mut offsets = vec![0];
        lengths.iter().for_each(|length| offsets.push(offsets[offsets.len() - 1] + length));
        let shape = GroupedShape { offsets: &offsets, parents: &parents, heads, shared, width };
        let qkv = random_qkv(61, &shape);
        let kinds =
            [Queries::All, Queries::Last].map(|queries| [(queries, false), (queries, true)]);
        for (queries, hopper) in kinds.into_iter().flatten() {
            let case = |device: &Device| attend(device, hopper, &shape, queries, &qkv);
            let all = heads == 6 && queries == Queries::All;
            let found = if all { with_every_wait(case) } else { once(case) };
            let Some(found) = found else { return };
            let numbers = f32s(&qkv);
            let (exact, exact_statistics) =
                plain::<f64>(&shape, Some(queries), &real(&numbers), |p| p);
            let (naive, naive_statistics) =
                plain::<f32>(&shape, Some(queries), &numbers, |p| Bf16::of(p).f32());
            let (out, statistics) = found.split_at(exact.len());
            assert_close(&bf16_of_bits(out), &rounded(&naive), &exact);
            assert_close(&f32_of_bits(statistics), &naive_statistics, &exact_statistics);
        }
    }
}

#[test]
fn a_sequence_has_the_same_bits_alone_and_with_others_and_with_what_it_goes_on_from() {
    let (heads, shared, width) = (4, 2, 64);
    let offsets = [0, 50, 90, 91, 161];
    let parents = [None, Some(0), Some(1), Some(0)];
    let shape = GroupedShape { offsets: &offsets, parents: &parents, heads, shared, width };
    let qkv = random_qkv(62, &shape);
    let (row, wide) = (shape.row(), shape.queries());
    for hopper in [false, true] {
        let attend = |shape: &GroupedShape<'_>, queries, qkv: &[Bf16]| {
            once(|device| attend(device, hopper, shape, queries, qkv))
        };
        let Some(all) = attend(&shape, Queries::All, &qkv) else { return };
        let last = attend(&shape, Queries::Last, &qkv).unwrap();
        for (at, s) in [2, 3].into_iter().enumerate() {
            let rows: Vec<usize> = shape.path(s).into_iter().flatten().collect();
            let own: Vec<Bf16> =
                rows.iter().flat_map(|r| &qkv[r * row..(r + 1) * row]).copied().collect();
            let offsets = [0, rows.len() as u32];
            let alone = GroupedShape { offsets: &offsets, parents: &[], heads, shared, width };
            let found = attend(&alone, Queries::All, &own).unwrap();
            for (i, r) in rows.iter().enumerate() {
                assert_eq!(found[i * wide..(i + 1) * wide], all[r * wide..(r + 1) * wide]);
            }
            let i = rows.len() - 1;
            assert_eq!(found[i * wide..(i + 1) * wide], last[at * wide..(at + 1) * wide]);
        }
    }
}

/// Words of texts see each other, those after them too.
#[test]
fn attention_in_both_directions_is_its_formula() {
    for (heads, width, lengths) in [(3, 64, [70, 1, 129, 64]), (2, 128, [5, 63, 2, 65])] {
        let mut offsets = vec![0];
        lengths.iter().for_each(|length| offsets.push(offsets[offsets.len() - 1] + length));
        let shape = GroupedShape { offsets: &offsets, parents: &[], heads, shared: heads, width };
        let qkv = random_qkv(67, &shape);
        for hopper in [false, true] {
            let case = |device: &Device| {
                device.with_group_products(hopper);
                let paths = Paths::mutual(device, &shape)?;
                attend_along(device, &paths, &shape, &qkv)
            };
            let Some(found) = under_all_orders(case) else { return };
            let numbers = f32s(&qkv);
            let (exact, exact_statistics) = plain::<f64>(&shape, None, &real(&numbers), |p| p);
            let (naive, naive_statistics) =
                plain::<f32>(&shape, None, &numbers, |p| Bf16::of(p).f32());
            let (out, statistics) = found.split_at(exact.len());
            assert_close(&bf16_of_bits(out), &rounded(&naive), &exact);
            assert_close(&f32_of_bits(statistics), &naive_statistics, &exact_statistics);
        }
    }
}

/// Bits of the outputs of each sequence's last `own` tokens, whose keys and values, and those of
/// the tokens before, are kept in pages that lie anywhere.
fn attend_kept(
    device: &Device,
    shape: &GroupedShape<'_>,
    own: &[u32],
    qkv: &[Bf16],
) -> Result<Vec<u32>> {
    let GroupedShape { heads, shared, width, .. } = *shape;
    let numbers = [heads * width, 2 * shared * width];
    let (mut places, mut rows, mut last_rows) = (Vec::new(), Vec::new(), Vec::new());
    let (mut offsets, mut page) = (vec![0], 40);
    for (s, own) in own.iter().enumerate() {
        let length = shape.offsets[s + 1] - shape.offsets[s];
        let mut seen = Vec::new();
        for first in (0..length).step_by(64) {
            page -= 3;
            seen.push(page * 64..page * 64 + 64.min((length - first) as usize));
        }
        places.extend(seen.iter().cloned().flatten().map(|row| row as u32));
        last_rows.extend(shape.offsets[s + 1] - own..shape.offsets[s + 1]);
        offsets.push(offsets[s] + own);
        rows.push(seen);
    }
    let kept = Buffer::new(device, 40 * 64 * numbers[1])?;
    let places = Indices::of(device, &places)?;
    let all = Buffer::of(device, qkv)?;
    launch(device, Keep { numbers, qkv: &all, places: &places, kept: &kept }.launch())?;
    let row = shape.row();
    let last: Vec<Bf16> =
        last_rows.iter().flat_map(|r| &qkv[*r as usize * row..][..row]).copied().collect();
    let shape = GroupedShape { offsets: &offsets, parents: &[], ..*shape };
    let paths = Paths::kept(device, &shape, Queries::All, &rows)?;
    let out = Buffer::new(device, paths.rows() * shape.queries())?;
    let statistics = &Buffer::new(device, paths.rows() * shape.heads)?;
    let (paths, scale, qkv) = (&paths, scale_of(&shape), &Buffer::of(device, &last)?);
    let (kept, dropout) = (Some(&kept), Dropout::NONE);
    let call = GroupedAttention { paths, scale, qkv, kept, dropout, statistics, out: &out };
    launch(device, call.launch())?;
    Ok(bits_of_bf16(&out.read(device)?))
}

#[test]
fn what_is_kept_elsewhere_is_seen_as_what_is_next_to_the_queries() {
    for (heads, shared, width) in [(4, 2, 64), (2, 1, 128)] {
        let offsets = [0, 200, 201, 330];
        let own = [3, 1, 70];
        let shape = GroupedShape { offsets: &offsets, parents: &[], heads, shared, width };
        let qkv = random_qkv(63, &shape);
        for hopper in [false, true] {
            let plain = |device: &Device| attend(device, hopper, &shape, Queries::All, &qkv);
            let Some(all) = once(plain) else { return };
            let case = |device: &Device| {
                device.with_group_products(hopper);
                attend_kept(device, &shape, &own, &qkv)
            };
            let found = with_every_wait(case).unwrap();
            let wide = shape.queries();
            let last = offsets[1..].iter().zip(own).flat_map(|(end, own)| end - own..*end);
            for (found, r) in found.chunks_exact(wide).zip(last) {
                assert_eq!(*found, all[r as usize * wide..][..wide]);
            }
        }
    }
}

/// The gradient by plain loops over what each query sees, all of its sequence without `causal`;
/// `narrow` rounds p and the scores' own.
fn plain_backward<F: Real>(
    shape: &GroupedShape<'_>,
    causal: Option<Queries>,
    qkv: &[F],
    d_out: &[F],
    narrow: impl Fn(F) -> F,
) -> Vec<F> {
    let GroupedShape { heads, shared, width, .. } = *shape;
    let mut d_qkv = vec![F::of(0.0); qkv.len()];
    let (ends, queries) = (shape.ends(), causal.unwrap_or(Queries::All));
    let mut d_outs = d_out.chunks(width);
    for s in (0..shape.sequences()).filter(|s| queries == Queries::All || ends[*s]) {
        let rows: Vec<usize> = shape.path(s).into_iter().flatten().collect();
        let own = (shape.offsets[s + 1] - shape.offsets[s]) as usize;
        let asking = if queries == Queries::All { own } else { 1 };
        for (i, head) in
            (rows.len() - asking..rows.len()).flat_map(|i| (0..heads).map(move |h| (i, h)))
        {
            let d_out = d_outs.next().unwrap();
            let at = |row: usize, head: usize| rows[row] * shape.row() + head * width;
            let (key, value) =
                (heads + head * shared / heads, heads + shared + head * shared / heads);
            let part = |from: usize| &qkv[from..from + width];
            let scale = F::of(f64::from(scale_of(shape)));
            let last = if causal.is_some() { i } else { rows.len() - 1 };
            let score = |j: usize| dot(part(at(i, head)), part(at(j, key))) * scale;
            let weights: Vec<F> = (0..=last).map(|j| score(j).exp()).collect();
            let total = weights.iter().fold(F::of(0.0), |sum, w| sum + *w);
            let a: Vec<F> = (0..=last).map(|j| dot(d_out, part(at(j, value)))).collect();
            let along =
                weights.iter().zip(&a).fold(F::of(0.0), |sum, (w, a)| sum + *w / total * *a);
            for j in 0..=last {
                let p = weights[j] / total;
                let d = narrow(p * (a[j] - along) * scale);
                for c in 0..width {
                    d_qkv[at(i, head) + c] += d * qkv[at(j, key) + c];
                    d_qkv[at(j, key) + c] += d * qkv[at(i, head) + c];
                    d_qkv[at(j, value) + c] += narrow(p) * d_out[c];
                }
            }
        }
    }
    d_qkv
}

/// Bits of the gradient, after the forward kernel.
fn attend_backward(
    device: &Device,
    shape: &GroupedShape<'_>,
    causal: Option<Queries>,
    [qkv, d_out]: [&[Bf16]; 2],
) -> Result<Vec<u32>> {
    let visits = match causal {
        Some(queries) => Visits::of(device, shape, queries)?,
        None => Visits::mutual(device, shape)?,
    };
    let paths = visits.paths();
    let (qkv, out) = (Buffer::of(device, qkv)?, Buffer::new(device, d_out.len())?);
    let statistics = Buffer::new(device, paths.rows() * shape.heads)?;
    let scale = scale_of(shape);
    let call = GroupedAttention {
        paths,
        scale,
        qkv: &qkv,
        kept: None,
        dropout: Dropout::NONE,
        statistics: &statistics,
        out: &out,
    };
    launch(device, call.launch())?;
    let d_qkv = Buffer::new(device, qkv.len())?;
    let call = GroupedAttentionBackward {
        visits: &visits,
        dropout: Dropout::NONE,
        scale,
        qkv: &qkv,
        statistics: &statistics,
        out: &out,
        d_out: &Buffer::of(device, d_out)?,
        alongs: &Buffer::new(device, statistics.len())?,
        d_qkv: &d_qkv,
    };
    call.launches()?.iter().try_for_each(|launch| device.launch(launch))?;
    Ok(bits_of_bf16(&d_qkv.read(device)?))
}

#[test]
fn the_gradient_of_attention_is_its_formula_whoever_goes_on_from_whom() {
    let parents = [None, Some(0), Some(0), Some(2)];
    for (heads, shared, width, lengths) in
        [(6, 2, 64, [70, 1, 9, 3]), (3, 1, 128, [33, 70, 2, 1]), (2, 2, 64, [64, 65, 1, 66])]
    {
        let mut offsets = vec![0];
        lengths.iter().for_each(|length| offsets.push(offsets[offsets.len() - 1] + length));
        let shape = GroupedShape { offsets: &offsets, parents: &parents, heads, shared, width };
        let qkv = random_qkv(63, &shape);
        for queries in [Queries::All, Queries::Last] {
            let rows = if queries == Queries::All { shape.tokens() } else { 2 };
            let d_out = random_bf16(64, rows * shape.queries());
            let all = heads == 6 && queries == Queries::All;
            let queries = Some(queries);
            let case = |device: &Device| attend_backward(device, &shape, queries, [&qkv, &d_out]);
            let found = if all { with_every_wait(case) } else { once(case) };
            let Some(found) = found else { return };
            let (qkv, d_out) = (f32s(&qkv), f32s(&d_out));
            let exact = plain_backward::<f64>(&shape, queries, &real(&qkv), &real(&d_out), |x| x);
            let naive = plain_backward::<f32>(&shape, queries, &qkv, &d_out, |x| Bf16::of(x).f32());
            assert_close(&bf16_of_bits(&found), &rounded(&naive), &exact);
        }
    }
}

#[test]
fn the_gradient_of_attention_in_both_directions_is_its_formula() {
    for (heads, width, lengths) in [(3, 64, [70, 1, 129, 64]), (2, 128, [5, 63, 2, 65])] {
        let mut offsets = vec![0];
        lengths.iter().for_each(|length| offsets.push(offsets[offsets.len() - 1] + length));
        let shape = GroupedShape { offsets: &offsets, parents: &[], heads, shared: heads, width };
        let qkv = random_qkv(68, &shape);
        let d_out = random_bf16(69, shape.tokens() * shape.queries());
        let case = |device: &Device| attend_backward(device, &shape, None, [&qkv, &d_out]);
        let found = if width == 64 { with_every_wait(case) } else { under_all_orders(case) };
        let Some(found) = found else { return };
        let (qkv, d_out) = (f32s(&qkv), f32s(&d_out));
        let exact = plain_backward::<f64>(&shape, None, &real(&qkv), &real(&d_out), |x| x);
        let naive = plain_backward::<f32>(&shape, None, &qkv, &d_out, |x| Bf16::of(x).f32());
        assert_close(&bf16_of_bits(&found), &rounded(&naive), &exact);
    }
}
