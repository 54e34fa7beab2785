//! The same work on many pieces, by several threads.

use std::sync::Mutex;

/// Calls `work` once for each piece with its index. Which thread takes which piece is left to
/// chance, so that `work` must depend on the piece alone.
pub fn for_each<T: Send>(threads: usize, pieces: &mut [T], work: impl Fn(usize, &mut T) + Sync) {
    let threads = threads.min(pieces.len());
    if threads <= 1 {
        return pieces.iter_mut().enumerate().for_each(|(i, piece)| work(i, piece));
    }
    let queue = Mutex::new(pieces.iter_mut().enumerate());
    let next = || queue.lock().map_or(None, |mut queue| queue.next());
    let drain = || {
        while let Some((i, piece)) = next() {
            work(i, piece);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(drain);
        }
        drain();
    });
}
