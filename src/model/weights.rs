//! Named tensors and one line of metadata in a safetensors file: what checkpoints are made of.

use crate::error::{Error, Result};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

/// The one metadata key. One, because the file format's writer keeps metadata in a hash map, and
/// with two keys the bytes would differ from run to run.
const KEY: &str = "steerage";

/// A tensor's name and shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// As in the file.
    pub name: String,
    /// Outermost dimension first.
    pub shape: Vec<usize>,
}

impl TensorSpec {
    /// How many numbers it holds.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where tensors lie that lie one after the other.
pub fn places(tensors: &[TensorSpec]) -> BTreeMap<String, Range<usize>> {
    let mut end = 0;
    let place = |tensor: &TensorSpec| {
        let start = end;
        end += tensor.len();
        (tensor.name.clone(), start..end)
    };
    tensors.iter().map(place).collect()
}

/// Writes f32 tensors, which lie one after the other in `data`, and the metadata.
///
/// Errors: [`Error::Model`] when `data` is not as long as the tensors together.
pub fn write(tensors: &[TensorSpec], data: &[f32], metadata: &str) -> Result<Vec<u8>> {
    write_as(tensors, data, [KEY, metadata])
}

/// As [`write`], with another key for the metadata: others' programs look for theirs.
///
/// Errors: see [`write`].
pub fn write_as(tensors: &[TensorSpec], data: &[f32], [key, value]: [&str; 2]) -> Result<Vec<u8>> {
    let bytes: Vec<u8> = data.iter().flat_map(|x| x.to_le_bytes()).collect();
    let mut at = 0;
    let mut views = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let end = at + tensor.len() * size_of::<f32>();
        let part = bytes.get(at..end).ok_or_else(|| {
            Error::Model(format!("{}: the weights end before this tensor does", tensor.name))
        })?;
        let view = TensorView::new(Dtype::F32, tensor.shape.clone(), part);
        views.push((tensor.name.as_str(), view.map_err(|e| Error::Model(e.to_string()))?));
        at = end;
    }
    let metadata = HashMap::from([(key.to_string(), value.to_string())]);
    serialize(views, Some(metadata)).map_err(|e| Error::Model(e.to_string()))
}

/// The metadata that [`write`] put into a file. `what` names the file in messages.
///
/// Errors: [`Error::Model`] when the bytes are no safetensors file or were not written by
/// [`write`].
pub fn metadata(what: &str, bytes: &[u8]) -> Result<String> {
    let (_, header) = SafeTensors::read_metadata(bytes)
        .map_err(|e| Error::Model(format!("{what}: not a safetensors file: {e}")))?;
    let metadata = header.metadata().as_ref().and_then(|map| map.get(KEY)).cloned();
    metadata.ok_or_else(|| {
        Error::Model(format!(
            "{what}: metadata {KEY:?} is missing: expected a file this program wrote"
        ))
    })
}

/// Reads exactly these tensors, one after the other.
///
/// Errors: [`Error::Model`] that names the tensors that are missing, not expected, of another shape
/// or of another type.
pub fn read(what: &str, bytes: &[u8], expected: &[TensorSpec]) -> Result<Vec<f32>> {
    let file = SafeTensors::deserialize(bytes)
        .map_err(|e| Error::Model(format!("{what}: not a safetensors file: {e}")))?;
    let mut problems = Vec::new();
    let mut data = Vec::with_capacity(expected.iter().map(TensorSpec::len).sum());
    for tensor in expected {
        match file.tensor(&tensor.name) {
            Err(_) => problems.push(format!("tensor {}: missing", tensor.name)),
            Ok(found) if found.shape() != tensor.shape || found.dtype() != Dtype::F32 => {
                problems.push(format!(
                    "tensor {}: expected F32 {:?}, found {:?} {:?}",
                    tensor.name,
                    tensor.shape,
                    found.dtype(),
                    found.shape()
                ));
            }
            Ok(found) => {
                let words = found.data().as_chunks::<4>().0;
                data.extend(words.iter().map(|word| f32::from_le_bytes(*word)));
            }
        }
    }
    let mut extra: Vec<&str> = file.names();
    extra.retain(|name| expected.iter().all(|tensor| tensor.name != *name));
    extra.sort_unstable();
    problems.extend(extra.iter().map(|name| format!("tensor {name}: not part of this model")));
    if problems.is_empty() {
        return Ok(data);
    }
    Err(Error::Model(format!("{what}: {}", problems.join("; "))))
}
