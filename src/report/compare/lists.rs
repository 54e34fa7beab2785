//! How much the lists of two runs have in common: one merge over both, in constant memory.

use crate::error::{Error, Result};
use crate::types::Key;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// One user's list of one arm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Whose.
    pub user: Key,
    /// Which arm's.
    pub arm: String,
    /// The items, best first, no repeats.
    pub items: Vec<Key>,
}

/// What one arm's lists of two runs have in common. Means are over the users that both runs have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ListChange {
    /// The arm.
    pub arm: String,
    /// How many places are compared.
    pub k: usize,
    /// Users in both runs.
    pub users: u64,
    /// Users in the old run alone.
    pub users_gone: u64,
    /// Users in the new run alone.
    pub users_added: u64,
    /// Share of the users whose first k places are not the same, order included.
    pub changed: f64,
    /// Mean of |A ∩ B| / |A ∪ B| over the first k places.
    pub jaccard: f64,
    /// Mean of |A ∩ B| / k.
    pub overlap: f64,
    /// Mean rank-biased overlap, see [`list_changes`].
    pub rank_biased_overlap: f64,
}

/// The chance that a reader goes on to the next place.
const PERSISTENCE: f64 = 0.9;
/// Fixed point: sums do not depend on the order of rows.
const ONE: f64 = (1u64 << 32) as f64;

#[derive(Default)]
struct Sums {
    users: u64,
    gone: u64,
    added: u64,
    changed: u64,
    jaccard: u128,
    overlap: u128,
    rank_biased: u128,
}

/// Merges the lists of two runs, each ascending by (user, arm), and compares the first `k` places.
///
/// Formula: rank-biased overlap = Σ_{d=1..D} p^(d−1) · |A_d ∩ B_d| / d ÷ Σ_{d=1..D} p^(d−1), with p
/// = 0.9 and D the longer list's length up to k: the truncated form, scaled so that equal lists
/// give 1.
///
/// Source: Webber, Moffat, Zobel: A similarity measure for indefinite rankings (2010), eq. 4.
///
/// # Errors
/// Whatever the iterators give, and [`Error::Input`] when one does not ascend.
pub fn list_changes(
    old: impl Iterator<Item = Result<Listed>>,
    new: impl Iterator<Item = Result<Listed>>,
    k: usize,
) -> Result<Vec<ListChange>> {
    let (mut old, mut new) = (Ascending::new(old, "old")?, Ascending::new(new, "new")?);
    let mut arms: BTreeMap<String, Sums> = BTreeMap::new();
    loop {
        let side = match (&old.head, &new.head) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => (&a.user, &a.arm).cmp(&(&b.user, &b.arm)),
        };
        let before = if side.is_le() { old.next()? } else { None };
        let after = if side.is_ge() { new.next()? } else { None };
        let Some(either) = before.as_ref().or(after.as_ref()) else { break };
        let sums = arms.entry(either.arm.clone()).or_default();
        match (&before, &after) {
            (Some(a), Some(b)) => add(sums, top(a, k), top(b, k), k),
            (Some(_), None) => sums.gone += 1,
            _ => sums.added += 1,
        }
    }
    Ok(arms.into_iter().map(|(arm, sums)| sums.means(arm, k)).collect())
}

fn top(list: &Listed, k: usize) -> &[Key] {
    &list.items[..list.items.len().min(k)]
}

fn add(sums: &mut Sums, a: &[Key], b: &[Key], k: usize) {
    let common = a.iter().filter(|item| b.contains(item)).count();
    let union = a.len() + b.len() - common;
    let share = |part: usize, of: usize| if of == 0 { 1.0 } else { part as f64 / of as f64 };
    // Two lists that are both short can still be the same list.
    let places = k.min(a.len().max(b.len()));
    sums.users += 1;
    sums.changed += u64::from(a != b);
    sums.jaccard += (share(common, union) * ONE).round() as u128;
    sums.overlap += (share(common, places) * ONE).round() as u128;
    sums.rank_biased += (rank_biased_overlap(a, b) * ONE).round() as u128;
}

fn rank_biased_overlap(a: &[Key], b: &[Key]) -> f64 {
    let (mut common, mut weight, mut sum, mut weights) = (0, 1.0, 0.0, 0.0);
    for at in 0..a.len().max(b.len()) {
        let (new_a, new_b) = (a.get(at), b.get(at));
        common += usize::from(new_a.is_some() && new_a == new_b);
        if new_a != new_b {
            let before = |item: Option<&Key>, list: &[Key]| {
                item.is_some_and(|item| list[..at.min(list.len())].contains(item))
            };
            common += usize::from(before(new_a, b)) + usize::from(before(new_b, a));
        }
        sum += weight * common as f64 / (at + 1) as f64;
        weights += weight;
        weight *= PERSISTENCE;
    }
    if weights == 0.0 { 1.0 } else { sum / weights }
}

