//! The decoder's backward kernels, against central differences of plain loops in f64.

use crate::decoder::bits;
use crate::decoder::kernels::{FORESTS, attention, matrix, rms_norm};
use crate::kernels::{assert_gradient, dot, random, real};
use steerage::device::shape::{GatedShape, GroupedShape, LinearShape, NormShape};
use steerage::device::{
    Backend, Cpu, GatedBackward, GroupedAttention, GroupedAttentionBackward, LookupBackward, Lora,
    LoraBackward, LoraLinear, Matrix, Precision, Queries, RmsNormBackward, Rotary, RotaryBackward,
    WeightBackward,
};

fn weighed(out: &[f64], by: &[f32]) -> f64 {
    dot(out, &real(by))
}

#[test]
fn the_gradient_of_rms_norm() {
    for (rows, hidden) in [(1, 2), (5, 48), (3, 77)] {
        let (x, weight) = (random(1, rows * hidden), random(2, hidden));
        let by = random(3, rows * hidden);
        let squares = x.chunks(hidden).map(|x| dot(x, x) / hidden as f32);
        let statistics: Vec<f32> = squares.map(|square| 1.0 / (square + 1e-5).sqrt()).collect();
        let before = random(4, rows * hidden);
        let mut d_weight = vec![0.0; hidden];
        let run = |d_weight: &mut [f32]| {
            let mut d_x = before.clone();
            Cpu.rms_norm_backward(RmsNormBackward {
                shape: NormShape { rows, hidden },
                x: &x,
                weight: &weight,
                statistics: &statistics,
                d_out: &by,
                d_x: &mut d_x,
                d_weight,
            });
            d_x
        };
        let d_x = run(&mut d_weight);
        assert_eq!(bits(&d_x), bits(&run(&mut [])), "whether the weight is trained");
        let d_x: Vec<f32> = d_x.iter().zip(&before).map(|(after, before)| after - before).collect();
        assert_gradient(&d_x, &x, 1, |x| weighed(&rms_norm(x, &real(&weight)), &by));
        assert_gradient(&d_weight, &weight, 1, |w| weighed(&rms_norm(&real(&x), w), &by));
    }
}

#[test]
fn the_gradient_of_gates() {
    let (rows, hidden) = (3, 21);
    let x: Vec<f32> = random(1, 2 * rows * hidden).iter().map(|x| 4.0 * x).collect();
    let (by, mut d_x) = (random(2, rows * hidden), vec![f32::NAN; 2 * rows * hidden]);
    let shape = GatedShape { rows, hidden };
    Cpu.gated_backward(GatedBackward { shape, x: &x, d_out: &by, d_x: &mut d_x });
    assert_gradient(&d_x, &x, 1, |x| {
        let row = |x: &[f64]| -> Vec<f64> {
            (0..hidden).map(|i| x[i] / (1.0 + (-x[i]).exp()) * x[hidden + i]).collect()
        };
        weighed(&x.chunks(2 * hidden).flat_map(row).collect::<Vec<f64>>(), &by)
    });
}

#[test]
fn rotation_is_undone() {
    let offsets = [0, 5];
    let shape = GroupedShape { offsets: &offsets, parents: &[], heads: 2, shared: 1, width: 8 };
    let angles: Vec<f32> = random(1, 4 * 9);
    let cosines = |p: usize| angles[4 * p..][..4].iter().copied();
    let table: Vec<f32> =
        (0..9).flat_map(|p| cosines(p).map(f32::cos).chain(cosines(p).map(f32::sin))).collect();
    let positions = [0, 8, 1, 3, 2];
    let before = random(2, 5 * shape.row());
    let mut qkv = before.clone();
    Cpu.rotary(Rotary { shape, positions: &positions, table: &table, qkv: &mut qkv });
    let (positions, table) = (&positions[..], &table[..]);
    Cpu.rotary_backward(RotaryBackward { shape, positions, table, d_qkv: &mut qkv });
    assert!(qkv.iter().zip(&before).all(|(a, b)| (a - b).abs() < 1e-6));
}

#[test]
fn the_gradient_of_grouped_attention() {
    for (heads, shared, width) in [(1, 1, 2), (6, 2, 10), (4, 4, 16)] {
        for (offsets, parents) in FORESTS {
            let shape = GroupedShape { offsets, parents, heads, shared, width };
            let qkv = random(1, shape.tokens() * shape.row());
            let wide = shape.queries();
            let ends: Vec<usize> = (0..shape.sequences()).filter(|s| shape.ends()[*s]).collect();
            for queries in [Queries::All, Queries::Last] {
                let rows = if queries == Queries::All { shape.tokens() } else { ends.len() };
                let (mut out, mut statistics) = (vec![0.0; rows * wide], vec![0.0; rows * heads]);
                Cpu.grouped_attention(GroupedAttention {
                    shape,
                    qkv: &qkv,
                    queries,
                    statistics: &mut statistics,
                    out: &mut out,
                });
                let (by, mut d_qkv) = (random(2, out.len()), vec![f32::NAN; qkv.len()]);
                Cpu.grouped_attention_backward(GroupedAttentionBackward {
                    shape,
                    qkv: &qkv,
                    queries,
                    statistics: &statistics,
                    out: &out,
                    d_out: &by,
                    d_qkv: &mut d_qkv,
                });
                assert_gradient(&d_qkv, &qkv, qkv.len() / 40 + 1, |qkv| {
                    let all = attention(qkv, &shape);
                    if queries == Queries::All {
                        return weighed(&all, &by);
                    }
                    let last = |s: usize| &all[(offsets[s + 1] as usize - 1) * wide..][..wide];
                    let rows = ends.iter().zip(by.chunks(wide));
                    rows.map(|(s, by)| weighed(last(*s), by)).sum()
                });
            }
        }
    }
}

