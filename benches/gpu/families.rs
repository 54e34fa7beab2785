//! The cases: every kernel at the sizes of a decoder's batch, of a retriever's step, of a search.

use super::cases::{BUFFERS, Bench, Work, computes, moves};
use super::table::Unit;
use std::ops::Range;
use steerage::device::Queries;
use steerage::device::cpu::top_k::TopKShape;
use steerage::device::cuda::kernels::{
    AdamW, CandidateLogits, CandidateLogitsBackward, Draw, DrawNumber, Dropout, Exclusions,
    GatedBackward, GroupedAttention, GroupedAttentionBackward, Indices, Keep, LayerNorm,
    LayerNormBackward, Lookup, LookupBackward, NormWeight, OwnRows, Paths, Quantise, RmsNorm,
    RmsNormBackward, Round, Rows, Spread, SquareSums, TopK, TopKNumber, Uses, Visits, found_length,
};
use steerage::device::cuda::{Bf16, Buffer};
use steerage::device::shape::{GatedShape, GroupedShape, NormShape};
use steerage::error::Result;

/// Times some kernels.
pub type Family = fn(&mut Bench<'_>) -> Result<()>;

/// All of them, by what they are about.
pub const ALL: [(&str, Family); 11] = [
    ("rows", rows),
    ("products", super::products::all),
    ("attention", all_attention),
    ("ends", ends),
    ("norms", norms),
    ("retrieving", super::retrieving::all),
    ("search in f32", |bench| search::<f32>(bench, "f32")),
    ("search in bf16", |bench| search::<Bf16>(bench, "bf16")),
    ("screen of width 64", |bench| super::search::rounds(bench, 64)),
    ("screen of width 128", |bench| super::search::rounds(bench, 128)),
    ("optimiser", optimiser),
];

fn all_attention(bench: &mut Bench<'_>) -> Result<()> {
    for width in [64, 128] {
        attention(bench, width, Queries::All, 0.0)?;
        attention(bench, width, Queries::All, 0.2)?;
    }
    attention(bench, 128, Queries::Last, 0.0)?;
    reading_on(bench, 128)
}

/// What turns a decoder's rows into others.
fn rows(bench: &mut Bench<'_>) -> Result<()> {
    let (driver, s) = (bench.driver, bench.sizes);
    let (tokens, hidden, inner) = (s.tokens, s.hidden, s.inner);
    let table = &bench.bf16(s.vocabulary * hidden)?;
    let chosen = bench.picks(tokens, s.vocabulary);
    let places: Vec<i32> = chosen.iter().map(|row| *row as i32).collect();
    let stream = &bench.f32(tokens * hidden)?;
    let lookup =
        Lookup { hidden, table, own: None, rows: &Rows::of(driver, &places)?, out: stream };
    bench.launch("", &lookup.launch()?, moves(tokens * (6 * hidden + 4)))?;
    let trained: Vec<Option<u32>> = chosen.iter().map(|row| (*row < 256).then_some(*row)).collect();
    let uses = &Uses::of(driver, [256, hidden], trained.iter().copied())?;
    let d_rows = &bench.f32(256 * hidden)?;
    let used = trained.iter().flatten().count();
    let lasts: Vec<Option<u32>> =
        (0..tokens as u32).map(|row| row.is_multiple_of(8).then_some(row / 8)).collect();
    let (ends, from) = (bench.f32(tokens.div_ceil(8) * hidden)?, Indices::of_some(driver, &lasts)?);
    let call = Spread { columns: hidden, x: Some((&ends, &from)), out: stream };
    bench.launch("every eighth row", &call.launch()?, BUFFERS)?;
    let call = LookupBackward { scale: 1.0, uses, weights: None, x: stream, d_rows };
    let bytes = (used + 2 * 256) * 4 * hidden;
    for (launch, work) in call.launches()?.iter().zip([moves(bytes), BUFFERS]) {
        bench.launch("256 trained rows", launch, work)?;
    }
    let out = &Buffer::<u8>::new(driver, tokens * hidden)?;
    let (x, scales) = (&bench.bf16(tokens * hidden)?, &bench.f32(tokens)?);
    let shape = NormShape { rows: tokens, hidden };
    bench.launch("", &Quantise { shape, x, out, scales }.launch()?, BUFFERS)?;
    let shape = GatedShape { rows: tokens, hidden: inner };
    let (x, d_out) = (&bench.bf16(2 * tokens * inner)?, &bench.bf16(tokens * inner)?);
    let d_x = &bench.bf16(2 * tokens * inner)?;
    bench.launch("", &GatedBackward { shape, x, d_out, d_x }.launch()?, BUFFERS)
}

/// Prompts that are equally long.
pub fn offsets(tokens: usize, sequences: usize) -> Vec<u32> {
    (0..=sequences).map(|s| (s * tokens / sequences) as u32).collect()
}

/// Forward, and its gradient; of the weights a share may be dropped.
fn attention(bench: &mut Bench<'_>, width: usize, queries: Queries, rate: f32) -> Result<()> {
    let (driver, s) = (bench.driver, bench.sizes);
    let keys: Vec<u64> = (0..s.tokens as u64).collect();
    let keys = &Buffer::of(driver, &keys)?;
    let dropout = Dropout { rate, site: 1, keys: Some(keys) };
    let offsets = &offsets(s.tokens, s.prompts);
    let shape = GroupedShape { offsets, parents: &[], heads: s.heads, shared: s.shared, width };
    let visits = &Visits::of(driver, &shape, queries)?;
    let rows = visits.paths().rows();
    let (qkv, d_qkv) = (&bench.bf16(s.tokens * shape.row())?, &bench.bf16(s.tokens * shape.row())?);
    let [out, d_out] = [bench.bf16(rows * shape.queries())?, bench.bf16(rows * shape.queries())?];
    let [statistics, alongs] = [bench.f32(rows * s.heads)?, bench.f32(rows * s.heads)?];
    let scale = 1.0 / (width as f32).sqrt();
    let (paths, sums) = (visits.paths(), &statistics);
    let (kept, statistics) = (None, sums);
    let call = GroupedAttention { paths, scale, qkv, kept, dropout, statistics, out: &out };
    let (note, flops) = match queries {
        Queries::All => (format!("{} × {}", s.prompts, s.tokens / s.prompts), shape.flops() as f64),
        // One query of each sequence: 4 operations for each number of the keys that it sees.
        Queries::Last => ("last tokens".into(), (4 * s.tokens * shape.queries()) as f64),
    };
    // The last tokens' queries read all keys and values.
    let read = 2 * s.tokens * 2 * s.shared * width + 4 * rows * shape.queries();
    let work = |times: f64| match queries {
        Queries::All => computes(times * flops, Unit::Bf16),
        Queries::Last => Work { bytes: Some(read), ..computes(times * flops, Unit::Bf16) },
    };
    bench.launch(&note, &call.launch()?, work(1.0))?;
    let call = GroupedAttentionBackward {
        visits,
        dropout,
        scale,
        qkv,
        statistics,
        out: &out,
        d_out: &d_out,
        alongs: &alongs,
        d_qkv,
    };
    // Of the forward kernel's two products: keys' need four, queries' three.
    let [along, by_key, by_query] = call.launches()?;
    bench.launch(&note, &along, BUFFERS)?;
    bench.launch(&note, &by_key, work(2.0))?;
    bench.launch(&note, &by_query, work(1.5))
}

/// One query of each sequence, over keys and values that are kept in pages.
fn reading_on(bench: &mut Bench<'_>, width: usize) -> Result<()> {
    let (driver, s) = (bench.driver, bench.sizes);
    let (offsets, length) = (&offsets(s.prompts, s.prompts), s.tokens / s.prompts);
    let shape = GroupedShape { offsets, parents: &[], heads: s.heads, shared: s.shared, width };
    let [page, numbers] = [64, 2 * s.shared * width];
    let pages = length.div_ceil(page);
    // The pages of a sequence lie apart.
    let row = |p: usize, at: usize| (at * s.prompts + p) * page;
    let rows = |p| {
        (0..pages).map(move |at| row(p, at)..row(p, at) + page.min(length - at * page)).collect()
    };
    let rows: Vec<Vec<Range<usize>>> = (0..s.prompts).map(rows).collect();
    let kept = &bench.bf16(pages * page * s.prompts * numbers)?;
    let lasts: Vec<u32> = rows.iter().flatten().map(|rows| rows.end as u32 - 1).collect();
    let places = &Indices::of(driver, &lasts)?;
    let qkv = &bench.bf16(lasts.len() * shape.row())?;
    let call = Keep { numbers: [shape.queries(), numbers], qkv, places, kept };
    bench.launch("a token of each page", &call.launch()?, moves(4 * lasts.len() * numbers))?;
    let paths = &Paths::kept(driver, &shape, Queries::All, &rows)?;
    let qkv = &bench.bf16(s.prompts * shape.row())?;
    let out = &bench.bf16(s.prompts * shape.queries())?;
    let (statistics, scale) = (&bench.f32(s.prompts * s.heads)?, 1.0 / (width as f32).sqrt());
    let (kept, dropout) = (Some(kept), Dropout::NONE);
    let call = GroupedAttention { paths, scale, qkv, kept, dropout, statistics, out };
    let flops = (4 * s.prompts * length * shape.queries()) as f64;
    let bytes = Some(2 * s.prompts * (length * numbers + shape.row() + shape.queries()));
    let work = Work { bytes, ..computes(flops, Unit::Bf16) };
    bench.launch("reading on, in pages", &call.launch()?, work)
}

/// From prompts' last rows to logits, and back.
fn ends(bench: &mut Bench<'_>) -> Result<()> {
    let (driver, s) = (bench.driver, bench.sizes);
    let (hidden, prompts, candidates) = (s.hidden, 16 * s.prompts, s.candidates);
    let places: Vec<i32> = (0..candidates as i32).map(|i| if i < 2 { -1 - i } else { i }).collect();
    let (rows, lists) = (Rows::of(driver, &places)?, Indices::of(driver, &vec![0; prompts])?);
    let table = bench.bf16(s.vocabulary * hidden)?;
    let (own, h) = (bench.bf16(2 * hidden)?, &bench.bf16(prompts * hidden)?);
    let (logits, d_h) = (bench.f32(prompts * candidates)?, &bench.bf16(prompts * hidden)?);
    let forward = CandidateLogits {
        hidden,
        candidates,
        h,
        table: &table,
        own: Some(&own),
        rows: &rows,
        lists: &lists,
        logits: &logits,
    };
    let bytes = 2 * hidden * (prompts + candidates) + 4 * prompts * candidates;
    let note = format!("{prompts} prompts × {candidates}");
    bench.launch(&note, &forward.launch()?, moves(bytes))?;
    let used: Vec<Option<u32>> = (0..prompts * candidates)
        .map(|i| u32::try_from(-1 - places[i % candidates]).ok())
        .collect();
    let uses = &Uses::of(driver, [2, hidden], used.iter().copied())?;
    let (d_logits, d_own) = (&bench.f32(prompts * candidates)?, &bench.f32(2 * hidden)?);
    let d_own = Some(OwnRows { uses, d_own });
    let call = CandidateLogitsBackward { forward, d_logits, d_h, d_own };
    for (launch, work) in call.launches()?.iter().zip([moves(bytes), BUFFERS]) {
        bench.launch(&note, launch, work)?;
    }
    Ok(())
}

/// Both norms and their gradients.
fn norms(bench: &mut Bench<'_>) -> Result<()> {
    let s = bench.sizes;
    let (rows, hidden) = (s.tokens, s.hidden);
    let shape = NormShape { rows, hidden };
    let (stream, out) = (&bench.f32(rows * hidden)?, &bench.bf16(rows * hidden)?);
    let (weight, statistics) = (&bench.f32(hidden)?, &bench.f32(rows)?);
    let (x, epsilon) = (stream, 1e-5);
    let call = RmsNorm { shape, x, weight, epsilon, out, statistics: Some(statistics) };
    bench.launch("", &call.launch()?, BUFFERS)?;
    let (d_x, d_weight) = (&bench.f32(rows * hidden)?, &bench.f32(hidden)?);
    let parts = &bench.f32(rows.div_ceil(64) * hidden)?;
    let d_out = out;
    let to = Some(NormWeight { parts, d_weight });
    let call = RmsNormBackward { shape, x, statistics, weight, d_out, d_x, d_weight: to };
    let [first, sums] = <[_; 2]>::try_from(call.launches()?).expect("the weight is trained");
    bench.launch("", &first, moves(14 * rows * hidden))?; // d_x is read and written
    bench.launch("", &sums, BUFFERS)?;
    let (rows, hidden) = (s.rows, s.narrow);
    let shape = NormShape { rows, hidden };
    let (x, out, d_x) =
        (&bench.f32(rows * hidden)?, &bench.f32(rows * hidden)?, &bench.f32(rows * hidden)?);
    let (affine, statistics) = (&bench.f32(2 * hidden)?, &bench.f32(2 * rows)?);
    let call = LayerNorm { shape, x, affine, epsilon: 1e-8, out, statistics };
    bench.launch("", &call.launch()?, BUFFERS)?;
    let (parts, d_affine) = (&bench.f32(rows.div_ceil(64) * 2 * hidden)?, &bench.f32(2 * hidden)?);
    let d_out = out;
    let d_affine = Some(NormWeight { parts, d_weight: d_affine });
    let call = LayerNormBackward { shape, x, affine, statistics, d_out, d_x, d_affine };
    bench.launch("", &call.launches()?[0], moves(16 * rows * hidden)) // as above
}

/// The search, and the merging of what its parts found.
fn search<T: TopKNumber + DrawNumber>(bench: &mut Bench<'_>, name: &str) -> Result<()> {
    let (driver, s) = (bench.driver, bench.sizes);
    let shape = TopKShape { users: s.users, items: s.searched, width: s.narrow, k: s.k };
    let users = super::rates::drawn::<T>(driver, 101, s.users * s.narrow)?;
    let items = super::rates::drawn::<T>(driver, 102, s.searched * s.narrow)?;
    let call = TopK {
        shape,
        users: &users,
        items: &items,
        excluded: &Exclusions::of(driver, &vec![&[][..]; s.users])?,
        barred: None,
        found: &Buffer::new(driver, found_length(&shape))?,
        lists: &Buffer::new(driver, s.users * s.k)?,
        scores: &Buffer::new(driver, s.users * s.k)?,
    };
    let [search, merge] = call.launches()?;
    let note = format!("{name}, {} of {}", s.k, s.searched);
    bench.launch(&note, &search, computes(shape.flops(), Unit::F32))?;
    bench.launch(&note, &merge, BUFFERS)
}

fn optimiser(bench: &mut Bench<'_>) -> Result<()> {
    let length = bench.sizes.weights;
    let (gradient, w) = (&bench.f32(length)?, &bench.f32(length)?);
    let (m, v) = (&bench.f32(length)?, &Buffer::of(bench.driver, &vec![1.0f32; length])?);
    let rounded = &bench.bf16(length)?;
    let call = AdamW {
        step: 10,
        rate: 1e-4,
        betas: (0.9, 0.999),
        decay: 0.01,
        scale: 1.0,
        gradient,
        state: [w, m, v],
        rounded: Some(rounded),
    };
    let note = format!("{length} weights");
    bench.launch(&note, &call.launch()?, moves(30 * length))?; // w, m, v are read and written
    bench.launch(&note, &Round { x: w, rounded }.launch()?, BUFFERS)?;
    let parts = &bench.f32(SquareSums::parts_of(length))?;
    bench.launch(&note, &SquareSums { x: gradient, parts }.launch()?, BUFFERS)?;
    let (seed, scale) = (1, 1.0);
    bench.launch(&note, &Draw { seed, scale, out: w }.launch()?, BUFFERS)?;
    bench.launch(&note, &Draw { seed, scale, out: rounded }.launch()?, BUFFERS)
}
