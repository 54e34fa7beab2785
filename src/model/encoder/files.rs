//! An encoder as files, both ways: a Hugging Face folder with the two heads beside it.
//!
//! ```text
//! config.json  model.safetensors  tokenizer.json    the base: BERT or Llama, as transformers read
//! heads.safetensors                                 heads, scale and bias
//! ```

use super::base::{Base, Reader};
use super::bert::Bert;
use super::heads::Heads;
use super::text::Texts;
use super::{BertConfig, Encoder, layout};
use crate::device::Precision;
use crate::error::{Error, Result};
use crate::model::decoder::{Decoder, DecoderConfig, DecoderFiles};
use crate::model::tensors::Tensors;
use crate::model::tokenizer::Tokenizer;
use crate::model::weights;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;

const CONFIG: &str = "config.json";
const MODEL: &str = "model.safetensors";
const TOKENIZER: &str = "tokenizer.json";
const HEADS: &str = "heads.safetensors";

/// Numbers of the widest vectors.
const WIDTH_MAX: usize = 1 << 16;

/// What is kept beside the heads.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    width: usize,
    tokens_max: usize,
    bf16: bool,
}

impl Encoder {
    /// Loads a base in Hugging Face layout, a BERT or a Llama, with heads that change nothing or,
    /// where `width` is not the base's, turn its rows at random. Without a precision, a file in f32
    /// is kept in f32 and others in bf16.
    ///
    /// Errors: [`Error::Io`] for what cannot be opened, [`Error::Model`] for what is not
    /// implemented, missing, extra, mis-shaped or not finite, and for a `tokens_max` out of range.
    pub fn open(
        folder: &Path,
        precision: Option<Precision>,
        width: Option<usize>,
        tokens_max: usize,
        seed: u64,
    ) -> Result<Self> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).map_err(Error::io("read", &path))
        };
        let what = folder.display().to_string();
        if !folder.join(TOKENIZER).exists() && folder.join("vocab.txt").exists() {
            return Err(Error::Model(format!(
                "{what}: {TOKENIZER}: missing: expected it beside the weights, found vocab.txt \
                 alone: make it with transformers' AutoTokenizer.from_pretrained(FOLDER)\
                 .save_pretrained(FOLDER)"
            )));
        }
        let config = read(CONFIG)?;
        let tensors = Tensors::open(folder)?;
        let (base, ends) = base(&format!("{what}/{CONFIG}"), &config, tensors, precision)?;
        Self::new(base, read(TOKENIZER)?, ends, (width, tokens_max), seed)
    }

    /// Puts an encoder with new heads together.
    pub(super) fn new(
        base: Base,
        tokenizer_json: Vec<u8>,
        ends: [Option<u32>; 2],
        (width, tokens_max): (Option<usize>, usize),
        seed: u64,
    ) -> Result<Self> {
        if let Some(width) = width.filter(|width| !(1..=WIDTH_MAX).contains(width)) {
            return Err(Error::Model(format!(
                "encoder: width = {width}: expected from 1 to {WIDTH_MAX}"
            )));
        }
        let tokenizer = Tokenizer::parse(TOKENIZER, &tokenizer_json)?;
        let texts = match base.reader() {
            Reader::Bert(_) => Texts::bert(tokenizer, tokens_max)?,
            Reader::Decoder(..) => Texts::decoder(tokenizer, tokens_max, ends)?,
        };
        texts.check(base.context_max())?;
        texts.check_vocabulary(base.vocabulary())?;
        let hidden = base.hidden();
        let heads = Heads::new([width.unwrap_or(hidden), hidden], seed);
        Ok(Self { base, heads, texts, tokenizer_json, ends, devices: None })
    }

    /// Its files, each with its name, weights in f32: what was learned beside the base is merged
    /// into it.
    ///
    /// Errors: [`Error::Model`] when the formats cannot hold them.
    pub fn to_files(&self) -> Result<Vec<(&'static str, Vec<u8>)>> {
        let bf16 = self.precision() == Precision::Bf16;
        let kept = Kept { width: self.width(), tokens_max: self.tokens_max(), bf16 };
        let kept = serde_json::to_string(&kept).map_err(|e| Error::Model(e.to_string()))?;
        let tensors = Heads::tensors(self.heads.shape());
        let heads = weights::write(&tensors, self.heads.values(), &kept)?;
        let mut files = match &self.base {
            Base::Bert(bert) => bert_files(bert)?,
            Base::Decoder(decoder) => decoder_files(decoder, self.ends)?,
            Base::Learning(learner) => decoder_files(&learner.merged()?, self.ends)?,
        };
        files.extend([(HEADS, heads), (TOKENIZER, self.tokenizer_json.clone())]);
        Ok(files)
    }

    /// Loads what [`Encoder::to_files`] gave, by the files' names. `what` names them together in
    /// messages. Without a precision, the base is kept in what it was kept in before.
    ///
    /// Errors: those of `file`; [`Error::Model`] for what is missing, extra, mis-shaped or not
    /// finite.
    pub fn from_files(
        what: &str,
        precision: Option<Precision>,
        file: &dyn Fn(&str) -> Result<Bytes>,
    ) -> Result<Self> {
        let (config, model, heads) = (file(CONFIG)?, file(MODEL)?, file(HEADS)?);
        let name = |name: &str| format!("{what}: {name}");
        let kept: Kept = serde_json::from_str(&weights::metadata(&name(HEADS), &heads)?)
            .map_err(|e| Error::Model(format!("{}: metadata: {e}", name(HEADS))))?;
        let before = if kept.bf16 { Precision::Bf16 } else { Precision::F32 };
        let tensors = Tensors::of(&name(MODEL), &model)?;
        let precision = Some(precision.unwrap_or(before));
        let (base, ends) = base(&name(CONFIG), &config, tensors, precision)?;
        let sizes = (Some(kept.width), kept.tokens_max);
        let mut encoder = Self::new(base, file(TOKENIZER)?.to_vec(), ends, sizes, 0)?;
        encoder.heads = Heads::read(&name(HEADS), &heads, encoder.heads.shape())?;
        Ok(encoder)
    }
}

