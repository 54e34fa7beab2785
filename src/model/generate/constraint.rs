//! What an answer may be: anything, one of a few sequences, or labels in some order. An answer that
//! is bound by a constraint can never be malformed, whatever the decoder would rather say.

use crate::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// What may follow what has been said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Any token; a stop token ends the answer.
    Any,
    /// One of some tokens.
    Of {
        /// Each once; of none, the answer is whole.
        tokens: Vec<u32>,
        /// Whether a stop token may come instead.
        end: bool,
    },
}

/// What an answer may be.
pub trait Constraint: Sync {
    /// Every token that it may ever allow; none for the whole vocabulary.
    fn tokens(&self) -> Option<&[u32]>;

    /// Tokens of the longest answer; none if there is no such thing.
    fn longest(&self) -> Option<usize>;

    /// What may follow what has been said, which it has allowed.
    fn next(&self, said: &[u32]) -> Next;
}

/// Anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Free;

impl Constraint for Free {
    fn tokens(&self) -> Option<&[u32]> {
        None
    }

    fn longest(&self) -> Option<usize> {
        None
    }

    fn next(&self, _said: &[u32]) -> Next {
        Next::Any
    }
}

/// One of some sequences. Where one goes on from another, a stop token tells them apart.
#[derive(Clone, Debug)]
pub struct OneOf {
    /// A trie; the first is its root.
    nodes: Vec<Node>,
    tokens: Vec<u32>,
    longest: usize,
}

#[derive(Clone, Debug, Default)]
struct Node {
    children: BTreeMap<u32, usize>,
    /// The first sequence that ends here.
    ends: Option<usize>,
}

impl OneOf {
    /// Of these sequences.
    ///
    /// Errors: [`Error::Model`] for none, and for one that is empty.
    pub fn new(sequences: &[Vec<u32>]) -> Result<Self> {
        if sequences.is_empty() {
            return Err(Error::Model("expected at least one answer, found none".into()));
        }
        let mut nodes = vec![Node::default()];
        for (number, sequence) in sequences.iter().enumerate() {
            if sequence.is_empty() {
                return Err(Error::Model(format!(
                    "answer {}: expected at least one token, found none",
                    number + 1
                )));
            }
            let mut at = 0;
            for token in sequence {
                let next = nodes.len();
                at = *nodes[at].children.entry(*token).or_insert(next);
                if at == next {
                    nodes.push(Node::default());
                }
            }
            nodes[at].ends.get_or_insert(number);
        }
        let tokens: BTreeSet<u32> = sequences.iter().flatten().copied().collect();
        let longest = sequences.iter().map(Vec::len).max().unwrap_or(0);
        Ok(Self { nodes, tokens: tokens.into_iter().collect(), longest })
    }

    fn at(&self, said: &[u32]) -> Option<&Node> {
        let step = |at: usize, token: &u32| self.nodes[at].children.get(token).copied();
        said.iter().try_fold(0, step).map(|at| &self.nodes[at])
    }

    /// Which of the sequences an answer is; the first of equal ones.
    pub fn which(&self, said: &[u32]) -> Option<usize> {
        self.at(said)?.ends
    }
}

impl Constraint for OneOf {
    fn tokens(&self) -> Option<&[u32]> {
        Some(&self.tokens)
    }

    fn longest(&self) -> Option<usize> {
        Some(self.longest)
    }

    fn next(&self, said: &[u32]) -> Next {
        let Some(node) = self.at(said) else { return Next::Of { tokens: Vec::new(), end: true } };
        Next::Of { tokens: node.children.keys().copied().collect(), end: node.ends.is_some() }
    }
}

/// Labels, each at most once, with the same tokens between any two.
#[derive(Clone, Debug)]
pub struct Permutation {
    labels: Vec<u32>,
    between: Vec<u32>,
    count: usize,
    tokens: Vec<u32>,
}

