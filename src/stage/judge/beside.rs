//! A teacher beside the catalogue: do both call the same items good?

use serde::{Deserialize, Serialize};

/// Judgements by what the teacher and the catalogue say of them. Good is a score of at least a
/// half; for the catalogue, all that the request means being met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beside {
    /// Good by both.
    pub both: u64,
    /// Good by the teacher alone.
    pub teacher: u64,
    /// Good by the catalogue alone.
    pub catalogue: u64,
    /// Good by neither.
    pub neither: u64,
}

impl Beside {
    /// Counts a judgement.
    pub fn note(&mut self, teacher: bool, catalogue: bool) {
        *match (teacher, catalogue) {
            (true, true) => &mut self.both,
            (true, false) => &mut self.teacher,
            (false, true) => &mut self.catalogue,
            (false, false) => &mut self.neither,
        } += 1;
    }

    /// Judgements.
    pub fn all(&self) -> u64 {
        self.both + self.teacher + self.catalogue + self.neither
    }

    /// The share of judgements of which both say the same; none without any.
    pub fn agreement(&self) -> Option<f64> {
        let all = self.all();
        (all > 0).then(|| (self.both + self.neither) as f64 / all as f64)
    }

    /// How much of the agreement is more than chance: 0 for chance, 1 for all of it. None where one
    /// of them says the same of everything, so that chance agrees as often.
    ///
    /// Formula: κ = (p − e) / (1 − e) with p the agreement and e = t·c + (1 − t)·(1 − c), where t
    /// and c are the shares that teacher and catalogue call good.
    /// Source: Cohen's κ (1960).
    pub fn kappa(&self) -> Option<f64> {
        let all = self.all() as f64;
        let agreement = self.agreement()?;
        let teacher = (self.both + self.teacher) as f64 / all;
        let catalogue = (self.both + self.catalogue) as f64 / all;
        let chance = teacher * catalogue + (1.0 - teacher) * (1.0 - catalogue);
        (chance < 1.0 && teacher * (1.0 - teacher) * catalogue * (1.0 - catalogue) > 0.0)
            .then(|| (agreement - chance) / (1.0 - chance))
    }
}

impl std::ops::AddAssign for Beside {
    fn add_assign(&mut self, other: Beside) {
        self.both += other.both;
        self.teacher += other.teacher;
        self.catalogue += other.catalogue;
        self.neither += other.neither;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreement_is_what_is_more_than_chance() {
        let half = Beside { both: 20, teacher: 5, catalogue: 10, neither: 15 };
        assert_eq!((half.all(), half.agreement()), (50, Some(0.7)));
        // e = 0.5 · 0.6 + 0.5 · 0.4 = 0.5; (0.7 − 0.5) / 0.5.
        assert!((half.kappa().unwrap_or(0.0) - 0.4).abs() < 1e-12);
        assert_eq!(Beside { both: 3, teacher: 1, ..Beside::default() }.kappa(), None);
        assert_eq!(Beside::default().agreement(), None);
        let mut sum = Beside::default();
        [(true, true), (true, false), (false, true), (false, false)]
            .iter()
            .for_each(|(teacher, catalogue)| sum.note(*teacher, *catalogue));
        assert_eq!(sum, Beside { both: 1, teacher: 1, catalogue: 1, neither: 1 });
    }
}
