//! Products with adapters, and what follows them.

use super::*;
use crate::decoder::kernels::matrix;
use crate::encoder::kernels::erf;
use crate::kernels::assert_close;
use steerage::device::cuda::kernels::{
    Adapter, Adapters, Fp8Rows, Indices, LoraGated, LoraGelu, LoraGeluBackward, LoraLinear,
    LoraQkv, LoraResidual, LoraSums,
};
use steerage::device::shape::LinearShape;
use steerage::device::{Backend, Cpu, Lora, Precision};

/// A weight, two adapters and one that leaves it as it is, and rows that choose among them.
pub(super) struct Case {
    rows: usize,
    inputs: usize,
    outputs: usize,
    x: Vec<Bf16>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    /// Ranks, down, up.
    adapters: Vec<(usize, Vec<f32>, Vec<f32>)>,
    chosen: Vec<Option<u32>>,
    fp8: bool,
}

const SCALE: f32 = 0.75;

impl Case {
    pub fn new([rows, inputs, outputs]: [usize; 3]) -> Self {
        let adapters = [3, 16, 40].map(|ranks| {
            let seed = ranks as u64;
            (ranks, random(seed, ranks * inputs), random(seed + 1, outputs * ranks))
        });
        Self {
            rows,
            inputs,
            outputs,
            x: random_bf16(31, rows * inputs),
            weight: random(32, outputs * inputs),
            bias: random(33, outputs),
            adapters: adapters.into(),
            chosen: (0..rows as u32)
                .map(|r| [Some(1), None, Some(0), Some(3), Some(2)][r as usize / 3 % 5])
                .collect(),
            fp8: false,
        }
    }

    /// The product on the device, and what `follow` launches after it.
    pub fn run(
        &self,
        device: &Device,
        range: std::ops::Range<usize>,
        follow: impl Fn(LoraSums<'_>) -> Result<Vec<u32>>,
    ) -> Result<Vec<u32>> {
        let mut adapters: Vec<Option<Adapter<'_>>> = self
            .adapters
            .iter()
            .map(|(ranks, down, up)| Some(Adapter { ranks: *ranks, down, up, scale: SCALE }))
            .collect();
        adapters.push(None);
        let size = [self.outputs, self.inputs];
        let adapters = Adapters::of(device, &self.weight, size, &adapters)?;
        let x = Buffer::of(device, &self.x[range.start * self.inputs..range.end * self.inputs])?;
        let adapters = if self.fp8 { adapters.in_fp8(device)? } else { adapters };
        let sums = Buffer::new(device, range.len() * adapters.columns())?;
        let room = Fp8Rows::new(device, range.len(), self.inputs)?;
        let row_scales = adapters.multiply(device, &x, Some(&room), &sums)?;
        let mut bits = follow(LoraSums {
            rows: range.len(),
            sums: &sums,
            adapters: &adapters,
            chosen: &Indices::of_some(device, &self.chosen[range.clone()])?,
            bias: Some(&Buffer::of(device, &self.bias)?),
            row_scales: row_scales.as_ref(),
        })?;
        bits.extend(bits_of_bf16(&sums.read(device)?));
        Ok(bits)
    }

    /// What a run has left; and what should come out of the sums that it has: in f64, in f32.
    pub fn values<'a>(&self, found: &'a [u32]) -> (&'a [u32], Vec<f64>, Vec<f32>) {
        let filled = |ranks: usize| ranks.next_multiple_of(16);
        let columns = self.outputs + self.adapters.iter().map(|a| filled(a.0)).sum::<usize>();
        let (bits, sums) = found.split_at(found.len() - self.rows * columns);
        let (mut exact, mut naive) = (Vec::new(), Vec::new());
        for (sums, chosen) in bf16_of_bits(sums).chunks(columns).zip(&self.chosen) {
            let chosen = chosen.map_or(usize::MAX, |chosen| chosen as usize);
            let before = self.adapters.iter().take(chosen).map(|a| filled(a.0)).sum::<usize>();
            for o in 0..self.outputs {
                let (mut wide, mut narrow) = (0.0, 0.0);
                if let Some((ranks, _, up)) = self.adapters.get(chosen) {
                    let inner = &sums[self.outputs + before..];
                    for (x, u) in inner.iter().zip(rounded(&up[o * ranks..][..*ranks])) {
                        wide += f64::from(*x) * f64::from(u);
                        narrow += x * u;
                    }
                }
                let (sum, bias) = (sums[o], self.bias[o]);
                exact.push(f64::from(sum) + f64::from(SCALE) * wide + f64::from(bias));
                naive.push(sum + SCALE * narrow + bias);
            }
        }
        (bits, exact, naive)
    }
}

fn sizes() -> [[usize; 3]; 3] {
    [[1, 8, 8], [37, 24, 72], [70, 40, 264]]
}