impl Permutation {
    /// The first `count` of an order of labels.
    ///
    /// Errors: [`Error::Model`] for a label that is there twice, and for a count that is not from 1
    /// to the number of labels.
    pub fn new(labels: &[u32], between: &[u32], count: usize) -> Result<Self> {
        let distinct: BTreeSet<u32> = labels.iter().copied().collect();
        if distinct.len() < labels.len() {
            return Err(Error::Model("expected labels that differ, found one twice".into()));
        }
        if !(1..=labels.len()).contains(&count) {
            let labels = labels.len();
            return Err(Error::Model(format!(
                "expected 1 to {labels} of the labels, found {count}"
            )));
        }
        let tokens: BTreeSet<u32> = labels.iter().chain(between).copied().collect();
        let tokens = tokens.into_iter().collect();
        Ok(Self { labels: labels.to_vec(), between: between.to_vec(), count, tokens })
    }

    fn period(&self) -> usize {
        1 + self.between.len()
    }

    /// The places of the labels that an answer names, in its order.
    pub fn order(&self, said: &[u32]) -> Vec<usize> {
        let named = said.iter().step_by(self.period());
        named.filter_map(|token| self.labels.iter().position(|label| label == token)).collect()
    }
}

impl Constraint for Permutation {
    fn tokens(&self) -> Option<&[u32]> {
        Some(&self.tokens)
    }

    fn longest(&self) -> Option<usize> {
        Some(self.count * self.period() - self.between.len())
    }

    fn next(&self, said: &[u32]) -> Next {
        let tokens = match said.len() % self.period() {
            _ if Some(said.len()) == self.longest() => Vec::new(),
            0 => {
                let named: BTreeSet<&u32> = said.iter().step_by(self.period()).collect();
                self.labels.iter().filter(|label| !named.contains(label)).copied().collect()
            }
            place => vec![self.between[place - 1]],
        };
        Next::Of { tokens, end: false }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(tokens: &[u32], end: bool) -> Next {
        Next::Of { tokens: tokens.to_vec(), end }
    }

    #[test]
    fn one_of_follows_its_sequences() {
        let answers = [vec![1, 2], vec![1, 3, 4], vec![5], vec![1, 3], vec![5]];
        let one_of = OneOf::new(&answers).unwrap();
        assert_eq!(one_of.next(&[]), of(&[1, 5], false));
        assert_eq!(one_of.next(&[1]), of(&[2, 3], false));
        assert_eq!(one_of.next(&[1, 3]), of(&[4], true));
        assert_eq!(one_of.next(&[5]), of(&[], true));
        assert_eq!(
            [one_of.which(&[5]), one_of.which(&[1]), one_of.which(&[7])],
            [Some(2), None, None]
        );
        assert_eq!((one_of.tokens().unwrap(), one_of.longest()), (&[1, 2, 3, 4, 5][..], Some(3)));
        let refused = |answers: &[Vec<u32>]| OneOf::new(answers).unwrap_err().to_string();
        assert_eq!(refused(&[]), "expected at least one answer, found none");
        assert_eq!(
            refused(&[vec![1], vec![]]),
            "answer 2: expected at least one token, found none"
        );
    }

    #[test]
    fn a_permutation_takes_each_label_once() {
        let order = Permutation::new(&[7, 3, 9], &[1, 7], 2).unwrap();
        assert_eq!(order.longest(), Some(4));
        assert_eq!(order.next(&[]), of(&[7, 3, 9], false));
        assert_eq!(order.next(&[3]), of(&[1], false));
        assert_eq!(order.next(&[3, 1]), of(&[7], false));
        assert_eq!(order.next(&[3, 1, 7]), of(&[7, 9], false));
        assert_eq!(order.next(&[3, 1, 7, 9]), of(&[], false));
        assert_eq!(order.order(&[3, 1, 7, 9]), [1, 2]);
        let refused =
            |labels: &[u32], count| Permutation::new(labels, &[], count).unwrap_err().to_string();
        assert_eq!(refused(&[1, 1], 1), "expected labels that differ, found one twice");
        assert_eq!(refused(&[1, 2], 3), "expected 1 to 2 of the labels, found 3");
        assert_eq!(refused(&[1, 2], 0), "expected 1 to 2 of the labels, found 0");
    }
}
