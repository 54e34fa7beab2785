//! The wrappers of instructions by themselves: for tests, on a device as elsewhere.

use super::super::launch::{
    Launch, WRAPPED_BULK, WRAPPED_GROUP, WRAPPED_MATRICES, WRAPPED_MULTIPLY, arguments,
};
use super::super::{Bf16, Buffer, TensorMap};
use super::{WARP, fits, u32_of};
use crate::error::Result;

/// out (16, 8) = left (16, 16) · right (8, 16)ᵀ, by one instruction of the matrix units.
///
/// # Errors
/// If a buffer is longer or shorter.
pub fn multiply(left: &Buffer<Bf16>, right: &Buffer<Bf16>, out: &Buffer<f32>) -> Result<Launch> {
    let name = WRAPPED_MULTIPLY.name;
    fits(name, "left", left, &[16, 16])?;
    fits(name, "right", right, &[8, 16])?;
    fits(name, "out", out, &[16, 8])?;
    Launch::new(WRAPPED_MULTIPLY, arguments![left, right, out]).over([1, 1], WARP as u32)
}

/// What each lane gets of four matrices, the rows (32, 8) so many times 16 bytes apart and the last
/// one replaced by zeros: out (2, 32, 4), straight and turned.
///
/// # Errors
/// If a buffer is longer or shorter.
pub fn matrices(rows: &Buffer<Bf16>, out: &Buffer<u32>, apart: u32) -> Result<Launch> {
    let name = WRAPPED_MATRICES.name;
    fits(name, "rows", rows, &[WARP, 8])?;
    fits(name, "out", out, &[2, WARP, 4])?;
    let launch = Launch::new(WRAPPED_MATRICES, arguments![rows, out, apart]);
    launch.sharing(WARP * 8 * size_of::<Bf16>() * apart as usize).over([1, 1], WARP as u32)
}

/// out (2, 64, 64): left (64, 64) · right (64, 64)ᵀ, then left · right, by the products of Hopper's
/// groups of warps; for a driver that has them.
///
/// # Errors
/// If a buffer is longer or shorter.
pub fn group(left: &Buffer<Bf16>, right: &Buffer<Bf16>, out: &Buffer<f32>) -> Result<Launch> {
    let name = WRAPPED_GROUP.name;
    fits(name, "left", left, &[64, 64])?;
    fits(name, "right", right, &[64, 64])?;
    fits(name, "out", out, &[2, 64, 64])?;
    let launch = Launch::new(WRAPPED_GROUP, arguments![left, right, out]);
    launch.sharing(2 * 64 * 64 * size_of::<Bf16>()).over([1, 1], 4 * WARP as u32)
}

/// out (boxes, 64, 64): those that begin at a column of rows of so many columns, so many numbers
/// apart, and at row 0, 64, 128 …, by Hopper's bulk copies; zeros outside of the matrix.
///
/// # Errors
/// If the output is longer or shorter, or the copies cannot bring such rows.
pub fn bulk(
    matrix: &Buffer<Bf16>,
    [columns, apart]: [usize; 2],
    column: u32,
    boxes: usize,
    out: &Buffer<Bf16>,
) -> Result<Launch> {
    let name = WRAPPED_BULK.name;
    fits(name, "out", out, &[boxes, 64, 64])?;
    let map = TensorMap::of(matrix, columns, apart)?;
    let launch = Launch::new(WRAPPED_BULK, arguments![map, out, column, u32_of(name, boxes)?]);
    let shared_bytes = 64 * 64 * size_of::<Bf16>() + size_of::<u64>();
    launch.sharing(shared_bytes).over([1, 1], 4 * WARP as u32)
}
