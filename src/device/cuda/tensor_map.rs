//! What bulk copies are told of a matrix.
#![allow(unsafe_code)]

use super::buffer::{Buffer, View};
use super::element::Bf16;
use super::nvidia::{check_driver, failed};
use crate::error::{Error, Result};
use cudarc::driver::sys;

/// Rows and columns that a bulk copy brings: rows of 128 bytes, as wide as the swizzle.
const BOX: u32 = 64;
/// What a matrix's beginning and the distance of its rows are multiples of, in bytes.
const ALIGNMENT: usize = 16;
/// The CUDA whose driver encodes maps for the first time.
const ENCODES_SINCE: i32 = 12000;

/// A matrix of which kernels of Hopper bring boxes of 64 rows and 64 columns by bulk copies, to
/// shared memory in the 128-byte swizzle. Outside of it there are zeros.
#[derive(Clone, Debug)]
pub struct TensorMap {
    view: View,
    columns: usize,
    rows: usize,
    apart: usize,
}

impl TensorMap {
    /// As many rows of so many columns as a buffer has, so many numbers apart.
    ///
    /// # Errors
    /// If the buffer or its rows do not begin at multiples of 16 bytes, rows overlap, or there are
    /// more than a kernel can number.
    pub(super) fn of(buffer: &Buffer<Bf16>, columns: usize, apart: usize) -> Result<Self> {
        let (view, bytes) = (buffer.view().clone(), apart.saturating_mul(size_of::<Bf16>()));
        if !view.address().is_multiple_of(ALIGNMENT as u64) || !bytes.is_multiple_of(ALIGNMENT) {
            return Err(Error::Device(format!(
                "tensor map: expected rows that begin at multiples of {ALIGNMENT} bytes, found the \
                 first one at {:#x}, and {bytes} bytes to the next",
                view.address()
            )));
        }
        let after = buffer.len().checked_sub(columns);
        let rows = after.map_or(0, |after| after / apart.max(1) + 1);
        if columns == 0 || apart < columns || rows > i32::MAX as usize {
            return Err(Error::Device(format!(
                "tensor map: expected at most {} rows that do not overlap, found {rows} rows of \
                 {columns} numbers, {apart} apart",
                i32::MAX
            )));
        }
        Ok(Self { view, columns, rows, apart })
    }

    /// Where it begins.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Its columns, its rows, and how far apart the rows are.
    pub fn size(&self) -> [usize; 3] {
        [self.columns, self.rows, self.apart]
    }

    /// As NVIDIA's driver encodes it for a kernel.
    ///
    /// # Errors
    /// If the driver is too old, or refuses it.
    pub(super) fn encoded(&self) -> Result<sys::CUtensorMap> {
        // A function that the library does not have would be a panic.
        check_driver("tensor map", ENCODES_SINCE, "")?;
        let address = self.view.address() as *mut std::ffi::c_void;
        let size = [self.columns as u64, self.rows as u64];
        let apart = [(self.apart * size_of::<Bf16>()) as u64];
        let (boxed, step) = ([BOX; 2], [1; 2]);
        let mut map = sys::CUtensorMap { opaque: [0; 16] };
        // SAFETY: the library is there and, of this version, has the function. It writes the map,
        // which is aligned as its type says, and reads as many sizes, boxes and steps as the two
        // dimensions are, and one distance less; it does not touch the matrix.
        unsafe {
            sys::cuTensorMapEncodeTiled(
                &raw mut map,
                sys::CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
                size.len() as u32,
                address,
                size.as_ptr(),
                apart.as_ptr(),
                boxed.as_ptr(),
                step.as_ptr(),
                sys::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
                sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_128B,
                sys::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
                sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
            )
        }
        .result()
        .map_err(failed(&format!(
            "encode a tensor map of {} rows of {} numbers, {} apart",
            self.rows, self.columns, self.apart
        )))?;
        Ok(map)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Buffer, TensorMap};
    use crate::device::cuda::Counted;

    #[test]
    fn a_matrix_that_bulk_copies_cannot_bring_is_refused() {
        let buffer = Buffer::new(&Counted::default(), 1000).unwrap();
        let map = |start: usize, columns, apart| {
            TensorMap::of(&buffer.slice(start..1000).unwrap(), columns, apart)
        };
        assert_eq!(map(0, 64, 128).unwrap().size(), [64, 8, 128]);
        assert_eq!(map(40, 64, 128).unwrap().size(), [64, 8, 128]);
        assert_eq!(map(48, 64, 128).unwrap().size(), [64, 7, 128]);
        assert_eq!(map(992, 64, 128).unwrap().size(), [64, 0, 128]);
        for (start, columns, apart) in [(1, 64, 128), (0, 64, 129), (0, 64, 32), (0, 0, 0)] {
            let said = map(start, columns, apart).unwrap_err().to_string();
            assert!(said.contains("tensor map: expected"), "{said}");
        }
    }
}
