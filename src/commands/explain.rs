//! `steerage explain RUN --user U`: why one user's lists are what they are.
//!
//! The stages are run again for this user alone. That they give what the run wrote is the law that
//! a row's result depends on that row alone.

use super::bring_up::upstream_of;
use super::chain;
use super::prepare::Prepared;
use super::report::Invocation;
use super::rerank;
use super::runs::Options;
use crate::control::describe;
use crate::error::{Error, Result};
use crate::report::explain::{CandidateLine, Explanation, HistoryLine, Said, render_text};
use crate::spec::Kind;
use crate::stage::Setback;
use crate::store::{RunDir, Store, part};
use crate::types::{Catalogue, Conflict, Control, ItemId, Key, Quota, Ranked, Request};

/// Items of the history, and candidates, that are shown.
const SHOWN: usize = 20;

/// The explanation of one user as text.
pub fn explain(store: &Store, run: &RunDir, user: &str, options: &Options) -> Result<String> {
    let (name, kind) = (run.name(), &run.manifest().kind);
    if kind != "rerank" {
        return Err(Error::Input(format!(
            "{name}: expected a rerank run, found one of kind {kind:?}: it has no lists"
        )));
    }
    let invocation = Invocation::of(run)?;
    if invocation.job.as_os_str().is_empty() {
        return Err(Error::Incomplete(format!(
            "{name}: its job file is not known: `steerage run` notes it when the run is complete; \
             run that job again"
        )));
    }
    let options = Options { sets: invocation.sets.clone(), ..options.clone() };
    let job = chain::load(&invocation.job, &options)?;
    let Kind::Rerank(spec) = &job.kind else {
        return Err(Error::Input(format!(
            "{name}: expected a rerank run, found {}",
            job.kind.name()
        )));
    };
    let opened = rerank::open(&job, spec, store, upstream_of(&job, store, &options)?)?;
    if opened.run.name() != run.name() {
        return Err(Error::Input(format!(
            "{}: its job file {} has changed since, and now names the run {}",
            run.name(),
            job.file.display(),
            opened.run.name()
        )));
    }
    let (shard, row) = find(&opened.prepared, user)?;
    let one = rerank::one(&job, spec, &opened, (shard, row))?;
    let mut explained = match &one.ranked {
        Some(ranked) => explanation(&opened, spec, ranked),
        None => Explanation {
            run: run.name().to_owned(),
            user: user.to_owned(),
            ..Explanation::default()
        },
    };
    let said = one.ranked.as_ref().and_then(|ranked| ranked.candidates.query.request.as_ref());
    explained.request = said.map(|request| {
        said_in_words(&opened.prepared.catalogue, request, &one.understood, one.context.clone())
    });
    explained.prompts = one.prompts;
    explained.ways = one.ways;
    explained.faults.extend(one.setbacks.into_iter().map(|setback| match setback {
        Setback::Fault(fault) => format!("{}: {}", fault.stage, fault.kind),
        Setback::Failed(why) => why,
    }));
    Ok(render_text(&explained))
}

/// A request with what is understood of it.
fn said_in_words(
    catalogue: &Catalogue,
    request: &Request,
    understood: &[Control],
    context: Option<String>,
) -> Said {
    let words = |controls: &[Control]| controls.iter().map(|c| describe(catalogue, c)).collect();
    let quota = |quota: &Quota| match quota {
        Quota::AtLeast(control, share) => {
            format!("at least {:.0} % {}", share * 100.0, describe(catalogue, control))
        }
        Quota::AtMost(control, share) => {
            format!("at most {:.0} % {}", share * 100.0, describe(catalogue, control))
        }
        Quota::Each { attribute, most } => {
            format!("at most {most} of one {}", catalogue.attributes[usize::from(*attribute)].name)
        }
    };
    Said {
        text: request.text.clone(),
        category: request.category.map(|category| category.to_string()),
        understood: words(understood),
        quotas: request.quotas.iter().map(quota).collect(),
        meaning: words(&request.meaning),
        context,
    }
}