impl Sums {
    fn means(&self, arm: String, k: usize) -> ListChange {
        let users = self.users.max(1) as f64;
        let mean = |sum: u128| sum as f64 / ONE / users;
        ListChange {
            arm,
            k,
            users: self.users,
            users_gone: self.gone,
            users_added: self.added,
            changed: self.changed as f64 / users,
            jaccard: mean(self.jaccard),
            overlap: mean(self.overlap),
            rank_biased_overlap: mean(self.rank_biased),
        }
    }
}

/// An iterator that is looked ahead by one and refuses to step back.
struct Ascending<I> {
    rest: I,
    head: Option<Listed>,
    which: &'static str,
}

impl<I: Iterator<Item = Result<Listed>>> Ascending<I> {
    fn new(mut rest: I, which: &'static str) -> Result<Self> {
        let head = rest.next().transpose()?;
        Ok(Ascending { rest, head, which })
    }

    fn next(&mut self) -> Result<Option<Listed>> {
        let next = self.rest.next().transpose()?;
        if let (Some(a), Some(b)) = (&self.head, &next)
            && (&a.user, &a.arm) >= (&b.user, &b.arm)
        {
            return Err(Error::Input(format!(
                "lists of the {} run: expected ascending users and arms, found user {} arm {} \
                 after user {} arm {}: sort them",
                self.which, b.user, b.arm, a.user, a.arm
            )));
        }
        Ok(std::mem::replace(&mut self.head, next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(user: i64, arm: &str, items: &[i64]) -> Result<Listed> {
        let items = items.iter().map(|i| Key::Int(*i)).collect();
        Ok(Listed { user: Key::Int(user), arm: arm.into(), items })
    }

    fn changes(old: Vec<Result<Listed>>, new: Vec<Result<Listed>>, k: usize) -> Vec<ListChange> {
        list_changes(old.into_iter(), new.into_iter(), k).unwrap_or_default()
    }

    #[test]
    fn a_pair_of_lists_by_hand() {
        // {1,2,3} and {2,1,4}: two of four in common; at depths 1, 2, 3: 0, 2, 2 of 1, 2, 3.
        let found = changes(vec![list(1, "a", &[1, 2, 3])], vec![list(1, "a", &[2, 1, 4])], 3);
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} {b}");
        near(found[0].jaccard, 2.0 / 4.0);
        near(found[0].overlap, 2.0 / 3.0);
        let rbo = (0.9 * 2.0 / 2.0 + 0.81 * 2.0 / 3.0) / (1.0 + 0.9 + 0.81);
        near(found[0].rank_biased_overlap, rbo);
        assert_eq!((found[0].users, found[0].changed), (1, 1.0));
    }

    #[test]
    fn equal_lists_are_one_also_when_short_or_empty() {
        for items in [&[][..], &[5], &[5, 6, 7]] {
            let found = changes(vec![list(1, "a", items)], vec![list(1, "a", items)], 10);
            let all = (found[0].jaccard, found[0].overlap, found[0].rank_biased_overlap);
            assert_eq!(all, (1.0, 1.0, 1.0));
            assert_eq!(found[0].changed, 0.0);
        }
    }

    #[test]
    fn users_of_one_run_are_counted_and_not_compared() {
        let old = vec![list(1, "a", &[1]), list(1, "b", &[1]), list(3, "a", &[1])];
        let new = vec![list(1, "a", &[1]), list(2, "a", &[9]), list(4, "a", &[9])];
        let found = changes(old, new, 5);
        let counts: Vec<_> =
            found.iter().map(|c| (c.arm.as_str(), c.users, c.users_gone, c.users_added)).collect();
        assert_eq!(counts, [("a", 1, 1, 2), ("b", 0, 1, 0)]);
        assert_eq!(found[0].jaccard, 1.0);
    }

    #[test]
    fn lists_out_of_order_are_refused() {
        let old = vec![list(2, "a", &[1]), list(1, "a", &[1])];
        let error = list_changes(old.into_iter(), std::iter::empty(), 5).map_err(|e| e.to_string());
        assert!(error.is_err_and(|e| e.contains("found user 1 arm a after user 2 arm a")));
    }
}
