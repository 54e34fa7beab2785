//! From one user's interactions to the sequence that is learned from and ranked for.

use crate::spec::{Duplicates, Split};
use crate::types::{Interaction, ItemId, Key, Sequence};
use std::collections::HashSet;

/// Sorts a user's interactions by (time, position in the input) and applies the rule for repeats.
pub fn order(events: &mut Vec<Interaction>, duplicates: Duplicates) {
    events.sort_unstable_by_key(|event| (event.time, event.origin));
    let mut seen: HashSet<Key> = HashSet::with_capacity(events.len());
    match duplicates {
        Duplicates::KeepAll => {}
        Duplicates::KeepFirst => events.retain(|event| seen.insert(event.item.clone())),
        Duplicates::KeepLast => {
            events.reverse();
            events.retain(|event| seen.insert(event.item.clone()));
            events.reverse();
        }
    }
}

/// Builds a sequence of ordered (item, time) pairs: all that is left after the k-core.
pub fn sequence(user: Key, events: &[(ItemId, i64)], split: Split) -> Sequence {
    let (train, valid) = lengths(events.len(), split);
    Sequence {
        user,
        items: events.iter().map(|(item, _)| *item).collect(),
        times: events.iter().map(|(_, time)| *time).collect(),
        train: train as u32,
        valid: valid as u32,
        segments: Vec::new(),
    }
}

/// How many interactions are learned from and how many validated on; the rest is the test.
fn lengths(count: usize, split: Split) -> (usize, usize) {
    match split {
        Split::None => (count, 0),
        // With fewer than three nothing could be learned of the user.
        Split::LeaveOneOut if count < 3 => (count, 0),
        Split::LeaveOneOut => (count - 2, 1),
        Split::Chronological => {
            let train = (count * 8).div_ceil(10);
            let valid = (count * 9).div_ceil(10) - train;
            (train, valid)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Origin;

    fn event(item: i64, time: i64, row: u32) -> Interaction {
        let origin = Origin { shard: 0, row };
        Interaction { origin, user: Key::Int(1), item: Key::Int(item), time, weight: 1.0 }
    }

    fn items(events: &[Interaction]) -> Vec<String> {
        events.iter().map(|event| event.item.to_string()).collect()
    }

    #[test]
    fn equal_times_keep_the_order_of_the_input() {
        let mut events = vec![event(3, 5, 2), event(1, 5, 0), event(9, 4, 3), event(2, 5, 1)];
        order(&mut events, Duplicates::KeepAll);
        assert_eq!(items(&events), ["9", "1", "2", "3"]);
    }

    #[test]
    fn repeats_follow_the_rule() {
        let all = [event(1, 1, 0), event(2, 2, 1), event(1, 3, 2)];
        let after = |rule| {
            let mut events = all.to_vec();
            order(&mut events, rule);
            items(&events)
        };
        assert_eq!(after(Duplicates::KeepFirst), ["1", "2"]);
        assert_eq!(after(Duplicates::KeepLast), ["2", "1"]);
        assert_eq!(after(Duplicates::KeepAll), ["1", "2", "1"]);
    }

    #[test]
    fn splits_add_up() {
        assert_eq!(lengths(5, Split::LeaveOneOut), (3, 1));
        assert_eq!(lengths(3, Split::LeaveOneOut), (1, 1));
        assert_eq!(lengths(2, Split::LeaveOneOut), (2, 0));
        assert_eq!(lengths(10, Split::Chronological), (8, 1));
        assert_eq!(lengths(20, Split::Chronological), (16, 2));
        assert_eq!(lengths(1, Split::Chronological), (1, 0));
        assert_eq!(lengths(7, Split::None), (7, 0));
    }
}
