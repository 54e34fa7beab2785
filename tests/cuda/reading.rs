//! Does what a device keeps of prompts change no bit, and is it not computed again?

use super::overlap::Late;
use super::*;
use crate::decoder::bits;
use std::sync::atomic::Ordering::Relaxed;
use steerage::model::adapter::{Adapter, AdapterConfig};
use steerage::model::decoder::{
    Ask, Decoder, DecoderConfig, KeyValues, Projection, Prompt, Resident, Rope,
};
use steerage::types::{mix64, unit_f64};

const TOKENS_MAX: usize = 192;
const LABELS: [u32; 4] = [3, 0, 49, 17];

/// A decoder with an adapter.
fn decoder() -> Decoder {
    let config = DecoderConfig {
        vocabulary: 50,
        hidden: 32,
        inner: 48,
        layers: 2,
        heads: 4,
        shared: 2,
        width: 8,
        context_max: 256,
        epsilon: 1e-5,
        rope: Rope { theta: 10_000.0, scaling: None },
        tied: true,
        qkv_bias: false,
        output_bias: false,
    };
    let lora = AdapterConfig {
        rank: 4,
        alpha: 8.0,
        rslora: false,
        targets: vec![Projection::Query, Projection::Value],
        tokens: Vec::new(),
        base: None,
    };
    let mut decoder = Decoder::random(config.clone(), 5).unwrap();
    let draw = |i: usize| unit_f64(mix64(i as u64)) as f32 - 0.5;
    decoder.attach(&Adapter::new(lora, &config, draw));
    decoder
}

/// A prompt of parts, each a seed and how many tokens.
fn prompt(parts: &[(usize, usize)], adapter: Option<u32>) -> Prompt {
    let tokens = parts.iter().flat_map(|(seed, count)| (0..*count).map(move |i| (seed, i)));
    Prompt { tokens: tokens.map(|(seed, i)| ((seed * 31 + i * 7) % 50) as u32).collect(), adapter }
}

struct Reading {
    late: Arc<Late>,
    kept: Resident,
    whole: Resident,
}

impl Reading {
    fn new(decoder: &Decoder, bytes: usize) -> Option<Self> {
        let open = || Device::open(Order::ALL[0], None);
        let (late, other) = (Late::new(open()?), Arc::new(open()?));
        let kept = Resident::of(late.clone(), decoder, TOKENS_MAX).unwrap().keeping(bytes).unwrap();
        Some(Self { late, kept, whole: Resident::of(other, decoder, TOKENS_MAX).unwrap() })
    }

    /// Asks, expects the bits of whole prompts, and tells how many tokens were computed.
    fn ask(&self, prompts: &[Prompt], kept: &mut [KeyValues]) -> usize {
        let before = self.late.tokens.load(Relaxed);
        let pairs = prompts.iter().zip(kept);
        let mut asks: Vec<Ask<'_>> = pairs.map(|(prompt, kept)| Ask { prompt, kept }).collect();
        let found = self.kept.logits_on(&mut asks, &LABELS).unwrap();
        assert_eq!(bits(&found), bits(&self.whole.logits(prompts, &LABELS).unwrap()));
        self.late.tokens.load(Relaxed) - before
    }
}

