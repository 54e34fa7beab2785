//! Tensors of other people's safetensors files, where they lie: one file or several shards, in f32,
//! bf16 or f16. What is missing, extra, mis-shaped or not finite is refused by name.

use super::weights::TensorSpec;
use crate::device::Mapped;
use crate::error::{Error, Result};
use bytes::Bytes;
use safetensors::tensor::{Dtype, SafeTensors};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Problems of one file that are told; more would hide the first ones.
const PROBLEMS_MAX: usize = 12;

/// Tensors by name.
#[derive(Debug)]
pub struct Tensors {
    what: String,
    found: BTreeMap<String, Tensor>,
}

/// A tensor in its file, which stays mapped as long as one of its tensors is there.
#[derive(Debug)]
struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Bytes,
}

/// What a model's index says: which file each tensor is in.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Tensors {
    /// Those of a folder's `model.safetensors`, or of the shards that
    /// `model.safetensors.index.json` names, mapped.
    ///
    /// Errors: [`Error::Io`] for a file that cannot be opened, [`Error::Model`] for an index that
    /// cannot be read or names a file outside the folder, for bytes that are no safetensors file or
    /// fewer than its header says, and for a tensor that is in two files.
    pub fn open(folder: &Path) -> Result<Self> {
        Self::mapped(&folder.display().to_string(), &files(folder)?)
    }

    /// Those of one file, mapped.
    ///
    /// Errors: see [`Tensors::open`].
    pub fn single(path: &Path) -> Result<Self> {
        Self::mapped(&path.display().to_string(), &[path.to_owned()])
    }

    /// Those of a file's bytes. `what` names the file in messages.
    ///
    /// Errors: see [`Tensors::open`].
    pub fn of(what: &str, bytes: &Bytes) -> Result<Self> {
        let mut tensors = Self { what: what.to_owned(), found: BTreeMap::new() };
        tensors.add(what, bytes)?;
        Ok(tensors)
    }

    fn mapped(what: &str, files: &[PathBuf]) -> Result<Self> {
        let mut tensors = Self { what: what.to_owned(), found: BTreeMap::new() };
        for file in files {
            let bytes = Bytes::from_owner(Mapped::open(file)?);
            tensors.add(&file.display().to_string(), &bytes)?;
        }
        Ok(tensors)
    }

    fn add(&mut self, file: &str, bytes: &Bytes) -> Result<()> {
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
            let (dtype, shape) = (view.dtype(), view.shape().to_vec());
            let tensor = Tensor { dtype, shape, bytes: bytes.slice_ref(view.data()) };
            self.found.insert(name, tensor);
        }
        Ok(())
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.found.keys().map(String::as_str)
    }

    /// Whether no tensor is in half precision.
    pub fn all_f32(&self) -> bool {
        self.found.values().all(|tensor| !matches!(tensor.dtype, Dtype::BF16 | Dtype::F16))
    }

    /// Checks that the expected tensors are there in their shapes, and no others but those that are
    /// `tolerated`.
    ///
    /// Errors: [`Error::Model`] that names every tensor that is not as expected.
    pub fn check(&self, expected: &[TensorSpec], tolerated: impl Fn(&str) -> bool) -> Result<()> {
        let mut problems = Vec::new();
        for TensorSpec { name, shape } in expected {
            match self.found.get(name) {
                None => problems.push(format!("tensor {name}: missing")),
                Some(Tensor { shape: found, .. }) if found != shape => {
                    problems.push(format!("tensor {name}: expected {shape:?}, found {found:?}"));
                }
                Some(Tensor { dtype: Dtype::F32 | Dtype::BF16 | Dtype::F16, .. }) => {}
                Some(Tensor { dtype: found, .. }) => {
                    problems
                        .push(format!("tensor {name}: expected F32, BF16 or F16, found {found:?}"));
                }
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
        let Tensor { dtype, bytes, .. } = &self.found[name];
        let wide = *dtype == Dtype::F32;
        let width = to.len() * if wide { 4 } else { 2 };
        let data = &bytes[row * width..(row + 1) * width];
        if wide {
            let words = to.iter_mut().zip(data.as_chunks::<4>().0);
            words.for_each(|(x, word)| *x = f32::from_le_bytes(*word));
        } else {
            let half = if *dtype == Dtype::F16 { f16 } else { |x| f32::from_bits(x << 16) };
            let words = to.iter_mut().zip(data.as_chunks::<2>().0);
            words.for_each(|(x, word)| *x = half(u16::from_le_bytes(*word).into()));
        }
        // All of them, whatever the first ones are: a loop that becomes vectors.
        match to.iter().fold(true, |all, x| all & x.is_finite()) {
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
        let mut to = vec![0.0; self.found[name].shape.iter().product()];
        self.row(name, 0, &mut to)?;
        Ok(to)
    }
}

/// A folder's files: one, or those of its index.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let index = folder.join("model.safetensors.index.json");
    if !index.exists() {
        return Ok(vec![folder.join("model.safetensors")]);
    }
    let what = index.display();
    let bytes = std::fs::read(&index).map_err(Error::io("read", &index))?;
    let parsed: Index = serde_json::from_slice(&bytes)
        .map_err(|e| Error::Model(format!("{what}: not an index of shards: {e}")))?;
    let names: BTreeSet<String> = parsed.weight_map.into_values().collect();
    let outside = |name: &&String| Path::new(name).file_name() != Some(name.as_ref());
    match names.iter().find(outside) {
        None => Ok(names.iter().map(|name| folder.join(name)).collect()),
        Some(name) => Err(Error::Model(format!(
            "{what}: shard {name:?}: expected the name of a file beside the index"
        ))),
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
