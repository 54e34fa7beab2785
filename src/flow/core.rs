//! k-core by differential dataflow: what is left when users and items with too few interactions are
//! taken out, again and again, until nobody has too few.

use crate::types::{Epoch, Key};
use differential_dataflow::VecCollection;
use differential_dataflow::operators::Iterate;

/// A user within the dataflow: its partition and its position there.
pub type UserNumber = u64;

/// Interactions as a collection: repeats count, as often as they are there.
pub type Pairs<'s> = VecCollection<'s, Epoch, (UserNumber, Key)>;

/// The largest part of `pairs` in which every user has at least `user_min` interactions and every
/// item
/// `item_min`: the fixed point of dropping those that have fewer.
pub fn core(pairs: Pairs<'_>, user_min: u32, item_min: u32) -> Pairs<'_> {
    if user_min <= 1 && item_min <= 1 {
        return pairs; // whoever is there has at least one
    }
    pairs.iterate(move |_, pairs| {
        let by_item = pairs.map(|(user, item)| (item, user));
        let items = by_item.clone().map(|(item, _)| item).count();
        let items = items.filter(move |(_, count)| *count >= item_min as isize);
        let by_user =
            by_item.semijoin(items.map(|(item, _)| item)).map(|(item, user)| (user, item));
        let users = by_user.clone().map(|(user, _)| user).count();
        let users = users.filter(move |(_, count)| *count >= user_min as isize);
        by_user.semijoin(users.map(|(user, _)| user)).consolidate()
    })
}