#[test]
fn a_product_with_adapters_is_its_formula() {
    for size in sizes() {
        let case = Case::new(size);
        let run = |device: &Device, range| {
            case.run(device, range, |sums| {
                let out = Buffer::new(device, sums.rows * case.outputs)?;
                launch(device, LoraLinear { sums, out: &out }.launch())?;
                Ok(bits_of_bf16(&out.read(device)?))
            })
        };
        let Some(found) = under_all_orders(|device| run(device, 0..case.rows)) else { return };
        let (found, exact, naive) = case.values(&found);
        assert_close(&bf16_of_bits(found), &rounded(&naive), &exact);
        for r in 0..case.rows.min(20) {
            let alone = once(|device| run(device, r..r + 1)).unwrap();
            let row = r * case.outputs..(r + 1) * case.outputs;
            assert_eq!(alone[..case.outputs], found[row], "row {r}");
        }
    }
}

/// As far from the exact numbers as what is left of Φ's error: its tail is told by f32.
#[test]
fn an_encoders_gate_opens_by_its_distribution() {
    for size in sizes() {
        let case = Case::new(size);
        let gelu = |x: f64| 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2));
        let run = |device: &Device, rows: std::ops::Range<usize>| {
            case.run(device, rows, |sums| {
                let out = Buffer::new(device, sums.rows * case.outputs)?;
                launch(device, LoraGelu { sums, out: &out }.launch())?;
                Ok(bits_of_bf16(&out.read(device)?))
            })
        };
        let Some(found) = under_all_orders(|device| run(device, 0..case.rows)) else { return };
        let (found, exact, naive) = case.values(&found);
        let exact: Vec<f64> = exact.into_iter().map(gelu).collect();
        let naive: Vec<f32> = naive.iter().map(|x| gelu(f64::from(*x)) as f32).collect();
        assert_close(&bf16_of_bits(found), &rounded(&naive), &exact);
    }
}

