//! BM25: what a search engine says of an item for a request, by the words they share. A peer of the
//! encoders.
//!
//! Formula: Σ over the request's words q of
//! idf(q) · f · (k₁ + 1) / (f + k₁ · (1 − b + b · n / n̄)),
//! f how often the item's text holds q, n its words and n̄ their mean,
//! idf(q) = ln(1 + (N − N_q + ½) / (N_q + ½)), N_q the items that hold q.
//! Source: Robertson and Zaragoza, The Probabilistic Relevance Framework (2009), with k₁ = 1.2 and
//! b = 0.75; Lucene's idf, which is never negative.

use std::collections::HashMap;

const K1: f64 = 1.2;
const B: f64 = 0.75;

/// The words of some texts.
pub struct Bm25 {
    /// Each word's texts, with how often they hold it.
    postings: HashMap<String, Vec<(u32, u32)>>,
    lengths: Vec<u32>,
    mean_length: f64,
}

impl Bm25 {
    /// Indexes texts.
    pub fn new<'a>(texts: impl Iterator<Item = &'a str>) -> Bm25 {
        let mut postings: HashMap<String, Vec<(u32, u32)>> = HashMap::new();
        let mut lengths = Vec::new();
        for (text, at) in texts.zip(0..) {
            let mut count = 0;
            for word in words(text) {
                count += 1;
                let list = postings.entry(word).or_default();
                match list.last_mut().filter(|(last, _)| *last == at) {
                    Some((_, times)) => *times += 1,
                    None => list.push((at, 1)),
                }
            }
            lengths.push(count);
        }
        let all: u64 = lengths.iter().map(|length| u64::from(*length)).sum();
        let mean_length = all as f64 / lengths.len().max(1) as f64;
        Bm25 { postings, lengths, mean_length: mean_length.max(f64::MIN_POSITIVE) }
    }

    /// The score of every text.
    pub fn scores(&self, request: &str) -> Vec<f32> {
        let count = self.lengths.len() as f64;
        let mut scores = vec![0.0f64; self.lengths.len()];
        for word in words(request) {
            let Some(list) = self.postings.get(&word) else { continue };
            let holding = list.len() as f64;
            let idf = (1.0 + (count - holding + 0.5) / (holding + 0.5)).ln();
            for &(at, times) in list {
                let (times, length) = (f64::from(times), f64::from(self.lengths[at as usize]));
                let norm = K1 * (1.0 - B + B * length / self.mean_length);
                scores[at as usize] += idf * times * (K1 + 1.0) / (times + norm);
            }
        }
        scores.into_iter().map(|score| score as f32).collect()
    }
}

/// Runs of letters and digits, in lower case.
fn words(text: &str) -> impl Iterator<Item = String> {
    let runs = text.split(|c: char| !c.is_alphanumeric()).filter(|run| !run.is_empty());
    runs.map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_words_and_short_texts_count_more() {
        let texts = ["a red lamp", "a red chair", "a lamp", "a Lamp of gold and many other words"];
        let index = Bm25::new(texts.into_iter());
        let found = index.scores("LAMP");
        assert!(found[2] > found[0] && found[0] > found[3] && found[1] == 0.0);
        let found = index.scores("chair a");
        assert!(found[1] > found[0], "all hold the one, and one the other");
        // ln(1 + (4 − 3 + ½) / (3 + ½)) · 2.2 / (1 + 1.2 · (¼ + ¾ · 2 / 4)), two of the sixteen
        // words.
        let idf = (1.0f64 + 1.5 / 3.5).ln();
        let by_hand = idf * 2.2 / (1.0 + 1.2 * (0.25 + 0.75 * 2.0 / 4.0));
        assert!((f64::from(index.scores("lamp")[2]) - by_hand).abs() < 1e-6);
        assert_eq!(Bm25::new(std::iter::empty()).scores("x"), [0.0f32; 0]);
    }
}
