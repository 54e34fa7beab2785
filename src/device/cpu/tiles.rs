//! Products of bf16 with AMX, the matrix unit of some processors: 16 rows by 16 outputs by 32
//! inputs in one instruction.
//!
//! A tile is 16 lines of 16 words. Of packed weights it is what lies there already: 16 lines of a
//! panel. Rows are packed into tiles of 16 rows by 16 words. Two tiles of rows meet two of a
//! weight's panels, 32 × 32 sums, so that each tile that is loaded is used twice. A row's sums
//! depend on that row alone, but a tile sums even and odd inputs apart, so that the last bits are
//! not those of the other units in [`super::lines`].
//!
//! [`emulated`] says what the instruction computes, and the unit is used only if it computes that
//! on this machine.
#![allow(unsafe_code)]

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use super::amx;
use super::lines::{Format, PANELS_MAX, WORDS};
use super::matrix::{Matrix, Precision};
use std::sync::OnceLock;

/// Rows, lines and outputs of a tile.
pub(super) const SIDE: usize = 16;
/// Rows and outputs of what is summed at a time: two tiles each.
pub(super) const EDGE: usize = 2 * SIDE;
/// Inputs of a tile: a word is two.
const INPUTS: usize = 2 * SIDE;

pub(super) type Tile = [u32; SIDE * SIDE];

/// Sums of 32 rows by 32 outputs.
#[repr(align(64))]
pub(super) struct Sums(pub [[f32; EDGE]; EDGE]);

/// Rows as tiles, filled up with zeros.
pub struct Tiles {
    unit: Unit,
    /// (rows / 16, lines / 16).
    tiles: Vec<Tile>,
    rows: usize,
    /// Tiles of a row.
    across: usize,
}

impl Tiles {
    /// No rows yet.
    pub fn new(unit: Unit) -> Self {
        Tiles { unit, tiles: Vec::new(), rows: 0, across: 0 }
    }

    /// Rounds rows of this width to bf16 and packs them.
    #[inline(always)]
    pub fn pack(&mut self, x: &[f32], width: usize) {
        (self.rows, self.across) = (x.len() / width, width.div_ceil(INPUTS));
        self.tiles.clear();
        self.tiles.resize(self.rows.next_multiple_of(EDGE) / SIDE * self.across, [0; SIDE * SIDE]);
        for (row, x) in x.chunks_exact(width).enumerate() {
            let tiles = &mut self.tiles[row / SIDE * self.across..];
            for (tile, x) in tiles.iter_mut().zip(x.chunks(INPUTS)) {
                Precision::Bf16.words(x, &mut tile[row % SIDE * SIDE..][..SIDE], 1);
            }
        }
    }

    /// The two rows of tiles that begin with this row, a multiple of 32.
    fn pair(&self, row: usize) -> [&[Tile]; 2] {
        let at = row / SIDE * self.across;
        [at, at + self.across].map(|at| &self.tiles[at..at + self.across])
    }
}

/// Two panels of a weight as tiles; the last one, where a panel does not fill it, with zeros after
/// the panel's lines.
struct Pair<'a> {
    whole: [&'a [Tile]; PANELS_MAX],
    last: Option<[Tile; PANELS_MAX]>,
}

impl<'a> Pair<'a> {
    fn new(weight: &'a Matrix, panels: [usize; PANELS_MAX]) -> Self {
        let parts = panels.map(|panel| weight.panel(panel).as_chunks::<{ SIDE * SIDE }>());
        let filled = |rest: &[u32]| {
            let mut tile = [0; SIDE * SIDE];
            tile[..rest.len()].copy_from_slice(rest);
            tile
        };
        let last = (!parts[0].1.is_empty()).then(|| parts.map(|(_, rest)| filled(rest)));
        Pair { whole: parts.map(|(whole, _)| whole), last }
    }

    fn multiply(&self, unit: Unit, sums: &mut Sums, rows: [&[Tile]; 2]) {
        let whole = self.whole[0].len();
        multiply(unit, sums, rows.map(|rows| &rows[..whole]), self.whole);
        if let Some(last) = &self.last {
            let rows = rows.map(|rows| &rows[whole..]);
            multiply(unit, sums, rows, [&last[..1], &last[1..]]);
        }
    }
}

/// Sums rows with a matrix in bf16, and further with another that has the same outputs; calls
/// `each(row, first output, sums)`.
///
/// Panics: if a matrix is not in bf16, or its inputs are not those of its rows.
#[inline(always)]
pub fn product(
    x: &Tiles,
    weight: &Matrix,
    further: Option<(&Tiles, &Matrix)>,
    mut each: impl FnMut(usize, usize, &[f32]),
) {
    let factors = || std::iter::once((x, weight)).chain(further);
    for (x, weight) in factors() {
        assert_eq!(weight.precision(), Precision::Bf16);
        assert_eq!(x.across, weight.inputs().div_ceil(INPUTS));
    }
    let unit = x.unit;
    let _configured = unit.configured();
    for panel in (0..weight.panels()).step_by(PANELS_MAX) {
        // Of a single panel, the sums with itself as the second are not read.
        let last = (panel + 1).min(weight.panels() - 1);
        let width = EDGE.min(weight.outputs() - panel * WORDS);
        let base = Pair::new(weight, [panel, last]);
        let more = further.map(|(inner, up)| (inner, Pair::new(up, [panel, last])));
        for top in (0..x.rows).step_by(EDGE) {
            let mut sums = Sums([[0.0; EDGE]; EDGE]);
            base.multiply(unit, &mut sums, x.pair(top));
            if let Some((inner, up)) = &more {
                up.multiply(unit, &mut sums, inner.pair(top));
            }
            for (row, sums) in (top..x.rows).zip(&sums.0) {
                each(row, panel * WORDS, &sums[..width]);
            }
        }
    }
}

