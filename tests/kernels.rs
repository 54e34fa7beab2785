//! Does each kernel compute its formula? Values against plain loops in f64, within twice the error
//! of the same loops in f32; gradients against central differences of the f64 loops.

use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};
use steerage::device::shape::{AttentionShape, EmbedShape, LinearShape, LossShape, NormShape};
use steerage::device::{
    Activation, AdamW, Attention, AttentionBackward, Backend, Cpu, CrossEntropy, Dropout, Embed,
    EmbedBackward, LayerNorm, LayerNormBackward, Linear, LinearBackward, SampledLoss, SampledRule,
};
use steerage::types::{mix64, unit_f64};

/// f32 or f64, so that the plain loops are written once.
pub trait Real:
    Copy
    + PartialOrd
    + Add<Output = Self>
    + AddAssign
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    fn of(x: f64) -> Self;
    fn f64(self) -> f64;
    fn exp(self) -> Self;
    fn sqrt(self) -> Self;
}
macro_rules! real {
    ($t:ty) => {
        impl Real for $t {
            fn of(x: f64) -> Self {
                x as $t
            }
            fn f64(self) -> f64 {
                self as f64
            }
            fn exp(self) -> Self {
                <$t>::exp(self)
            }
            fn sqrt(self) -> Self {
                <$t>::sqrt(self)
            }
        }
    };
}
real!(f32);
real!(f64);

/// Numbers in [−1, 1).
pub fn random(seed: u64, count: usize) -> Vec<f32> {
    (0..count as u64).map(|i| (2.0 * unit_f64(mix64(mix64(seed) ^ i)) - 1.0) as f32).collect()
}

pub fn real<F: Real>(x: &[f32]) -> Vec<F> {
    x.iter().map(|x| F::of(f64::from(*x))).collect()
}

pub fn dot<F: Real>(x: &[F], y: &[F]) -> F {
    x.iter().zip(y).fold(F::of(0.0), |sum, (x, y)| sum + *x * *y)
}

/// The plain loops.
pub mod plain {
    use super::{Real, dot};

    pub fn linear<F: Real>(x: &[F], affine: &[F], inputs: usize, relu: bool) -> Vec<F> {
        let outputs = affine.len() / (inputs + 1);
        let (weight, bias) = affine.split_at(inputs * outputs);
        let lines = x
            .chunks(inputs)
            .flat_map(|x| weight.chunks(inputs).zip(bias).map(move |(w, b)| dot(x, w) + *b));
        lines.map(|y| if relu && y < F::of(0.0) { F::of(0.0) } else { y }).collect()
    }

    pub fn layer_norm<F: Real>(x: &[F], affine: &[F]) -> Vec<F> {
        let hidden = affine.len() / 2;
        let count = F::of(hidden as f64);
        let mut out = Vec::new();
        for x in x.chunks(hidden) {
            let mean = x.iter().fold(F::of(0.0), |sum, x| sum + *x) / count;
            let square = x.iter().fold(F::of(0.0), |sum, x| sum + (*x - mean) * (*x - mean));
            let deviation = (square / count + F::of(1e-8)).sqrt();
            let normed = |i: usize| affine[i] * (x[i] - mean) / deviation + affine[hidden + i];
            out.extend((0..hidden).map(normed));
        }
        out
    }

    /// `mask` holds what each probability is multiplied by.
    pub fn attention<F: Real>(
        qkv: &[F],
        mask: &[F],
        offsets: &[u32],
        (heads, width): (usize, usize),
    ) -> Vec<F> {
        let hidden = heads * width;
        let mut out = vec![F::of(0.0); qkv.len() / 3];
        let mut pair = 0;
        for range in offsets.windows(2) {
            let (start, length) = (range[0] as usize, (range[1] - range[0]) as usize);
            for head in 0..heads {
                let part = |which: usize, t: usize| {
                    let at = (start + t) * 3 * hidden + which * hidden + head * width;
                    &qkv[at..at + width]
                };
                for i in 0..length {
                    let scale = F::of(width as f64).sqrt();
                    let scores = (0..=i).map(|j| dot(part(0, i), part(1, j)) / scale);
                    let weights: Vec<F> = scores.map(F::exp).collect();
                    let total = weights.iter().fold(F::of(0.0), |sum, w| sum + *w);
                    for (j, weight) in weights.iter().enumerate() {
                        let p = *weight / total * mask[pair + i * length + j];
                        for (c, v) in part(2, j).iter().enumerate() {
                            out[(start + i) * hidden + head * width + c] += p * *v;
                        }
                    }
                }
                pair += length * length;
            }
        }
        out
    }

