//! Prompts, packed one after the other without padding. What neighbours begin with alike is there
//! once: an instruction, a history, candidates that are asked about in several ways.

use std::ops::Range;

/// What is scored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// The adapter that it chooses, by the number of [`super::Decoder::attach`].
    pub adapter: Option<u32>,
}

/// Fewer tokens than these are computed anew rather than shared: each sequence costs the copy of
/// what it goes on from.
pub(super) const SHARED_MIN: usize = 16;

/// Prompts that are scored together, as sequences that go on from others: see
/// [`crate::device::shape::GroupedShape`]. Those that nothing goes on from end the prompts, in
/// their order.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Sequence after sequence.
    pub(super) tokens: Vec<u32>,
    /// Each token's row of the angles: its place in its prompt, unless they are counted.
    pub(super) positions: Vec<u32>,
    /// Sequence s is tokens `offsets[s]..offsets[s + 1]`.
    pub(super) offsets: Vec<u32>,
    /// What each sequence goes on from.
    pub(super) parents: Vec<Option<u32>>,
    /// Where each prompt's last token is.
    pub(super) lasts: Vec<u32>,
    /// Each token's adapter.
    pub(super) by_token: Vec<Option<u32>>,
    /// Each prompt's adapter.
    pub(super) by_prompt: Vec<Option<u32>>,
    /// Rows of the angles: tokens of the longest prompt.
    pub(super) longest: usize,
}

impl Batch {
    /// Of no prompts.
    pub(super) fn empty() -> Self {
        Self { offsets: vec![0], ..Self::default() }
    }

    /// Packs prompts, none of which may be empty.
    pub fn of(prompts: &[Prompt]) -> Self {
        let mut batch = Self::empty();
        let shared: Vec<usize> = prompts.windows(2).map(|pair| alike(&pair[0], &pair[1])).collect();
        if !prompts.is_empty() {
            batch.add(prompts, &shared, 0, None);
        }
        batch
    }

    /// Adds prompts of which the first `done` tokens, which `parent` ends, are there already.
    /// `shared` are the tokens that each pair of neighbours begins with.
    fn add(&mut self, prompts: &[Prompt], shared: &[usize], done: usize, parent: Option<u32>) {
        let Some(least) = shared.iter().min() else {
            return self.end(&prompts[0], done, parent);
        };
        let (mut done, mut parent) = (done, parent);
        if *least >= done + SHARED_MIN {
            self.sequence(&prompts[0], done..*least, parent);
            (done, parent) = (*least, Some(self.parents.len() as u32 - 1));
        }
        let mut first = 0;
        for end in 1..=prompts.len() {
            if shared.get(end - 1).is_none_or(|shared| *shared < done + SHARED_MIN) {
                self.add(&prompts[first..end], &shared[first..end - 1], done, parent);
                first = end;
            }
        }
    }

    /// Adds the rest of a prompt of which the first `done` tokens are there already.
    pub(super) fn end(&mut self, prompt: &Prompt, done: usize, parent: Option<u32>) {
        self.sequence(prompt, done..prompt.tokens.len(), parent);
        self.lasts.push(self.tokens.len() as u32 - 1);
        self.by_prompt.push(prompt.adapter);
    }

    /// Gives each token a row of its own of the angles.
    pub(super) fn count_positions(&mut self) {
        self.longest = self.tokens.len();
        self.positions = (0..self.tokens.len() as u32).collect();
    }

    fn sequence(&mut self, prompt: &Prompt, part: Range<usize>, parent: Option<u32>) {
        self.longest = self.longest.max(part.end);
        self.positions.extend(part.start as u32..part.end as u32);
        self.tokens.extend(&prompt.tokens[part]);
        self.offsets.push(self.tokens.len() as u32);
        self.parents.push(parent);
        self.by_token.resize(self.tokens.len(), prompt.adapter);
    }

    /// How many tokens, those that prompts share once.
    pub fn tokens(&self) -> usize {
        self.tokens.len()
    }

    /// How many prompts.
    pub fn prompts(&self) -> usize {
        self.lasts.len()
    }
}