/// A base and, of a decoder, the tokens that texts begin and end with.
fn base(
    what: &str,
    config: &[u8],
    tensors: Tensors,
    precision: Option<Precision>,
) -> Result<(Base, [Option<u32>; 2])> {
    let value: Value = serde_json::from_slice(config)
        .map_err(|e| Error::Model(format!("{what}: not JSON: {e}")))?;
    let kept = if tensors.all_f32() { Precision::F32 } else { Precision::Bf16 };
    let precision = precision.unwrap_or(kept);
    match value.get("model_type").and_then(Value::as_str) {
        Some("llama" | "qwen2") => {
            let files = DecoderFiles::of(DecoderConfig::parse(what, config)?, tensors)?;
            let token = |key: &str| match value.get(key) {
                Some(Value::Array(several)) => several.first().and_then(Value::as_u64),
                one => one.and_then(Value::as_u64),
            };
            let ends = ["bos_token_id", "eos_token_id"];
            let ends = ends.map(|key| token(key).and_then(|token| u32::try_from(token).ok()));
            Ok((Base::Decoder(files.kept_in(Some(precision)).load()?), ends))
        }
        Some("bert") => {
            let config = BertConfig::parse(what, config)?;
            Ok((Base::Bert(Bert::read(config, &tensors, precision)?), [None; 2]))
        }
        found => Err(Error::Model(format!(
            "{what}: model_type: expected \"bert\", \"llama\" or \"qwen2\", found {}: other \
             encoders are not implemented",
            found.map_or("none".into(), |found| format!("{found:?}"))
        ))),
    }
}

fn bert_files(bert: &Bert) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let config = format!("{:#}\n", bert.config().to_json()).into_bytes();
    let tensors = layout::tensors(bert.config());
    let model = weights::write_as(&tensors, &bert.weights(), ["format", "pt"])?;
    Ok(vec![(CONFIG, config), (MODEL, model)])
}

/// A decoder's files, with the tokens that texts begin and end with in the configuration.
fn decoder_files(
    decoder: &Decoder,
    [begin, end]: [Option<u32>; 2],
) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let [(_, config), (_, model)] = decoder.to_files()?;
    let mut config: Value =
        serde_json::from_slice(&config).map_err(|e| Error::Model(format!("{CONFIG}: {e}")))?;
    config["bos_token_id"] = begin.into();
    config["eos_token_id"] = end.into();
    Ok(vec![(CONFIG, format!("{config:#}\n").into_bytes()), (MODEL, model)])
}
