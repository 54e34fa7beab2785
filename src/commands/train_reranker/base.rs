//! The decoder that a re-ranker begins with: a folder's, or a new one.

use super::{Opened, learned};
use crate::commands::rerank::attribute;
use crate::device::Precision;
use crate::error::{Error, Result};
use crate::model::decoder::{Decoder, DecoderConfig, DecoderFiles, Memory, Rope, Trained};
use crate::model::tokenizer::Tokenizer;
use crate::model::words;
use crate::spec::{PromptSpec, TrainRerankerSpec};
use crate::stage::prompt::{PromptSettings, Prompter, TEMPLATE};
use crate::train::reranker::TOKENS;
use crate::types::Catalogue;
use std::path::Path;
use std::sync::Arc;

/// What training begins with.
pub struct Base {
    /// The weights.
    pub decoder: Decoder,
    /// Makes prompts for it.
    pub prompter: Prompter,
    /// `tokenizer.json`, if it is new.
    pub tokenizer: Option<Vec<u8>>,
}

impl Base {
    /// Opens the folder's decoder, or makes a new one.
    ///
    /// Errors: a folder or a template that cannot be used, an attribute that is not there.
    pub fn open(spec: &TrainRerankerSpec, opened: &Opened) -> Result<Base> {
        let catalogue = &opened.prepared.catalogue;
        if let Some(folder) = &opened.folder {
            let prompter = folder_prompter(spec, folder, catalogue)?;
            // Every weight is trained in f32, an adapter over whatever the files hold.
            let precision = spec.lora.is_none().then_some(Precision::F32);
            let decoder = with_controls(folder, &prompter)?.kept_in(precision).load()?;
            return Ok(Base { decoder, prompter, tokenizer: None });
        }
        let json = new_words(spec, catalogue)?;
        let prompter = new_prompter(spec, &json, catalogue)?;
        let vocabulary = prompter.vocabulary();
        let decoder = Decoder::random(new_config(spec, vocabulary), spec.train.seed)?;
        Ok(Base { decoder, prompter, tokenizer: Some(json) })
    }
}

/// What learning takes on the job's device, if it has one, and the batches that it is for.
///
/// Errors: a folder or a template that cannot be used; a decoder that a device does not take.
pub fn memory(spec: &TrainRerankerSpec, opened: &Opened) -> Result<Option<(Memory, String)>> {
    if spec.device.is_cpu() {
        return Ok(None);
    }
    let catalogue = &opened.prepared.catalogue;
    let (config, prompter) = match &opened.folder {
        Some(folder) => {
            let (mut config, prompter) =
                (DecoderConfig::open(folder)?, folder_prompter(spec, folder, catalogue)?);
            config.vocabulary += prompter.meanings()?.len();
            (config, prompter)
        }
        None => {
            let prompter = new_prompter(spec, &new_words(spec, catalogue)?, catalogue)?;
            (new_config(spec, prompter.vocabulary()), prompter)
        }
    };
    let learned = learned(spec, prompter.control_tokens());
    let adapter = match &learned {
        Trained::Adapter(config) => Some(config),
        Trained::Full => None,
    };
    let (tokens, kept) = (TOKENS.max(spec.prompt.tokens_max), spec.train.kept_mib_max << 20);
    let memory = Memory::learning(&config, adapter, tokens, kept)?;
    Ok(Some((memory, format!("{tokens} tokens and their gradients"))))
}

/// The folder's decoder with a row more for each control token: the mean of the rows of its name.
///
/// Errors: those of [`DecoderFiles::open_extended`].
pub fn with_controls(folder: &Path, prompter: &Prompter) -> Result<DecoderFiles> {
    DecoderFiles::open_extended(folder, prompter.meanings()?)
}

/// Makes prompts for a folder's decoder, no longer than what it can read.
///
/// Errors: a folder or a template that cannot be used; a tokenizer with tokens that the decoder has
/// no rows for.
pub fn folder_prompter(
    spec: &TrainRerankerSpec,
    folder: &Path,
    catalogue: &Arc<Catalogue>,
) -> Result<Prompter> {
    let mut settings = prompt_settings(&spec.prompt, catalogue)?;
    let config = DecoderConfig::open(folder)?;
    settings.tokens_max = settings.tokens_max.min(config.context_max);
    let tokenizer = Tokenizer::open(folder)?;
    let (tokens, rows) = (tokenizer.vocabulary(), config.vocabulary);
    if tokens > rows {
        return Err(Error::Model(format!(
            "{}: tokenizer.json: expected tokens up to {}, the last row of the model's embeddings, \
             found {}: take the tokenizer that belongs to the model",
            folder.display(),
            rows - 1,
            tokens - 1
        )));
    }
    Prompter::new(settings, tokenizer, rows, Arc::clone(catalogue))
}

/// Makes prompts with words that were collected for a new decoder.
pub fn new_prompter(
    spec: &TrainRerankerSpec,
    json: &[u8],
    catalogue: &Arc<Catalogue>,
) -> Result<Prompter> {
    let settings = prompt_settings(&spec.prompt, catalogue)?;
    let tokenizer = Tokenizer::parse("tokenizer.json", json)?;
    Prompter::new(settings, tokenizer, 0, Arc::clone(catalogue))
}

/// The job's prompt, its names looked up.
pub fn prompt_settings(spec: &PromptSpec, catalogue: &Catalogue) -> Result<PromptSettings> {
    let attributes = spec.attributes.iter();
    let attributes = attributes.map(|name| attribute(catalogue, "prompt.attributes", name));
    Ok(PromptSettings {
        template: spec.template.clone().unwrap_or_else(|| TEMPLATE.to_owned()),
        attributes: attributes.collect::<Result<Vec<usize>, Error>>()?,
        history_max: spec.history_max,
        candidates_max: spec.candidates,
        text_chars_max: spec.text_chars_max,
        description_chars_max: spec.description_chars_max,
        tokens_max: spec.tokens_max,
    })
}

/// `tokenizer.json` of a new decoder: all words of the template and of attributes' values, each
/// value also as one word, and the most frequent words of titles
/// and descriptions.
fn new_words(spec: &TrainRerankerSpec, catalogue: &Catalogue) -> Result<Vec<u8>> {
    let labels = spec.prompt.attributes.iter().filter_map(|name| catalogue.attribute(name));
    let labels: Vec<&String> = labels.flat_map(|at| &catalogue.attributes[at].labels).collect();
    let joined: Vec<String> = labels.iter().map(|label| words::one_word(label)).collect();
    let template = spec.prompt.template.as_deref().unwrap_or(TEMPLATE);
    let ours = ["or not at most least", template].into_iter();
    let whole = ours.chain(labels.into_iter().chain(&joined).map(String::as_str));
    let texts = catalogue.titles.iter().chain(&catalogue.descriptions).map(|text| &**text);
    words::tokenizer(whole, texts, spec.base.words_max, spec.prompt.candidates)
}

/// The shape of a new decoder with so many tokens.
fn new_config(spec: &TrainRerankerSpec, vocabulary: usize) -> DecoderConfig {
    let base = &spec.base;
    DecoderConfig {
        vocabulary,
        hidden: base.hidden,
        inner: base.inner,
        layers: base.layers,
        heads: base.heads,
        shared: base.shared_heads,
        width: base.hidden / base.heads,
        context_max: spec.prompt.tokens_max,
        epsilon: 1e-5,
        rope: Rope { theta: 10_000.0, scaling: None },
        tied: true,
        qkv_bias: false,
        output_bias: false,
    }
}
