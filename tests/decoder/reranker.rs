//! The training of a re-ranker: the loss is its formula, the bytes are those of the settings, and
//! a small decoder learns a small task.

use crate::kernels::{assert_gradient, random};
use crate::models::Shelf;
use steerage::device::Precision;
use steerage::model::adapter::AdapterConfig;
use steerage::model::decoder::{
    Decoder, DecoderConfig, Learner, Projection, Prompt, Rope, Trained,
};
use steerage::train::contrast::{contrast, mean_cosine};
use steerage::train::rank_net::{pairs, rank_net};
use steerage::train::reranker::{Contrast, Example, Fitted, Measured, RerankerSettings, fit};
use steerage::types::mix64;

#[test]
fn rank_net_is_its_formula() {
    let plain = |scores: &[f64], relevance: &[f32]| -> f64 {
        let mut loss = 0.0;
        for i in 0..scores.len() {
            for j in 0..scores.len() {
                if relevance[i] > relevance[j] {
                    loss += (1.0 + (scores[j] - scores[i]).exp()).ln();
                }
            }
        }
        loss
    };
    for (relevance, count) in [
        (vec![1.0, 0.0, 2.0, 1.0, 0.5], 9),
        (vec![3.0, 0.0], 1),
        (vec![0.0, 0.0, 0.0], 0),
        (vec![2.0], 0),
        (vec![], 0),
    ] {
        assert_eq!(pairs(&relevance), count);
        let scores: Vec<f32> = random(1, relevance.len()).iter().map(|x| 3.0 * x).collect();
        let mut d_scores = vec![f32::NAN; scores.len()];
        let loss = rank_net(&scores, &relevance, 0.25, &mut d_scores);
        let wide: Vec<f64> = scores.iter().map(|x| f64::from(*x)).collect();
        assert!((loss - plain(&wide, &relevance)).abs() < 1e-12, "{relevance:?}");
        if count == 0 {
            assert!(loss == 0.0 && d_scores.iter().all(|x| *x == 0.0));
            continue;
        }
        assert_gradient(&d_scores, &scores, 1, |scores| 0.25 * plain(scores, &relevance));
    }
    let mut d_scores = [0.0; 2];
    assert_eq!(rank_net(&[-1e30, 1e30], &[1.0, 0.0], 1.0, &mut d_scores), 2.0 * 1e30f32 as f64);
    assert_eq!(d_scores, [-1.0, 1.0]);
    assert_eq!(rank_net(&[1e30, -1e30], &[1.0, 0.0], 1.0, &mut d_scores), 0.0);
    assert_eq!(d_scores.map(f32::abs), [0.0, 0.0]);
}

/// Cosines of pairs among rows of so many values, in the order of the pairs.
fn cosines(rows: &[&[f64]]) -> Vec<f64> {
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let cosine = |a: &[f64], b: &[f64]| product(a, b) / (product(a, a) * product(b, b)).sqrt();
    let pairs = rows.iter().enumerate();
    pairs.flat_map(|(at, a)| rows[at + 1..].iter().map(move |b| cosine(a, b))).collect()
}

#[test]
fn contrast_is_its_formula() {
    let places = [3..8, 10..15, 15..20, 25..30];
    let mut weights = random(7, 32);
    for (i, x) in weights[15..20].iter_mut().enumerate() {
        *x = 0.3 - 0.1 * i as f32;
    }
    weights.copy_within(3..8, 25);
    weights[25] += 0.5;
    let plain = |weights: &[f64]| -> Vec<f64> {
        cosines(&places.each_ref().map(|place| &weights[place.clone()]))
    };
    let loss = |weights: &[f64]| {
        let all = plain(weights);
        all.iter().map(|cosine| cosine.max(0.0).powi(2)).sum::<f64>() / all.len() as f64
    };
    let wide: Vec<f64> = weights.iter().map(|x| f64::from(*x)).collect();
    let all = plain(&wide);
    assert_eq!(all.len(), 6);
    assert!(all.iter().any(|c| *c > 0.1) && all.iter().any(|c| *c < 0.0), "both: {all:?}");
    let mut gradient = vec![0.0; weights.len()];
    let found = contrast(&weights, &places, 0.7, &mut gradient);
    assert!((found - loss(&wide)).abs() < 1e-12);
    assert_gradient(&gradient, &weights, 1, |weights| 0.7 * loss(weights));
    let once = gradient.clone();
    contrast(&weights, &places, 0.7, &mut gradient);
    let twice = |(twice, once): (&f32, f32)| (twice - 2.0 * once).abs() < 1e-6;
    assert!(gradient.iter().zip(once).all(twice), "it is added");
    let mean = all.iter().sum::<f64>() / 6.0;
    assert!((mean_cosine(&weights, &places).unwrap() - mean).abs() < 1e-12);

    let mut zero = vec![0.0; 4];
    assert_eq!(contrast(&[0.0, 0.0, 1.0, 2.0], &[0..2, 2..4], 1.0, &mut zero), 0.0);
    assert_eq!(contrast(&[1.0, 2.0], std::slice::from_ref(&(0..2)), 1.0, &mut zero), 0.0);
    assert_eq!(zero, [0.0; 4], "no direction, or nothing to be apart from");
    assert_eq!(mean_cosine(&[1.0, 2.0], std::slice::from_ref(&(0..2))), None);
}

