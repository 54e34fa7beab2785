//! The scores of the step before as this step's relevance, and the lists that greedy steps make.

use crate::types::ArmList;

/// A list's scores mapped linearly to [0, 1], by place; all 0 where they are all equal.
pub fn normalised(scores: &[f32]) -> Vec<f32> {
    let low = scores.iter().copied().fold(f32::INFINITY, f32::min);
    let high = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let width = f64::from(high) - f64::from(low); // in f64 no difference of two f32 overflows
    let place = |&score: &f32| match width > 0.0 {
        true => ((f64::from(score) - f64::from(low)) / width) as f32,
        false => 0.0,
    };
    scores.iter().map(place).collect()
}

/// The first of the places with the greatest value; `None` where no place is left.
pub fn best<T: PartialOrd + Copy>(values: impl Iterator<Item = (usize, T)>) -> Option<(usize, T)> {
    values.fold(None, |best, (at, value)| match best {
        Some((_, most)) if value <= most => best,
        _ => Some((at, value)),
    })
}

/// The places a greedy step chose, then the others in the order they had.
///
/// The others' scores go on from the last chosen one's and fall as their relevance falls.
pub fn chosen_first(list: &ArmList, relevance: &[f32], chosen: &[(usize, f32)]) -> ArmList {
    let mut taken = vec![false; list.order.len()];
    let mut made =
        ArmList { order: Vec::with_capacity(taken.len()), scores: Vec::with_capacity(taken.len()) };
    for &(place, score) in chosen {
        taken[place] = true;
        made.order.push(list.order[place]);
        made.scores.push(score);
    }
    let mut score = chosen.last().map_or(0.0, |&(_, score)| score);
    let mut above = f32::NEG_INFINITY;
    for place in (0..taken.len()).filter(|&place| !taken[place]) {
        score -= (above - relevance[place]).max(0.0);
        above = relevance[place];
        made.order.push(list.order[place]);
        made.scores.push(score);
    }
    made
}