/// What multiplies tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// The processor.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    Amx,
    /// Loops that say what the processor computes.
    Emulated,
}

/// Tiles stay configured for the thread until this is dropped.
struct Configured(#[allow(dead_code)] Unit);

impl Unit {
    fn configured(self) -> Configured {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        if self == Unit::Amx {
            // SAFETY: there is an `Amx` only where `unit` has asked for the right to use it, and
            // `Configured` gives the tiles back.
            unsafe { amx::configure() };
        }
        Configured(self)
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        if self.0 == Unit::Amx {
            // SAFETY: the thread's tiles are configured.
            unsafe { amx::release() };
        }
    }
}

/// The processor's unit, found by using it once: what a processor says it has, a virtual machine
/// may not give.
pub fn unit() -> Option<Unit> {
    static UNIT: OnceLock<Option<Unit>> = OnceLock::new();
    *UNIT.get_or_init(|| {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        if amx::allowed() {
            let _configured = Unit::Amx.configured();
            return agrees(Unit::Amx).then_some(Unit::Amx);
        }
        None
    })
}

/// Whether a unit whose tiles are configured computes what the loops do, nearly: how the processor
/// rounds between is its own.
fn agrees(unit: Unit) -> bool {
    let words = |seed: u32| -> [Tile; 2] {
        let draw =
            |i: usize| (i as u32 ^ seed).wrapping_mul(0x9e37_79b1) & 0x80ff_80ff | 0x3f00_3f00;
        [0, 1].map(|tile| std::array::from_fn(|i| draw(tile * SIDE * SIDE + i)))
    };
    let [a, b, c, d] = [1, 2, 3, 4].map(words);
    let computed = |unit| {
        let mut sums = Sums([[0.25; EDGE]; EDGE]);
        multiply(unit, &mut sums, [&a, &b], [&c, &d]);
        sums.0
    };
    let (exact, found) = (computed(Unit::Emulated), computed(unit));
    let near = |(x, y): (&f32, &f32)| (x - y).abs() <= 1e-4 * (1.0 + y.abs());
    exact.as_flattened().iter().zip(found.as_flattened()).all(near)
}

/// sums[16 · i .., 16 · j ..] += Σ over tiles t of rows[i][t] · panels[j][t].
///
/// Panics: if the lengths differ.
fn multiply(unit: Unit, sums: &mut Sums, rows: [&[Tile]; 2], panels: [&[Tile]; PANELS_MAX]) {
    let count = rows[0].len();
    assert!(rows.iter().chain(&panels).all(|tiles| tiles.len() == count));
    match unit {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        // SAFETY: callers hold a `Configured`, and each factor has `count` tiles.
        Unit::Amx if count > 0 => unsafe {
            amx::multiply(sums, rows.map(<[Tile]>::as_ptr), panels.map(<[Tile]>::as_ptr), count);
        },
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        Unit::Amx => {}
        Unit::Emulated => emulated(sums, rows, panels),
    }
}

/// What the instruction computes: within a tile the products of even inputs are summed apart from
/// those of odd ones, each step rounded once, and then both are added to what was there.
///
/// Source: Intel's manual of the instruction set, `TDPBF16PS`.
pub(super) fn emulated(sums: &mut Sums, rows: [&[Tile]; 2], panels: [&[Tile]; PANELS_MAX]) {
    let even = |word: u32| f32::from_bits(word << 16);
    let odd = |word: u32| f32::from_bits(word & 0xffff_0000);
    for (i, row_tiles) in rows.into_iter().enumerate() {
        for (j, panel_tiles) in panels.into_iter().enumerate() {
            for (a, b) in row_tiles.iter().zip(panel_tiles) {
                for (row, a) in a.as_chunks::<SIDE>().0.iter().enumerate() {
                    for output in 0..SIDE {
                        let (mut evens, mut odds) = (0.0, 0.0);
                        for (a, line) in a.iter().zip(b.as_chunks::<SIDE>().0) {
                            evens = even(*a).mul_add(even(line[output]), evens);
                            odds = odd(*a).mul_add(odd(line[output]), odds);
                        }
                        sums.0[i * SIDE + row][j * SIDE + output] += evens + odds;
                    }
                }
            }
        }
    }
}

/// Multiply-adds of a turn.
pub const TURN: usize = TURN_TILES * EDGE * EDGE * INPUTS;
const TURN_TILES: usize = 4;

/// Multiplies tiles that stay in the first-level cache a number of times.
pub fn turn(unit: Unit, turns: usize) {
    let tiles = [[0x3f80_3f80; SIDE * SIDE]; TURN_TILES];
    let mut sums = Sums([[0.0; EDGE]; EDGE]);
    let _configured = unit.configured();
    for _ in 0..turns {
        multiply(unit, &mut sums, [&tiles; 2], [&tiles; 2]);
    }
    std::hint::black_box(&sums.0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{mix64, unit_f64};

    fn draws(seed: u64, count: usize) -> Vec<f32> {
        (0..count as u64).map(|i| unit_f64(mix64(seed ^ mix64(i))) as f32 - 0.5).collect()
    }

    fn weight(seed: u64, outputs: usize, inputs: usize) -> Matrix {
        let rows = draws(seed, outputs * inputs);
        let fill = |i: usize, row: &mut [f32]| {
            row.copy_from_slice(&rows[i * inputs..][..inputs]);
            Ok::<(), std::convert::Infallible>(())
        };
        Matrix::pack(Precision::Bf16, [outputs, inputs], fill)
            .unwrap_or_else(|never| match never {})
    }

    fn products(unit: Unit, x: &[f32], inner: &[f32], sizes: [usize; 3]) -> Vec<f32> {
        let [outputs, inputs, ranks] = sizes;
        let (weight, up) = (weight(3, outputs, inputs), weight(4, outputs, ranks));
        let (mut rows, mut more) = (Tiles::new(unit), Tiles::new(unit));
        rows.pack(x, inputs);
        more.pack(inner, ranks);
        let mut out = vec![f32::NAN; x.len() / inputs * outputs];
        product(&rows, &weight, Some((&more, &up)), |row, first, sums| {
            out[row * outputs + first..][..sums.len()].copy_from_slice(sums);
        });
        out
    }

    fn units() -> impl Iterator<Item = Unit> {
        [Unit::Emulated].into_iter().chain(unit())
    }

    /// Whatever the sizes, the sums are those of a plain loop over what is rounded to bf16.
    #[test]
    fn tiles_give_the_products() {
        let rounded = |x: &f32| {
            let mut word = [0];
            Precision::Bf16.words(&[*x], &mut word, 1);
            f64::from(f32::from_bits(word[0] << 16))
        };
        for [rows, outputs, inputs, ranks] in
            [[1, 1, 1, 1], [3, 17, 31, 2], [33, 48, 64, 8], [40, 70, 100, 40]]
        {
            let (x, inner) = (draws(1, rows * inputs), draws(2, rows * ranks));
            let weights = [draws(3, outputs * inputs), draws(4, outputs * ranks)];
            for unit in units() {
                let found = products(unit, &x, &inner, [outputs, inputs, ranks]);
                for (i, found) in found.iter().enumerate() {
                    let dot = |x: &[f32], w: &[f32], width: usize| {
                        let (x, w) = (&x[i / outputs * width..], &w[i % outputs * width..]);
                        let pairs = x[..width].iter().zip(&w[..width]);
                        pairs.map(|(x, w)| rounded(x) * rounded(w)).sum::<f64>()
                    };
                    let exact = dot(&x, &weights[0], inputs) + dot(&inner, &weights[1], ranks);
                    let case = format!("{unit:?} {rows} {outputs} {inputs} {ranks}: {i}");
                    assert!((f64::from(*found) - exact).abs() < 1e-4, "{case}: {found} {exact}");
                }
            }
        }
    }

    #[test]
    fn a_rows_bits_do_not_depend_on_the_others() {
        let sizes @ [outputs, inputs, ranks] = [40, 72, 12];
        let (x, inner) = (draws(1, 50 * inputs), draws(2, 50 * ranks));
        for unit in units() {
            let all = products(unit, &x, &inner, sizes);
            for row in [0, 15, 16, 31, 32, 49] {
                let (x, inner) = (&x[row * inputs..][..inputs], &inner[row * ranks..][..ranks]);
                let alone = products(unit, x, inner, sizes);
                assert_eq!(alone[..], all[row * outputs..][..outputs], "{unit:?} {row}");
            }
        }
    }

    #[test]
    fn a_unit_that_computes_something_else_is_not_used() {
        assert!(agrees(Unit::Emulated));
        let mut sums = Sums([[1.0; EDGE]; EDGE]);
        let (mut a, mut b) = ([0; SIDE * SIDE], [0; SIDE * SIDE]);
        a[2 * SIDE + 3] = 0x4000_3f80; // row 2: input 6 is 1, input 7 is 2
        b[3 * SIDE + 5] = 0x4080_4040; // output 5: input 6 is 3, input 7 is 4
        emulated(&mut sums, [&[[0; SIDE * SIDE]], &[a]], [&[b], &[[0; SIDE * SIDE]]]);
        assert_eq!(sums.0[SIDE + 2][5], 1.0 + 3.0 + 8.0);
        assert_eq!(sums.0.as_flattened().iter().sum::<f32>(), (EDGE * EDGE) as f32 + 11.0);
    }
}