/// Four candidates, each of which shows one of four values; the last token asks for a value. Tokens
/// 0 to 15 are candidates (by place and value), 16 to 19 ask, 20 to 23 are labels.
pub fn task(first: u64, count: u64) -> Vec<Example> {
    let example = |e: u64| {
        let values: Vec<u32> = (0..5).map(|i| (mix64(e * 5 + i) % 4) as u32).collect();
        let mut tokens: Vec<u32> =
            values[..4].iter().zip(0..).map(|(value, place)| 4 * place + value).collect();
        tokens.push(16 + values[4]);
        let relevance = values[..4].iter().map(|value| f32::from(*value == values[4])).collect();
        Example { tokens, relevance }
    };
    (first..first + count).map(example).collect()
}

/// Moments of two examples each.
pub fn by_moment(examples: &[Example]) -> Vec<Vec<Example>> {
    examples.chunks(2).map(<[Example]>::to_vec).collect()
}

pub const LABELS: [u32; 4] = [20, 21, 22, 23];

pub fn small(seed: u64) -> Decoder {
    let config = DecoderConfig {
        vocabulary: 24,
        hidden: 24,
        inner: 40,
        layers: 2,
        heads: 4,
        shared: 2,
        width: 6,
        context_max: 16,
        epsilon: 1e-5,
        rope: Rope { theta: 10_000.0, scaling: None },
        tied: true,
        qkv_bias: true,
        output_bias: false,
    };
    Decoder::random(config, seed).unwrap()
}

pub fn adapter() -> Trained {
    Trained::Adapter(AdapterConfig {
        rank: 4,
        alpha: 8.0,
        rslora: false,
        targets: Projection::ALL.to_vec(),
        tokens: vec![17, 16, 19, 18, 21],
        base: None,
    })
}

/// The share of pairs in the right order.
pub fn in_order(learned: Measured<'_>, examples: &[Example]) -> f64 {
    let adapter = match learned {
        Measured::Here(decoder) => decoder.adapters() > 0,
        Measured::There(resident) => resident.adapters() > 0,
    };
    let adapter = adapter.then_some(0);
    let prompt = |example: &Example| Prompt { tokens: example.tokens.clone(), adapter };
    let prompts: Vec<Prompt> = examples.iter().map(prompt).collect();
    let logits = learned.logits(&prompts, &LABELS, 1).unwrap();
    let (mut right, mut all) = (0, 0);
    for (example, scores) in examples.iter().zip(logits.chunks(4)) {
        for (i, above) in example.relevance.iter().enumerate() {
            for (j, _) in example.relevance.iter().enumerate().filter(|(_, below)| above > *below) {
                right += u32::from(scores[i] > scores[j]);
                all += 1;
            }
        }
    }
    f64::from(right) / f64::from(all)
}

fn train(settings: &RerankerSettings, decoder: Decoder, shelf: &mut Shelf) -> Fitted {
    let held = task(10_000, 100);
    let mut examine = |learned: Measured<'_>| Ok(Some(in_order(learned, &held)));
    fit(settings, decoder, &LABELS, &by_moment(&task(0, 400)), &mut examine, shelf).unwrap()
}

