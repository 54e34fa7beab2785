//! The encoder's kernels, against plain loops in f64, within twice the error of the same loops in
//! f32; gradients against central differences.

use crate::encoder::bits;
use crate::kernels::{Real, assert_close, assert_gradient, dot, random, real};
use steerage::device::shape::{AttentionShape, PointShape};
use steerage::device::{
    Backend, Cpu, Gelu, GeluBackward, MutualAttention, MutualAttentionBackward,
};

/// (2 / √π) e^(−x²) Σ 2ⁿ x^(2n+1) / (2n + 1)!!, whose terms are all of one sign.
pub fn erf(x: f64) -> f64 {
    let (mut term, mut sum, mut n) = (x, x, 0.0);
    while term.abs() > 1e-18 * sum.abs() && n < 1000.0 {
        n += 1.0;
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2))
}

#[test]
fn gelu_is_its_formula() {
    for scale in [0.01, 1.0, 7.0] {
        let mut x: Vec<f32> = random(1, 4001).iter().map(|x| scale * x).collect();
        x.extend([0.0, -0.0, 5.4, -5.4, 5.5, -5.5, 30.0, -30.0]);
        let run = |x: &[f32]| {
            let mut out = vec![f32::NAN; x.len()];
            Cpu.gelu(Gelu { shape: PointShape { elements: x.len() }, x, out: &mut out });
            out
        };
        let out = run(&x);
        let naive = |x: &f32| {
            let half = erf(f64::from(x * std::f32::consts::FRAC_1_SQRT_2)) as f32;
            0.5 * x * (1.0 + half)
        };
        let exact: Vec<f64> = x.iter().map(|x| gelu(f64::from(*x))).collect();
        assert_close(&out, &x.iter().map(naive).collect::<Vec<f32>>(), &exact);
        assert_eq!(out[x.len() - 2..], [30.0, 0.0], "the ends are exact");
        assert_eq!(bits(&run(&x[3..12])), bits(&out[3..12]), "each element by itself");
        let by = random(2, x.len());
        let mut d = by.clone();
        Cpu.gelu_backward(GeluBackward {
            shape: PointShape { elements: x.len() },
            x: &x,
            d: &mut d,
        });
        assert_gradient(&d, &x, 37, |x| {
            x.iter().zip(&by).map(|(x, by)| gelu(*x) * f64::from(*by)).sum()
        });
    }
}

fn attention<F: Real>(qkv: &[F], offsets: &[u32], (heads, width): (usize, usize)) -> Vec<F> {
    let hidden = heads * width;
    let mut out = vec![F::of(0.0); qkv.len() / 3];
    for range in offsets.windows(2) {
        let rows = range[0] as usize..range[1] as usize;
        for head in 0..heads {
            let part = |which: usize, t: usize| {
                let at = t * 3 * hidden + which * hidden + head * width;
                &qkv[at..at + width]
            };
            for i in rows.clone() {
                let scale = F::of(width as f64).sqrt();
                let weights: Vec<F> =
                    rows.clone().map(|j| (dot(part(0, i), part(1, j)) / scale).exp()).collect();
                let total = weights.iter().fold(F::of(0.0), |sum, w| sum + *w);
                for (j, weight) in rows.clone().zip(&weights) {
                    for (c, v) in part(2, j).iter().enumerate() {
                        out[i * hidden + head * width + c] += *weight / total * *v;
                    }
                }
            }
        }
    }
    out
}

#[test]
fn attention_in_both_directions_and_its_gradient() {
    for (offsets, heads, width) in [
        (&[0u32, 1, 4, 9] as &[u32], 2, 3),
        (&[0, 7, 7, 60], 3, 8),
        (&[0, 101, 103, 120], 1, 32),
        (&[0, 16, 33, 50, 66], 2, 16),
    ] {
        let shape = AttentionShape { offsets, heads, width };
        let (tokens, hidden) = (shape.tokens(), heads * width);
        let qkv: Vec<f32> = random(1, tokens * 3 * hidden).iter().map(|x| 2.0 * x).collect();
        let run = |qkv: &[f32], offsets: &[u32]| {
            let shape = AttentionShape { offsets, heads, width };
            let mut out = vec![f32::NAN; shape.tokens() * hidden];
            let mut statistics = vec![f32::NAN; shape.tokens() * heads];
            let statistics_to = &mut statistics;
            let call = MutualAttention { shape, qkv, statistics: statistics_to, out: &mut out };
            Cpu.mutual_attention(call);
            (out, statistics)
        };
        let (out, statistics) = run(&qkv, offsets);
        let exact = attention::<f64>(&real(&qkv), offsets, (heads, width));
        assert_close(&out, &attention::<f32>(&qkv, offsets, (heads, width)), &exact);
        for ends in offsets.windows(2) {
            let rows = ends[0] as usize..ends[1] as usize;
            let alone =
                run(&qkv[rows.start * 3 * hidden..rows.end * 3 * hidden], &[0, ends[1] - ends[0]]);
            assert_eq!(bits(&alone.0), bits(&out[rows.start * hidden..rows.end * hidden]));
            assert_eq!(bits(&alone.1), bits(&statistics[rows.start * heads..rows.end * heads]));
        }
        let by = random(2, tokens * hidden);
        let mut d_qkv = vec![f32::NAN; qkv.len()];
        Cpu.mutual_attention_backward(MutualAttentionBackward {
            shape,
            qkv: &qkv,
            statistics: &statistics,
            out: &out,
            d_out: &by,
            d_qkv: &mut d_qkv,
        });
        let every = 1 + qkv.len() / 150;
        assert_gradient(&d_qkv, &qkv, every, |qkv| {
            dot(&attention(qkv, offsets, (heads, width)), &real(&by))
        });
    }
}
