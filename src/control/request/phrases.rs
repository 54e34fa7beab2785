//! Phrases with what they stand for, the longest first.

use super::words::{Word, phrase};
use std::collections::HashMap;

/// Phrases of any number of words.
#[derive(Clone, Debug)]
pub struct Phrases<T> {
    known: HashMap<String, T>,
    /// The words of the longest.
    words_max: usize,
}

impl<T> Default for Phrases<T> {
    fn default() -> Self {
        Phrases { known: HashMap::new(), words_max: 0 }
    }
}

impl<T> Phrases<T> {
    /// Notes what a phrase stands for, unless it stands for something already.
    pub fn add(&mut self, text: &str, sense: T) {
        let phrase = phrase(text);
        if !phrase.is_empty() {
            self.words_max = self.words_max.max(phrase.split(' ').count());
            self.known.entry(phrase).or_insert(sense);
        }
    }

    /// What a phrase stands for.
    pub fn get(&self, text: &str) -> Option<&T> {
        self.known.get(&phrase(text))
    }

    /// The longest phrase that the words begin with: how many words it has, and what it stands for.
    pub fn longest(&self, words: &[Word]) -> Option<(usize, &T)> {
        let mut ends = Vec::new();
        let mut joined = String::new();
        for word in words.iter().take(self.words_max) {
            if !joined.is_empty() {
                joined.push(' ');
            }
            joined.push_str(&word.text);
            ends.push(joined.len());
        }
        let found = |(at, end): (usize, &usize)| Some((at + 1, self.known.get(&joined[..*end])?));
        ends.iter().enumerate().rev().find_map(found)
    }
}
