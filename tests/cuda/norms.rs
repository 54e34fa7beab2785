//! Embeddings and normalisation.

use super::*;
use crate::kernels::plain;
use crate::kernels::{Real, assert_close, dot, real};
use steerage::device::cpu::quantise;
use steerage::device::cuda::kernels::{
    LayerNorm, LayerNormBackward, Lookup, NormWeight, Offsets, Pool, PoolBackward, Pooling,
    Quantise, RmsNorm, Rows,
};
use steerage::device::shape::NormShape;
use steerage::device::{Backend, Cpu};

#[test]
fn a_lookup_copies_rows_of_two_tables() {
    for hidden in [8, 72, 2056] {
        let (table, own) = (random_bf16(1, 5 * hidden), random_bf16(2, 2 * hidden));
        let rows = [4, -2, 0, 0, -1, 3, 1];
        let found = under_all_orders(|device| {
            let out = Buffer::new(device, rows.len() * hidden)?;
            let call = Lookup {
                hidden,
                table: &Buffer::of(device, &table)?,
                own: Some(&Buffer::of(device, &own)?),
                rows: &Rows::of(device, &rows)?,
                out: &out,
            };
            launch(device, call.launch())?;
            Ok(bits_of_f32(&out.read(device)?))
        });
        let row = |row: i32| match usize::try_from(row) {
            Ok(row) => &table[row * hidden..][..hidden],
            Err(_) => &own[(-1 - row) as usize * hidden..][..hidden],
        };
        let expected = rows.iter().flat_map(|r| f32s(row(*r))).collect::<Vec<_>>();
        assert!(found.is_none_or(|found| f32_of_bits(&found) == expected));
    }
}

#[test]
fn a_lookup_of_what_is_not_there_is_refused() {
    once(|device: &Device| {
        let table = Buffer::of(device, &random_bf16(1, 5 * 8))?;
        let out = Buffer::new(device, 8)?;
        for (row, own) in [(5, None), (-1, None), (-6, Some(&table))] {
            let rows = Rows::of(device, &[row])?;
            let call = Lookup { hidden: 8, table: &table, own, rows: &rows, out: &out };
            assert!(call.launch().unwrap_err().to_string().contains("of a table that has"));
        }
        let rows = Rows::of(device, &[0, 1])?;
        let call = Lookup { hidden: 8, table: &table, own: None, rows: &rows, out: &out };
        let said = call.launch().unwrap_err().to_string();
        assert_eq!(said, "lookup: out: expected [2, 8] numbers, found 8");
        Ok(())
    });
}

pub(super) fn rms_norm<F: Real>(x: &[F], weight: &[F]) -> Vec<F> {
    let row = |x: &[F]| {
        let root = (dot(x, x) / F::of(x.len() as f64) + F::of(f64::from(1e-5f32))).sqrt();
        x.iter().zip(weight).map(move |(x, w)| *x / root * *w).collect::<Vec<F>>()
    };
    x.chunks(weight.len()).flat_map(row).collect()
}

/// The normalised rows, then the statistics.
fn normed(device: &Device, x: &[f32], weight: &[f32]) -> Result<Vec<u32>> {
    let shape = NormShape { rows: x.len() / weight.len(), hidden: weight.len() };
    let (out, statistics) = (Buffer::new(device, x.len())?, Buffer::new(device, shape.rows)?);
    let (x, weight) = (&Buffer::of(device, x)?, &Buffer::of(device, weight)?);
    let (epsilon, statistics) = (1e-5, Some(&statistics));
    let call = RmsNorm { shape, x, weight, epsilon, out: &out, statistics };
    launch(device, call.launch())?;
    let mut bits = bits_of_bf16(&out.read(device)?);
    bits.extend(bits_of_f32(&statistics.map_or(Ok(vec![]), |some| some.read(device))?));
    Ok(bits)
}

