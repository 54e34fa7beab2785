//! Embeddings and normalisation.

use super::emulator::Emulator;
use super::*;
use crate::kernels::{Real, assert_close, dot, real};
use steerage::device::cuda::kernels::{Lookup, RmsNorm, Rows};
use steerage::device::shape::NormShape;

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
    once(|device: &Emulator| {
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

fn rms_norm<F: Real>(x: &[F], weight: &[F]) -> Vec<F> {
    let row = |x: &[F]| {
        let root = (dot(x, x) / F::of(x.len() as f64) + F::of(f64::from(1e-5f32))).sqrt();
        x.iter().zip(weight).map(move |(x, w)| *x / root * *w).collect::<Vec<F>>()
    };
    x.chunks(weight.len()).flat_map(row).collect()
}

/// The stream afterwards, the normalised rows, the statistics: one after the other.
fn normed(
    device: &Emulator,
    hidden: usize,
    stream: &[f32],
    delta: Option<&[Bf16]>,
    weight: &[f32],
) -> Result<Vec<u32>> {
    let rows = stream.len() / hidden;
    let stream = Buffer::of(device, stream)?;
    let delta = delta.map(|delta| Buffer::of(device, delta)).transpose()?;
    let (out, statistics) =
        (Buffer::new(device, rows * hidden)?, Buffer::<f32>::new(device, rows)?);
    let call = RmsNorm {
        shape: NormShape { rows, hidden },
        stream: &stream,
        delta: delta.as_ref(),
        weight: &Buffer::of(device, weight)?,
        epsilon: 1e-5,
        out: &out,
        statistics: Some(&statistics),
    };
    launch(device, call.launch())?;
    let mut bits = bits_of_f32(&stream.read(device)?);
    bits.extend(bits_of_bf16(&out.read(device)?));
    bits.extend(bits_of_f32(&statistics.read(device)?));
    Ok(bits)
}

#[test]
fn a_norm_is_its_formula_after_the_delta() {
    for (rows, hidden) in [(1, 8), (3, 264), (2, 2048), (1, 8192)] {
        let elements = rows * hidden;
        let (stream, weight) = (random(3, elements), random(4, hidden));
        let delta = random_bf16(5, elements);
        for delta in [None, Some(&delta[..])] {
            let case = |device: &Emulator| normed(device, hidden, &stream, delta, &weight);
            // Only several warps have anything to wait for.
            let found = if hidden > 256 { with_every_wait(case) } else { under_all_orders(case) };
            let Some(found) = found else { return };
            let sum = match delta {
                None => stream.clone(),
                Some(delta) => stream.iter().zip(delta).map(|(x, d)| x + d.f32()).collect(),
            };
            assert_eq!(f32_of_bits(&found[..elements]), sum);
            let exact = rms_norm::<f64>(&real(&sum), &real(&weight));
            let naive = rounded(&rms_norm::<f32>(&sum, &weight));
            assert_close(&bf16_of_bits(&found[elements..2 * elements]), &naive, &exact);
            for r in 0..rows {
                let range = r * hidden..(r + 1) * hidden;
                let delta = delta.map(|delta| &delta[range.clone()]);
                let alone =
                    once(|device| normed(device, hidden, &stream[range.clone()], delta, &weight))
                        .unwrap();
                assert_eq!(alone[hidden..2 * hidden], found[elements..][range.clone()]);
                assert_eq!(alone[2 * hidden], found[2 * elements + r]);
            }
        }
    }
}
