//! The arms' models, each loaded once however many arms use it.

use super::super::devices;
use super::super::embed::Embeddings;
use super::super::label::texts;
use super::super::server;
use super::super::train_reranker::Loaded;
use super::Opened;
use crate::error::{Error, Result};
use crate::model::decoder::{DecoderFiles, SharedDriver};
use crate::model::generate::{Draw, Sampling};
use crate::model::tokenizer::Tokenizer;
use crate::spec::{DecoderGuideSpec, DecoderRanking, GuideSpec, RerankSpec};
use crate::stage::judge::Account;
use crate::stage::language::{LanguageControl, Speaker};
use crate::stage::node_graph::{Far, Guide, Near, NearSettings};
use crate::stage::prompt::Chat;
use crate::stage::texts::Texts;
use crate::stage::token_control::Scorer;
use crate::types::Catalogue;
use std::path::Path;
use std::sync::Arc;

/// What is loaded so far.
pub struct Models<'a> {
    /// The job.
    pub spec: &'a RerankSpec,
    opened: &'a Opened,
    /// By the re-ranker's position, and how it was loaded.
    loaded: Vec<(usize, Loaded, Arc<Scorer>)>,
    /// By the embeddings' position.
    speakers: Vec<(usize, Arc<Speaker>)>,
    /// By name.
    guides: Vec<(String, Arc<dyn Guide>)>,
    /// What guides behind servers have spent, if there are any.
    pub account: Option<Arc<Account>>,
    /// The searches of the whole catalogue that arms begin with.
    pub searches: Vec<LanguageControl>,
}

impl<'a> Models<'a> {
    /// Nothing yet.
    pub fn new(spec: &'a RerankSpec, opened: &'a Opened) -> Models<'a> {
        Models {
            spec,
            opened,
            loaded: Vec::new(),
            speakers: Vec::new(),
            guides: Vec::new(),
            account: None,
            searches: Vec::new(),
        }
    }

    /// The model that a re-ranker's job made, with what it learned or as it was before, and the
    /// weight that was fitted for it.
    ///
    /// Errors: a model that cannot be loaded.
    pub fn scorer(&mut self, reranker: &str, how: Loaded) -> Result<(Arc<Scorer>, f32)> {
        let at = self.spec.rerankers().iter().position(|name| *name == reranker);
        let at = at.expect("the list of re-rankers is made of the steps");
        let trained = &self.opened.rerankers[at];
        let weight = trained.facts.weight();
        let there = self.loaded.iter().find(|(a, h, _)| (*a, *h) == (at, how));
        if let Some((.., scorer)) = there {
            return Ok((Arc::clone(scorer), weight));
        }
        let devices = devices::open(&self.spec.device, "device")?;
        let (catalogue, tokens_max) =
            (&self.opened.prepared.catalogue, self.spec.device_tokens_max);
        let scorer = Arc::new(trained.scorer(catalogue, how, &devices, tokens_max)?);
        self.loaded.push((at, how, Arc::clone(&scorer)));
        Ok((scorer, weight))
    }

    /// A model that guides through graphs of nodes.
    ///
    /// Errors: there is none of this name.
    pub fn guide(&mut self, name: &str) -> Result<Arc<dyn Guide>> {
        if let Some((_, guide)) = self.guides.iter().find(|(other, _)| other == name) {
            return Ok(Arc::clone(guide));
        }
        let spec = self.spec.guides.iter().find(|guide| guide.name == name);
        let spec = spec.ok_or_else(|| Error::Input(format!("no [[guide]] is called {name:?}")))?;
        let texts = Arc::new(texts(&spec.texts, &self.opened.prepared.catalogue)?);
        let GuideSpec { window, stride, .. } = *spec;
        let guide: Arc<dyn Guide> = match (&spec.server, &spec.decoder) {
            (Some(server), _) => {
                let (run, store) = (&self.opened.run, &self.opened.store);
                let account = match &self.account {
                    Some(account) => Arc::clone(account),
                    None => server::account(&self.spec.budget, server, run, store)?,
                };
                self.account = Some(Arc::clone(&account));
                let asking = Arc::new(server::asking(server, 0, run, &account, store)?);
                Arc::new(Far { asking, texts, window, stride, meter: Arc::default() })
            }
            (None, Some(decoder)) => {
                Arc::new(near(decoder, [window, stride], texts, self.spec.device_tokens_max)?)
            }
            (None, None) => unreachable!("a checked guide has a decoder or a server"),
        };
        self.guides.push((name.to_owned(), Arc::clone(&guide)));
        Ok(guide)
    }

    /// Notes a search of the whole catalogue. Gives its number.
    pub fn search(&mut self, step: LanguageControl) -> usize {
        self.searches.push(step);
        self.searches.len() - 1
    }

    /// The encoder of requests, and the items as it sees them.
    ///
    /// Errors: files that are gone or changed; an item without a vector.
    pub fn speaker(&mut self, embeddings: &str) -> Result<Arc<Speaker>> {
        let at = self.spec.embeddings().iter().position(|name| *name == embeddings);
        let at = at.expect("the list of embeddings is made of the steps");
        if let Some((_, speaker)) = self.speakers.iter().find(|(a, _)| *a == at) {
            return Ok(Arc::clone(speaker));
        }
        let catalogue = &self.opened.prepared.catalogue;
        let devices = (&*devices::open(&self.spec.device, "device")?, self.spec.device_tokens_max);
        let speaker = speaker(at, &self.opened.embeddings[at], catalogue, devices)?;
        self.speakers.push((at, Arc::clone(&speaker)));
        Ok(speaker)
    }
}