/// How many tokens two prompts begin with alike and may share: not their last ones, and none for
/// different adapters.
pub(super) fn alike(one: &Prompt, other: &Prompt) -> usize {
    if one.adapter != other.adapter {
        return 0;
    }
    let most = one.tokens.len().min(other.tokens.len()).saturating_sub(1);
    let pairs = one.tokens.iter().zip(&other.tokens);
    pairs.take(most).take_while(|(a, b)| a == b).count()
}

/// How many of the first prompts have no more tokens than this as a batch; at least one.
///
/// As many as there would be if each shared all that it begins with like the one before, and then
/// as many as do fit: of three that begin alike ever longer, a batch shares what all three do.
pub fn fitting(prompts: &[Prompt], tokens_max: usize) -> usize {
    let mut tokens = 0;
    let fits = prompts.iter().enumerate().take_while(|(at, prompt)| {
        let shared = at.checked_sub(1).map_or(0, |before| alike(&prompts[before], prompt));
        tokens += prompt.tokens.len() - if shared < SHARED_MIN { 0 } else { shared };
        tokens <= tokens_max
    });
    let (mut count, mut most) = (1, fits.count());
    let mut tried = most; // nearly always right: few prompts begin alike ever longer
    while count < most {
        match Batch::of(&prompts[..tried]).tokens() <= tokens_max {
            true => count = tried,
            false => most = tried - 1,
        }
        tried = (count + most).div_ceil(2);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::{Batch, Prompt, fitting};

    fn prompt(parts: &[(u32, u32)], adapter: Option<u32>) -> Prompt {
        let tokens =
            parts.iter().flat_map(|(token, count)| (0..*count).map(move |i| token * 100 + i));
        Prompt { tokens: tokens.collect(), adapter }
    }

    #[test]
    fn what_prompts_begin_with_is_there_once() {
        let (start, one, two) = ((1, 20), (2, 30), (3, 30));
        let prompts = [
            prompt(&[start, one, (4, 5)], None),
            prompt(&[start, one, (5, 5)], None),
            prompt(&[start, one, (5, 5)], None), // the same again
            prompt(&[start, two, (4, 5)], None),
            prompt(&[start, (6, 3)], None),
            prompt(&[start, (6, 3)], Some(0)),  // another adapter
            prompt(&[(1, 9), (7, 1)], Some(0)), // too little alike
        ];
        let batch = Batch::of(&prompts);
        assert_eq!(batch.parents[..4], [None, Some(0), Some(1), Some(1)]);
        assert_eq!(batch.parents[4..], [Some(1), Some(0), Some(0), None, None]);
        assert_eq!(batch.tokens(), 20 + 30 + 3 * 5 + 35 + 3 + 23 + 10);
        assert_eq!((batch.prompts(), batch.longest), (7, 55));
        for (prompt, last) in prompts.iter().zip(&batch.lasts) {
            let last = *last as usize;
            assert_eq!(Some(&batch.tokens[last]), prompt.tokens.last());
            assert_eq!(batch.positions[last] as usize, prompt.tokens.len() - 1);
            assert_eq!(batch.by_token[last], prompt.adapter);
        }
        assert_eq!(fitting(&prompts, 55), 1);
        assert_eq!((fitting(&prompts, 64), fitting(&prompts, 65)), (2, 3), "five tokens each");
        assert_eq!(fitting(&prompts, 0), 1);
        // Of these the first ten tokens after `start` are there twice.
        let longer =
            [prompts[3].clone(), prompts[0].clone(), prompt(&[start, (2, 9), (9, 1)], None)];
        for tokens_max in 0..200 {
            for prompts in [&prompts[..], &longer] {
                let count = fitting(prompts, tokens_max);
                let tokens = |count: usize| Batch::of(&prompts[..count]).tokens();
                assert!(count == 1 || tokens(count) <= tokens_max, "{tokens_max}");
                assert!(count == prompts.len() || tokens(count + 1) > tokens_max, "{tokens_max}");
            }
        }
    }
}