/// Rows of a weight that is kept between others: only its own outputs are read.
#[test]
fn the_gradients_of_a_weight_and_of_adapters() {
    for (rows, inputs, outputs, rank) in [(1, 3, 2, 1), (300, 17, 20, 5)] {
        let (x, wide) = (random(1, rows * inputs), outputs + 7);
        let d_out = random(2, rows * wide);
        let by: Vec<f32> =
            d_out.chunks(wide).flat_map(|row| row[4..4 + outputs].to_vec()).collect();
        let shape = LinearShape { rows, inputs, outputs };
        let (mut d_weight, mut d_bias) = (vec![0.0; outputs * inputs], vec![0.0; outputs]);
        Cpu.weight_backward(WeightBackward {
            shape,
            x: &x,
            d_out: &d_out[4..],
            d_out_row: wide,
            d_weight: &mut d_weight,
            d_bias: &mut d_bias,
        });
        let product = |x: &[f64], weight: &[f64], inputs: usize| -> Vec<f64> {
            let row = |x: &[f64]| weight.chunks(inputs).map(|w| dot(x, w)).collect::<Vec<f64>>();
            x.chunks(inputs).flat_map(row).collect()
        };
        let x_f64: Vec<f64> = real(&x);
        let weight = random(3, outputs * inputs);
        assert_gradient(&d_weight, &weight, 7, |w| weighed(&product(&x_f64, w, inputs), &by));
        assert_gradient(&d_bias, &random(4, outputs), 3, |bias| {
            by.iter().enumerate().map(|(i, by)| bias[i % outputs] * f64::from(*by)).sum()
        });
        let (down, up) = (random(5, rank * inputs), random(6, outputs * rank));
        let (mut d_down, mut d_up) = (vec![0.0; down.len()], vec![0.0; up.len()]);
        Cpu.lora_backward(LoraBackward {
            shape,
            rank,
            scale: 0.5,
            x: &x,
            down: &down,
            up: &up,
            d_out: &d_out[4..],
            d_out_row: wide,
            d_down: &mut d_down,
            d_up: &mut d_up,
        });
        let loss = |down: &[f64], up: &[f64]| {
            0.5 * weighed(&product(&product(&x_f64, down, inputs), up, rank), &by)
        };
        assert_gradient(&d_down, &down, 3, |down| loss(down, &real(&up)));
        assert_gradient(&d_up, &up, 3, |up| loss(&real(&down), up));
    }
}

/// The gradient by the rows is the product with what is transposed.
#[test]
fn transposes_multiply_gradients() {
    let (inputs, outputs, rank) = (19, 35, 4);
    let (weight, x) = (random(1, outputs * inputs), random(2, inputs));
    let (down, up) = (random(3, rank * inputs), random(4, outputs * rank));
    let d_out = random(5, outputs);
    let lora = |precision| {
        let down = matrix(precision, &down, [rank, inputs]);
        Lora::new(down, matrix(precision, &up, [outputs, rank]), 0.5)
    };
    let apply = |x: &[f32], weight: &Matrix, lora: Lora| {
        let (inputs, outputs) = (weight.inputs(), weight.outputs());
        let mut out = vec![0.0; outputs];
        Cpu.lora_linear(LoraLinear {
            shape: LinearShape { rows: 1, inputs, outputs },
            x,
            weight,
            bias: &[],
            adapters: &[Some(lora)],
            chosen: &[Some(0)],
            residual: &[],
            out: &mut out,
        });
        out
    };
    for (precision, close) in [(Precision::F32, 1e-5), (Precision::Bf16, 0.1)] {
        let packed = matrix(precision, &weight, [outputs, inputs]);
        let forward = apply(&x, &packed, lora(precision));
        let transposed = packed.transposed();
        assert_eq!((transposed.outputs(), transposed.inputs()), (inputs, outputs));
        let backward = apply(&d_out, &transposed, lora(precision).transposed());
        let (a, b) = (dot(&forward, &d_out), dot(&backward, &x));
        assert!((a - b).abs() < close, "{precision:?}: {a} {b}");
    }
}

#[test]
fn tokens_give_their_gradients_to_their_rows() {
    let d_out: Vec<f32> = (1..=8).map(|x| x as f32).collect();
    let mut d_rows = vec![100.0; 4];
    let rows = [Some(1), None, Some(0), Some(1)];
    Cpu.lookup_backward(LookupBackward {
        rows: &rows,
        hidden: 2,
        d_out: &d_out,
        d_rows: &mut d_rows,
    });
    assert_eq!(d_rows, [105.0, 106.0, 108.0, 110.0]);
}