#[test]
fn a_norm_is_its_formula() {
    for (rows, hidden) in [(1, 8), (3, 264), (2, 2048), (1, 8192)] {
        let (x, weight) = (random(3, rows * hidden), random(4, hidden));
        let case = |device: &Device| normed(device, &x, &weight);
        // Only several warps have anything to wait for.
        let found = if hidden > 256 { with_every_wait(case) } else { under_all_orders(case) };
        let Some(found) = found else { return };
        let (found, statistics) = found.split_at(rows * hidden);
        let exact = rms_norm::<f64>(&real(&x), &real(&weight));
        let naive = rounded(&rms_norm::<f32>(&x, &weight));
        assert_close(&bf16_of_bits(found), &naive, &exact);
        for (r, x) in x.chunks(hidden).enumerate() {
            let alone = once(|device| normed(device, x, &weight)).unwrap();
            assert_eq!(alone[..hidden], found[r * hidden..][..hidden]);
            assert_eq!(alone[hidden], statistics[r]);
        }
    }
}

#[test]
fn a_layer_norm_is_its_formula_and_its_gradient_the_processors() {
    for (rows, hidden) in [(1, 1), (67, 50), (3, 301), (2, 1024)] {
        let elements = rows * hidden;
        let (x, affine) = (random(11, elements), random(12, 2 * hidden));
        let (d_out, before) = (random(13, elements), random(14, elements + 2 * hidden));
        let shape = NormShape { rows, hidden };
        let case = |device: &Device| {
            let (x, affine) = (Buffer::of(device, &x)?, Buffer::of(device, &affine)?);
            let (out, statistics) =
                (Buffer::new(device, elements)?, Buffer::new(device, 2 * rows)?);
            let (affine, statistics) = (&affine, &statistics);
            let call = LayerNorm { shape, x: &x, affine, epsilon: 1e-8, out: &out, statistics };
            launch(device, call.launch())?;
            let d_x = Buffer::of(device, &before[..elements])?;
            let d_affine = Buffer::of(device, &before[elements..])?;
            let parts = &Buffer::new(device, rows.div_ceil(64) * 2 * hidden)?;
            let call = LayerNormBackward {
                shape,
                x: &x,
                affine,
                statistics,
                d_out: &Buffer::of(device, &d_out)?,
                d_x: &d_x,
                d_affine: Some(NormWeight { parts, d_weight: &d_affine }),
            };
            call.launches()?.iter().try_for_each(|launch| device.launch(launch))?;
            // Of a norm that is not trained.
            let fixed = Buffer::of(device, &before[..elements])?;
            let call = LayerNormBackward { d_x: &fixed, d_affine: None, ..call };
            call.launches()?.iter().try_for_each(|launch| device.launch(launch))?;
            assert_eq!(bits_of_f32(&fixed.read(device)?), bits_of_f32(&d_x.read(device)?));
            let buffers = [&out, &d_x, &d_affine].map(|buffer| buffer.read(device));
            let mut bits = Vec::new();
            for numbers in buffers {
                bits.extend(bits_of_f32(&numbers?));
            }
            Ok(bits)
        };
        let found = if rows == 67 { with_every_wait(case) } else { under_all_orders(case) };
        let Some(found) = found else { return };
        let found = f32_of_bits(&found);
        let exact = plain::layer_norm::<f64>(&real(&x), &real(&affine));
        assert_close(&found[..elements], &plain::layer_norm::<f32>(&x, &affine), &exact);
        let (mut out, mut statistics) = (vec![0.0; elements], vec![0.0; 2 * rows]);
        Cpu.layer_norm(steerage::device::LayerNorm {
            shape,
            x: &x,
            affine: &affine,
            epsilon: 1e-8,
            out: &mut out,
            statistics: &mut statistics,
        });
        let mut expected = before.clone();
        let (d_x, d_affine) = expected.split_at_mut(elements);
        Cpu.layer_norm_backward(steerage::device::LayerNormBackward {
            shape,
            x: &x,
            affine: &affine,
            statistics: &statistics,
            d_out: &d_out,
            d_x,
            d_affine,
        });
        let largest = expected.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        for (found, expected) in found[elements..].iter().zip(&expected) {
            assert!((found - expected).abs() <= 1e-5 * largest.max(1.0), "{found} {expected}");
        }
    }
}

