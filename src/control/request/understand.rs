//! The rules that read a request: what of it is about this catalogue, in one pass over its words.

use super::Requests;
use super::cues::Cue;
use super::decades::decade;
use super::words::{Word, words};
use crate::types::{Control, Relation};

/// What a reader knows after some words.
struct Reader<'a> {
    requests: &'a Requests,
    controls: Vec<Control>,
    /// What follows is not wanted.
    negated: bool,
    /// An `or` stands between the last label and what follows.
    either: bool,
    /// How the next number is meant.
    comparison: Option<Cue>,
    /// A number that nobody has said yet how it is meant.
    number: Option<f32>,
    /// Whether the request is about money.
    money: bool,
    /// The attribute that is named, with a number.
    named: Option<usize>,
    /// The item that what is wanted should be like.
    like: Option<u32>,
}

/// Whether a number may be a year.
fn is_year(number: f32) -> bool {
    (1000.0..3000.0).contains(&number)
}

/// What a request means, as far as its words say.
pub fn understand(requests: &Requests, text: &str) -> Vec<Control> {
    let words = words(text);
    let money = text.contains('$');
    let mut reader = Reader {
        requests,
        controls: Vec::new(),
        negated: false,
        either: false,
        comparison: None,
        number: None,
        money,
        named: None,
        like: None,
    };
    let mut at = 0;
    while at < words.len() {
        at += reader.step(&words[at..]).max(1);
    }
    reader.controls
}

impl Reader<'_> {
    /// Reads the longest thing that the words begin with. Gives how many words that were.
    fn step(&mut self, words: &[Word]) -> usize {
        let known = &self.requests.reading;
        let length = |found: Option<usize>| found.unwrap_or(0);
        let saying = known.sayings.longest(words);
        let label = known.names.longest(words);
        let cue = known.cues.longest(words);
        let named = known.numeric.longest(words);
        let lengths = [
            length(saying.map(|s| s.0)),
            length(label.map(|l| l.0)),
            length(cue.map(|c| c.0)),
            length(named.map(|n| n.0)),
        ];
        let longest = lengths.into_iter().max().unwrap_or(0);
        if words[0].begins {
            (self.negated, self.comparison) = (false, None);
        }
        if longest == 0 {
            self.word(&words[0].text);
            return 1;
        }
        match (saying, label, cue, named) {
            (Some((n, controls)), ..) if n == longest => {
                for control in controls.clone() {
                    self.add(control);
                }
            }
            (_, Some((n, name)), ..) if n == longest => {
                let relation = if self.negated { Relation::Not } else { Relation::Is };
                self.label(name.control(relation));
            }
            (_, _, Some((n, Cue::Like)), _) if n == longest => return n + self.title(&words[n..]),
            (_, _, Some((n, cue)), _) if n == longest => self.cue(*cue),
            (.., Some((_, attribute))) => self.named = Some(*attribute),
            _ => {}
        }
        longest
    }

    fn add(&mut self, control: Control) {
        if !self.controls.contains(&control) {
            self.controls.push(control);
        }
    }

    /// A label joins the one before it where both are unwanted, or one of them will do.
    fn label(&mut self, control: Control) {
        let either = std::mem::take(&mut self.either);
        let same = |other: &&mut Control| {
            other.attribute == control.attribute && other.relation == control.relation
        };
        let joins = control.relation == Relation::Not || either;
        match self.controls.last_mut().filter(|_| joins).filter(same) {
            Some(last) => {
                last.codes.extend(&control.codes);
                last.codes.sort_unstable();
                last.codes.dedup();
            }
            None => self.add(control),
        }
    }

    /// A word that is no phrase: a number, a year, a decade.
    fn word(&mut self, word: &str) {
        let period = self.requests.period();
        if let (Some(first), Some(period)) = (decade(word), period) {
            self.add(period.bounded(Relation::AtLeast, first));
            self.add(period.bounded(Relation::AtMost, first + 9.0));
            self.comparison = None;
        } else if let Some(number) = word.parse::<f32>().ok().filter(|n| n.is_finite()) {
            match self.comparison.take().filter(|cue| is_year(number) || !cue.is_of_years()) {
                Some(cue) => self.bound(cue, number),
                None => self.number = Some(number),
            }
        }
    }

    /// A number with the word that says how it is meant.
    fn bound(&mut self, cue: Cue, number: f32) {
        let bound = match (cue, self.requests.period().filter(|_| is_year(number))) {
            (Cue::Before, Some(p)) => Some(p.bounded(Relation::AtMost, number - 1.0)),
            (Cue::Until, Some(p)) => Some(p.bounded(Relation::AtMost, number)),
            (Cue::After, Some(p)) => Some(p.bounded(Relation::AtLeast, number + 1.0)),
            (Cue::Since, Some(p)) => Some(p.bounded(Relation::AtLeast, number)),
            (Cue::AtMost, _) => self.numeric().map(|n| n.bounded(Relation::AtMost, number)),
            (Cue::AtLeast, _) => self.numeric().map(|n| n.bounded(Relation::AtLeast, number)),
            _ => None,
        };
        if let Some(bound) = bound {
            self.add(bound);
        }
    }

    /// The attribute that a number is about: the one that is named, or money, or the first.
    fn numeric(&self) -> Option<&super::stock::Numbers> {
        let numbers = &self.requests.numbers;
        let named =
            self.named.and_then(|at| numbers.iter().find(|n| usize::from(n.attribute) == at));
        named.or(self.requests.money().filter(|_| self.money)).or(numbers.first())
    }

    fn cue(&mut self, cue: Cue) {
        let quantile = match cue {
            Cue::Not => {
                self.negated = true;
                return;
            }
            Cue::But => {
                self.negated = false;
                return;
            }
            Cue::Or => {
                self.either = true;
                return;
            }
            Cue::Money => {
                self.money = true;
                return;
            }
            Cue::AtMost | Cue::AtLeast | Cue::Before | Cue::After | Cue::Since | Cue::Until => {
                match self.number.take() {
                    Some(number) => self.bound(cue, number),
                    None => self.comparison = Some(cue),
                }
                return;
            }
            Cue::Like => return,
            Cue::Cheaper | Cue::Newer | Cue::Older | Cue::BetterKnown | Cue::LessKnown => {
                self.like.and_then(|item| self.requests.changed(cue, item))
            }
            Cue::Cheap | Cue::Dear | Cue::New | Cue::Old | Cue::Popular | Cue::Obscure => {
                self.requests.level(cue)
            }
        };
        if let Some(control) = quantile {
            self.add(control);
        }
    }

    /// The title that what is wanted should be like. Gives how many words it has.
    fn title(&mut self, words: &[Word]) -> usize {
        let Some((length, item)) = self.requests.reading.titles.longest(words) else { return 0 };
        self.like = Some(*item);
        for control in self.requests.alike(*item) {
            self.add(control);
        }
        length
    }
}