/// How steep the gate is: Φ(x) + x · φ(x).
fn slope(x: f64) -> f64 {
    let density = (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
    0.5 * (1.0 + erf(x / std::f64::consts::SQRT_2)) + x * density
}

#[test]
fn the_gradient_of_an_encoders_gate_is_its_formula() {
    for size in sizes() {
        let case = Case::new(size);
        let d = random_bf16(34, case.rows * case.outputs);
        let run = |device: &Device| {
            case.run(device, 0..case.rows, |sums| {
                let d = Buffer::of(device, &d)?;
                launch(device, LoraGeluBackward { sums, d: &d }.launch())?;
                Ok(bits_of_bf16(&d.read(device)?))
            })
        };
        let Some(found) = under_all_orders(run) else { return };
        let (found, exact, naive) = case.values(&found);
        let d = || d.iter().map(|d| f64::from(d.f32()));
        let exact: Vec<f64> = exact.into_iter().zip(d()).map(|(x, d)| d * slope(x)).collect();
        let naive = naive.iter().zip(d()).map(|(x, d)| (d * slope(f64::from(*x))) as f32);
        assert_close(&bf16_of_bits(found), &rounded(&naive.collect::<Vec<_>>()), &exact);
    }
}

#[test]
fn what_a_product_adds_to_the_stream_stays_f32() {
    for size in sizes() {
        let case = Case::new(size);
        let (rows, outputs) = (case.rows, case.outputs);
        let stream = random(41, 2 * rows * outputs);
        let from: Vec<u32> = (0..rows as u32).map(|r| (r * 7 + 3) % (2 * rows as u32)).collect();
        for from in [None, Some(&from)] {
            let found = under_all_orders(|device| {
                case.run(device, 0..rows, |sums| {
                    let residual = Buffer::of(device, &stream)?;
                    let rows = from.map(|from| Indices::of(device, from)).transpose()?;
                    let (residual, out) = match from {
                        None => {
                            let own = residual.slice(0..sums.rows * outputs)?;
                            (own.clone(), own)
                        }
                        Some(_) => (residual, Buffer::new(device, sums.rows * outputs)?),
                    };
                    let call =
                        LoraResidual { sums, residual: &residual, from: rows.as_ref(), out: &out };
                    launch(device, call.launch())?;
                    Ok(bits_of_f32(&out.read(device)?))
                })
            });
            let Some(found) = found else { return };
            let (found, mut exact, mut naive) = case.values(&found);
            for i in 0..exact.len() {
                let row = from.map_or(i / outputs, |from| from[i / outputs] as usize);
                let residual = stream[row * outputs + i % outputs];
                (exact[i], naive[i]) = (exact[i] + f64::from(residual), naive[i] + residual);
            }
            assert_close(&f32_of_bits(found), &naive, &exact);
        }
    }
}

#[test]
fn gates_open_by_what_the_product_and_the_adapter_say() {
    for [rows, inputs, outputs] in [[1, 8, 16], [37, 24, 144], [5, 40, 80]] {
        let case = Case::new([rows, inputs, outputs]);
        let inner = outputs / 2;
        let found = under_all_orders(|device| {
            case.run(device, 0..rows, |sums| {
                let out = Buffer::new(device, rows * inner)?;
                launch(device, LoraGated { sums, out: &out }.launch())?;
                Ok(bits_of_bf16(&out.read(device)?))
            })
        });
        let Some(found) = found else { return };
        let (found, exact, naive) = case.values(&found);
        let at =
            |i: usize| (i / inner * outputs + i % inner, i / inner * outputs + inner + i % inner);
        let exact: Vec<f64> = (0..rows * inner)
            .map(|i| (exact[at(i).0], exact[at(i).1]))
            .map(|(gate, value)| gate / (1.0 + (-gate).exp()) * value)
            .collect();
        let naive: Vec<f32> = (0..rows * inner)
            .map(|i| (naive[at(i).0], naive[at(i).1]))
            .map(|(gate, value)| gate / (1.0 + (-gate).exp()) * value)
            .collect();
        assert_close(&bf16_of_bits(found), &rounded(&naive), &exact);
    }
}

#[test]
fn queries_and_keys_turn_by_their_positions() {
    for (width, heads, shared, rows) in [(64, 3, 1, 19), (128, 2, 2, 5)] {
        let outputs = (heads + 2 * shared) * width;
        let case = Case::new([rows, 16, outputs]);
        let table = random(51, 9 * width);
        let positions: Vec<u32> = (0..rows as u32).map(|r| r * 5 % 9).collect();
        let found = under_all_orders(|device| {
            case.run(device, 0..rows, |sums| {
                let out = Buffer::new(device, rows * outputs)?;
                let call = LoraQkv {
                    sums,
                    turned: heads + shared,
                    width,
                    positions: &Indices::of(device, &positions)?,
                    table: &Buffer::of(device, &table)?,
                    out: &out,
                };
                launch(device, call.launch())?;
                Ok(bits_of_bf16(&out.read(device)?))
            })
        });
        let Some(found) = found else { return };
        let (found, exact, naive) = case.values(&found);
        let half = width / 2;
        // The other of the pair, the sign of its sine, and where the angle is.
        let pair = |i: usize| {
            let (row, column) = (i / outputs, i % outputs % width);
            let angle = positions[row] as usize * width + column % half;
            match column < half {
                true => (i + half, -1.0, angle),
                false => (i - half, 1.0, angle),
            }
        };
        let turned = |i: usize| i % outputs < (heads + shared) * width;
        let (mut wide, mut narrow) = (exact.clone(), naive.clone());
        for i in (0..exact.len()).filter(|i| turned(*i)) {
            let (other, sign, angle) = pair(i);
            let (cosine, sine) = (table[angle], table[angle + half]);
            wide[i] =
                exact[i] * f64::from(cosine) + f64::from(sign) * exact[other] * f64::from(sine);
            narrow[i] = naive[i] * cosine + sign * naive[other] * sine;
        }
        assert_close(&bf16_of_bits(found), &rounded(&narrow), &wide);
    }
}

/// As the processor defines it, as near as sums and ranks that are rounded to bf16 on the way are.
#[test]
fn a_product_of_fp8_numbers_is_scaled_back() {
    for size in [[1, 16, 16], [37, 32, 80], [70, 48, 272]] {
        let case = Case { fp8: true, ..Case::new(size) };
        let [rows, inputs, outputs] = size;
        let run = |device: &Device, range| {
            case.run(device, range, |sums| {
                let out = Buffer::new(device, sums.rows * outputs)?;
                launch(device, LoraLinear { sums, out: &out }.launch())?;
                Ok(bits_of_bf16(&out.read(device)?))
            })
        };
        let Some(found) = under_all_orders(|device| run(device, 0..rows)) else { return };
        let found = &found[..rows * outputs];
        let lora = |(ranks, down, up): &(usize, Vec<f32>, Vec<f32>)| {
            let down = matrix(Precision::Fp8, down, [*ranks, inputs]);
            Some(Lora::new(down, matrix(Precision::Bf16, up, [outputs, *ranks]), SCALE))
        };
        let adapters: Vec<Option<Lora>> = case.adapters.iter().map(lora).chain([None]).collect();
        let mut expected = vec![0.0; rows * outputs];
        Cpu.lora_linear(steerage::device::LoraLinear {
            shape: LinearShape { rows, inputs, outputs },
            x: &f32s(&case.x),
            weight: &matrix(Precision::Fp8, &case.weight, [outputs, inputs]),
            bias: &case.bias,
            adapters: &adapters,
            chosen: &case.chosen,
            residual: &[],
            out: &mut expected,
        });
        for (r, (found, expected)) in
            bf16_of_bits(found).chunks(outputs).zip(expected.chunks(outputs)).enumerate()
        {
            let largest = expected.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() <= largest / 100.0, "{found} for {expected}: {r}");
            }
        }
        for r in 0..rows.min(20) {
            let alone = once(|device| run(device, r..r + 1)).unwrap();
            let row = r * outputs..(r + 1) * outputs;
            assert_eq!(alone[..outputs], found[row], "row {r}");
        }
    }
}

#[test]
fn fp8_is_refused_where_its_products_do_not_fit() {
    let Some(refused) = once(|device| {
        let case = Case { fp8: true, ..Case::new([2, 24, 32]) };
        Ok(case.run(device, 0..2, |_| Ok(Vec::new())).unwrap_err().to_string())
    }) else {
        return;
    };
    assert!(refused.contains("multiples of 16, found 32 and 24"), "{refused}");
}
