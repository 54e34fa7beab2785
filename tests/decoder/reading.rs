//! Does reading on from what was read give the bits of whole prompts, however they are cut?

use crate::decoder::{bits, expected, load};
use proptest::prelude::*;
use steerage::device::{Cpu, Precision};
use steerage::model::adapter::{Adapter, AdapterConfig};
use steerage::model::decoder::{Ask, Decoder, DecoderConfig, KeyValues, Projection, Prompt, Rope};
use steerage::types::{mix64, unit_f64};

/// Heads in groups whose width fills no panel, and a context of more tokens than products add up at
/// a time.
const CONFIG: DecoderConfig = DecoderConfig {
    vocabulary: 61,
    hidden: 36,
    inner: 40,
    layers: 3,
    heads: 6,
    shared: 2,
    width: 18,
    context_max: 700,
    epsilon: 1e-5,
    rope: Rope { theta: 10_000.0, scaling: None },
    tied: true,
    qkv_bias: true,
    output_bias: false,
};

/// With two adapters, the second of which has an embedding of its own.
fn random() -> Decoder {
    let mut decoder = Decoder::random(CONFIG, 3).unwrap();
    for seed in 0..2 {
        let config = AdapterConfig {
            rank: 2,
            alpha: 4.0,
            rslora: false,
            targets: vec![Projection::Key, Projection::Value, Projection::Down],
            tokens: (0..seed).map(|_| 7).collect(),
            base: None,
        };
        let draw = |i: usize| unit_f64(mix64(seed << 32 ^ i as u64)) as f32 - 0.5;
        decoder.attach(&Adapter::new(config, &CONFIG, draw));
    }
    decoder
}

fn prompt(seed: u64, length: usize, adapter: Option<u32>) -> Prompt {
    let token = |at: usize| (mix64(seed ^ mix64(at as u64)) % 50) as u32;
    Prompt { tokens: (0..length).map(token).collect(), adapter }
}

fn whole(decoder: &Decoder, prompts: &[&Prompt]) -> Vec<u32> {
    let prompts: Vec<Prompt> = prompts.iter().map(|prompt| (*prompt).clone()).collect();
    bits(&decoder.logits(&Cpu, &prompts, decoder.head(), 1).unwrap())
}

/// Reads prompts on from what is kept, and checks logits and what is kept.
fn read(decoder: &Decoder, prompts: &[&Prompt], kept: &mut [KeyValues], threads: usize) {
    let asks = prompts.iter().zip(&mut *kept);
    let mut asks: Vec<Ask<'_>> = asks.map(|(prompt, kept)| Ask { prompt, kept }).collect();
    let found = decoder.logits_on(&Cpu, &mut asks, decoder.head(), threads).unwrap();
    assert_eq!(bits(&found), whole(decoder, prompts));
    for (prompt, kept) in prompts.iter().zip(kept) {
        assert_eq!((kept.tokens(), kept.adapter()), (&prompt.tokens[..], prompt.adapter));
    }
}

/// Pieces of a long prompt, of one token and of several, across the borders of blocks and pieces.
#[test]
fn a_long_prompt_is_read_in_any_pieces() {
    let decoder = random();
    let long = prompt(1, 700, Some(1));
    let mut kept = [KeyValues::default()];
    for end in [1, 2, 16, 17, 100, 149, 255, 256, 257, 258, 511, 513, 640, 700, 300, 299, 256] {
        let prompt = Prompt { tokens: long.tokens[..end].to_vec(), adapter: Some(1) };
        read(&decoder, &[&prompt], &mut kept, 1);
    }
    assert_eq!(kept[0].shared(&long), 256);
    assert_eq!(kept[0].shared(&Prompt { tokens: long.tokens[..256].to_vec(), adapter: None }), 0);
    let same = Prompt { tokens: long.tokens[..256].to_vec(), adapter: Some(1) };
    assert_eq!(kept[0].shared(&same), 255, "the last token is computed again");
    let few = kept[0].bytes();
    read(&decoder, &[&long], &mut kept, 1);
    let many = kept[0].bytes();
    kept[0].truncate(20);
    assert!(few < many && kept[0].bytes() < many);
    kept[0].truncate(100);
    assert_eq!(kept[0].tokens(), &long.tokens[..20], "nothing comes back");
    read(&decoder, &[&long], &mut kept, 1);
}

/// Token by token, prompts of several lengths and adapters at once, next to others that begin.
#[test]
fn prompts_are_read_token_by_token_together() {
    for (model, precision) in [
        ("llama3", Precision::Bf16),
        ("llama3", Precision::F32),
        ("qwen2", Precision::Bf16),
        ("llama2", Precision::F32),
    ] {
        let decoder = load(model, precision);
        let adapters = expected(model).adapters.len() as u32 - 1;
        let long: Vec<Prompt> = (0..7u64)
            .map(|p| prompt(p, 20 + 5 * p as usize, (p as u32 % (adapters + 1)).checked_sub(1)))
            .collect();
        let mut kept = vec![KeyValues::default(); 7];
        for step in 0..20 {
            let cut = |(p, prompt): (usize, &Prompt)| Prompt {
                tokens: prompt.tokens[..1 + p % 4 * 5 + step / (1 + p % 2)].to_vec(),
                adapter: prompt.adapter,
            };
            let prompts: Vec<Prompt> = long.iter().enumerate().map(cut).collect();
            let prompts: Vec<&Prompt> = prompts.iter().collect();
            read(&decoder, &prompts, &mut kept, 1 + step % 3);
        }
    }
}