    pub fn cross_entropy(x: &[f64], table: &[f64], targets: &[u32]) -> f64 {
        let hidden = x.len() / targets.len();
        let row = |(x, target): (&[f64], &u32)| {
            let total: f64 = table.chunks(hidden).map(|e| dot(x, e).exp()).sum();
            let target = *target as usize * hidden;
            total.ln() - dot(x, &table[target..target + hidden])
        };
        x.chunks(hidden).zip(targets).map(row).sum()
    }
}

fn worst<F: Real>(found: &[F], exact: &[f64]) -> f64 {
    assert_eq!(found.len(), exact.len());
    let errors = found.iter().zip(exact).map(|(found, exact)| (found.f64() - exact).abs());
    errors.fold(0.0, |worst, error| if error > worst || error.is_nan() { error } else { worst })
}

/// Twice the naive error; when the naive loops happen to be exact, one rounding of the largest
/// value.
pub fn assert_close(found: &[f32], naive: &[f32], exact: &[f64]) {
    let largest = exact.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
    let bound = 2.0 * worst(naive, exact) + largest * f64::from(f32::EPSILON);
    let error = worst(found, exact);
    assert!(error <= bound, "error {error:e} is more than {bound:e}");
}

/// Compares a gradient with central differences of `loss` at some coordinates.
pub fn assert_gradient(found: &[f32], at: &[f32], every: usize, loss: impl Fn(&[f64]) -> f64) {
    const H: f64 = 1e-5;
    let mut point: Vec<f64> = real(at);
    let largest = found.iter().fold(0.0f64, |largest, g| largest.max(f64::from(g.abs())));
    assert!(largest > 1e-6, "a gradient of zeros shows nothing");
    for i in (0..at.len()).step_by(every) {
        let middle = point[i];
        point[i] = middle + H;
        let above = loss(&point);
        point[i] = middle - H;
        let difference = (above - loss(&point)) / (2.0 * H);
        point[i] = middle;
        let error = (f64::from(found[i]) - difference).abs();
        assert!(error <= 2e-5 * (1.0 + largest), "{i}: {} instead of {difference}", found[i]);
    }
}

fn keys(rows: usize) -> Vec<u64> {
    (0..rows as u64).map(|row| mix64(row ^ 99)).collect()
}

/// What a linear layer with this dropout multiplies each element by.
fn mask_of(dropout: Dropout<'_>, rows: usize, outputs: usize) -> Vec<f64> {
    let mut out = vec![0.0; rows * outputs];
    Cpu.linear(Linear {
        shape: LinearShape { rows, inputs: 1, outputs },
        x: &vec![0.0; rows],
        affine: &[vec![0.0; outputs], vec![1.0; outputs]].concat(),
        activation: Activation::Identity,
        dropout,
        residual: &[],
        out: &mut out,
    });
    real(&out)
}

#[test]
fn a_product_with_odd_sizes_is_as_exact_as_plain_loops() {
    for (rows, inputs, outputs) in
        [(1, 1, 1), (5, 50, 17), (6, 64, 16), (97, 300, 33), (130, 7, 150)]
    {
        let x = random(1, rows * inputs);
        let affine = random(2, (inputs + 1) * outputs);
        let residual = random(3, rows * outputs);
        let mut out = vec![0.0; rows * outputs];
        Cpu.linear(Linear {
            shape: LinearShape { rows, inputs, outputs },
            x: &x,
            affine: &affine,
            activation: Activation::Relu,
            dropout: Dropout::NONE,
            residual: &residual,
            out: &mut out,
        });
        fn loops<F: Real>(x: &[f32], affine: &[f32], residual: &[f32], inputs: usize) -> Vec<F> {
            let product = plain::linear::<F>(&real(x), &real(affine), inputs, true);
            product.into_iter().zip(real::<F>(residual)).map(|(y, r)| y + r).collect()
        }
        let exact = loops::<f64>(&x, &affine, &residual, inputs);
        assert_close(&out, &loops::<f32>(&x, &affine, &residual, inputs), &exact);
    }
}

