//! How people put it: the wordings of requests, those that are learned from and those that are kept
//! from it.
//!
//! A learned sentence is composed, so that few wordings become many sentences:
//!
//! ```text
//! [opening] core [closing]      core = a whole saying, or an asking around the name of something
//! ```
//!
//! A kept wording stands by itself. Some of the kept ones are of words that others have too, in an
//! arrangement of their own ("everything except {p}"); some have words that no other has ("spare me
//! the {p}"): they say how far an encoder understands what nobody taught it. No learned sentence
//! may be a kept one, whatever it is composed of.
//!
//! `{p}` and `{q}` are things ("kettles", "garden things"), `{n}` a number, `{a}` an attribute's
//! name, `{things}` what the shop sells, `{d}` a decade, `{y}` a year, `{t}` a title, `{c}` a
//! change, `{s}` a saying of the job's own.

mod items;
mod numbers;
mod periods;
mod sayings;

pub use items::*;
pub use numbers::*;
pub use periods::*;
pub use sayings::*;

use super::draws::Draws;

/// The ways to put one kind of request.
pub struct Wordings {
    /// Learned from: whole sayings.
    pub said: &'static [&'static str],
    /// Learned from: names of something, which stand within an asking.
    pub named: &'static [&'static str],
    /// Kept from training.
    pub kept: &'static [&'static str],
}

/// What a name of something stands within: `{}`. The name alone is among them.
const ASKINGS: [&str; 18] = [
    "{}",
    "{}",
    "show me {}",
    "I would like {}",
    "I want {}",
    "recommend {}",
    "find me {}",
    "I could use {}",
    "could I have {}?",
    "what I want is {}",
    "I am hoping for {}",
    "suggest {}",
    "let us have {}",
    "I need {}",
    "get me {}",
    "point me to {}",
    "where do I find {}?",
    "any chance of {}?",
];

/// Before a sentence, in a part of its own: nothing in them says what is asked for.
const OPENINGS: [&str; 12] = [
    "hello, ",
    "hi, ",
    "good evening: ",
    "well, ",
    "so, ",
    "right, ",
    "today: ",
    "this time, ",
    "for a start, ",
    "quick question: ",
    "if I may: ",
    "here is my wish: ",
];

/// After a sentence, in a part of its own.
const CLOSINGS: [&str; 12] = [
    ", please",
    ", please",
    ", thank you",
    ", thanks",
    ", many thanks",
    ", if you can",
    ", if you have it",
    ", if at all possible",
    ", that would be lovely",
    ", and that is all",
    ", if I may ask",
    ", cheers",
];

/// How often a sentence has an opening, and how often a closing.
const COURTEOUS: f64 = 0.25;

impl Wordings {
    /// A sentence for training, or one of those that are kept from it.
    pub fn sentence(&self, held_out: bool, draws: &mut Draws) -> String {
        if held_out {
            return self.words(true, draws);
        }
        let core = self.words(false, draws);
        let asks = core.ends_with('?');
        let open = if draws.share() < COURTEOUS { draws.of(&OPENINGS) } else { None };
        let close = if !asks && draws.share() < COURTEOUS { draws.of(&CLOSINGS) } else { None };
        [open.copied().unwrap_or_default(), &core, close.copied().unwrap_or_default()].concat()
    }

    /// The same, without courtesies: a part of a sentence.
    pub fn words(&self, held_out: bool, draws: &mut Draws) -> String {
        if held_out {
            return draws.of(self.kept).copied().unwrap_or_default().to_owned();
        }
        let at = draws.below(self.said.len() + self.named.len());
        match (self.said.get(at), self.named.get(at.saturating_sub(self.said.len()))) {
            (Some(said), _) => (*said).to_owned(),
            (None, Some(name)) => asking(name, draws),
            (None, None) => String::new(),
        }
    }
}

/// The name of something within one of the askings.
fn asking(name: &str, draws: &mut Draws) -> String {
    draws.of(&ASKINGS).map_or(String::new(), |asking| asking.replace("{}", name))
}

