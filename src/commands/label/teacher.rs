//! Who judges.

use super::Opened;
use crate::commands::{devices, server};
use crate::error::{Error, Result};
use crate::model::decoder::DecoderFiles;
use crate::model::tokenizer::Tokenizer;
use crate::spec::{DecoderTeacherSpec, LabelSpec, TeacherSpec};
use crate::stage::judge::{
    Asking, Attributes, Far, FarNamer, Namer, Near, Neighbours, TEMPLATE, Teacher, Wording,
};
use crate::stage::reader::Reader;
use crate::stage::texts::Texts;
use crate::store::Store;
use crate::types::ItemId;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Users whose requests are judged at once, where nobody has to be waited for.
const USERS_AT_ONCE: usize = 256;
/// The same on a device: enough to fill some of its batches.
const USERS_ON_DEVICE: usize = 32;
/// Prompts that a server is given together, for each that it is asked at once: so many that few of
/// them wait for the last one.
const ROUNDS: usize = 4;

/// A teacher, and how it is asked.
pub struct Asked {
    /// Who.
    pub teacher: Arc<dyn Teacher>,
    /// Users whose requests it gets at once, at most.
    pub users_at_once: usize,
    /// How many devices it computes on.
    pub devices: usize,
    /// Whom it asks, where there is something to pay.
    pub asking: Option<Arc<Asking>>,
}

/// The job's teacher.
///
/// Errors: a key that is not there; answers that cannot be read.
pub fn open(spec: &LabelSpec, opened: &Opened, texts: &Arc<Texts>, store: &Store) -> Result<Asked> {
    match &spec.teacher {
        TeacherSpec::Attributes { graded, noise } => {
            let teacher = Attributes {
                catalogue: Arc::clone(&opened.catalogue),
                graded: *graded,
                noise: *noise,
                seed: spec.requests.seed,
            };
            let teacher = Arc::new(teacher);
            Ok(Asked { teacher, users_at_once: USERS_AT_ONCE, devices: 0, asking: None })
        }
        TeacherSpec::Decoder(decoder) => {
            let teacher = Arc::new(near(decoder, texts)?);
            let devices = decoder.device.count();
            // On the processor one user at a time: workers compute beside each other.
            let users_at_once = if devices > 0 { USERS_ON_DEVICE } else { 1 };
            Ok(Asked { teacher, users_at_once, devices, asking: None })
        }
        TeacherSpec::Http(of) => {
            let account = server::account(&spec.budget, of, &opened.run, store)?;
            let seed = spec.requests.seed;
            let asking = server::asking(of, seed, &opened.run, &account, store)?;
            let asking = Arc::new(asking);
            let (per_prompt, per_user) = (of.items_per_prompt, spec.requests.per_user);
            let prompts = spec.items.per_request.div_ceil(per_prompt) * per_user;
            let teacher = Arc::new(Far {
                asking: Arc::clone(&asking),
                texts: Arc::clone(texts),
                items_per_prompt: per_prompt,
            });
            let users_at_once = (of.at_once * ROUNDS).div_ceil(prompts.max(1));
            Ok(Asked { teacher, users_at_once, devices: 0, asking: Some(asking) })
        }
    }
}

/// Who says which label of an attribute fits; the catalogue learns from some items.
///
/// Errors: a teacher that cannot.
pub fn namer(
    spec: &LabelSpec,
    opened: &Opened,
    attribute: usize,
    learned: &[ItemId],
    asking: Option<&Arc<Asking>>,
) -> Result<Box<dyn Namer>> {
    let catalogue = &opened.catalogue;
    match (&spec.teacher, asking) {
        (TeacherSpec::Http(server), Some(asking)) => {
            let mut texts = super::texts(&spec.texts, catalogue)?;
            texts.attributes.retain(|at| *at != attribute);
            Ok(Box::new(FarNamer {
                asking: Arc::clone(asking),
                texts,
                attribute,
                items_per_prompt: server.items_per_prompt,
            }))
        }
        (TeacherSpec::Attributes { .. }, _) => {
            Ok(Box::new(Neighbours::new(Arc::clone(catalogue), attribute, learned)))
        }
        _ => Err(Error::Input("infer: a decoder names no labels: use another teacher".into())),
    }
}

/// A decoder of a folder.
fn near(spec: &DecoderTeacherSpec, texts: &Arc<Texts>) -> Result<Near> {
    let folder = Path::new(&spec.path);
    let wording = Wording::parse(spec.template.as_deref().unwrap_or(TEMPLATE))?;
    let tokenizer = Tokenizer::open(folder)?;
    let files = DecoderFiles::open(folder)?;
    let tokens_max = spec.tokens_max.min(files.config().context_max);
    let devices = devices::open(&spec.device, "teacher.device")?;
    let marks = Near::marks(&tokenizer)?;
    let device_tokens_max = files.config().batch_tokens(spec.device_tokens_max, tokens_max);
    let reader = Reader::open(&files, &marks, &devices, device_tokens_max)?;
    Ok(Near::new(wording, tokenizer, reader, Arc::clone(texts), tokens_max))
}

/// The files that a decoder is: what its answers depend on.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(Error::io("open", folder))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "json" || e == "safetensors"))
        .collect();
    files.sort();
    Ok(files)
}