#[test]
fn the_gradient_of_a_product_follows_activation_and_dropout() {
    for (rows, activation) in [(7, Activation::Relu), (300, Activation::Identity)] {
        let (inputs, outputs) = (3, 5);
        let shape = LinearShape { rows, inputs, outputs };
        let (x, affine) = (random(1, rows * inputs), random(2, (inputs + 1) * outputs));
        let weights = random(3, rows * outputs);
        let keys = keys(rows);
        let dropout = Dropout { rate: 0.4, site: 7, keys: &keys };
        let mut out = vec![0.0; rows * outputs];
        let forward = Linear {
            shape,
            x: &x,
            affine: &affine,
            activation,
            dropout,
            residual: &[],
            out: &mut out,
        };
        Cpu.linear(forward);
        let (mut d_x, mut d_affine) = (vec![9.0; x.len()], vec![0.0; affine.len()]);
        Cpu.linear_backward(LinearBackward {
            shape,
            x: &x,
            affine: &affine,
            activation,
            dropout,
            out: &out,
            d_out: &weights,
            d_x: &mut d_x,
            d_affine: &mut d_affine,
        });
        let mask = mask_of(dropout, rows, outputs);
        let loss = |x: &[f64], affine: &[f64]| -> f64 {
            let out = plain::linear(x, affine, inputs, activation == Activation::Relu);
            (0..out.len()).map(|i| out[i] * mask[i] * f64::from(weights[i])).sum()
        };
        assert_gradient(&d_x, &x, 1, |x| loss(x, &real(&affine)));
        assert_gradient(&d_affine, &affine, 1, |affine| loss(&real(&x), affine));
    }
}

#[test]
fn dropout_drops_its_share_and_scales_the_rest() {
    let keys = keys(1000);
    let dropout = Dropout { rate: 0.2, site: 1, keys: &keys };
    let mask = mask_of(dropout, 1000, 100);
    let kept = mask.iter().filter(|m| **m != 0.0).count() as f64 / mask.len() as f64;
    // Of 10⁵ draws, the standard deviation is √(0.2 · 0.8 / 10⁵) = 0.0013.
    assert!((kept - 0.8).abs() < 0.006, "{kept}");
    assert!(mask.iter().all(|m| *m == 0.0 || (m - 1.0 / 0.8).abs() < 1e-6));
    let elsewhere = mask_of(Dropout { site: 2, ..dropout }, 1000, 100);
    let both = mask.iter().zip(&elsewhere).filter(|(a, b)| **a != 0.0 && **b != 0.0).count();
    assert!((both as f64 / mask.len() as f64 - 0.64).abs() < 0.01, "sites draw the same mask");
}

#[test]
fn layer_norm_and_its_gradient() {
    for (rows, hidden) in [(3, 5), (17, 50)] {
        let shape = NormShape { rows, hidden };
        let (x, affine) = (random(1, rows * hidden), random(2, 2 * hidden));
        let (mut out, mut statistics) = (vec![0.0; rows * hidden], vec![0.0; 2 * rows]);
        Cpu.layer_norm(LayerNorm {
            shape,
            x: &x,
            affine: &affine,
            epsilon: 1e-8,
            out: &mut out,
            statistics: &mut statistics,
        });
        let exact = plain::layer_norm::<f64>(&real(&x), &real(&affine));
        assert_close(&out, &plain::layer_norm::<f32>(&x, &affine), &exact);

        let d_out = random(3, rows * hidden);
        let (mut d_x, mut d_affine) = (vec![1.0; rows * hidden], vec![0.0; 2 * hidden]);
        Cpu.layer_norm_backward(LayerNormBackward {
            shape,
            x: &x,
            affine: &affine,
            statistics: &statistics,
            d_out: &d_out,
            d_x: &mut d_x,
            d_affine: &mut d_affine,
        });
        d_x.iter_mut().for_each(|d| *d -= 1.0); // it is added to
        let loss = |x: &[f64], affine: &[f64]| dot(&plain::layer_norm(x, affine), &real(&d_out));
        assert_gradient(&d_x, &x, 1, |x| loss(x, &real(&affine)));
        assert_gradient(&d_affine, &affine, 1, |affine| loss(&real(&x), affine));
    }
}

