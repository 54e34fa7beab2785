//! The definition: every item scored, every list sorted. What the fast path is compared with.

use super::{ItemIndex, TopK, TopKQuery};

/// The lanes of [`score`].
pub const LANES: usize = 16;

/// The score of an item for a user, in f32.
///
/// Formula: ⟨u, v⟩. Lane l sums the products of the coordinates l, l + 16, l + 32 …, ascending,
/// each product rounded before it is added; then the upper half of the lanes is added to the lower
/// half until one is left. Never −0, so that scores that are equal are equal bit for bit.
/// Shapes:  `user` and `item` (D).
#[inline(always)]
pub fn score(user: &[f32], item: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (users, user_tail) = user.as_chunks::<LANES>();
    let (items, item_tail) = item.as_chunks::<LANES>();
    for (u, v) in users.iter().zip(items) {
        lanes = add_products(lanes, u, v);
    }
    if !user_tail.is_empty() {
        lanes = add_products(lanes, &filled_up(user_tail), &filled_up(item_tail));
    }
    folded(lanes)
}

/// The scores of N items for a user, each the same bits as [`score`] gives. Their sums are kept
/// side by side, so that none has to wait for another's.
///
/// Shapes: `user` (D), `items` (N, D).
#[inline(always)]
pub fn scores_of<const N: usize>(user: &[f32], items: &[f32]) -> [f32; N] {
    let width = user.len();
    let whole = width / LANES * LANES;
    let item = |n: usize| &items[n * width..(n + 1) * width];
    let mut lanes = [[0.0f32; LANES]; N];
    for at in (0..whole).step_by(LANES) {
        let u = part(user, at);
        for (n, lanes) in lanes.iter_mut().enumerate() {
            *lanes = add_products(*lanes, u, part(item(n), at));
        }
    }
    if whole < width {
        let u = filled_up(&user[whole..]);
        for (n, lanes) in lanes.iter_mut().enumerate() {
            *lanes = add_products(*lanes, &u, &filled_up(&item(n)[whole..]));
        }
    }
    lanes.map(folded)
}

/// The lanes of a row from a column on.
#[inline(always)]
fn part(row: &[f32], at: usize) -> &[f32; LANES] {
    row[at..].first_chunk().expect("the caller stops where a whole part ends")
}

/// The sum of the lanes.
#[inline(always)]
fn folded(lanes: [f32; LANES]) -> f32 {
    // One array a step: the compiler keeps them in registers, and halves of one array in memory.
    let eight: [f32; 8] = std::array::from_fn(|l| lanes[l] + lanes[l + 8]);
    let four: [f32; 4] = std::array::from_fn(|l| eight[l] + eight[l + 4]);
    let two = [four[0] + four[2], four[1] + four[3]];
    two[0] + two[1] + 0.0
}

#[inline(always)]
fn add_products(lanes: [f32; LANES], u: &[f32; LANES], v: &[f32; LANES]) -> [f32; LANES] {
    std::array::from_fn(|l| lanes[l] + u[l] * v[l])
}

/// A row's last coordinates and zeros: a lane that 0 is added to stays what it is, or is 0 of
/// either sign, which no score shows.
#[inline(always)]
fn filled_up(tail: &[f32]) -> [f32; LANES] {
    std::array::from_fn(|l| tail.get(l).copied().unwrap_or(0.0))
}

/// How many roundings a product may meet on its way into [`score`].
pub(super) fn roundings(width: usize) -> usize {
    1 + width.div_ceil(LANES) + LANES.ilog2() as usize
}

/// The K best items of each user by scoring all of them: [`ItemIndex::search`] in plain loops.
///
/// Shapes: `items` (V, D), `users` (U, D).
pub fn top_k(items: &[f32], users: &[f32], width: usize, query: &TopKQuery<'_>) -> TopK {
    let norm_max = super::index::norm_max(items, width);
    let mut found = TopK::new();
    for (at, user) in users.chunks(width).enumerate() {
        if !ItemIndex::can_score(user, norm_max) {
            found.push(None::<std::vec::IntoIter<_>>);
            continue;
        }
        let excluded = query.excluded.get(at).copied().unwrap_or_default();
        let mut list: Vec<(f32, u32)> = items
            .chunks(width)
            .enumerate()
            .map(|(id, item)| (score(user, item), id as u32))
            .filter(|(_, id)| !excluded.contains(id))
            .filter(|(_, id)| query.barred.is_none_or(|barred| !barred.contains(*id)))
            .collect();
        list.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        found.scored += list.len() as u64;
        list.truncate(query.k);
        found.push(Some(list.into_iter()));
    }
    found
}
