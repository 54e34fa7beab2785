//! What a retriever is made of, each by itself.

use super::cases::{BUFFERS, Bench, computes, moves};
use super::families::offsets;
use super::table::Unit;
use steerage::device::Activation;
use steerage::device::cuda::kernels::{
    CrossEntropy, Dropout, Embed, Indices, Linear, LinearBackward, LookupBackward, Offsets, Pool,
    PoolBackward, Pooling, SampledLoss, SampledLossRule, SequenceAttention, Starts, Uses,
};
use steerage::device::cuda::{Bf16, Buffer};
use steerage::device::shape::{EmbedShape, GroupedShape};
use steerage::error::Result;

/// Times them.
pub fn all(bench: &mut Bench<'_>) -> Result<()> {
    rows(bench)?;
    for width in [64, 128] {
        short_attention(bench, width)?;
    }
    loss(bench)?;
    sampled(bench)
}

/// The retriever's network besides norms and attention.
fn rows(bench: &mut Bench<'_>) -> Result<()> {
    let (driver, s) = (bench.driver, bench.sizes);
    let (rows, hidden) = (s.rows, s.narrow);
    let (items, positions) = (&bench.indices(rows, s.items)?, &bench.indices(rows, 50)?);
    let (item_table, position_table) = (&bench.f32(s.items * hidden)?, &bench.f32(50 * hidden)?);
    let (out, dropout) = (&bench.f32(rows * hidden)?, Dropout::NONE);
    let call = Embed {
        hidden,
        items,
        positions,
        item_table,
        position_table,
        kinds: None,
        scale: 8.0,
        dropout,
        out,
    };
    let shape = EmbedShape { tokens: rows, hidden, items: s.items, positions: 50 };
    let embed = call.launch()?;
    bench.launch("", &embed, moves(shape.bytes() as usize - 4 * rows * hidden))?;
    let (sums, residual) = (&bench.f32(rows * hidden)?, &bench.f32(rows * hidden)?);
    let (bias, activation) = (&bench.f32(hidden)?, Activation::Relu);
    let (size, bias, residual) = ([rows, hidden], Some(bias), Some(residual));
    let call = Linear { size, sums, bias, activation, dropout, residual, out };
    bench.launch("", &call.launch()?, BUFFERS)?;
    let (rounded, active) = (&bench.bf16(rows * hidden)?, Some(sums));
    let d_sums = &bench.f32(rows * hidden)?;
    let call = LinearBackward { size, d_out: out, active, dropout, d_sums, rounded };
    bench.launch("", &call.launch()?, BUFFERS)?;
    let sequences = rows.div_ceil(50);
    let offsets = &Offsets::of(driver, &offsets(rows, sequences))?;
    let pooled = &bench.f32(sequences * hidden)?;
    for (pooling, work) in
        [(Pooling::Mean, BUFFERS), (Pooling::Last, moves(8 * sequences * hidden))]
    {
        let call = Pool { hidden, pooling, x: sums, offsets, out: pooled };
        bench.launch("", &call.launch()?, work)?;
    }
    let call = PoolBackward { hidden, offsets, d_out: pooled, d_x: d_sums };
    bench.launch("", &call.launch()?, BUFFERS)
}

/// In f32, over a retriever's sequences.
fn short_attention(bench: &mut Bench<'_>, width: usize) -> Result<()> {
    let (driver, s) = (bench.driver, bench.sizes);
    let (rows, sequences) = (s.rows, s.rows.div_ceil(200));
    let offsets = &offsets(rows, sequences);
    let (qkv, out) = (&bench.f32(3 * rows * width)?, &bench.f32(rows * width)?);
    let (size, scale) = ([1, width], 1.0 / (width as f32).sqrt());
    let call = SequenceAttention { size, scale, starts: &Starts::of(driver, offsets)?, qkv, out };
    let shape = GroupedShape { offsets, parents: &[], heads: 1, shared: 1, width };
    let note = format!("{sequences} × {}", rows / sequences);
    bench.launch(&note, &call.launch()?, computes(shape.flops() as f64, Unit::F32))
}

fn loss(bench: &mut Bench<'_>) -> Result<()> {
    let (driver, s) = (bench.driver, bench.sizes);
    let (rows, items, wide) = (s.rows.div_ceil(16), s.items, s.items);
    let scores = &bench.f32(rows * items)?;
    let (targets, losses) = (&bench.indices(rows, items)?, &bench.f32(rows)?);
    let d_scores = &Buffer::<Bf16>::new(driver, rows * items)?;
    let call = CrossEntropy { items, wide, scale: 1.0, scores, targets, losses, d_scores };
    bench.launch(&format!("{rows} × {items}"), &call.launch()?, BUFFERS)
}

/// A loss over a target and 256 negatives, and what the table gets of it.
fn sampled(bench: &mut Bench<'_>) -> Result<()> {
    let (driver, s) = (bench.driver, bench.sizes);
    let (rows, items, hidden, each) = (s.rows.div_ceil(2), s.items, s.narrow, 257);
    let (x, d_x) = (&bench.f32(rows * hidden)?, &bench.f32(rows * hidden)?);
    let (table, d_rows) = (&bench.f32(items * hidden)?, &bench.f32(items * hidden)?);
    let (losses, d_scores) = (&bench.f32(rows)?, &bench.f32(rows * each)?);
    let picks = bench.picks(rows * each, items);
    let candidates = &Indices::of(driver, &picks)?;
    let (size, rule, scale) = ([rows, items, hidden], SampledLossRule::Binary(0.5), 1.0);
    let call = SampledLoss { size, rule, scale, x, table, candidates, losses, d_scores, d_x };
    let note = format!("{rows} × {each} of {items}");
    bench.launch(&note, &call.launch()?, BUFFERS)?;
    let uses = &Uses::of(driver, [items, hidden], picks.iter().copied().map(Some))?;
    let call = LookupBackward { scale, uses, weights: Some(d_scores), x, d_rows };
    call.launches()?.iter().try_for_each(|launch| bench.launch(&note, launch, BUFFERS))
}
