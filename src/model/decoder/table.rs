//! Rows of the embeddings and of the logits' matrix that adapters replace, and that matrix itself.

use crate::device::shape::LinearShape;
use crate::device::{Backend, LoraLinear, Matrix, Precision};
use crate::model::adapter::Adapter;

/// What an adapter puts in the place of some rows of a matrix.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    /// Which rows, each once.
    pub places: Vec<u32>,
    /// What is there instead.
    pub matrix: Matrix,
}

impl Rows {
    /// Those of an adapter, if it has any.
    pub fn of(adapter: &Adapter, width: usize, precision: Precision) -> Option<Self> {
        let (tokens, values) = adapter.rows();
        let fill = |row: usize, to: &mut [f32]| {
            to.copy_from_slice(&values[row * width..][..width]);
            Ok::<(), std::convert::Infallible>(())
        };
        let Ok(matrix) = Matrix::pack(precision, [tokens.len(), width], fill);
        (!tokens.is_empty()).then(|| Self { places: tokens.to_vec(), matrix })
    }

    /// Copies what is in a row's place, if anything is.
    pub fn read(&self, place: u32, to: &mut [f32]) {
        if let Some(at) = self.places.iter().position(|replaced| *replaced == place) {
            self.matrix.row(at, to);
        }
    }
}

/// The matrix of the logits of some tokens, and the rows of it that adapters replace.
#[derive(Clone, Debug)]
pub struct Table {
    pub(super) matrix: Matrix,
    /// By adapter.
    pub(super) replaced: Vec<Option<Rows>>,
}

impl Table {
    /// A matrix that no adapter changes.
    pub(super) fn plain(matrix: Matrix) -> Self {
        Self { matrix, replaced: Vec::new() }
    }

    /// How many logits a prompt has.
    pub fn outputs(&self) -> usize {
        self.matrix.outputs()
    }

    /// The table of some of its tokens: their logits have the bits that the whole table's have.
    ///
    /// Panics: if there is no such token.
    pub(super) fn gather(&self, tokens: &[u32]) -> Self {
        let some = |rows: &Rows| {
            let found = (0..).zip(tokens).filter_map(|(place, token)| {
                let at = rows.places.iter().position(|replaced| replaced == token)?;
                Some((place, at as u32))
            });
            let (places, from): (Vec<u32>, Vec<u32>) = found.unzip();
            Rows { places, matrix: rows.matrix.gather(&from) }
        };
        let replaced = self.replaced.iter().map(|rows| rows.as_ref().map(some)).collect();
        Self { matrix: self.matrix.gather(tokens), replaced }
    }

    /// The logits of rows that choose adapters, (rows, outputs). `scratch` is a buffer.
    pub(super) fn apply(
        &self,
        device: &dyn Backend,
        x: &[f32],
        chosen: &[Option<u32>],
        scratch: &mut Vec<f32>,
        out: &mut [f32],
    ) {
        product(device, x, &self.matrix, out);
        let (inputs, outputs) = (self.matrix.inputs(), self.matrix.outputs());
        let rows = x.chunks_exact(inputs).zip(out.chunks_exact_mut(outputs));
        for ((x, out), adapter) in rows.zip(chosen) {
            let rows = adapter.and_then(|adapter| self.replaced.get(adapter as usize)?.as_ref());
            if let Some(rows) = rows.filter(|rows| !rows.places.is_empty()) {
                scratch.resize(rows.places.len(), 0.0);
                product(device, x, &rows.matrix, scratch);
                for (place, logit) in rows.places.iter().zip(&*scratch) {
                    out[*place as usize] = *logit;
                }
            }
        }
    }
}

/// Rows times a matrix, with nothing before or after.
pub(super) fn product(device: &dyn Backend, x: &[f32], weight: &Matrix, out: &mut [f32]) {
    let (inputs, outputs) = (weight.inputs(), weight.outputs());
    device.lora_linear(LoraLinear {
        shape: LinearShape { rows: x.len() / inputs, inputs, outputs },
        x,
        weight,
        bias: &[],
        adapters: &[],
        chosen: &[],
        residual: &[],
        out,
    });
}
