//! Products with adapters that are added to the stream, and the stream's norm.

use super::lora::Case;
use super::norms::rms_norm;
use super::*;
use crate::kernels::{assert_close, plain, real};
use std::ops::Range;
use steerage::device::cuda::kernels::{
    Indices, LoraLayerNorm, LoraResidual, LoraRmsNorm, LoraSums,
};

/// The last has more columns than a block's warps take at once.
const SIZES: [[usize; 3]; 4] = [[1, 8, 8], [37, 24, 72], [18, 40, 264], [5, 8, 1064]];

/// With every wait left out where several warps have something to wait for.
fn found(outputs: usize, case: impl Fn(&Device) -> Result<Vec<u32>>) -> Option<Vec<u32>> {
    if outputs == 264 { with_every_wait(case) } else { under_all_orders(case) }
}

/// What comes out for some of a case's rows: x, the normalised rows, the statistics. Rows are added
/// to those of the stream that `from` says, or to their own.
fn rms_normed(
    device: &Device,
    [stream, weight]: [&[f32]; 2],
    from: Option<&[u32]>,
    (range, sums): (Range<usize>, LoraSums<'_>),
) -> Result<Vec<u32>> {
    let (hidden, rows) = (weight.len(), range.len());
    let stream = Buffer::of(device, stream)?;
    let own = stream.slice(range.start * hidden..range.end * hidden)?;
    let from = from.map(|from| Indices::of(device, &from[range])).transpose()?;
    let (residual, x) = match from {
        None => (own.clone(), own),
        Some(_) => (stream, Buffer::new(device, rows * hidden)?),
    };
    let (out, statistics) = (Buffer::new(device, rows * hidden)?, Buffer::new(device, rows)?);
    let call = LoraRmsNorm {
        x: LoraResidual { sums, residual: &residual, from: from.as_ref(), out: &x },
        weight: &Buffer::of(device, weight)?,
        epsilon: 1e-5,
        out: &out,
        statistics: Some(&statistics),
    };
    launch(device, call.launch())?;
    let mut bits = bits_of_f32(&x.read(device)?);
    bits.extend(bits_of_bf16(&out.read(device)?));
    bits.extend(bits_of_f32(&statistics.read(device)?));
    Ok(bits)
}

/// The same of a layer norm, whose rows come as f32 and rounded.
fn layer_normed(
    device: &Device,
    [stream, affine]: [&[f32]; 2],
    (range, sums): (Range<usize>, LoraSums<'_>),
) -> Result<Vec<u32>> {
    let (hidden, rows) = (affine.len() / 2, range.len());
    let stream = Buffer::of(device, &stream[range.start * hidden..range.end * hidden])?;
    let (x, out) = (Buffer::new(device, rows * hidden)?, Buffer::new(device, rows * hidden)?);
    let statistics = Buffer::new(device, 2 * rows)?;
    let call = LoraLayerNorm {
        x: LoraResidual { sums, residual: &stream, from: None, out: &x },
        affine: &Buffer::of(device, affine)?,
        epsilon: 1e-8,
        stream: &stream,
        out: Some(&out),
        statistics: &statistics,
    };
    launch(device, call.launch())?;
    let mut bits = bits_of_f32(&x.read(device)?);
    bits.extend(bits_of_f32(&stream.read(device)?));
    bits.extend(bits_of_f32(&statistics.read(device)?));
    let (rounded, narrow) = (rounded(&stream.read(device)?), out.read(device)?);
    assert_eq!(bits_of_f32(&rounded), bits_of_f32(&f32s(&narrow)));
    Ok(bits)
}

/// A case's values, exactly and as f32, added to rows of a stream.
fn added(
    (mut exact, mut naive): (Vec<f64>, Vec<f32>),
    (stream, hidden): (&[f32], usize),
    row: impl Fn(usize) -> usize,
) -> (Vec<f64>, Vec<f32>) {
    for i in 0..exact.len() {
        let residual = stream[row(i / hidden) * hidden + i % hidden];
        (exact[i], naive[i]) = (exact[i] + f64::from(residual), naive[i] + residual);
    }
    (exact, naive)
}

/// That each of the first rows alone leaves the same, in parts of so many numbers a row.
fn assert_alone(
    found: &[u32],
    (rows, parts): (usize, &[usize]),
    run: impl Fn(&Device, Range<usize>) -> Result<Vec<u32>>,
) {
    for r in 0..rows.min(20) {
        let alone = once(|device| run(device, r..r + 1)).unwrap();
        let (mut at, mut from) = (0, 0);
        for part in parts {
            assert_eq!(alone[at..][..*part], found[from + r * part..][..*part], "row {r}");
            (at, from) = (at + part, from + rows * part);
        }
    }
}

#[test]
fn what_is_added_to_the_stream_is_normalised_in_one_launch() {
    for [rows, inputs, hidden] in SIZES {
        let (case, elements) = (Case::new([rows, inputs, hidden]), rows * hidden);
        let (stream, weight) = (random(41, 2 * elements), random(42, hidden));
        let from: Vec<u32> = (0..rows as u32).map(|r| (r * 7 + 3) % (2 * rows as u32)).collect();
        for from in [None, Some(&from[..])] {
            let run = |device: &Device, range: Range<usize>| {
                case.run(device, range.clone(), |sums| {
                    rms_normed(device, [&stream, &weight], from, (range.clone(), sums))
                })
            };
            let Some(found) = found(hidden, |device| run(device, 0..rows)) else { return };
            let (bits, exact, naive) = case.values(&found);
            let row = |r: usize| from.map_or(r, |from| from[r] as usize);
            let (exact, naive) = added((exact, naive), (&stream, hidden), row);
            assert_close(&f32_of_bits(&bits[..elements]), &naive, &exact);
            let naive = rounded(&rms_norm::<f32>(&naive, &weight));
            let exact = rms_norm::<f64>(&exact, &real(&weight));
            assert_close(&bf16_of_bits(&bits[elements..2 * elements]), &naive, &exact);
            assert_alone(bits, (rows, &[hidden, hidden, 1]), run);
        }
    }
}

#[test]
fn what_is_added_to_an_encoders_stream_is_normalised_in_one_launch() {
    for [rows, inputs, hidden] in SIZES {
        let (case, elements) = (Case::new([rows, inputs, hidden]), rows * hidden);
        let (stream, affine) = (random(43, elements), random(44, 2 * hidden));
        let run = |device: &Device, range: Range<usize>| {
            case.run(device, range.clone(), |sums| {
                layer_normed(device, [&stream, &affine], (range.clone(), sums))
            })
        };
        let Some(found) = found(hidden, |device| run(device, 0..rows)) else { return };
        let (bits, exact, naive) = case.values(&found);
        let (exact, naive) = added((exact, naive), (&stream, hidden), |r| r);
        let [x, out] = [0, elements].map(|at| f32_of_bits(&bits[at..at + elements]));
        assert_close(&x, &naive, &exact);
        let exact = plain::layer_norm::<f64>(&real(&x), &real(&affine));
        assert_close(&out, &plain::layer_norm::<f32>(&x, &affine), &exact);
        assert_alone(bits, (rows, &[hidden, hidden, 2]), run);
    }
}

#[test]
fn rows_of_others_need_another_place_to_go_to() {
    let case = Case::new([2, 8, 8]);
    once(|device| {
        case.run(device, 0..2, |sums| {
            let stream = &Buffer::of(device, &[0.0; 16])?;
            let (weight, from) = (&Buffer::of(device, &[0.0; 8])?, &Indices::of(device, &[1, 0])?);
            let own = LoraResidual { sums, residual: stream, from: None, out: stream };
            let x = LoraResidual { from: Some(from), ..own };
            let (out, epsilon) = (&Buffer::new(device, 16)?, 1e-5);
            let call = LoraRmsNorm { x, weight, epsilon, out, statistics: None };
            let said = call.launch().unwrap_err().to_string();
            assert_eq!(
                said,
                "lora_rms_norm: rows that come from others need another place to go to"
            );
            let call = LoraRmsNorm { x: own, weight: &weight.slice(0..4)?, ..call };
            let said = call.launch().unwrap_err().to_string();
            assert_eq!(said, "lora_rms_norm: weight: expected [8] numbers, found 4");
            let (affine, statistics) = (&Buffer::of(device, &[0.0; 16])?, &Buffer::new(device, 4)?);
            let x = LoraResidual { out: &Buffer::new(device, 16)?, ..x };
            for x in [own, x] {
                let call = LoraLayerNorm { x, affine, epsilon, stream, out: None, statistics };
                let said = call.launch().unwrap_err().to_string();
                assert!(said.starts_with("lora_layer_norm: x needs another place"), "{said}");
            }
            Ok(Vec::new())
        })
    });
}
