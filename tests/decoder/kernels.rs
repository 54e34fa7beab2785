//! The decoder's kernels, against plain loops in f64, within twice the error of the same loops in
//! f32; bf16 products against the same of operands that are rounded first.

use crate::decoder::bits;
use crate::kernels::{Real, assert_close, dot, random, real};
use std::convert::Infallible;
use steerage::device::shape::{GatedShape, GroupedShape, LinearShape, NormShape};
use steerage::device::{
    Backend, Cpu, Gated, GroupedAttention, Lora, LoraLinear, Matrix, Precision, Queries, RmsNorm,
    Rotary,
};

pub fn matrix(precision: Precision, weight: &[f32], [outputs, inputs]: [usize; 2]) -> Matrix {
    let fill = |i: usize, row: &mut [f32]| {
        row.copy_from_slice(&weight[i * inputs..][..inputs]);
        Ok::<(), Infallible>(())
    };
    Matrix::pack(precision, [outputs, inputs], fill).unwrap()
}

/// What a matrix of this precision makes of numbers.
fn rounded(precision: Precision, x: &[f32], width: usize) -> Vec<f32> {
    let packed = matrix(precision, x, [x.len() / width, width]);
    let mut out = vec![0.0; x.len()];
    out.chunks_mut(width).enumerate().for_each(|(i, row)| packed.row(i, row));
    out
}

fn product<F: Real>(x: &[f32], weight: &[f32], inputs: usize) -> Vec<F> {
    let (x, weight): (Vec<F>, Vec<F>) = (real(x), real(weight));
    x.chunks(inputs)
        .flat_map(|x| weight.chunks(inputs).map(|w| dot(x, w)).collect::<Vec<F>>())
        .collect()
}

#[test]
fn rows_come_out_of_a_matrix_as_they_went_in() {
    for (outputs, inputs) in [(1, 1), (16, 7), (33, 20)] {
        let x = random(1, outputs * inputs);
        assert_eq!(bits(&rounded(Precision::F32, &x, inputs)), bits(&x));
        let once = rounded(Precision::Bf16, &x, inputs);
        assert_eq!(bits(&rounded(Precision::Bf16, &once, inputs)), bits(&once));
        for (x, rounded) in x.iter().zip(&once) {
            assert!((x - rounded).abs() <= x.abs() / 256.0 && rounded.to_bits() & 0xffff == 0);
        }
        let least = rounded(Precision::Fp8, &x, inputs);
        for (x, least) in x.chunks(inputs).zip(least.chunks(inputs)) {
            let largest = x.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
            for (x, least) in x.iter().zip(least) {
                let step = (x.abs() / 15.5).max(largest / 448.0 / 1000.0);
                assert!((x - least).abs() <= step, "{least} for {x}");
            }
        }
    }
}

#[test]
fn a_product_with_adapters_is_its_formula() {
    for precision in [Precision::F32, Precision::Bf16, Precision::Fp8] {
        for (rows, inputs, outputs) in [(1, 1, 1), (29, 37, 50), (13, 64, 16), (50, 301, 33)] {
            let weight = random(2, outputs * inputs);
            let x = random(3, rows * inputs);
            let (bias, residual) = (random(4, outputs), random(5, rows * outputs));
            // The first adapter leaves the last outputs as they are, the second has other ranks.
            let factors = [3, 8].map(|ranks| {
                let mut up = random(7, outputs * ranks);
                if ranks == 3 {
                    up[outputs / 2 * ranks..].fill(0.0);
                }
                (ranks, random(6, ranks * inputs), up)
            });
            let packed = matrix(precision, &weight, [outputs, inputs]);
            let mut adapters: Vec<Option<Lora>> = factors
                .iter()
                .map(|(ranks, down, up)| {
                    let down = matrix(precision, down, [*ranks, inputs]);
                    Some(Lora::new(down, matrix(precision.apart(), up, [outputs, *ranks]), 0.5))
                })
                .collect();
            adapters.push(None);
            let chosen: Vec<Option<u32>> =
                (0..rows).map(|r| [None, Some(0), Some(1), Some(2)][r / 3 % 4]).collect();
            let compute = |rows: std::ops::Range<usize>| {
                let mut out = vec![f32::NAN; rows.len() * outputs];
                Cpu.lora_linear(LoraLinear {
                    shape: LinearShape { rows: rows.len(), inputs, outputs },
                    x: &x[rows.start * inputs..rows.end * inputs],
                    weight: &packed,
                    bias: &bias,
                    adapters: &adapters,
                    chosen: &chosen[rows.clone()],
                    residual: &residual[rows.start * outputs..rows.end * outputs],
                    out: &mut out,
                });
                out
            };
            let found = compute(0..rows);
            (0..rows).for_each(|r| {
                assert_eq!(bits(&compute(r..r + 1)), bits(&found[r * outputs..(r + 1) * outputs]));
            });
            let x = rounded(precision, &x, inputs);
            let weight = rounded(precision, &weight, inputs);
            let mut exact = product::<f64>(&x, &weight, inputs);
            let mut naive = product::<f32>(&x, &weight, inputs);
            for (ranks, down, up) in &factors {
                let adapter = Some(u32::from(*ranks == 8));
                let down = product::<f32>(&x, &rounded(precision, down, inputs), inputs);
                let inner: Vec<f32> = down.iter().map(|x| 0.5 * x).collect();
                let inner = rounded(precision.apart(), &inner, *ranks);
                let up = rounded(precision.apart(), up, *ranks);
                let (wide, narrow) =
                    (product::<f64>(&inner, &up, *ranks), product::<f32>(&inner, &up, *ranks));
                for i in (0..exact.len()).filter(|i| chosen[i / outputs] == adapter) {
                    (exact[i], naive[i]) = (exact[i] + wide[i], naive[i] + narrow[i]);
                }
            }
            for i in 0..exact.len() {
                let (bias, residual) = (bias[i % outputs], residual[i]);
                exact[i] += f64::from(bias) + f64::from(residual);
                naive[i] += bias + residual;
            }
            // A down-product between two bf16 numbers may be rounded to the other one.
            let slack = if precision == Precision::F32 { 0.0 } else { 0.02 };
            close_or(&found, &naive, &exact, slack);
        }
    }
}

