//! Tensors of other people's safetensors files, where they lie: one file or several shards, in f32,
//! bf16 or f16. What is missing, extra, mis-shaped or not finite is refused by name.

use super::weights::TensorSpec;
use crate::device::Mapped;
use crate::error::{Error, Result};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Problems of one file that are told; more would hide the first ones.
const PROBLEMS_MAX: usize = 12;

/// The files of a model, mapped.
#[derive(Debug)]
pub struct TensorFiles(Vec<(String, Mapped)>);

/// What a model's index says: which file each tensor is in.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl TensorFiles {
    /// Maps `model.safetensors`, or the shards that `model.safetensors.index.json` names.
    ///
    /// Errors: [`Error::Io`] for a file that cannot be opened, [`Error::Model`] for an index that
    /// cannot be read or names a file outside the folder.
    pub fn open(folder: &Path) -> Result<Self> {
        let index = folder.join("model.safetensors.index.json");
        if !index.exists() {
            return Self::single(&folder.join("model.safetensors"));
        }
        let what = index.display();
        let bytes = std::fs::read(&index).map_err(Error::io("read", &index))?;
        let parsed: Index = serde_json::from_slice(&bytes)
            .map_err(|e| Error::Model(format!("{what}: not an index of shards: {e}")))?;
        let names: BTreeSet<String> = parsed.weight_map.into_values().collect();
        let mut files = Vec::new();
        for name in names {
            if Path::new(&name).file_name() != Some(name.as_ref()) {
                return Err(Error::Model(format!(
                    "{what}: shard {name:?}: expected the name of a file beside the index"
                )));
            }
            files.extend(Self::single(&folder.join(name))?.0);
        }
        Ok(Self(files))
    }

    /// Maps one file.
    ///
    /// Errors: [`Error::Io`] when it cannot be opened.
    pub fn single(path: &Path) -> Result<Self> {
        Ok(Self(vec![(path.display().to_string(), Mapped::open(path)?)]))
    }

    /// The tensors of all files. `what` names them together in messages.
    ///
    /// Errors: see [`Tensors::add`].
    pub fn tensors(&self, what: &str) -> Result<Tensors<'_>> {
        let mut tensors = Tensors { what: what.to_owned(), found: BTreeMap::new() };
        for (name, bytes) in &self.0 {
            tensors.add(name, bytes)?;
        }
        Ok(tensors)
    }
}

/// Tensors by name.
#[derive(Debug)]
pub struct Tensors<'a> {
    what: String,
    found: BTreeMap<String, TensorView<'a>>,
}

impl<'a> Tensors<'a> {
    /// The tensors of one file.
    ///
    /// Errors: see [`Tensors::add`].
    pub fn of(what: &str, bytes: &'a [u8]) -> Result<Self> {
        let mut tensors = Tensors { what: what.to_owned(), found: BTreeMap::new() };
        tensors.add(what, bytes)?;
        Ok(tensors)
    }

    /// Adds a file's tensors.
    ///
    /// Errors: [`Error::Model`] when the bytes are no safetensors file, are fewer than its header
    /// says, or hold a tensor that is there already.
    fn add(&mut self, file: &str, bytes: &'a [u8]) -> Result<()> {
        let parsed = SafeTensors::deserialize(bytes).map_err(|e| {
            Error::Model(format!(
                "{file}: {} bytes are not a whole safetensors file ({e}): copy or download it \
                 again",
                bytes.len()
            ))
        })?;
        let mut tensors = parsed.tensors();
        tensors.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        for (name, view) in tensors {
            if self.found.contains_key(&name) {
                return Err(Error::Model(format!("{file}: tensor {name}: is in two files")));
            }
            self.found.insert(name, view);
        }
        Ok(())
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.found.keys().map(String::as_str)
    }

    /// Whether no tensor is in half precision.
    pub fn all_f32(&self) -> bool {
        self.found.values().all(|view| !matches!(view.dtype(), Dtype::BF16 | Dtype::F16))
    }

