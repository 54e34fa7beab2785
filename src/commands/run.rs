//! `steerage run JOB`: the runs up to date, the report made, the expectations checked.

use super::bring_up::{Brought, Watcher, bring_up};
use super::report::{Invocation, write};
use super::runs::{Options, store};
use super::timings::timings;
use crate::error::Result;
use crate::report::Report;
use std::path::{Path, PathBuf};

/// What a run came to.
pub struct Finished {
    /// The job and its run.
    pub brought: Brought,
    /// The report; none in a process that does not write it.
    pub report: Option<Report>,
    /// Where the page is.
    pub page: PathBuf,
}

/// Brings a job's run up to date and makes its report. Of several processes the first writes it.
pub fn run(file: &Path, options: &Options, watcher: &dyn Watcher) -> Result<Finished> {
    let brought = bring_up(file, options, watcher)?;
    let store = store(&brought.job)?;
    let run = brought.outcome.run().clone();
    let page = run.path("report.html");
    if options.cluster.process() > 0 {
        return Ok(Finished { brought, report: None, page });
    }
    let seconds = brought.wall.as_secs_f64();
    let worked = brought.worked;
    let invocation = Invocation {
        job: file.to_owned(),
        sets: options.sets.clone(),
        expect: brought.job.expect.clone(),
        timings: worked.then(|| timings(&brought.meters, seconds, options.cluster.workers)),
    };
    invocation.put(&run)?;
    let report = write(&store, &run)?;
    Ok(Finished { brought, report: Some(report), page })
}
