//! A weight matrix as the products read it: packed once, when it is loaded.
//!
//! Its rows are the outputs, 16 of them a panel, the last panel filled up with zeros. A panel is
//! lines of 16 words, one for each output: in f32 a line is one input; in bf16 it is two inputs,
//! the even one in the low half, which is the operand of the AVX512-BF16 instruction and a row of
//! an AMX tile.

use super::lines::{Format, WORDS};

/// In what a matrix is kept and multiplied; sums are f32 in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// As exact as the file: for small models and for comparisons.
    F32,
    /// Weights and the rows they are multiplied with are rounded to bf16; half the memory and, on
    /// processors that have an instruction for it, twice the speed.
    Bf16,
}

impl Precision {
    /// Lines that hold this many inputs.
    pub fn lines(self, inputs: usize) -> usize {
        match self {
            Precision::F32 => inputs,
            Precision::Bf16 => inputs.div_ceil(2),
        }
    }
}

/// A packed weight (outputs, inputs).
#[derive(Clone, Debug)]
pub struct Matrix {
    outputs: usize,
    inputs: usize,
    precision: Precision,
    words: Vec<u32>,
}

impl Matrix {
    /// Packs a matrix whose row `i` is written by `fill(i, row)`.
    ///
    /// Errors: the first one of `fill`.
    pub fn pack<E>(
        precision: Precision,
        [outputs, inputs]: [usize; 2],
        mut fill: impl FnMut(usize, &mut [f32]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let lines = precision.lines(inputs);
        let mut words = vec![0; outputs.div_ceil(WORDS) * lines * WORDS];
        let mut row = vec![0.0; inputs];
        for output in 0..outputs {
            fill(output, &mut row)?;
            let panel = &mut words[output / WORDS * lines * WORDS..][..lines * WORDS];
            precision.words(&row, &mut panel[output % WORDS..], WORDS);
        }
        Ok(Self { outputs, inputs, precision, words })
    }

    /// How many outputs: rows of the weight.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// How many inputs: width of a row.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// In what it is kept.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Unpacks a row, (inputs).
    ///
    /// Panics: if there is no such row, or `to` is not as wide as it.
    pub fn row(&self, output: usize, to: &mut [f32]) {
        assert!(output < self.outputs && to.len() == self.inputs);
        let words = self.panel(output / WORDS)[output % WORDS..].iter().step_by(WORDS);
        match self.precision {
            Precision::F32 => to.iter_mut().zip(words).for_each(|(x, w)| *x = f32::from_bits(*w)),
            Precision::Bf16 => {
                for (pair, word) in to.chunks_mut(2).zip(words) {
                    let halves = [f32::from_bits(word << 16), f32::from_bits(word & 0xffff_0000)];
                    pair.copy_from_slice(&halves[..pair.len()]);
                }
            }
        }
    }

    /// Some of the rows, as a matrix: its products have the bits that the whole matrix's have.
    ///
    /// Panics: if there is no such row.
    pub fn gather(&self, rows: &[u32]) -> Self {
        let fill = |i: usize, row: &mut [f32]| {
            self.row(rows[i] as usize, row);
            Ok::<(), std::convert::Infallible>(())
        };
        match Self::pack(self.precision, [rows.len(), self.inputs], fill) {
            Ok(matrix) => matrix,
            Err(never) => match never {},
        }
    }

    /// The transpose, whose outputs are this one's inputs: what gradients are multiplied by.
    pub fn transposed(&self) -> Self {
        let (outputs, inputs) = (self.outputs, self.inputs);
        let mut plain = vec![0.0; outputs * inputs];
        plain.chunks_exact_mut(inputs).enumerate().for_each(|(i, row)| self.row(i, row));
        let fill = |i: usize, row: &mut [f32]| {
            row.iter_mut().zip(plain[i..].iter().step_by(inputs)).for_each(|(to, x)| *to = *x);
            Ok::<(), std::convert::Infallible>(())
        };
        match Self::pack(self.precision, [inputs, outputs], fill) {
            Ok(matrix) => matrix,
            Err(never) => match never {},
        }
    }

    /// How many panels.
    pub(super) fn panels(&self) -> usize {
        self.outputs.div_ceil(WORDS)
    }

    /// A panel's lines.
    pub(super) fn panel(&self, panel: usize) -> &[u32] {
        let words = self.precision.lines(self.inputs) * WORDS;
        &self.words[panel * words..(panel + 1) * words]
    }
}