/// The elements of a list that are for training, or those that are kept from it: every third.
pub fn picked<T>(list: &[T], held_out: bool) -> impl Iterator<Item = &T> {
    list.iter().enumerate().filter(move |(at, _)| (at % 3 == 2) == held_out).map(|(_, one)| one)
}

#[cfg(test)]
mod tests {
    use super::super::words::phrase;
    use super::*;
    use std::collections::BTreeSet;

    /// The wordings of a category.
    const ALL: [(&str, &[&Wordings]); 10] = [
        ("attribute", &[&ATTRIBUTE]),
        (
            "bound",
            &[&MONEY_AT_MOST, &MONEY_AT_LEAST, &CHEAP, &DEAR, &NUMBER_AT_MOST, &NUMBER_AT_LEAST],
        ),
        ("mood", &[&MOOD]),
        ("similarity", &[&LIKE]),
        ("exclusion", &[&EXCLUSION, &EXCLUSION_TWO]),
        ("period", &[&DECADE, &BEFORE, &AFTER, &SINCE, &NEW, &OLD]),
        ("audience", &[&AUDIENCE]),
        ("quality", &[&POPULAR, &OBSCURE]),
        ("composition", &[&IS_NOT, &IS_IS, &IS_OF, &EITHER, &IS_AT_MOST, &IS_DECADE, &IS_NEW]),
        ("aspiration", &[&ASPIRATION]),
    ];

    /// Every core that is learned, courtesies aside, as it is compared.
    fn learned(of: &Wordings) -> BTreeSet<String> {
        let named = of.named.iter().flat_map(|name| ASKINGS.map(|a| a.replace("{}", name)));
        let said = of.said.iter().map(|said| (*said).to_owned());
        said.chain(named).map(|text| phrase(&text)).collect()
    }

    /// The words of all that is learned; places are no words.
    fn known() -> BTreeSet<String> {
        let changes = [&CHEAPER, &NEWER, &OLDER, &BETTER_KNOWN, &LESS_KNOWN, &BUT_NOT];
        let all = ALL.iter().flat_map(|(_, lists)| lists.iter().copied()).chain(changes);
        let cores = all.flat_map(learned);
        let around = OPENINGS.iter().chain(&CLOSINGS).map(|text| phrase(text));
        let words = cores
            .chain(around)
            .flat_map(|text| text.split(' ').map(str::to_owned).collect::<Vec<String>>());
        words.collect()
    }

    #[test]
    fn every_kind_has_enough_wordings_and_none_is_both_learned_and_kept() {
        for (category, lists) in ALL {
            let (mut cores, mut kept) = (0, 0);
            for of in lists {
                let learned = learned(of);
                for text in of.kept {
                    let text = phrase(text);
                    assert!(!learned.contains(&text), "{category}: {text:?} is learned");
                    for edge in OPENINGS.iter().chain(&CLOSINGS).map(|edge| phrase(edge)) {
                        let core = text.strip_prefix(&edge).or(text.strip_suffix(&edge));
                        let core = core.map(str::trim).unwrap_or_default();
                        assert!(!learned.contains(core), "{category}: {text:?} but for courtesy");
                    }
                }
                cores += of.said.len() + of.named.len();
                kept += of.kept.len();
                assert!(of.said.len() + of.named.len() >= 9, "{category}: {:?}", of.said);
            }
            assert!(cores >= 12 && kept >= 3, "{category}: {cores} learned, {kept} kept");
        }
    }

    #[test]
    fn some_kept_wordings_are_of_known_words_and_some_of_new_ones() {
        let known = known();
        let is_known = |text: &&&str| phrase(text).split(' ').all(|word| known.contains(word));
        for (category, lists) in ALL {
            let kept: Vec<&&str> = lists.iter().flat_map(|of| of.kept).collect();
            let count = kept.iter().filter(|text| is_known(text)).count();
            assert!(count >= 1, "{category}: each of {kept:?} has a new word");
        }
        let new: Vec<&&str> = EXCLUSION.kept.iter().filter(|text| !is_known(text)).collect();
        assert_eq!(new, [&"I am tired of {p}", &"spare me the {p}"]);
    }
}