#[test]
fn a_sequence_becomes_its_mean_or_its_last_row() {
    let offsets = [0, 1, 8, 10];
    for hidden in [1, 300] {
        let x = random(15, 10 * hidden);
        for pooling in [Pooling::Mean, Pooling::Last] {
            let found = under_all_orders(|device| {
                let out = Buffer::new(device, 3 * hidden)?;
                let offsets = &Offsets::of(device, &offsets)?;
                let x = &Buffer::of(device, &x)?;
                launch(device, Pool { hidden, pooling, x, offsets, out: &out }.launch())?;
                Ok(bits_of_f32(&out.read(device)?))
            });
            let Some(found) = found else { return };
            for (i, found) in f32_of_bits(&found).into_iter().enumerate() {
                let ends = &offsets[i / hidden..];
                let mut rows = (ends[0]..ends[1]).map(|row| x[row as usize * hidden + i % hidden]);
                let expected = match pooling {
                    Pooling::Mean => rows.sum::<f32>() / (ends[1] - ends[0]) as f32,
                    Pooling::Last => rows.next_back().unwrap(),
                };
                assert_eq!(found, expected);
            }
        }
    }
}

#[test]
fn rows_share_the_gradient_of_their_mean() {
    let offsets = [0, 1, 8, 10];
    for hidden in [1, 300] {
        let d_out = random(16, 3 * hidden);
        let found = under_all_orders(|device| {
            let d_x = Buffer::new(device, 10 * hidden)?;
            let (offsets, d_out) = (&Offsets::of(device, &offsets)?, &Buffer::of(device, &d_out)?);
            launch(device, PoolBackward { hidden, offsets, d_out, d_x: &d_x }.launch())?;
            Ok(bits_of_f32(&d_x.read(device)?))
        });
        let Some(found) = found else { return };
        let sequences = [0, 1, 1, 1, 1, 1, 1, 1, 2, 2];
        for (row, s) in f32_of_bits(&found).chunks_exact(hidden).zip(sequences) {
            let count = (offsets[s + 1] - offsets[s]) as f32;
            let shares = d_out[s * hidden..].iter().map(|d| d / count);
            assert!(row.iter().copied().eq(shares.take(hidden)));
        }
    }
}

/// The number that FP8 bits stand for.
fn of_fp8(bits: u8) -> f32 {
    let (exponent, fraction) = (i32::from(bits >> 3 & 15), f32::from(bits & 7));
    let size = match (exponent, bits & 7) {
        (0, _) => fraction * 2f32.powi(-9),
        (15, 7) => f32::NAN,
        _ => (8.0 + fraction) * 2f32.powi(exponent - 10),
    };
    if bits >> 7 == 1 { -size } else { size }
}

/// As the processor makes them, bit for bit; threads go over the widest row twice.
#[test]
fn rows_become_fp8_numbers() {
    for (rows, hidden) in [(4, 8), (3, 264), (3, 1032), (3, 8456)] {
        let mut x = random_bf16(16, rows * hidden);
        for (i, x) in x.iter_mut().enumerate() {
            *x = Bf16::of(x.f32() * 2f32.powi(-(i as i32 % 21))); // some of them subnormal
        }
        x[..hidden].fill(Bf16::of(0.0));
        x[2 * hidden + 5] = Bf16::of(f32::NAN);
        let case = |device: &Device| {
            let (out, scales) = (Buffer::new(device, x.len())?, Buffer::new(device, rows)?);
            let shape = NormShape { rows, hidden };
            let x = &Buffer::of(device, &x)?;
            launch(device, Quantise { shape, x, out: &out, scales: &scales }.launch())?;
            let mut bits: Vec<u32> = out.read(device)?.into_iter().map(u32::from).collect();
            bits.extend(bits_of_f32(&scales.read(device)?));
            Ok(bits)
        };
        let found = if hidden == 1032 { with_every_wait(case) } else { under_all_orders(case) };
        let Some(found) = found else { return };
        let (numbers, scales) = found.split_at(x.len());
        let found: Vec<f32> = numbers.iter().map(|bits| of_fp8(*bits as u8)).collect();
        let (x, scales) = (f32s(&x), f32_of_bits(scales));
        for (r, (x, found)) in x.chunks(hidden).zip(found.chunks(hidden)).enumerate() {
            let mut expected = vec![0.0; hidden];
            assert_eq!(quantise(x, &mut expected), scales[r]);
            for (found, expected) in found.iter().zip(expected) {
                assert!(*found == expected || found.is_nan() && expected.is_nan());
            }
        }
    }
}