#[test]
fn embedding_and_its_gradient() {
    let shape = EmbedShape { tokens: 6, hidden: 3, items: 4, positions: 5 };
    let (items, positions) = ([3, 0, 3, 1, 2, 3], [4, 3, 2, 4, 0, 1]);
    let (item_table, position_table) = (random(1, 12), random(2, 15));
    let keys = keys(6);
    let dropout = Dropout { rate: 0.3, site: 5, keys: &keys };
    let mut out = vec![0.0; 18];
    Cpu.embed(Embed {
        shape,
        items: &items,
        positions: &positions,
        item_table: &item_table,
        position_table: &position_table,
        dropout,
        out: &mut out,
    });
    let mask = mask_of(dropout, 6, 3);
    let embed = |items_at: &[f64], positions_at: &[f64]| -> Vec<f64> {
        let element = |i: usize| {
            let (t, c) = (i / 3, i % 3);
            let item = items_at[items[t] as usize * 3 + c];
            mask[i] * (3f64.sqrt() * item + positions_at[positions[t] as usize * 3 + c])
        };
        (0..18).map(element).collect()
    };
    assert!(worst(&out, &embed(&real(&item_table), &real(&position_table))) < 1e-6);

    let d_out = random(3, 18);
    let (mut d_items, mut d_positions) = (vec![0.0; 12], vec![0.0; 15]);
    Cpu.embed_backward(EmbedBackward {
        shape,
        items: &items,
        positions: &positions,
        dropout,
        d_out: &d_out,
        d_item_table: &mut d_items,
        d_position_table: &mut d_positions,
    });
    let loss = |i: &[f64], p: &[f64]| dot(&embed(i, p), &real(&d_out));
    assert_gradient(&d_items, &item_table, 1, |items| loss(items, &real(&position_table)));
    assert_gradient(&d_positions, &position_table, 1, |p| loss(&real(&item_table), p));
}

#[test]
fn attention_and_its_gradient_over_ragged_sequences() {
    // A sequence longer than a block of queries, one of one token, none, and one in between.
    let offsets = [0, 60, 61, 61, 68];
    let (heads, width) = (2, 3);
    let shape = AttentionShape { offsets: &offsets, heads, width };
    shape.check().unwrap();
    let (tokens, hidden) = (shape.tokens(), shape.hidden());
    let qkv: Vec<f32> = random(1, tokens * 3 * hidden).iter().map(|x| 2.0 * x).collect();
    let keys = keys(tokens);
    for rate in [0.0, 0.3] {
        let dropout = Dropout { rate, site: 3, keys: &keys };
        let mut probabilities = vec![0.0; shape.pairs()];
        let mut out = vec![0.0; tokens * hidden];
        let (p, to) = (&mut probabilities, &mut out);
        Cpu.attention(Attention { shape, qkv: &qkv, dropout, probabilities: p, out: to });
        // Of the first sequence's 60 · 61 / 2 pairs.
        let seen = (0..60).flat_map(|i| &probabilities[i * 60..][..=i]);
        let dropped = seen.filter(|p| **p < 0.0).count() as f64 / (60.0 * 61.0 / 2.0);
        assert!((dropped - f64::from(rate)).abs() < 0.03, "{dropped}");
        let kept = 1.0 / (1.0 - f64::from(rate));
        let mask: Vec<f32> =
            probabilities.iter().map(|p| if *p < 0.0 { 0.0 } else { kept as f32 }).collect();
        let loops = |qkv: &[f64]| plain::attention(qkv, &real(&mask), &offsets, (heads, width));
        let naive = plain::attention::<f32>(&qkv, &mask, &offsets, (heads, width));
        assert_close(&out, &naive, &loops(&real(&qkv)));

        let d_out = random(4, tokens * hidden);
        let mut d_qkv = vec![9.0; qkv.len()];
        Cpu.attention_backward(AttentionBackward {
            shape,
            qkv: &qkv,
            dropout_rate: rate,
            probabilities: &probabilities,
            out: &out,
            d_out: &d_out,
            d_qkv: &mut d_qkv,
        });
        assert_gradient(&d_qkv, &qkv, 7, |qkv| dot(&loops(qkv), &real(&d_out)));
    }
}

