//! Positions as angles. Definition: [`Rotary`], [`RotaryBackward`].

use super::Kernel;
use crate::device::shape::GroupedShape;
use crate::device::{Rotary, RotaryBackward};

/// Turns queries and keys by their angles, or with `back` by the opposite ones.
#[inline(always)]
fn turn(shape: GroupedShape<'_>, positions: &[u32], table: &[f32], qkv: &mut [f32], back: bool) {
    let (row, width) = (shape.row(), shape.width);
    let turned = (shape.heads + shape.shared) * width;
    let tokens = shape.tokens();
    assert_eq!((qkv.len(), positions.len()), (tokens * row, tokens));
    let sign = if back { -1.0 } else { 1.0 };
    for (row, position) in qkv.chunks_exact_mut(row).zip(positions) {
        let angles = &table[*position as usize * width..][..width];
        let (cosines, sines) = angles.split_at(width / 2);
        for head in row[..turned].chunks_exact_mut(width) {
            let (left, right) = head.split_at_mut(width / 2);
            let pairs = left.iter_mut().zip(right);
            for ((x, y), (cosine, sine)) in pairs.zip(cosines.iter().zip(sines)) {
                let sine = sign * sine;
                (*x, *y) = (x.mul_add(*cosine, -(*y * sine)), y.mul_add(*cosine, *x * sine));
            }
        }
    }
}

impl Kernel for Rotary<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        turn(self.shape, self.positions, self.table, self.qkv, false);
    }
}

impl Kernel for RotaryBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        turn(self.shape, self.positions, self.table, self.d_qkv, true);
    }
}
