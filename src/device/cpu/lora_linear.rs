//! A product with a packed weight, adapters, and what follows. Definition: [`LoraLinear`].
//!
//! An adapter is a longer sum: after `weight · x`, each tile goes on with the adapter's few inputs
//! `scale · down · x` before its sums leave the registers. That is why adapters need not be merged
//! to be fast, and why rows may choose. Rows with the same adapter that follow each other are taken
//! together.

use super::Kernel;
use super::lines::{Format, Operands, PANELS_MAX, ROWS_MAX, WORDS, ZERO, height, tile};
use super::matrix::{Matrix, Precision};
use super::tiles::{self, Tiles};
use crate::device::LoraLinear;
use std::cell::Cell;
use std::ops::Range;

/// Packed rows that are used with every panel before the next rows: they stay in the second-level
/// cache.
const BLOCK_BYTES: usize = 512 << 10;

/// A low-rank change of a weight: scale · up · down. Several weights that are kept as one, their
/// outputs one after the other, have their changes kept as one too.
#[derive(Clone, Debug)]
pub struct Lora {
    down: Matrix,
    up: Matrix,
    scale: f32,
    /// Of each panel of `up`, the lines that are not zero: what other weights' changes add is left
    /// out.
    spans: Vec<Range<usize>>,
}

impl Lora {
    /// A change with `down` (ranks, inputs) and `up` (outputs, ranks), in one precision; but an up
    /// is never in FP8.
    ///
    /// Panics: if their ranks or precisions differ.
    pub fn new(down: Matrix, up: Matrix, scale: f32) -> Self {
        assert_eq!((down.outputs(), down.precision().apart()), (up.inputs(), up.precision()));
        let spans = (0..up.panels()).map(|panel| span(up.panel(panel))).collect();
        Self { down, up, scale, spans }
    }

    /// Down, up and scale.
    pub fn factors(&self) -> (&Matrix, &Matrix, f32) {
        (&self.down, &self.up, self.scale)
    }

    /// The change of the transposed weight: scale · downᵀ · upᵀ.
    pub fn transposed(&self) -> Self {
        Self::new(self.up.transposed(), self.down.transposed(), self.scale)
    }
}

/// From the first line that is not zero to the last one.
fn span(panel: &[u32]) -> Range<usize> {
    let lines = panel.as_chunks::<WORDS>().0;
    let set = |line: &[u32; WORDS]| line.iter().any(|word| *word != 0);
    let first = lines.iter().position(set).unwrap_or(0);
    first..lines.iter().rposition(set).map_or(0, |last| last + 1)
}

/// Rows packed strip by strip; the heights of strips are those of tiles.
#[derive(Default)]
pub(super) struct Strips {
    words: Vec<u32>,
    rows: usize,
    lines: usize,
    /// The rows of a strip one after the other, before they lie next to each other.
    row_words: Vec<u32>,
}

thread_local! {
    /// Buffers of a thread's last product, rows' and adapter's: new ones would be zeroed first.
    static STRIPS: Cell<(Strips, Strips)> = Cell::default();
}

/// Lays `HEIGHT` rows of words next to each other, line by line.
#[inline(always)]
fn interleave<const HEIGHT: usize>(rows: &[u32], lines: usize, strip: &mut [u32]) {
    let rows: [&[u32]; HEIGHT] = std::array::from_fn(|i| &rows[i * lines..(i + 1) * lines]);
    for (line, to) in strip.as_chunks_mut::<HEIGHT>().0.iter_mut().enumerate() {
        for (to, row) in to.iter_mut().zip(rows) {
            *to = row[line];
        }
    }
}

impl Strips {
    /// Some lines of the strip of `height` rows from row `at` on.
    fn strip(&self, at: usize, height: usize, lines: &Range<usize>) -> &[u32] {
        &self.words[at * self.lines..][lines.start * height..lines.end * height]
    }
}

/// Rows packed for what multiplies them.
pub(super) trait Packed {
    fn pack(&mut self, precision: Precision, x: &[f32], width: usize);
    /// Sums the rows with a matrix, and others further with an adapter; calls
    /// `each(row, first output, sums)`.
    fn product(
        &self,
        weight: &Matrix,
        further: Option<(&Self, &Lora)>,
        each: impl FnMut(usize, usize, &[f32]),
    );
}

