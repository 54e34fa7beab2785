//! Does an encoder on a device give the vectors that it gives on the processor, and the same bits in
//! every batch?

use super::loading::Written;
use super::{Device, Order};
use crate::encoder::{bits, expected, files, load, read};
use std::sync::Arc;
use steerage::device::Precision;
use steerage::model::encoder::Encoder;

fn device() -> Option<Arc<Device>> {
    Device::open(Order::ALL[0], None).map(Arc::new)
}

/// 1 less the cosine that is furthest from 1.
fn furthest(found: &[f32], exact: &Vec<Vec<f32>>) -> f64 {
    let pairs = found.chunks_exact(exact[0].len()).zip(exact);
    let cosines = pairs.map(|(x, y)| x.iter().zip(y).map(|(x, y)| f64::from(x * y)).sum::<f64>());
    cosines.map(|cosine| 1.0 - cosine).fold(0.0, f64::max)
}

/// As transformers says, within twice the error of its own bf16.
#[test]
fn vectors_are_those_of_transformers() {
    let (Some(device), expected) = (device(), expected()) else { return };
    let encoder = load(Precision::F32).on(device, 64).unwrap();
    let texts: Vec<String> = read(&expected["texts"]);
    let pairs: Vec<(String, String)> = read(&expected["pairs"]);
    let theirs = 1.0 - read::<f64>(&expected["bf16_cosine"]);
    let items = furthest(&encoder.items(&texts, 1).unwrap(), &read(&expected["embeddings"]));
    let asked = encoder.requests(&pairs, 1).unwrap();
    let asked = furthest(&asked, &read(&expected["pair_embeddings"]));
    assert!(items <= 2.0 * theirs && asked <= 2.0 * theirs, "{items}, {asked} against {theirs}");
}

#[test]
fn a_texts_bits_do_not_depend_on_the_others() {
    let Some(one) = device() else { return };
    let texts: Vec<String> = read(&expected()["texts"]);
    let narrow = load(Precision::Bf16).on(one, 40).unwrap();
    let wide = load(Precision::Bf16).on(device().unwrap(), 4096).unwrap();
    let all = wide.items(&texts, 1).unwrap();
    assert_eq!(bits(&narrow.items(&texts, 2).unwrap()), bits(&all));
    let width = wide.width();
    for (text, row) in texts.iter().zip(all.chunks(width)).take(4) {
        let alone = wide.items(std::slice::from_ref(text), 1).unwrap();
        assert_eq!(bits(&alone), bits(row), "{text:?}");
    }
    assert!(wide.items(&[], 1).unwrap().is_empty());
}

#[test]
fn a_decoder_as_the_base_stays_on_the_processor() {
    let Some(device) = device() else { return };
    let folder = files::decoder_folder();
    let encoder = Encoder::open(folder.path(), None, None, 16, 0).unwrap();
    let refused = encoder.on(device, 64).err().unwrap().to_string();
    assert!(refused.contains("a decoder computes on the processor alone"), "{refused}");
}

/// Before anything is loaded, from a `config.json`.
#[test]
fn what_is_planned_is_what_a_device_is_asked_for() {
    let encoder = load(Precision::F32);
    let config = |encoder: &Encoder| {
        let files = encoder.to_files().unwrap();
        files.into_iter().find(|(name, _)| *name == "config.json").unwrap().1
    };
    for tokens_max in [1, 4096] {
        let planned = Encoder::device_memory("c", &config(&encoder), tokens_max).unwrap();
        let device = Arc::<Written>::default();
        let there = encoder.clone().on(device.clone(), tokens_max).unwrap();
        assert_eq!(device.bytes(), planned.weights_bytes + planned.batch_bytes, "{tokens_max}");
        drop(there);
    }
    let folder = files::decoder_folder();
    let decoder = Encoder::open(folder.path(), None, None, 16, 0).unwrap();
    let refused = Encoder::device_memory("c", &config(&decoder), 64).unwrap_err();
    assert_eq!(Some(refused.to_string()), decoder.device_refusal());
}
