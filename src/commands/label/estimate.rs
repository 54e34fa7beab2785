//! What a label job would take, before anything is spent.

use super::Opened;
use crate::error::Result;
use crate::spec::LabelSpec;
use std::fmt;

/// Judgements a second and worker of the catalogue as a teacher.
const JUDGED_PER_S: f64 = 3e5;

/// What a job would take.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Estimate {
    /// Requests, at most.
    pub requests: u64,
    /// Judgements, at most.
    pub judgements: u64,
    /// Time of all workers.
    pub seconds: f64,
}

/// The estimate for a job.
///
/// Errors: those of putting the job's names together with the catalogue.
pub fn estimate(spec: &LabelSpec, opened: &Opened) -> Result<Estimate> {
    let requests = opened.plan.rows() * spec.requests.per_user as u64;
    let per_request = spec.items.per_request.min(opened.catalogue.len()) as u64;
    let judgements = requests * per_request;
    super::settings::pose(spec, &super::requests(&spec.requests, &opened.catalogue)?)?;
    super::texts(&spec.texts, &opened.catalogue)?;
    Ok(Estimate { requests, judgements, seconds: judgements as f64 / JUDGED_PER_S })
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Estimate { requests, judgements, .. } = self;
        writeln!(f, "  labels       up to {requests} requests, {judgements} judgements")
    }
}