/// As [`assert_close`], or within an absolute slack.
fn close_or(found: &[f32], naive: &[f32], exact: &[f64], slack: f64) {
    if found.iter().zip(exact).any(|(x, exact)| (f64::from(*x) - exact).abs() > slack) {
        assert_close(found, naive, exact);
    }
}

pub fn rms_norm<F: Real>(x: &[F], weight: &[F]) -> Vec<F> {
    let row = |x: &[F]| {
        let root = (dot(x, x) / F::of(x.len() as f64) + F::of(1e-5)).sqrt();
        x.iter().zip(weight).map(|(x, w)| *x / root * *w).collect::<Vec<F>>()
    };
    x.chunks(weight.len()).flat_map(row).collect()
}

#[test]
fn rms_norm_is_its_formula() {
    for (rows, hidden) in [(1, 1), (5, 48), (3, 77)] {
        let (mut x, weight) = (random(1, rows * hidden), random(2, hidden));
        x[..hidden].iter_mut().for_each(|x| *x *= 1e-4); // where epsilon matters
        let (mut out, mut statistics) = (vec![0.0; x.len()], vec![0.0; rows]);
        Cpu.rms_norm(RmsNorm {
            shape: NormShape { rows, hidden },
            x: &x,
            weight: &weight,
            epsilon: 1e-5,
            out: &mut out,
            statistics: &mut statistics,
        });
        assert_close(&out, &rms_norm(&x, &weight), &rms_norm::<f64>(&real(&x), &real(&weight)));
    }
}

#[test]
fn gates_are_their_formula_however_large() {
    let gates = [0.0, -0.0, 1.0, -1.0, 20.0, -20.0, 90.0, -90.0, 1e4, -1e4];
    let mut x = random(1, 20);
    x[..10].copy_from_slice(&gates);
    let mut out = vec![0.0; 10];
    Cpu.gated(Gated { shape: GatedShape { rows: 1, hidden: 10 }, x: &x, out: &mut out });
    for ((gate, value), found) in gates.iter().zip(&x[10..]).zip(&out) {
        let (gate, value) = (f64::from(*gate), f64::from(*value));
        let exact = gate / (1.0 + (-gate).exp()) * value;
        assert!((f64::from(*found) - exact).abs() <= 4e-7 * exact.abs() + 1e-30, "{gate} {found}");
    }
}

