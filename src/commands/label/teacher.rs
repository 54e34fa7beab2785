//! Who judges.

use super::Opened;
use crate::commands::devices;
use crate::error::{Error, Result};
use crate::model::decoder::Decoder;
use crate::model::tokenizer::Tokenizer;
use crate::remote::{Chat, ChatSettings, Secret};
use crate::spec::{BudgetSpec, DecoderTeacherSpec, HttpTeacherSpec, LabelSpec, TeacherSpec};
use crate::stage::judge::{
    Account, Answers, Asking, Attributes, Budget, Far, FarNamer, Namer, Near, Neighbours, Paid,
    TEMPLATE, Teacher, Wording,
};
use crate::stage::reader::Reader;
use crate::stage::texts::Texts;
use crate::store::{RunDir, Store};
use crate::types::ItemId;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Users whose requests are judged at once, where nobody has to be waited for.
const USERS_AT_ONCE: usize = 256;
/// Prompts that a server is given together, for each that it is asked at once: so many that few of
/// them wait for the last one.
const ROUNDS: usize = 4;
/// No answer about some items is as long.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// What was paid, beside the commits: it may be paid in another way next time.
const SPENT_KEY: &str = "spent.json";

/// A teacher, and how it is asked.
pub struct Asked {
    /// Who.
    pub teacher: Arc<dyn Teacher>,
    /// Users whose requests it gets at once, at most.
    pub users_at_once: usize,
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
            Ok(Asked { teacher, users_at_once: USERS_AT_ONCE, asking: None })
        }
        TeacherSpec::Decoder(decoder) => {
            let teacher = Arc::new(near(decoder, texts)?);
            // One user at a time: what computes is the processor's workers, or a device's batch.
            Ok(Asked { teacher, users_at_once: 1, asking: None })
        }
        TeacherSpec::Http(server) => {
            let asking = Arc::new(asking(spec, server, opened, store)?);
            let (per_prompt, per_user) = (server.items_per_prompt, spec.requests.per_user);
            let prompts = spec.items.per_request.div_ceil(per_prompt) * per_user;
            let teacher = Arc::new(Far {
                asking: Arc::clone(&asking),
                texts: Arc::clone(texts),
                items_per_prompt: per_prompt,
            });
            let users_at_once = (server.at_once * ROUNDS).div_ceil(prompts.max(1));
            Ok(Asked { teacher, users_at_once, asking: Some(asking) })
        }
    }
}

/// A server, and what may be spent on it.
fn asking(
    spec: &LabelSpec,
    server: &HttpTeacherSpec,
    opened: &Opened,
    store: &Store,
) -> Result<Asking> {
    // All that an answer depends on beside the prompt.
    let model = format!("{} {} {}", server.model, server.json, server.answer_tokens_max);
    let answers = Answers::new(store.clone(), model, opened.run.name().to_owned());
    let (asked, usage) = answers.paid()?;
    let account = Arc::new(Account::new(budget(&spec.budget), asked, usage));
    let chat = Chat::new(chat(server, spec.requests.seed)?);
    Ok(Asking { chat, answers, account })
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
    let decoder = Decoder::open(folder, None)?;
    let tokens_max = spec.tokens_max.min(decoder.config().context_max);
    let devices = devices::open(&spec.device)?;
    let marks = Near::marks(&tokenizer)?;
    let reader = Reader::new(decoder, &marks, &devices, spec.device_tokens_max)?;
    Ok(Near::new(wording, tokenizer, reader, Arc::clone(texts), tokens_max))
}

/// The files that a decoder is: what its answers depend on.
pub fn files(spec: &DecoderTeacherSpec) -> Result<Vec<PathBuf>> {
    let folder = Path::new(&spec.path);
    let entries = std::fs::read_dir(folder).map_err(Error::io("open", folder))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "json" || e == "safetensors"))
        .collect();
    files.sort();
    Ok(files)
}

/// The job's limits.
pub fn budget(spec: &BudgetSpec) -> Budget {
    Budget {
        requests_max: spec.requests_max,
        tokens_max: spec.tokens_max,
        cost_max: spec.cost_max,
        input_price: spec.input_price,
        output_price: spec.output_price,
    }
}

fn chat(spec: &HttpTeacherSpec, seed: u64) -> Result<ChatSettings> {
    Ok(ChatSettings {
        base_url: spec.base_url.clone(),
        model: spec.model.clone(),
        key: spec.key_variable.as_deref().map(Secret::of_variable).transpose()?,
        temperature: 0.0,
        answer_tokens_max: spec.answer_tokens_max,
        answer_bytes_max: ANSWER_BYTES_MAX,
        json: spec.json,
        at_once: spec.at_once,
        per_second: Some(spec.requests_per_second).filter(|rate| *rate > 0.0),
        tokens_per_minute: Some(spec.tokens_per_minute).filter(|most| *most > 0),
        timeout: Duration::from_secs(spec.timeout_seconds),
        tries_max: spec.tries_max,
        tries_time_max: Duration::from_secs(spec.tries_seconds_max),
        wait: Duration::from_millis(spec.wait_ms),
        seed,
    })
}

/// Notes what was paid so far, and how often nothing had to be.
pub fn note(run: &RunDir, account: &Account) -> Result<()> {
    let mut paid = account.paid();
    paid.cached += noted(run)?.map_or(0, |before| before.cached);
    let json = serde_json::to_vec_pretty(&paid).map_err(|e| Error::Incomplete(e.to_string()))?;
    run.put_derived(SPENT_KEY, json)
}

/// What was paid for a run, as far as it was noted.
pub fn noted(run: &RunDir) -> Result<Option<Paid>> {
    let Some(bytes) = run.get(SPENT_KEY)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|e| {
        let path = run.path(SPENT_KEY);
        Error::Input(format!("{}: {e}: remove it", path.display()))
    })
}
