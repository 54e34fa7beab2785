//! Adapters: what is written is what is read, in PEFT's layout.

use crate::decoder::{MODELS, bits, expected, golden};
use crate::kernels::random;
use steerage::device::{Cpu, Precision};
use steerage::model::adapter::{Adapter, AdapterConfig};
use steerage::model::decoder::{Decoder, Projection, Prompt};

/// Of rank 1, on one projection.
pub fn plain() -> AdapterConfig {
    AdapterConfig {
        rank: 1,
        alpha: 1.0,
        rslora: false,
        targets: vec![Projection::Query],
        tokens: Vec::new(),
        base: None,
    }
}

#[test]
fn what_is_written_is_what_was_read() {
    for model in MODELS {
        let base = Decoder::open(&golden(model), None).unwrap();
        for (name, ..) in expected(model).adapters.iter().filter(|(name, ..)| !name.is_empty()) {
            let folder = golden(model).join(format!("adapter-{name}"));
            let adapter = Adapter::open(&folder, base.config()).unwrap();
            let copy = tempfile::tempdir().unwrap();
            for (name, bytes) in adapter.to_files().unwrap() {
                std::fs::write(copy.path().join(name), bytes).unwrap();
            }
            assert_eq!(Adapter::open(copy.path(), base.config()).unwrap(), adapter);
        }
    }
}

/// An adapter changes its own projections, in every layer, by B · A times the scale: as if it had
/// been merged.
#[test]
fn an_adapter_is_the_difference_it_makes() {
    let base = Decoder::open(&golden("llama3"), None).unwrap();
    for target in Projection::ALL {
        let config =
            AdapterConfig { rank: 2, alpha: 3.0, rslora: false, targets: vec![target], ..plain() };
        assert_eq!(config.scale(), 1.5);
        let draws = random(1, 10_000);
        let adapter = Adapter::new(config, base.config(), |i| draws[i]);
        for other in Projection::ALL.into_iter().filter(|other| *other != target) {
            assert_eq!(adapter.factors(1, other), None);
        }
        let [outputs, inputs] = target.shape(base.config());
        let (down, up) = adapter.factors(1, target).unwrap();
        assert_eq!((down.len(), up.len()), (2 * inputs, 2 * outputs));
        let mut with = base.clone();
        assert_eq!(with.attach(&adapter), 0);
        let prompt = |adapter| Prompt { tokens: vec![5, 6, 7], adapter };
        let logits = |decoder: &Decoder, adapter| {
            decoder.logits(&Cpu, &[prompt(adapter)], decoder.head(), 1).unwrap()
        };
        assert_eq!(bits(&logits(&base, None)), bits(&logits(&with, None)), "{target:?}");
        let change = logits(&with, None)
            .iter()
            .zip(logits(&with, Some(0)))
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        assert!(change > 1e-2, "{target:?}: {change}");
    }
}

#[test]
fn whole_and_broken_alphas_are_written_as_they_are() {
    let base = Decoder::open(&golden("llama2"), Some(Precision::F32)).unwrap();
    for (alpha, text) in [(16.0, "\"lora_alpha\": 16,"), (0.5, "\"lora_alpha\": 0.5,")] {
        let targets = vec![Projection::Query, Projection::Down];
        let config = AdapterConfig { rank: 4, alpha, rslora: true, targets, ..plain() };
        let [(_, json), _] = Adapter::new(config, base.config(), |_| 0.0).to_files().unwrap();
        let json = String::from_utf8(json).unwrap();
        assert!(json.contains(text), "{json}");
    }
}