/// The partition and the row of a user.
fn find(prepared: &Prepared, user: &str) -> Result<(u32, u32)> {
    let keys = [user.parse().ok().map(Key::Int), Some(Key::from(user))];
    for (shard, part) in prepared.sequences.iter().enumerate() {
        let sequences = part::sequences::decode(&part.key, prepared.run.get_part(part)?)?;
        let row = sequences.iter().position(|s| keys.contains(&Some(s.user.clone())));
        if let Some(row) = row {
            return Ok((shard as u32, row as u32));
        }
    }
    Err(Error::Input(format!(
        "user {user}: not among the {} users of {}",
        prepared.facts.users,
        prepared.run.name()
    )))
}

fn explanation(
    opened: &rerank::Opened,
    spec: &crate::spec::RerankSpec,
    ranked: &Ranked,
) -> Explanation {
    let catalogue = &opened.prepared.catalogue;
    let query = &ranked.candidates.query;
    let places: Vec<Vec<Option<u32>>> = ranked
        .arms
        .iter()
        .map(|arm| {
            let mut places = vec![None; ranked.candidates.items.len()];
            for (place, position) in arm.order.iter().enumerate() {
                places[*position as usize] = Some(place as u32 + 1);
            }
            places
        })
        .collect();
    let published = spec.published();
    let mut order: Vec<usize> = (0..ranked.candidates.items.len()).collect();
    order.sort_by_key(|at| (places[published][*at].unwrap_or(u32::MAX), *at));
    let line = |at: usize| {
        let item = ranked.candidates.items[at];
        let mask = ranked.candidates.met.get(at).copied().unwrap_or(0);
        CandidateLine {
            key: catalogue.keys[item as usize].to_string(),
            title: catalogue.titles[item as usize].to_string(),
            rank: ranked.candidates.rank(at),
            score: ranked.candidates.scores[at],
            met: (0..query.controls.len()).map(|c| mask >> c & 1 == 1).collect(),
            inferred: met_by_inference(opened, &query.controls, mask, item),
            places: places.iter().map(|arm| arm[at]).collect(),
            target: query.targets.contains(&item),
        }
    };
    let latest = query.history.len().saturating_sub(SHOWN);
    Explanation {
        run: opened.run.name().to_owned(),
        user: query.user.to_string(),
        history_length: query.history.len() as u64,
        history: query.history[latest..].iter().map(|i| history_line(opened, *i)).collect(),
        controls: query.controls.iter().map(|c| describe(catalogue, c)).collect(),
        source: query.source,
        conflict: query.conflict.as_ref().map(Conflict::to_string),
        arms: spec.arms.iter().map(|arm| arm.name.clone()).collect(),
        published: Some(published),
        candidates: order.iter().take(SHOWN).map(|at| line(*at)).collect(),
        candidates_all: ranked.candidates.items.len() as u64,
        ..Explanation::default()
    }
}

/// An item's value of an attribute in words; none without one.
fn value(catalogue: &Catalogue, attribute: usize, item: ItemId) -> Option<String> {
    let attribute = &catalogue.attributes[attribute];
    let labels = attribute.codes(item).iter().map(|c| attribute.labels[*c as usize].as_str());
    let labels: Vec<&str> = labels.collect();
    (!labels.is_empty()).then(|| format!("{} {}", attribute.name, labels.join(", ")))
}

/// The inferred values by which an item meets controls.
fn met_by_inference(
    opened: &rerank::Opened,
    controls: &[Control],
    mask: u32,
    item: ItemId,
) -> Vec<(usize, String, f32)> {
    let met = controls.iter().enumerate().filter(|(at, _)| mask >> at & 1 == 1);
    let by_inference = met.filter_map(|(at, control)| {
        let attribute = usize::from(control.attribute);
        let confidence = opened.inferences.get(&(attribute, item))?;
        Some((at, value(&opened.prepared.catalogue, attribute, item)?, *confidence))
    });
    by_inference.collect()
}

fn history_line(opened: &rerank::Opened, item: ItemId) -> HistoryLine {
    let catalogue = &opened.prepared.catalogue;
    let words = (0..catalogue.attributes.len()).filter_map(|at| {
        let value = value(catalogue, at, item)?;
        Some(match opened.inferences.get(&(at, item)) {
            Some(confidence) => format!("{value} (inferred, {confidence:.2})"),
            None => value,
        })
    });
    HistoryLine {
        key: catalogue.keys[item as usize].to_string(),
        title: catalogue.titles[item as usize].to_string(),
        attributes: words.collect(),
    }
}
