//! Positions as angles. Definition: [`Rotary`].

use super::Kernel;
use crate::device::Rotary;

impl Kernel for Rotary<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (row, width) = (self.shape.row(), self.shape.width);
        let turned = (self.shape.heads + self.shape.shared) * width;
        let tokens = self.shape.tokens();
        assert_eq!((self.qkv.len(), self.positions.len()), (tokens * row, tokens));
        for (row, position) in self.qkv.chunks_exact_mut(row).zip(self.positions) {
            let angles = &self.table[*position as usize * width..][..width];
            let (cosines, sines) = angles.split_at(width / 2);
            for head in row[..turned].chunks_exact_mut(width) {
                let (left, right) = head.split_at_mut(width / 2);
                let pairs = left.iter_mut().zip(right);
                for ((x, y), (cosine, sine)) in pairs.zip(cosines.iter().zip(sines)) {
                    (*x, *y) = (x.mul_add(*cosine, -(*y * sine)), y.mul_add(*cosine, *x * sine));
                }
            }
        }
    }
}