impl Packed for Tiles {
    #[inline(always)]
    fn pack(&mut self, _: Precision, x: &[f32], width: usize) {
        self.pack(x, width);
    }

    #[inline(always)]
    fn product(
        &self,
        weight: &Matrix,
        further: Option<(&Self, &Lora)>,
        each: impl FnMut(usize, usize, &[f32]),
    ) {
        tiles::product(self, weight, further.map(|(inner, lora)| (inner, &lora.up)), each);
    }
}

impl Packed for Strips {
    #[inline(always)]
    fn pack(&mut self, precision: Precision, x: &[f32], width: usize) {
        (self.rows, self.lines) = (x.len() / width, precision.lines(width));
        let lines = self.lines;
        self.words.resize(self.rows * lines, 0);
        self.row_words.resize(ROWS_MAX * lines, 0);
        let mut at = 0;
        while at < self.rows {
            let height = height(self.rows - at);
            let strip = &mut self.words[at * self.lines..(at + height) * self.lines];
            let rows = &x[at * width..(at + height) * width];
            for (row, to) in rows.chunks_exact(width).zip(self.row_words.chunks_exact_mut(lines)) {
                precision.words(row, to, 1);
            }
            let rows = &self.row_words[..height * lines];
            match height {
                ROWS_MAX => interleave::<ROWS_MAX>(rows, lines, strip),
                8 => interleave::<8>(rows, lines, strip),
                4 => interleave::<4>(rows, lines, strip),
                2 => interleave::<2>(rows, lines, strip),
                _ => strip.copy_from_slice(rows),
            }
            at += height;
        }
    }

    #[inline(always)]
    fn product(
        &self,
        weight: &Matrix,
        further: Option<(&Self, &Lora)>,
        mut each: impl FnMut(usize, usize, &[f32]),
    ) {
        let all = 0..self.lines;
        let mut sums = ZERO;
        for panel in (0..weight.panels()).step_by(PANELS_MAX) {
            let panels = PANELS_MAX.min(weight.panels() - panel);
            let last = panel + panels - 1;
            let width = (panels * WORDS).min(weight.outputs() - panel * WORDS);
            let lines = further.map_or(0..0, |(_, lora)| {
                let (a, b) = (&lora.spans[panel], &lora.spans[last]);
                match (a.is_empty(), b.is_empty()) {
                    (true, _) => b.clone(),
                    (_, true) => a.clone(),
                    _ => a.start.min(b.start)..a.end.max(b.end),
                }
            });
            let mut at = 0;
            while at < self.rows {
                let rows = height(self.rows - at);
                let base = Operands {
                    rows: self.strip(at, rows, &all),
                    panels: [panel, last].map(|panel| weight.panel(panel)),
                };
                match further {
                    Some((inner, lora)) if !lines.is_empty() => {
                        let words = lines.start * WORDS..lines.end * WORDS;
                        let more = Operands {
                            rows: inner.strip(at, rows, &lines),
                            panels: [panel, last].map(|panel| &lora.up.panel(panel)[words.clone()]),
                        };
                        tile(weight.precision(), [rows, panels], &[base, more], &mut sums);
                    }
                    _ => tile(weight.precision(), [rows, panels], &[base], &mut sums),
                }
                for (i, sums) in sums[..rows].iter().enumerate() {
                    each(at + i, panel * WORDS, &sums[..width]);
                }
                at += rows;
            }
        }
    }
}

/// Writes sums + bias + residual, in one pass over what there is.
#[inline(always)]
fn finish(out: &mut [f32], sums: &[f32], bias: &[f32], residual: &[f32]) {
    match (bias.is_empty(), residual.is_empty()) {
        (true, true) => out.copy_from_slice(sums),
        (true, false) => {
            let values = sums.iter().zip(residual);
            out.iter_mut().zip(values).for_each(|(out, (sum, x))| *out = sum + x);
        }
        (false, true) => {
            let values = sums.iter().zip(bias);
            out.iter_mut().zip(values).for_each(|(out, (sum, bias))| *out = sum + bias);
        }
        (false, false) => {
            let values = sums.iter().zip(bias).zip(residual);
            out.iter_mut().zip(values).for_each(|(out, ((sum, bias), x))| *out = sum + bias + x);
        }
    }
}

