//! More candidates than a model sees at once: windows over the list, from its end to its front,
//! each overlapping the one before, so that what is good can climb all the way.
//!
//! Source: RankGPT (Sun et al. 2023), the sliding window.

use super::Stand;
use std::ops::Range;

/// The lists of several ways while windows go over them.
pub struct Windows {
    /// Each way's candidates, as positions of its row.
    pub lists: Vec<Vec<u32>>,
    size: usize,
    stride: usize,
    round: usize,
}

impl Windows {
    /// Over the lists to go on from. Where all candidates fit, they are shown in the order in which
    /// they came in: so they are the same text at every node.
    pub fn new(at: &[Stand<'_>], size: usize, stride: usize) -> Windows {
        let list = |stand: &Stand<'_>| {
            let all = &stand.state.incoming.order;
            if all.len() <= size { all.clone() } else { stand.list().order.clone() }
        };
        Windows { lists: at.iter().map(list).collect(), size, stride, round: 0 }
    }

    /// The windows of the next round: which way, and which of its places. None when all are done.
    pub fn next(&mut self) -> Vec<(usize, Range<usize>)> {
        let round = self.round;
        self.round += 1;
        let window = |(way, list): (usize, &Vec<u32>)| {
            let end = match list.len().checked_sub(round * self.stride) {
                Some(end) if round == 0 => end,
                // Once a window has begun at the front there is none after it.
                Some(end) if end + self.stride > self.size => end,
                _ => return None,
            };
            (end > 0).then(|| (way, end.saturating_sub(self.size)..end))
        };
        self.lists.iter().enumerate().filter_map(window).collect()
    }

    /// Puts a window in the order that was said: places within it, each at most once; those that
    /// are missing follow as they were.
    pub fn put(&mut self, way: usize, range: Range<usize>, order: &[u32]) {
        let window = &mut self.lists[way][range];
        let mut left: Vec<Option<u32>> = window.iter().copied().map(Some).collect();
        let mut take = |at: &u32| left.get_mut(*at as usize).and_then(Option::take);
        let said: Vec<u32> = order.iter().filter_map(&mut take).collect();
        let all: Vec<u32> = said.into_iter().chain(left.into_iter().flatten()).collect();
        window.copy_from_slice(&all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(counts: &[usize], size: usize, stride: usize) -> Windows {
        let lists = counts.iter().map(|count| (0..*count as u32).collect()).collect();
        Windows { lists, size, stride, round: 0 }
    }

    #[test]
    fn windows_go_from_the_end_to_the_front() {
        let mut over = windows(&[7, 3, 0, 4], 4, 2);
        assert_eq!(over.next(), [(0, 3..7), (1, 0..3), (3, 0..4)]);
        assert_eq!(over.next(), [(0, 1..5)]);
        assert_eq!(over.next(), [(0, 0..3)]);
        assert_eq!(over.next(), []);
    }

    #[test]
    fn the_best_climbs_to_the_front() {
        for (count, size, stride) in [(50, 20, 10), (200, 20, 10), (21, 20, 1), (20, 20, 20)] {
            let mut over = windows(&[count], size, stride);
            loop {
                let round = over.next();
                if round.is_empty() {
                    break;
                }
                for (way, range) in round {
                    let mut places: Vec<u32> = (0..range.len() as u32).collect();
                    let shown = over.lists[way][range.clone()].to_vec();
                    places.sort_by_key(|at| std::cmp::Reverse(shown[*at as usize]));
                    over.put(way, range, &places);
                }
            }
            let list = &over.lists[0];
            assert_eq!(list[0] as usize, count - 1, "{count} {size} {stride}");
            let mut sorted = list.clone();
            sorted.sort_unstable();
            assert!(sorted.iter().enumerate().all(|(at, item)| at == *item as usize));
        }
    }

    #[test]
    fn orders_that_are_none_change_nothing_else() {
        let mut over = windows(&[5], 3, 1);
        over.put(0, 1..4, &[2, 2, 9]);
        assert_eq!(over.lists[0], [0, 3, 1, 2, 4]);
    }
}
