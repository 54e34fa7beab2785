//! What of a request is about the list as a whole: "a third documentaries, nothing twice from one
//! brand".
//!
//! A request is read clause by clause. A clause with a share and a label, or with a count and an
//! attribute, is a [`Quota`]; what is left is about the items one by one.

use super::Requests;
use super::phrases::Phrases;
use super::words::{Word, words};
use crate::types::{Quota, Relation};

/// Shares in words.
const SHARES: [(&str, f32); 16] = [
    ("half", 0.5),
    ("one half", 0.5),
    ("every other", 0.5),
    ("every second", 0.5),
    ("a third", 1.0 / 3.0),
    ("one third", 1.0 / 3.0),
    ("every third", 1.0 / 3.0),
    ("two thirds", 2.0 / 3.0),
    ("a quarter", 0.25),
    ("one quarter", 0.25),
    ("every fourth", 0.25),
    ("three quarters", 0.75),
    ("a fifth", 0.2),
    ("every fifth", 0.2),
    ("a tenth", 0.1),
    ("every tenth", 0.1),
];
/// What turns a share or a count into a bound from above.
const AT_MOST: [&str; 7] =
    ["at most", "no more than", "not more than", "up to", "a maximum of", "max", "maximum"];
/// What says that each label of an attribute is meant.
const EACH: [&str; 9] = [
    "per",
    "each",
    "from one",
    "from the same",
    "of one",
    "of the same",
    "from any",
    "of any",
    "from a single",
];
/// What says that nothing is there more than once.
const ONCE: [&str; 8] = [
    "twice",
    "no two",
    "never two",
    "not two",
    "no repeated",
    "all different",
    "all from different",
    "different",
];
const COUNTS: [(&str, u32); 6] =
    [("one", 1), ("two", 2), ("three", 3), ("four", 4), ("five", 5), ("a single", 1)];

impl Requests {
    /// What a request wants of the list, and the rest of its words.
    pub fn feed(&self, text: &str) -> (Vec<Quota>, String) {
        let (mut quotas, mut rest) = (Vec::new(), Vec::new());
        for clause in clauses(text) {
            match self.quota(clause) {
                Some(quota) => quotas.push(quota),
                None => rest.push(clause),
            }
        }
        let rest = if quotas.is_empty() { text.trim().to_owned() } else { rest.join(", ") };
        (quotas, rest)
    }

    fn quota(&self, clause: &str) -> Option<Quota> {
        let all = words(clause);
        let most = has(&all, &AT_MOST);
        if let Some(share) = share(clause, &all) {
            let label = (0..all.len()).find_map(|at| self.reading.names.longest(&all[at..]));
            let control = label?.1.control(Relation::Is);
            return Some(match most {
                true => Quota::AtMost(control, share),
                false => Quota::AtLeast(control, share),
            });
        }
        let attribute = (0..all.len()).find_map(|at| self.reading.attributes.longest(&all[at..]));
        let attribute = u16::try_from(*attribute?.1).ok()?;
        if has(&all, &ONCE) {
            return Some(Quota::Each { attribute, most: 1 });
        }
        let each = has(&all, &EACH).then(|| count(&all)).flatten();
        each.map(|most| Quota::Each { attribute, most })
    }
}

/// The parts of a request between its commas, stops and ands.
fn clauses(text: &str) -> impl Iterator<Item = &str> {
    let parts = text.split([',', ';', '.', '!', '?']).flat_map(|part| part.split(" and "));
    parts.map(str::trim).filter(|part| !part.is_empty())
}

/// Whether some words hold one of the phrases.
fn has(all: &[Word], phrases: &[&str]) -> bool {
    let mut known = Phrases::default();
    phrases.iter().for_each(|phrase| known.add(phrase, ()));
    (0..all.len()).any(|at| known.longest(&all[at..]).is_some())
}

/// The share that a clause speaks of: in words, or in percent.
fn share(clause: &str, all: &[Word]) -> Option<f32> {
    let mut known = Phrases::default();
    SHARES.iter().for_each(|(phrase, share)| known.add(phrase, *share));
    let named = (0..all.len()).find_map(|at| known.longest(&all[at..])).map(|(_, share)| *share);
    let percent = || {
        let after = all.iter().position(|word| word.text == "percent");
        let by_name = after.and_then(|at| at.checked_sub(1)).map(|at| all[at].text.clone());
        let by_sign = clause.split('%').next().filter(|before| before.len() < clause.len());
        let by_sign = by_sign.and_then(|before| before.split_whitespace().next_back());
        let number: f32 = by_name.as_deref().or(by_sign)?.parse().ok()?;
        (0.0..=100.0).contains(&number).then_some(number / 100.0)
    };
    named.or_else(percent)
}

/// The first count of a clause, in words or digits.
fn count(all: &[Word]) -> Option<u32> {
    let named = |word: &Word| COUNTS.iter().find(|(name, _)| *name == word.text).map(|(_, n)| *n);
    let number = |word: &Word| named(word).or_else(|| word.text.parse().ok());
    all.iter().find_map(number).filter(|count| (1..=100).contains(count))
}
