//! A weight matrix as the products read it: packed once, when it is loaded.
//!
//! Its rows are the outputs, 16 of them a panel, the last panel filled up with zeros. A panel is
//! lines of 16 words, one for each output: in f32 a line is one input; in bf16 it is two inputs,
//! the even one in the low half, which is the operand of the AVX512-BF16 instruction and a row of
//! an AMX tile.

use super::fp8::quantise;
use super::lines::{Format, WORDS};

/// In what a matrix is kept and multiplied; sums are f32 in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// As exact as the file: for small models and for comparisons.
    F32,
    /// Weights and the rows they are multiplied with are rounded to bf16; half the memory and, on
    /// processors that have an instruction for it, twice the speed.
    Bf16,
    /// Weights and the rows they are multiplied with are FP8 numbers (E4M3), each row with a scale:
    /// half the memory again and twice the speed on devices that multiply them. Not to be trained.
    Fp8,
}

impl Precision {
    /// Of what is no projection, or what an adapter's ranks are multiplied with: FP8 is for the
    /// long sums alone. FP8 numbers lie in memory as the bf16 numbers that they are.
    pub fn apart(self) -> Self {
        match self {
            Precision::F32 => Precision::F32,
            Precision::Bf16 | Precision::Fp8 => Precision::Bf16,
        }
    }

    /// Lines that hold this many inputs.
    pub fn lines(self, inputs: usize) -> usize {
        match self {
            Precision::F32 => inputs,
            Precision::Bf16 | Precision::Fp8 => inputs.div_ceil(2),
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
    /// What each output's numbers are multiplied by; empty for 1.
    scales: Vec<f32>,
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
        let (mut numbers, mut scales) = (Vec::new(), Vec::new());
        for output in 0..outputs {
            fill(output, &mut row)?;
            if precision == Precision::Fp8 {
                numbers.resize(inputs, 0.0);
                scales.push(quantise(&row, &mut numbers));
                row.copy_from_slice(&numbers);
            }
            let panel = &mut words[output / WORDS * lines * WORDS..][..lines * WORDS];
            precision.words(&row, &mut panel[output % WORDS..], WORDS);
        }
        Ok(Self { outputs, inputs, precision, words, scales })
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
        match self.precision.apart() {
            Precision::F32 => to.iter_mut().zip(words).for_each(|(x, w)| *x = f32::from_bits(*w)),
            _ => {
                for (pair, word) in to.chunks_mut(2).zip(words) {
                    let halves = [f32::from_bits(word << 16), f32::from_bits(word & 0xffff_0000)];
                    pair.copy_from_slice(&halves[..pair.len()]);
                }
            }
        }
        if let Some(scale) = self.scales.get(output) {
            to.iter_mut().for_each(|x| *x *= scale);
        }
    }

    /// What each output's FP8 numbers are multiplied by.
    pub(super) fn scales(&self) -> &[f32] {
        &self.scales
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