/// A decoder that guides.
///
/// Errors: a folder that holds no decoder, an adapter of another one, a vocabulary without the
/// labels, or a device that is not there or does not take it.
fn near(
    spec: &DecoderGuideSpec,
    [window, stride]: [usize; 2],
    texts: Arc<Texts>,
    device_tokens_max: usize,
) -> Result<Near> {
    let folder = Path::new(&spec.path);
    let (seed, temperature) = (spec.seed, f64::from(spec.temperature));
    let drawn = Sampling::Drawn(Draw { seed, temperature, top_k: 0, top_p: 1.0 });
    let settings = NearSettings {
        window,
        stride,
        tokens_max: spec.tokens_max,
        written: spec.ranking == DecoderRanking::Written,
        sampling: if temperature > 0.0 { drawn } else { Sampling::Greedy },
        kept_bytes_max: spec.kept_mib << 20,
    };
    let chat = spec.chat.then(|| Chat::open(folder, None)).transpose()?;
    let adapter = spec.adapter.as_deref().map(Path::new);
    let (files, adapter) = DecoderFiles::open_adapted(folder, adapter)?;
    let files = files.kept_in(spec.precision.map(devices::precision));
    let tokens_max = files.config().batch_tokens(device_tokens_max, spec.tokens_max);
    let device = devices::open(&spec.device, "guide.decoder.device")?
        .pop()
        .map(|device| (device, tokens_max));
    Near::new(settings, (&files, adapter), device, Tokenizer::open(folder)?, chat, texts)
}

/// An embed job's encoder of requests, which gets a number, and a catalogue's items as it sees
/// them. Requests are read on devices, in batches of so many tokens, if they take the encoder.
///
/// Errors: files that are gone or changed; an item without a vector.
pub fn speaker(
    number: usize,
    embeddings: &Embeddings,
    catalogue: &Arc<Catalogue>,
    (devices, tokens_max): (&[SharedDriver], usize),
) -> Result<Arc<Speaker>> {
    let (items, width) = embeddings.vectors(catalogue)?;
    let texts = embeddings.encoder.labelled.texts(catalogue)?;
    let encoder = embeddings.encoder.encoder()?;
    let encoder = match encoder.device_refusal() {
        None => encoder.on(devices, tokens_max)?,
        Some(_) => encoder,
    };
    Ok(Arc::new(Speaker {
        number,
        hear: Arc::new(move |requests| encoder.requests(requests, 1)),
        describe: Arc::new(move |history| texts.context(history)),
        items,
        width,
        meter: Arc::default(),
    }))
}