/// What neighbours begin with alike is lent to the next one, whatever that one had.
#[test]
fn neighbours_that_begin_alike_share_what_they_read() {
    let decoder = random();
    let start = prompt(1, 290, None);
    let with = |start: usize, end: u64, length, adapter| {
        let mut tokens = prompt(1, start, None).tokens;
        tokens.extend(prompt(end, length, None).tokens);
        Prompt { tokens, adapter }
    };
    let prompts = [
        with(290, 5, 20, None),
        with(290, 6, 3, None),
        with(290, 6, 30, None),
        with(280, 7, 30, None),
        with(12, 7, 30, None),    // too little
        with(290, 6, 9, Some(0)), // another adapter
        with(290, 6, 9, Some(0)), // the same again
    ];
    let prompts: Vec<&Prompt> = prompts.iter().collect();
    for threads in [1, 3] {
        let mut kept = vec![KeyValues::default(); prompts.len()];
        read(&decoder, &[&start], &mut kept[2..3], 1);
        read(&decoder, &prompts, &mut kept, threads);
        let mut turned: Vec<&Prompt> = prompts.clone();
        turned.rotate_left(1);
        read(&decoder, &turned, &mut kept, threads);
    }
    let mut fork = vec![KeyValues::default(); 1];
    read(&decoder, &[&start], &mut fork, 1);
    let mut forks = vec![fork[0].clone(), fork[0].clone()];
    read(&decoder, &[prompts[0], prompts[1]], &mut forks, 1);
    assert_eq!(fork[0].tokens(), start.tokens, "a clone is another's");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_course_of_asking_gives_the_bits_of_whole_prompts(
        steps in prop::collection::vec(
            prop::collection::vec((0..3u64, 1..90usize, 0..3u64, 0..40usize, 0..3u32, 0..99usize), 1..5),
            1..6,
        ),
        threads in 1..4usize,
    ) {
        let decoder = random();
        let mut kept = vec![KeyValues::default(); 4];
        for asked in steps {
            let prompts: Vec<Prompt> = asked
                .iter()
                .map(|(start, first, end, then, adapter, _)| {
                    let mut tokens = prompt(*start, *first, None).tokens;
                    tokens.extend(prompt(10 + end, *then, None).tokens);
                    Prompt { tokens, adapter: adapter.checked_sub(1) }
                })
                .collect();
            for (kept, (.., left)) in kept.iter_mut().zip(&asked) {
                kept.truncate(*left);
            }
            let prompts: Vec<&Prompt> = prompts.iter().collect();
            read(&decoder, &prompts, &mut kept[..asked.len()], threads);
        }
    }
}

#[test]
fn what_cannot_be_read_is_refused_and_changes_nothing() {
    let decoder = random();
    let good = prompt(1, 30, None);
    let mut kept = vec![KeyValues::default(); 2];
    read(&decoder, &[&good], &mut kept[..1], 1);
    let refused = |decoder: &Decoder, prompt: &Prompt, kept: &mut [KeyValues]| {
        let [one, two] = kept else { unreachable!() };
        let mut asks = [Ask { prompt: &good, kept: two }, Ask { prompt, kept: one }];
        decoder.logits_on(&Cpu, &mut asks, decoder.head(), 2).unwrap_err().to_string()
    };
    for (wrong, why) in [
        (Prompt::default(), "prompt 2: expected at least one token, found none"),
        (
            prompt(1, 701, None),
            "prompt 2: expected at most 700 tokens, the model's context, found 701",
        ),
        (prompt(1, 5, Some(2)), "prompt 2: adapter 2: expected one of 2"),
        (
            Prompt { tokens: vec![61], adapter: None },
            "prompt 2: token 61: expected one of the vocabulary, 0 to 60",
        ),
    ] {
        assert_eq!(refused(&decoder, &wrong, &mut kept), why);
        assert_eq!((kept[0].tokens().len(), kept[1].tokens().len()), (30, 0));
    }
    let narrow = DecoderConfig { width: 6, ..CONFIG };
    let shallow = DecoderConfig { layers: 2, ..CONFIG };
    for other in [narrow, shallow] {
        let other = Decoder::random(other, 1).unwrap();
        let said = refused(&other, &good, &mut kept);
        assert!(said.starts_with("prompt 2: what is kept of it is another model's"), "{said}");
        assert_eq!(kept[1].tokens().len(), 0);
    }
    let mut broken = random();
    let config = AdapterConfig {
        rank: 1,
        alpha: 1.0,
        rslora: false,
        targets: vec![Projection::Down],
        tokens: Vec::new(),
        base: None,
    };
    let number = broken.attach(&Adapter::new(config, &CONFIG, |_| 1e30));
    let said = refused(&broken, &prompt(1, 5, Some(number)), &mut kept);
    assert!(said.starts_with("prompt 2: its logits hold NaN or infinity"), "{said}");
    let nothing = decoder.logits_on(&Cpu, &mut [], decoder.head(), 1).unwrap();
    assert!(nothing.is_empty());
}
