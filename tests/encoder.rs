//! Does an encoder give the vectors that transformers gives, and the same bits however it is run?
//! The expected files are made by tests/golden/encoder/make.py.

pub mod files;
mod gradients;
pub mod kernels;
pub mod learning;
mod words;

use serde_json::Value;
use std::path::{Path, PathBuf};
use steerage::device::Precision;
use steerage::model::encoder::Encoder;

pub fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/encoder")
}

pub fn expected() -> Value {
    serde_json::from_slice(&std::fs::read(golden().join("expected.json")).unwrap()).unwrap()
}

pub fn read<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

pub fn load(precision: Precision) -> Encoder {
    Encoder::open(&golden(), Some(precision), None, 40, 0).unwrap()
}

pub fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

fn close(found: &[f32], exact: &[Vec<f32>], bound: f32) {
    let exact: Vec<f32> = exact.iter().flatten().copied().collect();
    assert_eq!(found.len(), exact.len());
    let error = found.iter().zip(&exact).fold(0.0f32, |most, (x, y)| most.max((x - y).abs()));
    assert!(error <= bound, "{error:e} is more than {bound:e}");
}

#[test]
fn vectors_are_those_of_transformers() {
    let expected = expected();
    let texts: Vec<String> = read(&expected["texts"]);
    let pairs: Vec<(String, String)> = read(&expected["pairs"]);
    let exact: Vec<Vec<f32>> = read(&expected["embeddings"]);
    let encoder = load(Precision::F32);
    assert_eq!((encoder.width(), encoder.precision()), (32, Precision::F32));
    close(&encoder.items(&texts, 1).unwrap(), &exact, 1e-6);
    close(
        &encoder.requests(&pairs, 1).unwrap(),
        &read::<Vec<Vec<f32>>>(&expected["pair_embeddings"]),
        1e-6,
    );

    let half = load(Precision::Bf16).items(&texts, 1).unwrap();
    let lowest =
        half.chunks(32).zip(&exact).map(|(x, y)| x.iter().zip(y).map(|(x, y)| x * y).sum());
    let lowest: f64 = lowest.map(|cosine: f32| f64::from(cosine)).fold(1.0, f64::min);
    let theirs: f64 = read(&expected["bf16_cosine"]);
    assert!(1.0 - lowest <= 2.0 * (1.0 - theirs), "{lowest} and {theirs}");
}

#[test]
fn a_texts_bits_do_not_depend_on_the_others_or_on_threads() {
    let texts: Vec<String> = read(&expected()["texts"]);
    let pairs: Vec<(String, String)> = read(&expected()["pairs"]);
    for precision in [Precision::F32, Precision::Bf16] {
        let encoder = load(precision);
        let all = encoder.items(&texts, 1).unwrap();
        let asked = encoder.requests(&pairs, 1).unwrap();
        for threads in [2, 3, 7] {
            assert_eq!(bits(&encoder.items(&texts, threads).unwrap()), bits(&all));
            assert_eq!(bits(&encoder.requests(&pairs, threads).unwrap()), bits(&asked));
        }
        for (text, row) in texts.iter().zip(all.chunks(32)) {
            let alone = encoder.items(std::slice::from_ref(text), 1).unwrap();
            assert_eq!(bits(&alone), bits(row), "{text:?}");
            // The untrained towers are one, and a request without a context reads like an item.
            let pair = [(text.clone(), String::new())];
            assert_eq!(bits(&encoder.requests(&pair, 1).unwrap()), bits(row), "{text:?}");
        }
        assert!(encoder.items(&[], 2).unwrap().is_empty());
    }
}

#[test]
fn what_is_too_long_is_cut_and_the_context_first() {
    let short = Encoder::open(&golden(), None, None, 8, 0).unwrap();
    let long = load(Precision::F32);
    let pair = |request: &str, context: &str| [(request.to_owned(), context.to_owned())];
    let same = |cut: &[(String, String)], whole: &[(String, String)]| {
        assert_eq!(
            bits(&short.requests(cut, 1).unwrap()),
            bits(&long.requests(whole, 1).unwrap()),
            "{cut:?}"
        );
    };
    // The letters x are a token each: with three of the special ones five are left.
    same(&pair("x x", "x x x x x"), &pair("x x", "x x x"));
    same(&pair("x x x x x", "x x x"), &pair("x x x x x", ""));
    same(&pair("x x x x x x x x", "x"), &pair("x x x x x x", ""));
    for (tokens_max, said) in [(3, "from 4 to 40"), (41, "from 4 to 40")] {
        let error = Encoder::open(&golden(), None, None, tokens_max, 0).err().unwrap().to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn heads_of_another_width_keep_what_is_alike_alike() {
    let texts: Vec<String> = read(&expected()["texts"]);
    let wide = load(Precision::F32).items(&texts, 1).unwrap();
    let encoder = Encoder::open(&golden(), None, Some(512), 40, 3).unwrap();
    let other = encoder.items(&texts, 1).unwrap();
    assert_eq!((encoder.width(), other.len()), (512, texts.len() * 512));
    let cosine = |rows: &[f32], width: usize, a: usize, b: usize| -> f32 {
        let (a, b) = (&rows[a * width..(a + 1) * width], &rows[b * width..(b + 1) * width]);
        a.iter().zip(b).map(|(x, y)| x * y).sum()
    };
    for a in 0..texts.len() {
        assert!((cosine(&other, 512, a, a) - 1.0).abs() < 1e-5, "vectors have length 1");
        for b in 0..a {
            let (one, two) = (cosine(&wide, 32, a, b), cosine(&other, 512, a, b));
            assert!((one - two).abs() < 0.25, "{a} {b}: {one} {two}");
        }
    }
    assert!((encoder.logit(0.5) - 5.0).abs() < 1e-5);
}