/// Every weight learns the task, and then an adapter its opposite.
#[test]
fn a_small_decoder_learns_a_small_task() {
    let mut decoder = small(3);
    let (mut all, mut held) = (task(0, 800), task(10_000, 100));
    for (trained, rate, expected) in [(Trained::Full, 0.005, 0.9), (adapter(), 0.003, 0.85)] {
        let settings = RerankerSettings {
            rate,
            decay: 0.01,
            batch: 8,
            epochs_max: 10,
            patience: 10,
            threads: 2,
            ..RerankerSettings::new(trained)
        };
        let before = in_order(Measured::Here(&decoder), &held);
        let mut shelf = Shelf::default();
        let mut examine = |learned: Measured<'_>| Ok(Some(in_order(learned, &held)));
        let fitted =
            fit(&settings, decoder, &LABELS, &by_moment(&all), &mut examine, &mut shelf).unwrap();
        let after = in_order(Measured::Here(fitted.learner.decoder()), &held);
        println!("{before:.3} to {after:.3} in {} steps: {:?}", fitted.steps, fitted.curve);
        let best = fitted.curve.iter().map(|(_, value)| *value).fold(0.0, f64::max);
        assert_eq!(after, best, "the best weights are kept");
        assert!(before < 0.6 && after > expected, "{after} from {before}");
        let losses = shelf.losses.borrow();
        assert!(losses.last().unwrap() < &(0.5 * losses[0]), "{losses:?}");
        decoder = fitted.learner.decoder().clone();
        for relevance in [&mut all, &mut held].into_iter().flatten() {
            relevance.relevance.iter_mut().for_each(|relevance| *relevance = 1.0 - *relevance);
        }
    }
}

/// What is learned, as bytes.
pub fn bytes(fitted: &Fitted) -> Vec<(&'static str, Vec<u8>)> {
    match fitted.learner.adapter() {
        Some(adapter) => adapter.to_files().unwrap().into(),
        None => fitted.learner.decoder().to_files().unwrap().into(),
    }
}

#[test]
fn re_rankers_have_the_same_bytes_for_any_threads_memory_and_interruption() {
    for trained in [Trained::Full, adapter()] {
        let settings = RerankerSettings {
            rate: 0.01,
            decay: 0.1,
            batch: 28,
            epochs_max: 2,
            validate_steps: 3,
            checkpoint_steps: 2,
            warmup_steps: 3,
            ..RerankerSettings::new(trained)
        };
        let mut whole = Shelf::default();
        let fitted = train(&settings, small(1), &mut whole);
        assert!(whole.kept.len() > 5 && fitted.curve.len() > 3);
        for threads in [2, 3] {
            let mut shelf = Shelf::default();
            let settings =
                RerankerSettings { threads, kept_bytes_max: threads % 2, ..settings.clone() };
            let again = train(&settings, small(1), &mut shelf);
            assert!(shelf.kept == whole.kept, "{threads} threads");
            assert!(bytes(&again) == bytes(&fitted));
        }
        for (stop_at, _) in whole.kept.iter().step_by(3) {
            let mut shelf = Shelf { stop_at: *stop_at, ..Shelf::default() };
            let mut examine =
                |learned: Measured<'_>| Ok(Some(in_order(learned, &task(10_000, 100))));
            let (all, base) = (by_moment(&task(0, 400)), small(1));
            let stopped = fit(&settings, base, &LABELS, &all, &mut examine, &mut shelf);
            assert_eq!(stopped.unwrap_err().to_string(), "stopped");
            shelf.stop_at = 0;
            let settings = RerankerSettings { threads: 2, ..settings.clone() };
            let resumed = train(&settings, small(1), &mut shelf);
            assert!(shelf.kept == whole.kept, "stopped at {stop_at}");
            assert!(bytes(&resumed) == bytes(&fitted) && resumed.curve == fitted.curve);
        }
        let mut examine = |_: Measured<'_>| Ok(None);
        for (decoder, settings) in [
            (small(2), settings.clone()),
            (small(1), RerankerSettings { rate: 0.02, ..settings.clone() }),
        ] {
            let all = by_moment(&task(0, 400));
            let said = fit(&settings, decoder, &LABELS, &all, &mut examine, &mut whole);
            let said = said.unwrap_err().to_string();
            assert!(said.starts_with("checkpoint: was made with other settings"), "{said}");
        }
    }
}

