//! A decoder as a folder that Hugging Face's programs and [`Decoder::open`] load.

use super::layout::{self, SITES};
use super::{Decoder, DecoderConfig, Scaling};
use crate::device::Matrix;
use crate::error::{Error, Result};
use crate::model::weights;
use serde_json::{Value, json};
use std::ops::Range;

impl Decoder {
    /// All weights without adapters, one tensor after the other in the order of the layers.
    pub fn weights(&self) -> Vec<f32> {
        let mut all = Vec::new();
        let mut rows = |matrix: &Matrix, rows: Range<usize>, bias: &[f32]| {
            for row in rows {
                let start = all.len();
                all.resize(start + matrix.inputs(), 0.0);
                matrix.row(row, &mut all[start..]);
            }
            all.extend_from_slice(bias);
        };
        let vocabulary = 0..self.config.vocabulary;
        rows(self.embeddings(), vocabulary.clone(), &[]);
        for layer in &self.layers {
            rows(self.embeddings(), 0..0, &layer.attention_norm);
            for (site, parts) in layer.sites().into_iter().zip(SITES) {
                let mut start = 0;
                for part in parts {
                    let outputs = start..start + part.shape(&self.config)[0];
                    start = outputs.end;
                    let bias = if site.bias.is_empty() { &[] } else { &site.bias[outputs.clone()] };
                    rows(&site.weight, outputs, bias);
                }
            }
            rows(self.embeddings(), 0..0, &layer.forward_norm);
        }
        rows(self.embeddings(), 0..0, &self.last_norm);
        if self.untied.is_some() {
            rows(&self.head.matrix, vocabulary, &[]);
        }
        all
    }

    /// `config.json` and `model.safetensors` in f32, each with its name. Adapters are not part of
    /// them.
    ///
    /// Errors: [`Error::Model`] when the formats cannot hold them.
    pub fn to_files(&self) -> Result<[(&'static str, Vec<u8>); 2]> {
        let config = format!("{:#}\n", self.config.to_json()?);
        let tensors = layout::tensors(&self.config);
        let weights = weights::write_as(&tensors, &self.weights(), ["format", "pt"])?;
        Ok([("config.json", config.into_bytes()), ("model.safetensors", weights)])
    }
}

impl DecoderConfig {
    /// The configuration that [`DecoderConfig::parse`] reads as this one.
    ///
    /// Errors: [`Error::Model`] for biases that neither Llama nor Qwen2 has.
    fn to_json(&self) -> Result<Value> {
        let (architecture, model) = match (self.qkv_bias, self.output_bias) {
            (true, false) => ("Qwen2ForCausalLM", "qwen2"),
            (false, true) => {
                return Err(Error::Model(
                    "config: a bias of the attention's output alone: expected one of its queries, \
                     keys and values too, or none"
                        .into(),
                ));
            }
            _ => ("LlamaForCausalLM", "llama"),
        };
        let scaling = self.rope.scaling.as_ref().map(|scaling| {
            let Scaling { factor, low, high, original } = scaling;
            json!({
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low,
                "high_freq_factor": high,
                "original_max_position_embeddings": *original as u64,
            })
        });
        // The shortest decimal that is read as the same f32.
        let epsilon: f64 = self.epsilon.to_string().parse().unwrap_or(f64::from(self.epsilon));
        Ok(json!({
            "architectures": [architecture],
            "attention_bias": self.output_bias,
            "head_dim": self.width,
            "hidden_act": "silu",
            "hidden_size": self.hidden,
            "intermediate_size": self.inner,
            "max_position_embeddings": self.context_max,
            "mlp_bias": false,
            "model_type": model,
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "num_key_value_heads": self.shared,
            "rms_norm_eps": epsilon,
            "rope_scaling": scaling,
            "rope_theta": self.rope.theta,
            "tie_word_embeddings": self.tied,
            "torch_dtype": "float32",
            "vocab_size": self.vocabulary,
        }))
    }
}