#[test]
fn what_was_read_is_computed_once_and_changes_no_bit() {
    let Some(reading) = Reading::new(&decoder(), 1 << 20) else { return };
    let start = (1, 150);
    let one = prompt(&[start, (2, 20)], None);
    let two = prompt(&[start, (3, 15)], None);
    let other = prompt(&[start, (2, 20)], Some(0));
    let mut kept = vec![KeyValues::default(); 3];
    // Whole pages of what the one before begins with alike: 2 of 64; nothing of another adapter's.
    let prompts = [one, two, other];
    assert_eq!(reading.ask(&prompts, &mut kept), 170 + (165 - 128) + 170);
    for (kept, prompt) in kept.iter().zip(&prompts) {
        assert_eq!((kept.tokens(), kept.adapter()), (&prompt.tokens[..], prompt.adapter));
    }
    // The same again: the last token's logits are asked for.
    assert_eq!(reading.ask(&prompts, &mut kept), 3);
    // On, token by token.
    let mut longer = prompts.clone();
    for token in 7..10 {
        longer.iter_mut().for_each(|prompt| prompt.tokens.push(token));
        assert_eq!(reading.ask(&longer, &mut kept), 3);
    }
    // Back to what they begin with, and on otherwise.
    let back = [(4, 30), (5, 42), (6, 9)].map(|end| prompt(&[start, end], None));
    let again = reading.ask(&back[..2], &mut kept[..2]);
    assert_eq!(again, 30 + 42);
    // A clone goes on by itself: what both would write is computed again.
    let mut ways = [kept[0].clone(), kept[0].clone(), kept[0].clone()];
    drop(kept);
    let ends = [(7, 4), (8, 4)].map(|end| prompt(&[start, (4, 20), end], None));
    assert_eq!(reading.ask(&ends, &mut ways[..2]), 2 * (174 - 128));
    assert_eq!(reading.ask(&ends, &mut ways[..2]), 2);
    assert_eq!(reading.ask(&back[..1], &mut ways[2..]), 1, "the others wrote elsewhere");
}

#[test]
fn what_finds_no_room_is_read_whole() {
    let Some(reading) = Reading::new(&decoder(), 0) else { return };
    let prompts = [1, 2, 3].map(|seed| prompt(&[(seed, 80)], None));
    let tokens = |prompts: &[Prompt]| -> Vec<usize> {
        prompts.iter().map(|prompt| prompt.tokens.len()).collect()
    };
    let together = |tokens: Vec<usize>| reading.kept.kept_together(tokens.into_iter());
    assert_eq!(together(tokens(&prompts)), 1, "3 pages, of which each needs 2");
    assert_eq!((together(vec![64, 64, 64, 1]), together(vec![1000])), (3, 1));
    let mut kept = vec![KeyValues::default(); 3];
    assert_eq!(reading.ask(&prompts, &mut kept), 240);
    let lengths = |kept: &[KeyValues]| kept.iter().map(|kept| kept.tokens().len()).collect();
    let found: Vec<usize> = lengths(&kept);
    assert_eq!(found, [80, 0, 0]);
    assert_eq!(reading.ask(&prompts, &mut kept), 161);
    // What is forgotten leaves its room.
    kept[0] = KeyValues::default();
    assert_eq!(reading.ask(&prompts[1..], &mut kept[1..]), 160);
    let found: Vec<usize> = lengths(&kept);
    assert_eq!(found, [0, 80, 0]);
    // Without memory for it, nothing is kept.
    let mut asks = [Ask { prompt: &prompts[0], kept: &mut kept[0] }];
    let found = reading.whole.logits_on(&mut asks, &LABELS).unwrap();
    assert_eq!(bits(&found), bits(&reading.whole.logits(&prompts[..1], &LABELS).unwrap()));
    assert!(kept[0].tokens().is_empty());
}

#[test]
fn what_another_has_kept_is_refused() {
    let decoder = decoder();
    let (Some(one), Some(two)) = (Reading::new(&decoder, 0), Reading::new(&decoder, 0)) else {
        return;
    };
    let prompt = prompt(&[(1, 70)], None);
    let mut kept = KeyValues::default();
    let mut ask = |resident: &Resident, prompt: &Prompt| {
        let mut asks = [Ask { prompt, kept: &mut kept }];
        resident.logits_on(&mut asks, &LABELS).map_err(|error| error.to_string())
    };
    ask(&one.kept, &prompt).unwrap();
    let refused = ask(&two.kept, &prompt).unwrap_err();
    assert!(refused.contains("prompt 1: what is kept of it is another model's"), "{refused}");
    ask(&one.kept, &prompt).unwrap();
    let wrong = Prompt { tokens: vec![1 << 20], adapter: None };
    assert!(ask(&one.kept, &wrong).unwrap_err().contains("prompt 1:"));
}
