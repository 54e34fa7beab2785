//! Examples out of prepared sequences: moments drawn, candidates retrieved, prompts made.

use crate::commands::prepare::Prepared;
use crate::error::Result;
use crate::spec::ExamplesSpec;
use crate::stage::examples::{Example, Examples, moments};
use crate::stage::retrieve::Retrieve;
use crate::stage::{Outcomes, Setback, Stage};
use crate::store::part;
use crate::types::{Fault, Query, StageName, mix64, unit_f64};

/// What is learned from, what is kept for validation, and what could not be made.
#[derive(Default)]
pub struct Gathered {
    /// To learn from, by moment.
    pub train: Vec<Vec<Example>>,
    /// Of other people.
    pub validation: Vec<Example>,
    /// Moments without candidates or without a prompt.
    pub faults: Vec<Fault>,
}

/// The examples of all users that are drawn, in the order of partitions and users.
///
/// Errors: a part that cannot be read; a failure of the retriever.
pub fn gather(
    prepared: &Prepared,
    spec: &ExamplesSpec,
    retrieve: &mut Retrieve,
    examples: &Examples,
    threads: usize,
) -> Result<Gathered> {
    let share = match spec.users_max {
        0 => 1.0,
        most => most as f64 / prepared.facts.users.max(1) as f64,
    };
    let mut all = Gathered::default();
    for (shard, part) in prepared.sequences.iter().enumerate() {
        let bytes = prepared.run.get_part(part)?;
        let mut queries: Vec<Query> = Vec::new();
        for sequence in part::sequences::decode(&part.key, bytes)? {
            let draw = mix64(spec.seed ^ sequence.user.hash64());
            if unit_f64(draw) < share {
                queries.extend(moments(&sequence, spec.windows));
            }
        }
        queries.iter_mut().for_each(|query| query.origin.shard = shard as u32);
        let mut out = Outcomes::new(StageName::Retrieve);
        retrieve.run(queries, &mut out);
        let (rows, setbacks) = out.into_parts();
        for setback in setbacks {
            match setback {
                Setback::Fault(fault) => all.faults.push(fault),
                Setback::Failed(why) => return Err(crate::error::Error::Incomplete(why)),
            }
        }
        let mut made: Vec<_> = rows.into_iter().map(|row| (row, None)).collect();
        crate::device::parallel::for_each(threads, &mut made, |_, (row, moment)| {
            *moment = Some(examples.examples(row));
        });
        for (row, moment) in made {
            match moment.expect("every row was visited") {
                Ok(moment) => {
                    let held = unit_f64(mix64(spec.seed ^ row.query.user.hash64() ^ 1));
                    match held < f64::from(spec.validation) {
                        true => all.validation.extend(moment),
                        false => all.train.push(moment),
                    }
                }
                Err(kind) => {
                    let (origin, stage) = (row.query.origin, StageName::Prepare);
                    all.faults.push(Fault { origin, stage, kind });
                }
            }
        }
    }
    Ok(all)
}
