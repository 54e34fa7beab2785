//! Products with adapters, and what follows them.

use super::emulator::Emulator;
use super::*;
use crate::kernels::assert_close;
use steerage::device::cuda::Product;
use steerage::device::cuda::kernels::{
    Adapter, Adapters, Indices, LoraGated, LoraLinear, LoraQkv, LoraResidual, LoraSums,
};

/// A weight, two adapters and one that leaves it as it is, and rows that choose among them.
struct Case {
    rows: usize,
    inputs: usize,
    outputs: usize,
    x: Vec<Bf16>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    /// Ranks, down, up.
    adapters: Vec<(usize, Vec<f32>, Vec<f32>)>,
    chosen: Vec<Option<u32>>,
}

const SCALE: f32 = 0.75;

impl Case {
    fn new([rows, inputs, outputs]: [usize; 3]) -> Self {
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
        }
    }

    /// The product on the device, and what `follow` launches after it.
    fn run(
        &self,
        device: &Emulator,
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
        let sums = Buffer::new(device, range.len() * adapters.columns())?;
        let size = [range.len(), adapters.columns(), self.inputs];
        device.product(&Product::new(size, &x, adapters.weight(), &sums)?)?;
        follow(LoraSums {
            rows: range.len(),
            sums: &sums,
            adapters: &adapters,
            chosen: &Indices::of_some(device, &self.chosen[range.clone()])?,
            bias: Some(&Buffer::of(device, &self.bias)?),
        })
    }

    /// What comes out of the sums, which are rounded as the device rounds them: in f64, in f32.
    fn values(&self) -> (Vec<f64>, Vec<f32>) {
        let weight = rounded(&self.weight);
        let x = f32s(&self.x);
        let product = |x: &[f32], w: &[f32]| -> f32 {
            Bf16::of(x.iter().zip(w).fold(0.0, |sum, (x, w)| sum + x * w)).f32()
        };
        let (mut exact, mut naive) = (Vec::new(), Vec::new());
        for (x, chosen) in x.chunks(self.inputs).zip(&self.chosen) {
            let adapter = chosen.and_then(|chosen| self.adapters.get(chosen as usize));
            let inner = adapter.map(|(_, down, _)| {
                let down = rounded(down);
                down.chunks(self.inputs).map(|d| product(x, d)).collect::<Vec<f32>>()
            });
            for (o, w) in weight.chunks(self.inputs).enumerate() {
                let (mut wide, mut narrow) = (0.0, 0.0);
                if let (Some((ranks, _, up)), Some(inner)) = (adapter, &inner) {
                    for (x, u) in inner.iter().zip(rounded(&up[o * ranks..][..*ranks])) {
                        wide += f64::from(*x) * f64::from(u);
                        narrow += x * u;
                    }
                }
                let (sum, bias) = (product(x, w), self.bias[o]);
                exact.push(f64::from(sum) + f64::from(SCALE) * wide + f64::from(bias));
                naive.push(sum + SCALE * narrow + bias);
            }
        }
        (exact, naive)
    }
}

fn sizes() -> [[usize; 3]; 3] {
    [[1, 8, 8], [37, 24, 72], [70, 40, 264]]
}

#[test]
fn a_product_with_adapters_is_its_formula() {
    for size in sizes() {
        let case = Case::new(size);
        let run = |device: &Emulator, range| {
            case.run(device, range, |sums| {
                let out = Buffer::new(device, sums.rows * case.outputs)?;
                launch(device, LoraLinear { sums, out: &out }.launch())?;
                Ok(bits_of_bf16(&out.read(device)?))
            })
        };
        let Some(found) = under_all_orders(|device| run(device, 0..case.rows)) else { return };
        let (exact, naive) = case.values();
        assert_close(&bf16_of_bits(&found), &rounded(&naive), &exact);
        for r in 0..case.rows.min(20) {
            let alone = once(|device| run(device, r..r + 1)).unwrap();
            assert_eq!(alone, found[r * case.outputs..(r + 1) * case.outputs], "row {r}");
        }
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
            let (mut exact, mut naive) = case.values();
            for i in 0..exact.len() {
                let row = from.map_or(i / outputs, |from| from[i / outputs] as usize);
                let residual = stream[row * outputs + i % outputs];
                (exact[i], naive[i]) = (exact[i] + f64::from(residual), naive[i] + residual);
            }
            assert_close(&f32_of_bits(&found), &naive, &exact);
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
        let (exact, naive) = case.values();
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
        assert_close(&bf16_of_bits(&found), &rounded(&naive), &exact);
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
        let (exact, naive) = case.values();
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
        assert_close(&bf16_of_bits(&found), &rounded(&narrow), &wide);
    }
}
