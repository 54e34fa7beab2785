//! Which numbers the labels of a binned attribute stand for, by the items that have them.

use crate::types::{Attribute, Control, ItemId, Relation};

/// The least and the greatest number among the items of each label; none for a label without any,
/// and none at all for a categorical attribute.
pub struct Bins(Vec<Option<[f32; 2]>>);

impl Bins {
    /// Reads them off the items.
    pub fn new(attribute: &Attribute) -> Bins {
        if attribute.numbers.is_empty() {
            return Bins(Vec::new());
        }
        let mut bins: Vec<Option<[f32; 2]>> = vec![None; attribute.labels.len()];
        for (item, number) in attribute.numbers.iter().enumerate() {
            if number.is_nan() {
                continue;
            }
            for code in attribute.codes(item as ItemId) {
                let bin = bins[*code as usize].get_or_insert([*number; 2]);
                *bin = [bin[0].min(*number), bin[1].max(*number)];
            }
        }
        Bins(bins)
    }

    /// The bound that items of these labels keep, and those of no label beyond them.
    pub fn bound(&self, relation: Relation, codes: &[u32]) -> Option<f32> {
        let bins = codes.iter().filter_map(|code| self.0.get(*code as usize).copied().flatten());
        match relation {
            Relation::AtMost => bins.map(|[_, greatest]| greatest).reduce(f32::max),
            Relation::AtLeast => bins.map(|[least, _]| least).reduce(f32::min),
            Relation::Is | Relation::Not => None,
        }
    }

    /// The labels that a control speaks of: those it names, or those whose items keep its bound for
    /// the most part of their range.
    pub fn named(&self, control: &Control) -> Vec<u32> {
        let keeps = |[least, greatest]: [f32; 2]| {
            let middle = f32::midpoint(least, greatest);
            match control.relation {
                Relation::AtMost => middle <= control.bound,
                _ => middle >= control.bound,
            }
        };
        match control.relation {
            Relation::Is | Relation::Not => control.codes.clone(),
            Relation::AtMost | Relation::AtLeast => (0..)
                .zip(&self.0)
                .filter(|(_, bin)| bin.is_some_and(keeps))
                .map(|(code, _)| code)
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_said_by_labels_and_labels_by_a_bound() {
        let attribute = Attribute {
            name: "price".into(),
            labels: vec!["low".into(), "middle".into(), "none".into(), "high".into()],
            offsets: vec![0, 1, 2, 3, 4, 4],
            codes: vec![0, 1, 1, 3],
            numbers: vec![5.0, 10.0, 20.0, 50.0, f32::NAN],
        };
        let bins = Bins::new(&attribute);
        assert_eq!(bins.bound(Relation::AtMost, &[0, 1]), Some(20.0));
        assert_eq!(bins.bound(Relation::AtLeast, &[1, 3]), Some(10.0));
        assert_eq!(bins.bound(Relation::AtLeast, &[2]), None, "nobody has the label");
        assert_eq!(bins.bound(Relation::Is, &[0]), None);
        let named = |relation, bound| {
            bins.named(&Control { attribute: 0, relation, codes: vec![3], bound })
        };
        assert_eq!(named(Relation::AtMost, 20.0), [0, 1]);
        assert_eq!(named(Relation::AtMost, 14.0), [0], "half of the middle costs more");
        assert_eq!(named(Relation::AtLeast, 15.0), [1, 3]);
        assert_eq!(named(Relation::AtMost, 1.0), [0; 0]);
        assert_eq!(named(Relation::Not, 0.0), [3]);
        let words = Attribute { numbers: Vec::new(), ..attribute };
        assert_eq!(Bins::new(&words).bound(Relation::AtMost, &[0]), None);
    }
}
