//! A finished re-ranker, as rerank jobs use it.

use super::base::{folder_prompter, new_prompter, with_controls};
use super::{Facts, facts};
use crate::commands::devices::precision;
use crate::commands::runs::{model_file, model_key};
use crate::device::Precision;
use crate::error::{Error, Result};
use crate::model::adapter::{Adapter, AdapterConfig};
use crate::model::decoder::{DecoderConfig, DecoderFiles, Memory, SharedDriver};
use crate::model::tensors::Tensors;
use crate::spec::{PrecisionSpec, TrainRerankerSpec};
use crate::stage::prompt::Prompter;
use crate::stage::reader::Reader;
use crate::stage::token_control::Scorer;
use crate::store::RunDir;
use crate::types::Catalogue;
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;

/// Whether with what was learned, and in what the projections are kept.
pub type Loaded = (bool, Option<PrecisionSpec>);

/// A finished training run.
pub struct Reranker {
    /// Its directory.
    pub run: RunDir,
    /// What it came to.
    pub facts: Facts,
    spec: TrainRerankerSpec,
}

impl Reranker {
    /// Opens a finished run of the job.
    ///
    /// Errors: a run that is not finished.
    pub fn open(run: RunDir, spec: &TrainRerankerSpec) -> Result<Reranker> {
        Ok(Reranker { facts: facts(&run)?, run, spec: spec.clone() })
    }

    /// The decoder, ready to score on the processor or on devices; learned or as it was before.
    ///
    /// Errors: files that are gone or changed; a decoder that was nothing before it learned; a
    /// device that does not take it.
    pub fn scorer(
        &self,
        catalogue: &Arc<Catalogue>,
        (learned, kept): Loaded,
        devices: &[SharedDriver],
        tokens_max: usize,
    ) -> Result<Scorer> {
        let (files, prompter, adapter) = match &self.spec.base.path {
            Some(folder) => self.of_folder(Path::new(folder), catalogue, learned)?,
            None if learned => {
                let prompter = new_prompter(&self.spec, &self.file("tokenizer.json")?, catalogue)?;
                (self.whole()?, prompter, None)
            }
            None => {
                return Err(Error::Input(format!(
                    "{}: began with random weights, so that there is nothing to compare it with: \
                     leave `adapter = false` out",
                    self.run.name()
                )));
            }
        };
        let labels: Vec<u32> = prompter.labels().collect();
        let tokens_max = files.config().batch_tokens(tokens_max, self.spec.prompt.tokens_max);
        let files = files.kept_in(kept.map(precision));
        let reader = Reader::open(&files, &labels, devices, tokens_max)?;
        Ok(Scorer { prompter, reader, adapter, meter: Arc::default() })
    }

    /// What the decoder will take on a device, by its dimensions; learned or as it was before.
    ///
    /// Errors: files that are gone or changed; a decoder that a device does not take.
    pub fn memory(&self, (learned, kept): Loaded, tokens_max: usize) -> Result<Memory> {
        let whole = learned && self.spec.lora.is_none();
        let config = match &self.spec.base.path {
            Some(folder) if !whole => DecoderConfig::open(Path::new(folder))?,
            _ => DecoderConfig::parse(&self.path("config.json"), &self.file("config.json")?)?,
        };
        let adapter = (learned && !whole).then(|| self.adapter_config()).transpose()?;
        let tokens_max = config.batch_tokens(tokens_max, self.spec.prompt.tokens_max);
        let kept = kept.map_or(Precision::Bf16, precision);
        Memory::expected(&config, adapter.as_ref(), kept, tokens_max)
    }

    fn of_folder(
        &self,
        folder: &Path,
        catalogue: &Arc<Catalogue>,
        learned: bool,
    ) -> Result<(DecoderFiles, Prompter, Option<u32>)> {
        let prompter = folder_prompter(&self.spec, folder, catalogue)?;
        if learned && self.spec.lora.is_none() {
            return Ok((self.whole()?, prompter, None));
        }
        let mut files = with_controls(folder, &prompter)?;
        let adapter = match learned {
            true => Some(self.adapter(files.config())?),
            false => None,
        };
        let adapter = adapter.map(|adapter| files.attach(adapter));
        Ok((files, prompter, adapter))
    }

    /// The decoder of a training of every weight.
    fn whole(&self) -> Result<DecoderFiles> {
        let (config, weights) = (self.file("config.json")?, self.file("model.safetensors")?);
        let config = DecoderConfig::parse(&self.path("config.json"), &config)?;
        DecoderFiles::of(config, Tensors::of(&self.path("model.safetensors"), &weights)?)
    }

    fn adapter(&self, base: &DecoderConfig) -> Result<Adapter> {
        let weights = self.file("adapter_model.safetensors")?;
        let tensors = Tensors::of(&self.path("adapter_model.safetensors"), &weights)?;
        Adapter::read(self.adapter_config()?, base, &tensors)
    }

    fn adapter_config(&self) -> Result<AdapterConfig> {
        let weights = self.file("adapter_model.safetensors")?;
        let tensors = Tensors::of(&self.path("adapter_model.safetensors"), &weights)?;
        let (path, config) = (self.path("adapter_config.json"), self.file("adapter_config.json")?);
        AdapterConfig::parse(&path, &config, tensors.names())
    }

    fn path(&self, name: &str) -> String {
        self.run.path(&model_key(name)).display().to_string()
    }

    /// A file that the run's commit vouches for.
    fn file(&self, name: &str) -> Result<Bytes> {
        model_file(&self.run, name)
    }
}
