//! Matrix products, C = A·B or C += A·B, for the narrow matrices of small networks.
//!
//! B is copied once into panels of 16 columns; tiles of up to 6 × 16 of C stay in registers while
//! A is read in place through its strides (so that a transpose costs nothing). Each element
//! of C is summed over the depth in order, in blocks of 256, whatever tile it lies in: a row's
//! bits do not depend on the other rows. That is why this is not the `gemm` crate.
#![allow(unsafe_code)]

/// Columns of a panel: two AVX registers.
const PANEL: usize = 16;
/// Columns of one AVX register.
#[cfg(target_arch = "x86_64")]
const LANES: usize = 8;
/// Rows of a tile: 6 × 2 accumulators leave 4 of the 16 registers for A and B.
const TILE: usize = 6;
/// A panel of this depth is 16 KiB: half of the smallest first-level cache.
pub const DEPTH_BLOCK: usize = 256;
/// Rows of A that are used with every panel before the next rows: 96 × 256 floats stay in L2.
const ROW_BLOCK: usize = 96;

/// A matrix in somebody's buffer: element (i, j) is `data[i * row + j * column]`.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The buffer from the first element on.
    pub data: &'a [f32],
    /// Distance of two rows.
    pub row: usize,
    /// Distance of two columns.
    pub column: usize,
}

impl<'a> View<'a> {
    /// A matrix whose rows lie `width` apart.
    pub fn rows(data: &'a [f32], width: usize) -> Self {
        Self { data, row: width, column: 1 }
    }

    /// The transpose of a matrix whose rows lie `width` apart.
    pub fn transposed(data: &'a [f32], width: usize) -> Self {
        Self { data, row: 1, column: width }
    }
}

/// B in panels of 16 columns, the last one filled up with zeros. Reusable, to spare allocations.
#[derive(Clone, Debug, Default)]
pub struct Panels {
    data: Vec<f32>,
    depth: usize,
    columns: usize,
}

impl Panels {
    /// Copies `b`, of `depth` rows and `columns` columns.
    pub fn pack(&mut self, b: View<'_>, depth: usize, columns: usize) {
        (self.depth, self.columns) = (depth, columns);
        self.data.resize(columns.div_ceil(PANEL) * depth * PANEL, 0.0);
        for (j, panel) in self.data.chunks_exact_mut((depth * PANEL).max(1)).enumerate() {
            let first = j * PANEL;
            let width = PANEL.min(columns - first);
            if width < PANEL {
                panel.fill(0.0);
            }
            for (p, line) in panel.chunks_exact_mut(PANEL).enumerate() {
                let from = p * b.row + first * b.column;
                if b.column == 1 {
                    line[..width].copy_from_slice(&b.data[from..from + width]);
                } else {
                    for (k, x) in line[..width].iter_mut().enumerate() {
                        *x = b.data[from + k * b.column];
                    }
                }
            }
        }
    }

    /// Zeros.
    pub fn zeros(depth: usize, columns: usize) -> Self {
        Self { data: vec![0.0; columns.div_ceil(PANEL) * depth * PANEL], depth, columns }
    }

    /// Has so many columns from now on: those that are added are zeros, or what was there when
    /// there were as many.
    pub fn set_columns(&mut self, columns: usize) {
        self.data.resize(columns.div_ceil(PANEL) * self.depth * PANEL, 0.0);
        self.columns = columns;
    }

    /// Copies `b`, of so many rows and columns, to where it begins at (row, column).
    pub fn place(&mut self, [row, column]: [usize; 2], b: View<'_>, [rows, columns]: [usize; 2]) {
        assert!(row + rows <= self.depth && column + columns <= self.columns);
        for j in 0..columns {
            let panel = (column + j) / PANEL * self.depth * PANEL + (column + j) % PANEL;
            for i in 0..rows {
                self.data[panel + (row + i) * PANEL] = b.data[i * b.row + j * b.column];
            }
        }
    }

    /// What they take, in bytes.
    pub fn bytes(&self) -> usize {
        self.data.capacity() * size_of::<f32>()
    }