#[test]
fn cross_entropy_and_its_gradients() {
    // The second needs more than one block of rows.
    for (rows, items, hidden, every) in [(30, 50, 7, 1), (101, 300, 4, 17)] {
        let shape = LossShape { rows, hidden, items, candidates: items };
        let (x, table) = (random(1, rows * hidden), random(2, items * hidden));
        let targets: Vec<u32> =
            (0..rows as u64).map(|r| (mix64(r) % items as u64) as u32).collect();
        let (mut d_x, mut d_table) = (vec![9.0; x.len()], vec![0.0; table.len()]);
        let loss = Cpu.cross_entropy(CrossEntropy {
            shape,
            x: &x,
            table: &table,
            targets: &targets,
            scale: 0.5,
            d_x: &mut d_x,
            d_table: &mut d_table,
        });
        let exact = |x: &[f64], table: &[f64]| 0.5 * plain::cross_entropy(x, table, &targets);
        assert!((loss - 2.0 * exact(&real(&x), &real(&table))).abs() < 1e-5 * loss);
        assert_gradient(&d_x, &x, every.min(37), |x| exact(x, &real(&table)));
        assert_gradient(&d_table, &table, every, |table| exact(&real(&x), table));
    }
}

/// The sampled losses' own formulas over scores.
fn sampled(rule: SampledRule<'_>, items: &[u32], scores: &[f64]) -> f64 {
    match rule {
        SampledRule::Softmax { log_q } => {
            let corrected = |j: usize| scores[j] - f64::from(log_q[items[j] as usize]);
            let counted = (0..items.len()).filter(|j| *j == 0 || items[*j] != items[0]);
            counted.map(|j| corrected(j).exp()).sum::<f64>().ln() - corrected(0)
        }
        SampledRule::Binary { beta } => {
            let sigma = |s: f64| 1.0 / (1.0 + (-s).exp());
            let negatives: f64 = scores[1..].iter().map(|s| (1.0 - sigma(*s)).ln()).sum();
            -(f64::from(beta) * sigma(scores[0]).ln() + negatives) / scores.len() as f64
        }
    }
}

#[test]
fn sampled_losses_and_their_gradients() {
    let (rows, items, hidden, candidates) = (9, 12, 5, 4);
    let shape = LossShape { rows, hidden, items, candidates };
    let (x, table) = (random(1, rows * hidden), random(2, items * hidden));
    let mut drawn: Vec<u32> =
        (0..(rows * candidates) as u64).map(|i| (mix64(i) % items as u64) as u32).collect();
    drawn[2] = drawn[0]; // an accidental hit
    let log_q = random(5, items);
    for rule in [SampledRule::Softmax { log_q: &log_q }, SampledRule::Binary { beta: 0.3 }] {
        let (mut d_x, mut d_table) = (vec![9.0; x.len()], vec![0.0; table.len()]);
        let loss = Cpu.sampled_loss(SampledLoss {
            shape,
            rule,
            x: &x,
            table: &table,
            candidates: &drawn,
            scale: 2.0,
            d_x: &mut d_x,
            d_table: &mut d_table,
        });
        let exact = |x: &[f64], table: &[f64]| -> f64 {
            let rows = x.chunks(hidden).zip(drawn.chunks(candidates));
            let row = |(x, drawn): (&[f64], &[u32])| {
                let embedding = |item: &u32| &table[*item as usize * hidden..][..hidden];
                let scores: Vec<f64> = drawn.iter().map(|item| dot(x, embedding(item))).collect();
                sampled(rule, drawn, &scores)
            };
            2.0 * rows.map(row).sum::<f64>()
        };
        assert!((2.0 * loss - exact(&real(&x), &real(&table))).abs() < 1e-5);
        assert_gradient(&d_x, &x, 1, |x| exact(x, &real(&table)));
        assert_gradient(&d_table, &table, 1, |table| exact(&real(&x), table));
    }
}