/// The tokens that ask end up apart, whether they are rows of an adapter or of all embeddings; and
/// the order is learned all the same.
#[test]
fn contrast_keeps_tokens_apart() {
    let tokens = vec![16, 17, 18, 19];
    for trained in [Trained::Full, adapter()] {
        let plain = RerankerSettings {
            rate: 0.01,
            batch: 8,
            epochs_max: 3,
            threads: 2,
            ..RerankerSettings::new(trained)
        };
        let weight = 5.0;
        let apart = RerankerSettings {
            contrast: Some(Contrast { weight, tokens: tokens.clone() }),
            ..plain.clone()
        };
        // Embeddings that begin alike.
        let alike = || {
            let mut learner = Learner::new(small(1), &Trained::Full, &LABELS, 0).unwrap();
            let mut weights = learner.parameters();
            for token in &tokens {
                let place = learner.place(*token).unwrap();
                weights[place].iter_mut().for_each(|x| *x = 0.5 * *x + 0.2);
            }
            learner.set(&weights).unwrap();
            learner.decoder().clone()
        };
        let [without, with] = [&plain, &apart].map(|settings| {
            let fitted = train(settings, alike(), &mut Shelf::default());
            let rows: Vec<_> =
                tokens.iter().map(|token| fitted.learner.place(*token).unwrap()).collect();
            let cosine = mean_cosine(&fitted.learner.parameters(), &rows).unwrap();
            (cosine, fitted.losses[0])
        });
        assert!(with.0 < without.0 - 0.2, "{with:?} without contrast {without:?}");
        assert!(with.1 > without.1, "the term is part of the loss: {with:?} {without:?}");
    }
    let settings = RerankerSettings {
        contrast: Some(Contrast { weight: 1.0, tokens: vec![16, 3] }),
        ..RerankerSettings::new(adapter())
    };
    let mut examine = |_: Measured<'_>| Ok(None);
    let moments = by_moment(&task(0, 8));
    let mut shelf = Shelf::default();
    let said = fit(&settings, small(1), &LABELS, &moments, &mut examine, &mut shelf);
    let said = said.unwrap_err().to_string();
    assert!(said.contains("contrast: the embedding of token 3 is fixed"), "{said}");
}

#[test]
fn the_rate_rises_and_falls() {
    let settings =
        RerankerSettings { rate: 2.0, warmup_steps: 4, ..RerankerSettings::new(Trained::Full) };
    let rates: Vec<f32> = (0..12).map(|step| settings.rate_at(step, 12)).collect();
    assert_eq!(rates[..5], [0.5, 1.0, 1.5, 2.0, 2.0]);
    assert!((rates[8] - 1.0).abs() < 1e-6 && rates[4..].is_sorted_by(|a, b| a > b));
    assert!(rates[11] > 0.0 && rates[11] < 0.1);
    assert_eq!(settings.rate_at(0, 1), 2.0);
}

#[test]
fn examples_and_settings_out_of_range_are_named() {
    let refused = |settings: &RerankerSettings, examples: &[Example]| {
        let mut shelf = Shelf::default();
        let moments = by_moment(examples);
        let result = fit(settings, small(0), &LABELS, &moments, &mut |_| Ok(None), &mut shelf);
        result.unwrap_err().to_string()
    };
    let good = RerankerSettings::new(adapter());
    let example = |tokens: &[u32], relevance: &[f32]| Example {
        tokens: tokens.to_vec(),
        relevance: relevance.to_vec(),
    };
    for (examples, expected) in [
        (
            vec![example(&[1], &[1.0, 0.0]), example(&[], &[1.0])],
            "example 2: expected at least one",
        ),
        (vec![example(&[24], &[1.0, 0.0])], "example 1: token 24"),
        (vec![example(&[0; 17], &[1.0, 0.0])], "example 1: expected at most 16 tokens"),
        (vec![example(&[1], &[0.0; 5])], "at most 4 candidates"),
        (vec![example(&[1], &[0.0, f32::NAN])], "NaN"),
        (vec![example(&[1], &[2.0, 2.0])], "different relevance"),
        (vec![], "none of 0 examples"),
    ] {
        let said = refused(&good, &examples);
        assert!(said.contains(expected), "{said}");
    }
    let wrong =
        RerankerSettings { rate: f32::NAN, batch: 0, epochs_max: 0, patience: 0, ..good.clone() };
    let said = refused(&wrong, &task(0, 5));
    for name in ["rate", "batch", "epochs_max", "patience"] {
        assert!(said.contains(name), "{said}");
    }
    let decoder = small(0);
    assert_eq!(decoder.precision(), Precision::F32);
}
