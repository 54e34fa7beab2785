//! The gradient of a whole decoder: PyTorch's, and that of an adapter against that of the weights.

use crate::decoder::{MODELS, golden};
use crate::kernels::{dot, random};
use serde_json::Value;
use std::path::Path;
use steerage::device::{Cpu, Precision};
use steerage::model::adapter::{Adapter, AdapterConfig};
use steerage::model::decoder::{Batch, Decoder, Learner, Projection, Prompt, Tape, Trained};
use steerage::model::tensors::Tensors;
use steerage::train::rank_net::{pairs, rank_net};

/// What PyTorch says of a model: see tests/golden/decoder/gradients.py.
pub struct Reference {
    pub prompts: Vec<Vec<u32>>,
    pub labels: Vec<u32>,
    pub relevance: Vec<Vec<f32>>,
    value: Value,
}

impl Reference {
    pub fn of(model: &str) -> Reference {
        let text = std::fs::read_to_string(golden(model).join("gradients.json")).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        Reference {
            prompts: serde_json::from_value(value["prompts"].clone()).unwrap(),
            labels: serde_json::from_value(value["labels"].clone()).unwrap(),
            relevance: serde_json::from_value(value["relevance"].clone()).unwrap(),
            value,
        }
    }

    pub fn logits(&self, kind: &str) -> Vec<f64> {
        let rows: Vec<Vec<f64>> =
            serde_json::from_value(self.value[kind]["logits"].clone()).unwrap();
        rows.concat()
    }

    fn loss(&self, kind: &str) -> f64 {
        self.value[kind]["loss"].as_f64().unwrap()
    }
}

/// Logits, loss, and the gradient by the parameters.
pub fn learn(learner: &Learner, with: &Reference) -> (Vec<f32>, f64, Vec<f32>) {
    let labels = with.labels.len();
    let batch = Batch::of(&learner.prompts(with.prompts.iter().map(|prompt| &prompt[..])));
    let (mut tape, mut logits) = (Tape::default(), vec![0.0; with.prompts.len() * labels]);
    learner.forward(&Cpu, &batch, 0, &mut tape, &mut logits);
    let count: u64 = with.relevance.iter().map(|relevance| pairs(relevance)).sum();
    let mut d_logits = vec![0.0; logits.len()];
    let rows = logits.chunks(labels).zip(d_logits.chunks_mut(labels));
    let losses = with.relevance.iter().zip(rows).map(|(relevance, (scores, d_scores))| {
        rank_net(scores, relevance, 1.0 / count as f32, d_scores)
    });
    let loss = losses.sum::<f64>() / count as f64;
    let mut gradient = vec![0.0; learner.parameters().len()];
    learner.backward(&Cpu, &batch, &mut tape, &d_logits, &mut gradient);
    // What the passes before left in the buffers makes no difference, nor whether layers are
    // computed again.
    for kept_bytes_max in [usize::MAX, 0] {
        let mut again = vec![0.0; gradient.len()];
        learner.forward(&Cpu, &batch, kept_bytes_max, &mut tape, &mut logits);
        learner.backward(&Cpu, &batch, &mut tape, &d_logits, &mut again);
        assert!(gradient == again);
    }
    (logits, loss, gradient)
}

pub fn length(x: &[f32]) -> f64 {
    x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()
}

pub fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    length(&a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<f32>>())
}

fn compare(model: &str, kind: &str, learner: &Learner) {
    let reference = Reference::of(model);
    let (logits, loss, gradient) = learn(learner, &reference);
    let worst = logits.iter().zip(reference.logits(kind)).map(|(a, b)| (f64::from(*a) - b).abs());
    assert!(worst.fold(0.0, f64::max) < 5e-5, "{model} {kind}");
    assert!((loss - reference.loss(kind)).abs() < 1e-5 * loss, "{model} {kind}: {loss}");
    let path = golden(model).join(format!("gradients-{kind}.safetensors"));
    let file = Tensors::single(&path).unwrap();
    let (mut start, mut found, mut worst) = (0, 0, 0.0f64);
    let whole = length(&gradient);
    for tensor in learner.tensors() {
        let part = &gradient[start..start + tensor.len()];
        start += tensor.len();
        let name = tensor.name.trim_start_matches("base_model.model.");
        let some: Vec<f32> = part.iter().copied().step_by(5).collect();
        let expected = file.vector(name).unwrap();
        let error = distance(&some, &expected) / (length(&expected) + 1e-4 * whole);
        assert!(error < 1e-3, "{model} {kind} {name}: {error:e}");
        worst = worst.max(error);
        found += 1;
    }
    assert_eq!(found, file.names().count(), "{model} {kind}");
    println!("{model} {kind}: {found} tensors, largest relative error {worst:.1e}");
}

