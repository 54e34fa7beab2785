//! The optimiser's step over the sum of a batch's parts.

use crate::device::parallel::for_each;
use crate::device::{AdamW, Backend};
use std::ops::Range;

/// Parts of a batch whose gradients are computed apart and then summed in order. Fixed, so that the
/// sum does not depend on threads; each part costs a gradient's memory.
pub const MICRO_BATCHES: usize = 8;
/// Parameters that are summed and updated as one piece of work.
const CHUNK: usize = 1 << 14;

/// The optimiser's state: what a step changes besides the weights.
#[derive(Clone, Default)]
pub struct Moments {
    /// The gradients' running mean.
    pub mean: Vec<f32>,
    /// Their squares'.
    pub square: Vec<f32>,
}

impl Moments {
    /// Before the first step.
    pub fn new(parameters: usize) -> Self {
        Self { mean: vec![0.0; parameters], square: vec![0.0; parameters] }
    }
}

/// How the weights follow the gradient.
pub struct Update<'a> {
    /// The step, from 1.
    pub step: u64,
    /// The learning rate of this step.
    pub rate: f32,
    /// AdamW's β₁ and β₂.
    pub betas: (f32, f32),
    /// AdamW's decoupled weight decay.
    pub decay: f32,
    /// Parameters that do not decay; ascending.
    pub undecayed: &'a [Range<usize>],
    /// Parameters with a learning rate of their own, and that; ascending.
    pub apart: &'a [(Range<usize>, f32)],
    /// The largest norm of the gradient, which is scaled down to it; 0 for no limit.
    pub norm_max: f32,
    /// Threads; the result does not depend on them.
    pub threads: usize,
}

/// What one thread sums and updates.
struct Piece<'a> {
    first: usize,
    parts: Vec<&'a mut [f32]>,
    weights: &'a mut [f32],
    mean: &'a mut [f32],
    square: &'a mut [f32],
    norm: f64,
}

impl Update<'_> {
    /// Sums the parts' gradients in order, takes the optimiser's step, and leaves zeros.
    pub fn take(
        &self,
        device: &dyn Backend,
        parts: Vec<&mut [f32]>,
        weights: &mut [f32],
        moments: &mut Moments,
    ) {
        let mut parts: Vec<_> = parts.into_iter().map(|part| part.chunks_mut(CHUNK)).collect();
        let state = moments.mean.chunks_mut(CHUNK).zip(moments.square.chunks_mut(CHUNK));
        let chunks = (0..).step_by(CHUNK).zip(weights.chunks_mut(CHUNK)).zip(state);
        let mut pieces: Vec<Piece<'_>> = chunks
            .map(|((first, weights), (mean, square))| {
                let parts = parts.iter_mut().filter_map(Iterator::next).collect();
                Piece { first, parts, weights, mean, square, norm: 0.0 }
            })
            .collect();
        for_each(self.threads, &mut pieces, |_, piece| {
            let (sum, others) = piece.parts.split_at_mut(1);
            for other in others {
                for (sum, x) in sum[0].iter_mut().zip(other.iter_mut()) {
                    *sum += std::mem::take(x);
                }
            }
            piece.norm = sum[0].iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
        });
        let norm = pieces.iter().map(|piece| piece.norm).sum::<f64>().sqrt() as f32;
        let limit = self.norm_max;
        let scale = if limit > 0.0 && norm > limit { limit / norm } else { 1.0 };
        for_each(self.threads, &mut pieces, |_, piece| self.follow(device, piece, scale));
    }

    /// Rate and decay of a parameter, and where the next stretch with other ones may begin.
    fn stretch(&self, at: usize, end: usize) -> (f32, f32, usize) {
        let until = |range: &Range<usize>| if at < range.start { range.start } else { range.end };
        let undecayed = self.undecayed.iter().find(|range| at < range.end);
        let apart = self.apart.iter().find(|(range, _)| at < range.end);
        let decay = match undecayed {
            Some(range) if at >= range.start => 0.0,
            _ => self.decay,
        };
        let rate = match apart {
            Some((range, rate)) if at >= range.start => *rate,
            _ => self.rate,
        };
        let stops = undecayed.map(until).into_iter().chain(apart.map(|(range, _)| until(range)));
        (rate, decay, stops.fold(end, usize::min))
    }

    /// Updates a piece, stretch by stretch of those with one rate and one decay.
    fn follow(&self, device: &dyn Backend, piece: &mut Piece<'_>, scale: f32) {
        let (mut at, end) = (piece.first, piece.first + piece.weights.len());
        while at < end {
            let (rate, decay, stop) = self.stretch(at, end);
            let stretch = at - piece.first..stop - piece.first;
            device.adam_w(AdamW {
                step: self.step,
                rate,
                betas: self.betas,
                decay,
                scale,
                gradient: &piece.parts[0][stretch.clone()],
                state: (
                    &mut piece.weights[stretch.clone()],
                    &mut piece.mean[stretch.clone()],
                    &mut piece.square[stretch],
                ),
            });
            at = stop;
        }
        piece.parts[0].fill(0.0);
    }
}
