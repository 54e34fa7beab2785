//! Text of which every letter says whether it is data, as strings that a template can handle: a
//! mark stands before each letter of data. However a template cuts and joins such strings, its own
//! words stay its own, and data stays data.

/// Before a letter of data. A private character: no text that people read holds it, and where data
/// does it is left out.
pub const MARK: char = '\u{e000}';

/// Letters, and whether each is data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Letters(Vec<(char, bool)>);

impl Letters {
    /// Data.
    pub fn data(text: &str) -> Self {
        Self(text.chars().filter(|c| *c != MARK).map(|c| (c, true)).collect())
    }

    /// Reads marks.
    pub fn of(marked: &str) -> Self {
        let (mut letters, mut data) = (Vec::new(), false);
        for letter in marked.chars() {
            if letter != MARK {
                letters.push((letter, data));
            }
            data = letter == MARK;
        }
        Self(letters)
    }

    /// Writes marks.
    pub fn marked(&self) -> String {
        let mut text = String::new();
        for (letter, data) in &self.0 {
            text.extend(data.then_some(MARK));
            text.push(*letter);
        }
        text
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The parts between blanks.
    pub fn words(&self) -> Vec<Letters> {
        let words = self.0.split(|letter| letter.0.is_whitespace());
        words.filter(|word| !word.is_empty()).map(|word| Letters(word.to_vec())).collect()
    }

    /// Runs of letters of one kind, and whether they are data.
    pub fn runs(&self) -> impl Iterator<Item = (bool, String)> {
        self.0.chunk_by(|a, b| a.1 == b.1).map(|run| (run[0].1, run.iter().map(|l| l.0).collect()))
    }

    /// Without letters of a kind at the beginning, at the end, or at both.
    pub fn strip(&self, [start, end]: [bool; 2], gone: impl Fn(char) -> bool) -> Self {
        let stays = |letter: &(char, bool)| !gone(letter.0);
        let first = if start { self.0.iter().position(stays) } else { Some(0) };
        let last = if end { self.0.iter().rposition(stays) } else { self.0.len().checked_sub(1) };
        match (first, last) {
            (Some(first), Some(last)) if first <= last => Self(self.0[first..=last].to_vec()),
            _ => Self::default(),
        }
    }

    fn begins(letters: &[(char, bool)], with: &Letters) -> bool {
        let same = |(a, b): (&(char, bool), &(char, bool))| a.0 == b.0;
        letters.len() >= with.0.len() && letters.iter().zip(&with.0).all(same)
    }

    /// Whether it begins with some letters.
    pub fn starts_with(&self, with: &Letters) -> bool {
        Self::begins(&self.0, with)
    }

    /// Whether it ends with some letters.
    pub fn ends_with(&self, with: &Letters) -> bool {
        let at = self.0.len().checked_sub(with.0.len());
        at.is_some_and(|at| Self::begins(&self.0[at..], with))
    }

    /// The parts between some letters, of which there is one at least; cut at most so often.
    pub fn split(&self, at: &Letters, cuts_max: usize) -> Vec<Letters> {
        let (mut parts, mut part, mut left) = (Vec::new(), Vec::new(), &self.0[..]);
        while let Some((letter, after)) = left.split_first() {
            if parts.len() < cuts_max && !at.0.is_empty() && Self::begins(left, at) {
                parts.push(Letters(std::mem::take(&mut part)));
                left = &left[at.0.len()..];
            } else {
                part.push(*letter);
                left = after;
            }
        }
        parts.push(Letters(part));
        parts
    }

    /// With others between some.
    pub fn joined(parts: &[Letters], between: &Letters) -> Self {
        let parts: Vec<&[(char, bool)]> = parts.iter().map(|part| &part.0[..]).collect();
        Self(parts.join(&between.0[..]))
    }
}