#[test]
fn gradients_are_those_of_pytorch() {
    for model in MODELS {
        let labels = Reference::of(model).labels;
        let open = || Decoder::open(&golden(model), Some(Precision::F32)).unwrap();
        let learner = Learner::new(open(), &Trained::Full, &labels, 0).unwrap();
        compare(model, "full", &learner);
        let adapter = Adapter::open(&golden(model).join("adapter-rows"), open().config()).unwrap();
        let trained = Trained::Adapter(adapter.config().clone());
        let mut learner = Learner::new(open(), &trained, &labels, 0).unwrap();
        learner.set(adapter.weights()).unwrap();
        assert_eq!(learner.adapter().unwrap(), &adapter);
        compare(model, "rows", &learner);
    }
}

/// With the weights W + scale · B · A trained as they are, A and B would follow by the chain rule:
/// d_A = scale · Bᵀ · d_W and d_B = scale · d_W · Aᵀ.
/// What prompts begin with alike is computed once, and learned from as if each had its own.
#[test]
fn shared_beginnings_have_the_gradients_of_separate_ones() {
    for model in ["llama3", "qwen2"] {
        let with = Reference::of(model);
        let decoder = Decoder::open(&golden(model), Some(Precision::F32)).unwrap();
        let learner = Learner::new(decoder, &Trained::Full, &with.labels, 0).unwrap();
        let start: Vec<u32> = (0..50).map(|i| i * 7 % 40).collect();
        let prompts: Vec<Vec<u32>> = [(50, 3), (50, 9), (30, 4), (0, 12)]
            .map(|(shared, own)| start[..shared].iter().copied().chain(1..=own).collect())
            .into();
        let prompts = learner.prompts(prompts.iter().map(|tokens| &tokens[..]));
        let labels = with.labels.len();
        let gradient = |pieces: &[&[Prompt]]| {
            let (mut tape, mut gradient) = (Tape::default(), vec![0.0; learner.parameters().len()]);
            for prompts in pieces {
                let batch = Batch::of(prompts);
                let mut logits = vec![0.0; prompts.len() * labels];
                learner.forward(&Cpu, &batch, 0, &mut tape, &mut logits);
                // A loss of the logits' squares.
                learner.backward(&Cpu, &batch, &mut tape, &logits, &mut gradient);
            }
            gradient
        };
        let together = gradient(&[&prompts]);
        let apart = gradient(&prompts.chunks(1).collect::<Vec<_>>());
        assert!(distance(&together, &apart) < 1e-5 * length(&apart), "{model}");
    }
}