    /// Packs `b` into new panels.
    pub fn of(b: View<'_>, depth: usize, columns: usize) -> Self {
        let mut panels = Self::default();
        panels.pack(b, depth, columns);
        panels
    }
}

/// C (rows, columns), at a row distance of `c_row`, from A (rows, depth) and B's first `depth` rows
/// and first `columns` columns.
pub struct Product<'a> {
    /// A.
    pub a: View<'a>,
    /// B.
    pub b: &'a Panels,
    /// Rows, depth, columns.
    pub size: [usize; 3],
    /// C from its first element on.
    pub c: &'a mut [f32],
    /// Distance of two rows of C.
    pub c_row: usize,
    /// Adds to C instead of overwriting it.
    pub add: bool,
}

impl Product<'_> {
    /// Computes.
    pub fn compute(self) {
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx2,fma")]
            fn avx2(product: Product<'_>) {
                product.tiles::<true>();
            }
            if super::has_avx2() {
                // SAFETY: the processor has what the function is compiled for, as just detected.
                return unsafe { avx2(self) };
            }
        }
        self.tiles::<false>();
    }

    /// `WIDE` promises a processor with AVX2 and FMA.
    #[inline(always)]
    fn tiles<const WIDE: bool>(self) {
        let [rows, depth, columns] = self.size;
        if rows == 0 || columns == 0 {
            return;
        }
        assert!(depth > 0 && depth <= self.b.depth && columns <= self.b.columns);
        assert!((rows - 1) * self.a.row + (depth - 1) * self.a.column < self.a.data.len());
        assert!(columns <= self.c_row || rows == 1);
        assert!((rows - 1) * self.c_row + columns <= self.c.len());
        for top in (0..rows).step_by(ROW_BLOCK) {
            let bottom = rows.min(top + ROW_BLOCK);
            for start in (0..depth).step_by(DEPTH_BLOCK) {
                let block = DEPTH_BLOCK.min(depth - start);
                for left in (0..columns).step_by(PANEL) {
                    let panel = &self.b.data[(left * self.b.depth + start * PANEL)..];
                    for i in (top..bottom).step_by(TILE) {
                        let tile = Tile {
                            a: &self.a.data[i * self.a.row + start * self.a.column..],
                            a_strides: (self.a.row, self.a.column),
                            panel: &panel[..block * PANEL],
                            c: &mut self.c[i * self.c_row + left..],
                            c_row: self.c_row,
                            width: PANEL.min(columns - left),
                            add: self.add || start > 0,
                        };
                        // SAFETY: the assertions above hold for the whole of A and C, and rows
                        // i.. of both, depth start.. of A and columns left.. of C lie within.
                        unsafe {
                            match bottom - i {
                                1 => tile.compute::<WIDE, 1>(),
                                2 => tile.compute::<WIDE, 2>(),
                                3 => tile.compute::<WIDE, 3>(),
                                4 => tile.compute::<WIDE, 4>(),
                                5 => tile.compute::<WIDE, 5>(),
                                _ => tile.compute::<WIDE, TILE>(),
                            }
                        }
                    }
                }
            }
        }
    }
}

struct Tile<'a> {
    a: &'a [f32],
    a_strides: (usize, usize),
    panel: &'a [f32],
    c: &'a mut [f32],
    c_row: usize,
    width: usize,
    add: bool,
}