#[test]
fn rotation_keeps_lengths_and_only_distances_matter() {
    let (heads, shared, width) = (3, 1, 6);
    let offsets = [0, 4];
    let shape = GroupedShape { offsets: &offsets, parents: &[], heads, shared, width };
    let angles = |p: usize| [1.0f64, 0.3, 0.02].map(|f| f * p as f64);
    let table: Vec<f32> = (0..20)
        .flat_map(|p| angles(p).map(f64::cos).into_iter().chain(angles(p).map(f64::sin)))
        .map(|x| x as f32)
        .collect();
    // Every row the same, so that products depend on positions alone.
    let before = random(1, shape.row()).repeat(4);
    let mut qkv = before.clone();
    Cpu.rotary(Rotary { shape, positions: &[0, 5, 2, 7], table: &table, qkv: &mut qkv });
    assert_eq!(bits(&qkv[..shape.row()]), bits(&before[..shape.row()]));
    for t in 0..4 {
        let values = (heads + shared) * width;
        let row = |x: &[f32]| x[t * shape.row()..(t + 1) * shape.row()].to_vec();
        assert_eq!(bits(&row(&qkv)[values..]), bits(&row(&before)[values..]));
        for (a, b) in row(&qkv)[..values].chunks(width).zip(row(&before).chunks(width)) {
            assert!((dot(a, a) - dot(b, b)).abs() < 1e-5);
        }
    }
    let head = |t: usize, h: usize| &qkv[t * shape.row() + h * width..][..width];
    let (near, far) = (dot(head(2, 0), head(0, 3)), dot(head(3, 0), head(1, 3)));
    assert!((near - far).abs() < 1e-5, "distance 2: {near} {far}");
}

pub fn attention<F: Real>(qkv: &[F], shape: &GroupedShape<'_>) -> Vec<F> {
    let (row, width) = (shape.row(), shape.width);
    let mut out = vec![F::of(0.0); shape.tokens() * shape.queries()];
    for s in 0..shape.sequences() {
        let path: Vec<usize> = shape.path(s).into_iter().flatten().collect();
        let own = shape.offsets[s] as usize..shape.offsets[s + 1] as usize;
        for h in 0..shape.heads {
            let key = shape.heads + h * shape.shared / shape.heads;
            let part = |t: usize, head: usize| &qkv[t * row + head * width..][..width];
            for i in own.clone() {
                let seen = &path[..=path.iter().position(|t| *t == i).unwrap()];
                let score = |j| (dot(part(i, h), part(j, key)) / F::of(width as f64).sqrt()).exp();
                let scores: Vec<F> = seen.iter().map(|j| score(*j)).collect();
                let total = scores.iter().fold(F::of(0.0), |sum, x| sum + *x);
                for (j, score) in seen.iter().zip(&scores) {
                    let values = part(*j, key + shape.shared);
                    let out = &mut out[i * shape.queries() + h * width..][..width];
                    out.iter_mut().zip(values).for_each(|(o, v)| *o += *score / total * *v);
                }
            }
        }
    }
    out
}

/// Sequences on their own, and some that go on from others, over more than one block of queries.
pub const FORESTS: [(&[u32], &[Option<u32>]); 2] = [
    (&[0, 1, 120, 123, 190], &[]),
    (&[0, 70, 71, 120, 123, 190, 194], &[None, Some(0), None, Some(2), Some(0), Some(4)]),
];

#[test]
fn grouped_attention_is_its_formula() {
    for (heads, shared, width) in [(1, 1, 2), (6, 2, 10), (4, 4, 16)] {
        for (offsets, parents) in FORESTS {
            let shape = GroupedShape { offsets, parents, heads, shared, width };
            shape.check().unwrap();
            let ends: Vec<usize> = (0..shape.sequences()).filter(|s| shape.ends()[*s]).collect();
            let qkv = random(1, shape.tokens() * shape.row());
            let wide = shape.queries();
            let mut all = vec![0.0; shape.tokens() * wide];
            let mut last = vec![0.0; ends.len() * wide];
            for (queries, out) in [(Queries::All, &mut all), (Queries::Last, &mut last)] {
                let rows = out.len() / wide;
                let mut statistics = vec![0.0; rows * heads];
                let statistics = &mut statistics[..];
                let call = GroupedAttention { shape, qkv: &qkv, queries, statistics, out };
                Cpu.grouped_attention(call);
            }
            assert_close(&all, &attention(&qkv, &shape), &attention::<f64>(&real(&qkv), &shape));
            for (last, s) in last.chunks(wide).zip(ends) {
                let row = (offsets[s + 1] as usize - 1) * wide;
                assert_eq!(bits(last), bits(&all[row..row + wide]));
            }
        }
    }
    let later = GroupedShape {
        offsets: &[0, 1, 2],
        parents: &[Some(0), None],
        heads: 2,
        shared: 2,
        width: 4,
    };
    assert!(later.check().unwrap_err().to_string().contains("an earlier sequence"));
    let uneven = GroupedShape { offsets: &[0, 1], parents: &[], heads: 3, shared: 2, width: 4 };
    assert!(uneven.check().unwrap_err().to_string().contains("3 heads"));
}