#[test]
fn an_adapter_learns_what_the_merged_weights_would() {
    let reference = Reference::of("llama3");
    let base = Decoder::open(&golden("llama3"), Some(Precision::F32)).unwrap();
    let config = AdapterConfig {
        rank: 3,
        alpha: 4.5,
        rslora: false,
        targets: Projection::ALL.to_vec(),
        tokens: Vec::new(),
        base: None,
    };
    let draws = random(8, 20_000);
    let adapter = Adapter::new(config.clone(), base.config(), |i| 0.3 * draws[i]);
    let (scale, plain) = (config.scale(), base.weights());
    let trained = Trained::Adapter(config);
    let mut learner = Learner::new(base.clone(), &trained, &reference.labels, 0).unwrap();
    learner.set(adapter.weights()).unwrap();
    let merged = Learner::new(base, &Trained::Full, &reference.labels, 0).unwrap();
    let mut weights = plain;
    let each = |change: &mut dyn FnMut(usize, Projection, usize)| {
        let mut start = 0;
        for tensor in merged.tensors() {
            for layer in 0..2 {
                for part in Projection::ALL {
                    if tensor.name == format!("{}.weight", part.name(layer)) {
                        change(layer, part, start);
                    }
                }
            }
            start += tensor.len();
        }
    };
    each(&mut |layer, part, start| {
        let (down, up) = adapter.factors(layer, part).unwrap();
        let (inputs, rank) = (down.len() / 3, 3);
        for (output, up) in up.chunks(rank).enumerate() {
            for input in 0..inputs {
                let sum: f32 = (0..rank).map(|r| up[r] * down[r * inputs + input]).sum();
                weights[start + output * inputs + input] += scale * sum;
            }
        }
    });
    let mut set = merged.clone();
    set.set(&weights).unwrap();
    let (logits, loss, gradient) = learn(&learner, &reference);
    let (logits_merged, loss_merged, full) = learn(&set, &reference);
    assert!(distance(&logits, &logits_merged) < 1e-4 && (loss - loss_merged).abs() < 1e-6);
    each(&mut |layer, part, start| {
        let (down, up) = adapter.factors(layer, part).unwrap();
        let [d_down, d_up] = adapter.places(layer, part).unwrap();
        let (inputs, rank) = (down.len() / 3, 3);
        let d_weight = &full[start..start + up.len() / rank * inputs];
        for r in 0..rank {
            let (mut a, mut b) = (vec![0.0; inputs], Vec::new());
            for (row, up) in d_weight.chunks(inputs).zip(up.chunks(rank)) {
                a.iter_mut().zip(row).for_each(|(a, d)| *a += scale * up[r] * d);
                b.push(scale * dot(row, &down[r * inputs..][..inputs]));
            }
            let found = &gradient[d_down.clone()][r * inputs..][..inputs];
            assert!(distance(found, &a) < 1e-4 * (length(&a) + 1e-2), "{layer} {part:?} A");
            let found: Vec<f32> =
                gradient[d_up.clone()][r..].iter().copied().step_by(rank).collect();
            assert!(distance(&found, &b) < 1e-4 * (length(&b) + 1e-2), "{layer} {part:?} B");
        }
    });
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let open = |precision| Decoder::open(&golden("qwen2"), Some(precision)).unwrap();
    let refused = |decoder, trained: &Trained, labels: &[u32]| {
        Learner::new(decoder, trained, labels, 0).unwrap_err().to_string()
    };
    let config = super::adapters::plain();
    let adapter = Trained::Adapter(config.clone());
    let said = refused(open(Precision::Bf16), &Trained::Full, &[1]);
    assert!(said.contains("expected f32"), "{said}");
    let said = refused(open(Precision::Fp8), &adapter, &[1]);
    assert!(said.contains("fp8, which has no gradients"), "{said}");
    let said = refused(open(Precision::F32), &adapter, &[]);
    assert!(said.contains("at least one label"), "{said}");
    let said = refused(open(Precision::F32), &adapter, &[90]);
    assert!(said.contains("token 90"), "{said}");
    let beyond = Trained::Adapter(AdapterConfig { tokens: vec![3, 90], ..config.clone() });
    let said = refused(open(Precision::F32), &beyond, &[1]);
    assert!(said.contains("token 90"), "{said}");
    let mut attached = open(Precision::F32);
    attached.attach(&Adapter::new(config, attached.config(), |_| 0.0));
    let said = refused(attached, &adapter, &[1]);
    assert!(said.contains("without adapters"), "{said}");
}

#[test]
fn a_folder_gives_back_the_decoder() {
    for model in MODELS {
        let decoder = Decoder::open(&golden(model), Some(Precision::F32)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let write = |to: &Path, decoder: &Decoder| {
            for (name, bytes) in decoder.to_files().unwrap() {
                std::fs::write(to.join(name), bytes).unwrap();
            }
        };
        write(folder.path(), &decoder);
        let again = Decoder::open(folder.path(), None).unwrap();
        assert_eq!(again.config(), decoder.config(), "{model}");
        assert_eq!(again.weights(), decoder.weights(), "{model}");
        assert_eq!(again.to_files().unwrap(), decoder.to_files().unwrap(), "{model}");
    }
}

#[test]
fn random_decoders_are_their_seeds() {
    let mut config = Decoder::open(&golden("qwen2"), None).unwrap().config().clone();
    let one = Decoder::random(config.clone(), 1).unwrap().weights();
    assert_eq!(one, Decoder::random(config.clone(), 1).unwrap().weights());
    assert_ne!(one, Decoder::random(config.clone(), 2).unwrap().weights());
    let table = &one[..config.vocabulary * config.hidden];
    let deviation = length(table) / (table.len() as f64).sqrt();
    let expected = 1.0 / (config.hidden as f64).sqrt();
    assert!((deviation / expected - 1.0).abs() < 0.05, "{deviation}, expected {expected}");
    config.shared = 3;
    let said = Decoder::random(config, 1).unwrap_err().to_string();
    assert!(said.contains("heads"), "{said}");
}
