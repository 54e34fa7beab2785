//! What follows a product with a weight and its adapters, at the sizes of a decoder's layer.

use super::cases::{BUFFERS, Bench, Work, moves};
use steerage::device::cuda::Launch;
use steerage::device::cuda::kernels::{
    Adapters, Indices, LoraGated, LoraGelu, LoraGeluBackward, LoraLayerNorm, LoraLinear, LoraQkv,
    LoraResidual, LoraRmsNorm, LoraSums, RotaryBackward,
};
use steerage::error::Result;

/// Ranks of each adapter, and how many there are.
const RANKS: usize = 16;
const ADAPTERS: usize = 2;
const EPSILON: f32 = 1e-5;

/// Times each of them, and what turns gradients back.
pub fn all(bench: &mut Bench<'_>) -> Result<()> {
    let s = bench.sizes;
    let rows = s.tokens;
    // Heads of the kernels' own widths, also where the model is tiny.
    let width = (s.hidden / s.heads).next_multiple_of(64);
    let (heads, turned) = (s.heads + 2 * s.shared, s.heads + s.shared);
    let (positions, table) = (&bench.indices(rows, 1024)?, &bench.f32(1024 * width)?);
    after(bench, heads * width, BUFFERS, |bench, sums| {
        let out = &bench.bf16(rows * heads * width)?;
        LoraQkv { sums, turned, width, positions, table, out }.launch()
    })?;
    after(bench, s.hidden, BUFFERS, |bench, sums| {
        LoraLinear { sums, out: &bench.bf16(rows * s.hidden)? }.launch()
    })?;
    after(bench, s.hidden, BUFFERS, |bench, sums| {
        let out = &bench.f32(rows * s.hidden)?;
        LoraResidual { sums, residual: out, from: None, out }.launch()
    })?;
    after(bench, s.hidden, BUFFERS, rms_norm)?;
    after(bench, s.hidden, BUFFERS, layer_norm)?;
    after(bench, 2 * s.inner, BUFFERS, |bench, sums| {
        LoraGated { sums, out: &bench.bf16(rows * s.inner)? }.launch()
    })?;
    after(bench, s.inner, BUFFERS, |bench, sums| {
        LoraGelu { sums, out: &bench.bf16(rows * s.inner)? }.launch()
    })?;
    // What is changed in its place is read, too.
    after(bench, s.inner, moves(6 * rows * s.inner), |bench, sums| {
        LoraGeluBackward { sums, d: &bench.bf16(rows * s.inner)? }.launch()
    })?;
    let d_qkv = &bench.bf16(rows * heads * width)?;
    let call = RotaryBackward { heads, turned, width, positions, table, d_qkv };
    bench.launch("", &call.launch()?, moves(4 * rows * turned * width))
}

/// Times what `follow` makes of the sums of a product with so many outputs.
fn after(
    bench: &mut Bench<'_>,
    outputs: usize,
    work: Work,
    follow: impl Fn(&mut Bench<'_>, LoraSums<'_>) -> Result<Launch>,
) -> Result<()> {
    let (driver, rows, inputs) = (bench.driver, bench.sizes.tokens, bench.sizes.hidden);
    let chosen = bench.picks(rows, ADAPTERS).into_iter().map(Some).collect::<Vec<_>>();
    let chosen = &Indices::of_some(driver, &chosen)?;
    let adapters = &Adapters::drawn(driver, [outputs, inputs], [ADAPTERS, RANKS], outputs as u64)?;
    let (x, sums) = (bench.bf16(rows * inputs)?, &bench.bf16(rows * adapters.columns())?);
    let row_scales = adapters.multiply(driver, &x, None, sums)?;
    let row_scales = row_scales.as_ref();
    let sums = LoraSums { rows, sums, adapters, chosen, bias: None, row_scales };
    let launch = follow(bench, sums)?;
    bench.launch(&format!("{rows} × {outputs}"), &launch, work)
}

fn rms_norm(bench: &mut Bench<'_>, sums: LoraSums<'_>) -> Result<Launch> {
    let (rows, hidden) = (sums.rows, sums.adapters.outputs());
    let (x, out) = (&bench.f32(rows * hidden)?, &bench.bf16(rows * hidden)?);
    let (weight, statistics) = (&bench.f32(hidden)?, Some(&bench.f32(rows)?));
    let x = LoraResidual { sums, residual: x, from: None, out: x };
    LoraRmsNorm { x, weight, epsilon: EPSILON, out, statistics }.launch()
}

fn layer_norm(bench: &mut Bench<'_>, sums: LoraSums<'_>) -> Result<Launch> {
    let (rows, hidden) = (sums.rows, sums.adapters.outputs());
    let [stream, x] = &[bench.f32(rows * hidden)?, bench.f32(rows * hidden)?];
    let (affine, statistics) = (&bench.f32(2 * hidden)?, &bench.f32(2 * rows)?);
    let (out, epsilon) = (Some(&bench.bf16(rows * hidden)?), EPSILON);
    let x = LoraResidual { sums, residual: stream, from: None, out: x };
    LoraLayerNorm { x, affine, epsilon, stream, out, statistics }.launch()
}