impl Tile<'_> {
    /// # Safety
    /// For i < ROWS and p < depth (the panel's length over 16), `i * a_strides.0 + p * a_strides.1`
    /// lies in `a`, and `i * c_row + width − 1` in `c`. `WIDE` needs AVX2 and FMA.
    #[inline(always)]
    unsafe fn compute<const WIDE: bool, const ROWS: usize>(self) {
        #[cfg(target_arch = "x86_64")]
        if WIDE {
            // SAFETY: the caller's promises.
            return unsafe {
                match self.width {
                    ..=LANES => self.compute_avx2::<ROWS, 1>(),
                    _ => self.compute_avx2::<ROWS, 2>(),
                }
            };
        }
        let mut sums = [[0.0f32; PANEL]; ROWS];
        for (p, b) in self.panel.as_chunks::<PANEL>().0.iter().enumerate() {
            for (i, sums) in sums.iter_mut().enumerate() {
                let a = self.a[i * self.a_strides.0 + p * self.a_strides.1];
                for (sum, b) in sums.iter_mut().zip(b) {
                    *sum = a.mul_add(*b, *sum);
                }
            }
        }
        for (i, sums) in sums.iter().enumerate() {
            let c = &mut self.c[i * self.c_row..i * self.c_row + self.width];
            for (c, sum) in c.iter_mut().zip(sums) {
                *c = if self.add { *c + sum } else { *sum };
            }
        }
    }

    /// The loops above with the sums in registers, which the compiler does not find by itself.
    ///
    /// # Safety
    /// As for `compute`; `width` is at most 8 · `HALVES`.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    unsafe fn compute_avx2<const ROWS: usize, const HALVES: usize>(self) {
        use std::arch::x86_64::{
            _mm256_add_ps, _mm256_broadcast_ss, _mm256_fmadd_ps, _mm256_loadu_ps,
            _mm256_setzero_ps, _mm256_storeu_ps,
        };
        let mut sums = [[_mm256_setzero_ps(); HALVES]; ROWS];
        // SAFETY: the caller's promise for A and C; the halves lie in the panel's 16 columns, those
        // of C within its width, or else in an array of 16.
        unsafe {
            let mut a = self.a.as_ptr();
            for b in self.panel.as_chunks::<PANEL>().0 {
                let b: [_; HALVES] =
                    std::array::from_fn(|half| _mm256_loadu_ps(b.as_ptr().add(half * LANES)));
                for (i, sums) in sums.iter_mut().enumerate() {
                    let a = _mm256_broadcast_ss(&*a.add(i * self.a_strides.0));
                    for half in 0..HALVES {
                        sums[half] = _mm256_fmadd_ps(a, b[half], sums[half]);
                    }
                }
                a = a.wrapping_add(self.a_strides.1);
            }
            for (i, sums) in sums.into_iter().enumerate() {
                let c = self.c.as_mut_ptr().add(i * self.c_row);
                let mut part = [0.0f32; PANEL];
                let whole = self.width == HALVES * LANES;
                if self.add && !whole {
                    std::ptr::copy_nonoverlapping(c, part.as_mut_ptr(), self.width);
                }
                let to = if whole { c } else { part.as_mut_ptr() };
                for (half, mut sum) in sums.into_iter().enumerate() {
                    let to = to.add(half * LANES);
                    if self.add {
                        sum = _mm256_add_ps(_mm256_loadu_ps(to), sum);
                    }
                    _mm256_storeu_ps(to, sum);
                }
                if !whole {
                    std::ptr::copy_nonoverlapping(part.as_ptr(), c, self.width);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Panels, Product, View};
    use crate::types::{mix64, unit_f64};

    #[test]
    fn the_portable_tiles_give_the_same_bits_as_the_wide_ones() {
        let random = |count: usize| -> Vec<f32> {
            (0..count as u64).map(|i| unit_f64(mix64(i)) as f32 - 0.5).collect()
        };
        for [rows, depth, columns] in [[1, 1, 1], [13, 300, 50], [100, 7, 16], [5, 513, 25]] {
            let (a, b) = (random(rows * depth), random(depth * columns));
            let panels = Panels::of(View::rows(&b, columns), depth, columns);
            let compute = |portable: bool, add: bool| {
                let mut c = vec![0.25; rows * columns];
                let a = View::rows(&a, depth);
                let size = [rows, depth, columns];
                let product = Product { a, b: &panels, size, c: &mut c, c_row: columns, add };
                if portable {
                    product.tiles::<false>()
                } else {
                    product.compute()
                }
                c.iter().map(|x| x.to_bits()).collect::<Vec<u32>>()
            };
            for add in [false, true] {
                assert_eq!(compute(true, add), compute(false, add), "{rows} {depth} {columns}");
            }
        }
    }
}
