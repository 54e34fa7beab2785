//! Models behind servers, for whichever job asks them: how they are asked, and what a run has paid.

use crate::error::{Error, Result};
use crate::remote::{AnswerFormat, Chat, ChatSettings, Secret};
use crate::spec::{BudgetSpec, HttpTeacherSpec, ServerFormat};
use crate::stage::judge::{Account, Answers, Asking, Budget, Paid};
use crate::store::{RunDir, Store};
use std::sync::Arc;
use std::time::Duration;

/// No answer about some items is as long.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// What was paid, beside the commits: it may be paid in another way next time.
const SPENT_KEY: &str = "spent.json";

/// A server, and what may be spent on it by a run.
///
/// Errors: a key that is not there.
pub fn asking(
    server: &HttpTeacherSpec,
    seed: u64,
    run: &RunDir,
    account: &Arc<Account>,
    store: &Store,
) -> Result<Asking> {
    Ok(Asking {
        chat: Chat::new(chat(server, seed)?),
        answers: answers(server, run, store),
        account: Arc::clone(account),
    })
}

/// What a run may spend, what it has spent taken into account.
///
/// Errors: answers that cannot be read.
pub fn account(
    spec: &BudgetSpec,
    server: &HttpTeacherSpec,
    run: &RunDir,
    store: &Store,
) -> Result<Arc<Account>> {
    let (asked, usage) = answers(server, run, store).paid()?;
    Ok(Arc::new(Account::new(budget(spec), asked, usage)))
}

fn answers(server: &HttpTeacherSpec, run: &RunDir, store: &Store) -> Answers {
    // All that an answer depends on beside the prompt.
    let model = format!("{} {:?} {}", server.model, server.format, server.answer_tokens_max);
    Answers::new(store.clone(), model, run.name().to_owned())
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
        format: match spec.format {
            ServerFormat::Text => AnswerFormat::Text,
            ServerFormat::Json => AnswerFormat::Json,
            ServerFormat::Schema => AnswerFormat::Schema,
        },
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