#[test]
fn losses_of_equal_scores_are_logarithms() {
    let zeros = vec![0.0; 24];
    let (mut d_x, mut d_table) = (vec![0.0; 6], vec![0.0; 24]);
    let loss = Cpu.cross_entropy(CrossEntropy {
        shape: LossShape { rows: 2, hidden: 3, items: 8, candidates: 8 },
        x: &[0.0; 6],
        table: &zeros,
        targets: &[1, 7],
        scale: 1.0,
        d_x: &mut d_x,
        d_table: &mut d_table,
    });
    assert!((loss - 2.0 * 8f64.ln()).abs() < 1e-6, "two rows, eight equal items");
    let mut binary = |rule| {
        Cpu.sampled_loss(SampledLoss {
            shape: LossShape { rows: 1, hidden: 3, items: 8, candidates: 4 },
            rule,
            x: &[0.0; 3],
            table: &zeros,
            candidates: &[0, 1, 2, 3],
            scale: 1.0,
            d_x: &mut d_x[..3],
            d_table: &mut d_table,
        })
    };
    let half = binary(SampledRule::Binary { beta: 0.5 });
    assert!((half - (0.5 + 3.0) * 2f64.ln() / 4.0).abs() < 1e-6);
    // The target is drawn as often as not, the negatives twice: 1/1 of 1/1 + 3 · 1/2.
    let log_q = [0.0, 2f32.ln(), 2f32.ln(), 2f32.ln()].repeat(2);
    let softmax = binary(SampledRule::Softmax { log_q: &log_q });
    assert!((softmax - 2.5f64.ln()).abs() < 1e-6);
}

#[test]
fn two_steps_of_adam_w_by_hand() {
    let (mut w, mut m, mut v) = (vec![1.0f32, -2.0], vec![0.0f32; 2], vec![0.0f32; 2]);
    let gradients = [[0.5f32, 0.25], [-1.0, 0.5]];
    let (mut weight, mut mean, mut square) = ([1.0f64, -2.0], [0.0f64; 2], [0.0f64; 2]);
    for (step, gradient) in (1..).zip(&gradients) {
        Cpu.adam_w(AdamW {
            step: step as u64,
            rate: 0.1,
            betas: (0.9, 0.98),
            decay: 0.01,
            scale: 2.0,
            gradient,
            state: (&mut w, &mut m, &mut v),
        });
        for i in 0..2 {
            let g = 2.0 * f64::from(gradient[i]);
            mean[i] = 0.9 * mean[i] + 0.1 * g;
            square[i] = 0.98 * square[i] + 0.02 * g * g;
            let hat = mean[i] / (1.0 - 0.9f64.powi(step));
            let root = (square[i] / (1.0 - 0.98f64.powi(step))).sqrt();
            weight[i] -= 0.1 * (hat / (root + 1e-8) + 0.01 * weight[i]);
        }
        assert!(worst(&w, &weight) < 1e-6, "step {step}: {w:?}, expected {weight:?}");
    }
}

#[test]
fn shapes_refuse_what_no_kernel_can_compute() {
    let none = LinearShape { rows: 1, inputs: 0, outputs: 2 }.check().unwrap_err().to_string();
    assert_eq!(none, "linear: inputs is 0: expected at least 1");
    for offsets in [&[][..], &[1, 2], &[0, 3, 2]] {
        assert!(AttentionShape { offsets, heads: 1, width: 1 }.check().is_err(), "{offsets:?}");
    }
}