    /// Checks that the expected tensors are there in their shapes, and no others but those that are
    /// `tolerated`.
    ///
    /// Errors: [`Error::Model`] that names every tensor that is not as expected.
    pub fn check(&self, expected: &[TensorSpec], tolerated: impl Fn(&str) -> bool) -> Result<()> {
        let mut problems = Vec::new();
        for tensor in expected {
            let (name, shape) = (&tensor.name, &tensor.shape);
            match self.found.get(name) {
                None => problems.push(format!("tensor {name}: missing")),
                Some(view) if view.shape() != shape => {
                    let found = view.shape();
                    problems.push(format!("tensor {name}: expected {shape:?}, found {found:?}"));
                }
                Some(view) if !matches!(view.dtype(), Dtype::F32 | Dtype::BF16 | Dtype::F16) => {
                    let found = view.dtype();
                    problems
                        .push(format!("tensor {name}: expected F32, BF16 or F16, found {found:?}"));
                }
                Some(_) => {}
            }
        }
        let names: BTreeSet<&str> = expected.iter().map(|tensor| tensor.name.as_str()).collect();
        let extra = self.names().filter(|name| !names.contains(name) && !tolerated(name));
        problems.extend(extra.map(|name| format!("tensor {name}: not part of this model")));
        if problems.is_empty() {
            return Ok(());
        }
        let more = problems.len().saturating_sub(PROBLEMS_MAX);
        problems.truncate(PROBLEMS_MAX);
        if more > 0 {
            problems.push(format!("and {more} more"));
        }
        Err(Error::Model(format!("{}: {}", self.what, problems.join("; "))))
    }

    /// Copies a row of a matrix, or a vector as row 0.
    ///
    /// Errors: [`Error::Model`] when the row holds NaN or infinity.
    ///
    /// Panics: if the tensor was not found right by [`Tensors::check`], or has no such row.
    pub fn row(&self, name: &str, row: usize, to: &mut [f32]) -> Result<()> {
        let view = &self.found[name];
        let wide = view.dtype() == Dtype::F32;
        let bytes = to.len() * if wide { 4 } else { 2 };
        let data = &view.data()[row * bytes..(row + 1) * bytes];
        if wide {
            let words = to.iter_mut().zip(data.as_chunks::<4>().0);
            words.for_each(|(x, word)| *x = f32::from_le_bytes(*word));
        } else {
            let half = if view.dtype() == Dtype::F16 { f16 } else { |x| f32::from_bits(x << 16) };
            let words = to.iter_mut().zip(data.as_chunks::<2>().0);
            words.for_each(|(x, word)| *x = half(u16::from_le_bytes(*word).into()));
        }
        match to.iter().all(|x| x.is_finite()) {
            true => Ok(()),
            false => Err(Error::Model(format!(
                "{}: tensor {name}: row {row} holds NaN or infinity: the file is damaged, or \
                 training diverged",
                self.what
            ))),
        }
    }

    /// A copy of a vector.
    ///
    /// Errors and panics: see [`Tensors::row`].
    pub fn vector(&self, name: &str) -> Result<Vec<f32>> {
        let mut to = vec![0.0; self.found[name].shape().iter().product()];
        self.row(name, 0, &mut to)?;
        Ok(to)
    }
}

/// The value of a half-precision number's bits.
fn f16(bits: u32) -> f32 {
    let sign = (bits & 0x8000) << 16;
    let magnitude = match (bits >> 10 & 0x1f, bits & 0x3ff) {
        (0, fraction) => (fraction as f32 / 16_777_216.0).to_bits(),
        (0x1f, fraction) => 0x7f80_0000 | fraction << 13,
        (exponent, fraction) => (exponent + 112) << 23 | fraction << 13,
    };
    f32::from_bits(sign | magnitude)
}

#[cfg(test)]
mod tests {
    use super::f16;

    #[test]
    fn halves_have_their_values() {
        for (bits, value) in [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_95),
            (0x7bff, 65504.0),
            (0x0001, 5.960_464_5e-8),
            (0x03ff, 6.097_555e-5),
            (0x7c00, f32::INFINITY),
        ] {
            assert_eq!(f16(bits), value, "{bits:#x}");
        }
        assert!(f16(0x7e00).is_nan());
    }
}