impl Kernel for LoraLinear<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let precision = self.weight.precision();
        match tiles::unit() {
            _ if precision == Precision::Fp8 => self.sum_fp8(),
            Some(unit) if precision == Precision::Bf16 => {
                drop(self.sum(Tiles::new(unit), Tiles::new(unit)));
            }
            _ => {
                let (x, inner) = STRIPS.take();
                STRIPS.set(self.sum(x, inner));
            }
        }
    }
}

impl<'a> LoraLinear<'a> {
    fn adapter(&self, row: usize) -> Option<u32> {
        self.chosen.get(row).copied().flatten()
    }

    /// Some of the rows from `start` on that have the same adapter, and that one.
    #[inline(always)]
    pub(super) fn alike(&self, start: usize) -> (Range<usize>, Option<&'a Lora>) {
        let precision = self.weight.precision();
        let rows_max = BLOCK_BYTES / size_of::<u32>() / precision.lines(self.shape.inputs);
        let chosen = self.adapter(start);
        let same = (start..self.shape.rows).take(rows_max.max(1));
        let end = start + same.take_while(|row| self.adapter(*row) == chosen).count();
        let lora = chosen.and_then(|chosen| self.adapters[chosen as usize].as_ref());
        if let Some(lora) = lora {
            assert_eq!(
                (lora.down.inputs(), lora.up.outputs(), lora.down.precision()),
                (self.shape.inputs, self.shape.outputs, precision)
            );
        }
        (start..end, lora)
    }

    /// Writes a row's sums from an output on, with bias and residual.
    #[inline(always)]
    pub(super) fn put(&mut self, row: usize, first: usize, sums: &[f32]) {
        let at = row * self.shape.outputs + first;
        let part = |of: &'_ [f32], at: usize| match of.is_empty() {
            true => 0..0,
            false => at..at + sums.len(),
        };
        let bias = &self.bias[part(self.bias, first)];
        let residual = &self.residual[part(self.residual, at)];
        finish(&mut self.out[at..at + sums.len()], sums, bias, residual);
    }

    /// Panics: if a buffer's length disagrees with the shape.
    pub(super) fn check(&self) {
        let (rows, inputs, outputs) = (self.shape.rows, self.shape.inputs, self.shape.outputs);
        assert_eq!((self.weight.inputs(), self.weight.outputs()), (inputs, outputs));
        assert_eq!((self.x.len(), self.out.len()), (rows * inputs, rows * outputs));
        assert!(self.bias.is_empty() || self.bias.len() == outputs);
        assert!(self.chosen.is_empty() || self.chosen.len() == rows);
        assert!(self.residual.is_empty() || self.residual.len() == rows * outputs);
    }

    #[inline(always)]
    fn sum<P: Packed>(mut self, mut x: P, mut inner: P) -> (P, P) {
        self.check();
        let (weight, inputs, precision) = (self.weight, self.shape.inputs, self.weight.precision());
        let mut ranks = Vec::new();
        let mut start = 0;
        while start < self.shape.rows {
            let (rows, lora) = self.alike(start);
            x.pack(precision, &self.x[rows.start * inputs..rows.end * inputs], inputs);
            if let Some(lora) = lora {
                let width = lora.down.outputs();
                ranks.clear();
                ranks.resize(rows.len() * width, 0.0);
                x.product(&lora.down, None, |row, first, sums| {
                    for (to, sum) in ranks[row * width + first..].iter_mut().zip(sums) {
                        *to = lora.scale * sum;
                    }
                });
                inner.pack(precision, &ranks, width);
            }
            x.product(weight, lora.map(|lora| (&inner, lora)), |row, first, sums| {
                self.put(start + row, first, sums);
            });
            start = rows.end;
        }
        (x, inner)
    }
}
