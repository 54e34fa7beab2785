//! What a job came to, as far as all of it is there: nothing is run, and nothing written.

use super::bring_up::{Outcome, encoder_and_items, labels, learned_from, pairs, prepared, sources};
use super::runs::Options;
use super::{
    embed, label, prepare, reachability, rerank, train_encoder, train_reranker, train_retriever,
};
use crate::error::Result;
use crate::spec::{Job, Kind, Needed};
use crate::store::Store;

/// What the jobs came to that a job reads from; none if one of them is not finished.
pub fn upstream(job: &Job, store: &Store, options: &Options) -> Result<Option<Vec<Outcome>>> {
    let one = |needed: Needed| ready(&options.load(&needed.file, true)?, store, options);
    let all: Result<Vec<Option<Outcome>>> = job.upstream().into_iter().map(one).collect();
    Ok(all?.into_iter().collect())
}

/// What a job came to; none if it, or what it reads from, is not finished. What it vouches for is
/// there.
pub fn ready(job: &Job, store: &Store, options: &Options) -> Result<Option<Outcome>> {
    let outcome = finished(job, store, options)?;
    if let Some(outcome) = &outcome {
        outcome.run().verify()?;
    }
    Ok(outcome)
}

fn finished(job: &Job, store: &Store, options: &Options) -> Result<Option<Outcome>> {
    let Some(upstream) = upstream(job, store, options)? else { return Ok(None) };
    Ok(match &job.kind {
        Kind::Prepare(spec) => {
            let Some(opened) = prepare::planned(job, spec, store)? else { return Ok(None) };
            let done = opened.run.epochs()?.len() as u64 >= opened.epochs();
            done.then(|| prepare::finished(opened.run)).transpose()?.map(Outcome::Prepared)
        }
        Kind::TrainRetriever(spec) => {
            let opened = train_retriever::open(job, spec, store, prepared(job, upstream)?)?;
            let done = opened.done()?.then(|| train_retriever::finished(opened.run));
            done.transpose()?.map(Outcome::Trained)
        }
        Kind::TrainReranker(spec) => {
            let (prepared, trained) = learned_from(job, upstream)?;
            let opened = train_reranker::open(job, spec, store, prepared, trained)?;
            let done = opened.done()?;
            let reranker = done.then(|| train_reranker::Reranker::open(opened.run, spec));
            reranker.transpose()?.map(Outcome::TrainedReranker)
        }
        Kind::Label(spec) => {
            let opened = label::open(job, spec, store, prepared(job, upstream)?)?;
            let done = opened.run.epochs()?.len() as u64 >= opened.epochs(spec);
            let labelled = done.then(|| label::finished(opened, spec.clone()));
            labelled.transpose()?.map(Outcome::Labelled)
        }
        Kind::TrainEncoder(spec) => {
            let opened = train_encoder::open(job, spec, store, labels(job, upstream)?)?;
            let done = opened.done()?.then(|| opened.finished());
            done.transpose()?.map(Outcome::TrainedEncoder)
        }
        Kind::Embed(spec) => {
            let (encoder, items) = encoder_and_items(job, upstream)?;
            let opened = embed::open(job, spec, store, encoder, items)?;
            let done = opened.done()?.then(|| opened.finished());
            done.transpose()?.map(Outcome::Embedded)
        }
        Kind::Reachability(_) => {
            let opened = reachability::open(job, store, pairs(job, upstream)?)?;
            opened.done()?.then_some(Outcome::Steered(opened.run))
        }
        Kind::Rerank(spec) => {
            let opened = rerank::open(job, spec, store, sources(job, upstream)?)?;
            let done = opened.run.epochs()?.len() >= opened.plan.epochs.len();
            done.then_some(Outcome::Reranked(opened))
        }
    })
}
