//! Which token comes next, by the logits of those that may.
//!
//! A draw depends on the seed, the prompt's identity and the position in its answer alone, so that
//! no other prompt changes an answer.

use crate::error::{Error, Result};
use crate::types::{mix64, unit_f64};

/// How the next token is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Sampling {
    /// The one with the greatest logit; of equal ones, the lowest token.
    #[default]
    Greedy,
    /// Drawn.
    Drawn(Draw),
}

/// How a token is drawn: with probabilities softmax(logits / temperature) over the `top_k` most
/// likely ones, and of those the fewest whose probabilities add up to `top_p`.
///
/// Source: Fan et al., Hierarchical Neural Story Generation (2018), §5.2, for top-k; Holtzman et
/// al., The Curious Case of Neural Text Degeneration (2020), eq. 2–3, for top-p.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    /// What all draws come from.
    pub seed: u64,
    /// More than 0; the greater, the more alike the probabilities.
    pub temperature: f64,
    /// 0 for all of them.
    pub top_k: usize,
    /// More than 0, at most 1; 1 for all of them.
    pub top_p: f64,
}

impl Sampling {
    /// Refuses what is out of range.
    ///
    /// Errors: [`Error::Model`] with the name of what it is.
    pub fn check(&self) -> Result<()> {
        let Sampling::Drawn(Draw { temperature, top_p, .. }) = *self else { return Ok(()) };
        if !(temperature > 0.0 && temperature.is_finite()) {
            let expected = "expected a positive number";
            return Err(Error::Model(format!("temperature: {expected}, found {temperature}")));
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            let expected = "expected a number above 0 and at most 1";
            return Err(Error::Model(format!("top_p: {expected}, found {top_p}")));
        }
        Ok(())
    }

    /// Chooses among tokens with their logits, of which there is one at least. `place` is the
    /// prompt's identity and the position in its answer.
    pub fn choose(&self, mut among: Vec<(u32, f32)>, (identity, position): (u64, usize)) -> u32 {
        let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        let Sampling::Drawn(Draw { seed, temperature, top_k, top_p }) = *self else {
            return among.into_iter().min_by(order).map_or(0, |(token, _)| token);
        };
        if (1..among.len()).contains(&top_k) {
            among.select_nth_unstable_by(top_k - 1, order);
            among.truncate(top_k);
        }
        among.sort_unstable_by(order);
        let Some((_, largest)) = among.first().copied() else { return 0 };
        let largest = f64::from(largest);
        let weight = |(_, logit): &(u32, f32)| ((f64::from(*logit) - largest) / temperature).exp();
        let mut weights: Vec<f64> = among.iter().map(weight).collect();
        let all = weights.iter().sum::<f64>();
        let mut total = 0.0;
        let before = |weight: &&f64| {
            let enough = total >= top_p * all;
            total += **weight;
            !enough
        };
        let count = weights.iter().take_while(before).count();
        weights.truncate(count.max(1));
        let draw = unit_f64(mix64(seed ^ mix64(identity ^ mix64(position as u64))));
        let mut left = draw * weights.iter().sum::<f64>();
        let drawn = weights.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        among[drawn.unwrap_or(weights.len() - 1)].0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ALL: Draw = Draw { seed: 1, temperature: 1.0, top_k: 0, top_p: 1.0 };

    /// How often each of three tokens is drawn, with probabilities 0.1, 0.6 and 0.3.
    fn shares(draw: Draw) -> [f64; 3] {
        let logits = [0.1f32, 0.6, 0.3].map(f32::ln);
        let among: Vec<(u32, f32)> = (0..3).zip(logits).collect();
        let mut counts = [0.0; 3];
        for identity in 0..100 {
            for position in 0..100 {
                let token = Sampling::Drawn(draw).choose(among.clone(), (identity, position));
                counts[token as usize] += 1e-4;
            }
        }
        counts
    }

    #[test]
    fn tokens_are_drawn_as_often_as_they_are_likely() {
        let close = |draw: Draw, expected: [f64; 3]| {
            let found = shares(draw);
            let near = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 0.02);
            assert!(near, "{draw:?}: {found:?}, expected {expected:?}");
            assert!(found.iter().zip(expected).all(|(a, b)| b > 0.0 || *a == 0.0), "{found:?}");
        };
        close(ALL, [0.1, 0.6, 0.3]);
        close(Draw { top_k: 2, ..ALL }, [0.0, 2.0 / 3.0, 1.0 / 3.0]);
        close(Draw { top_k: 9, ..ALL }, [0.1, 0.6, 0.3]);
        close(Draw { top_p: 0.61, ..ALL }, [0.0, 2.0 / 3.0, 1.0 / 3.0]);
        close(Draw { top_p: 0.59, ..ALL }, [0.0, 1.0, 0.0]);
        close(Draw { top_p: 1e-9, ..ALL }, [0.0, 1.0, 0.0]);
        close(Draw { temperature: 0.5, ..ALL }, [1.0 / 46.0, 36.0 / 46.0, 9.0 / 46.0]);
        close(Draw { temperature: 1e-9, ..ALL }, [0.0, 1.0, 0.0]);
        assert_ne!(shares(ALL), shares(Draw { seed: 2, ..ALL }));
    }

    #[test]
    fn of_equal_logits_the_lowest_token_is_taken() {
        let among = vec![(9, 1.0), (4, 2.0), (3, 2.0), (8, -1.0)];
        assert_eq!(Sampling::Greedy.choose(among, (0, 0)), 3);
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        let said = |draw: Draw| Sampling::Drawn(draw).check().unwrap_err().to_string();
        let expected = "temperature: expected a positive number, found 0";
        assert_eq!(said(Draw { temperature: 0.0, ..ALL }), expected);
        assert!(said(Draw { temperature: f64::NAN, ..ALL }).starts_with("temperature"));
        let expected = "top_p: expected a number above 0 and at most 1, found 1.5";
        assert_eq!(said(Draw { top_p: 1.5, ..ALL }), expected);
        assert!(Sampling::Drawn(ALL).check().is_ok() && Sampling::Greedy.check().is_ok());
    }
}
