//! Searches of the whole catalogue, whose items are shared out among the workers.
//!
//! ```text
//! rows ─► pose ─► ask ─► to every worker ─► answer ─► back to the row's worker ─► hear ─► rows
//! ```
//!
//! An operator that holds rows back for what others say: none of the others does. The rows
//! themselves stay where they are; what is on its way holds their epoch open.

use super::offload::host;
use super::outlets::{Outlets, Ways, append, gather};
use super::{Flow, Meters};
use crate::stage::Outcomes;
use crate::stage::language::{Answer, PoseQuestions, Posed, Question, Reacher, Search};
use crate::stage::retrieve::USERS_AT_ONCE;
use crate::types::{Candidates, Epoch, StageName};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::vec::Broadcast;
use timely::dataflow::operators::{Capability, Concat};
use timely::progress::operate::FrontierInterest;

/// Questions that a worker answers before others have their turn, its own answers among them: what
/// is on the way are so many scores of a share of the catalogue, for each worker.
const QUESTIONS: usize = 16;

type Shared = Rc<RefCell<Reacher>>;

/// Rows with what searches found for them. Their questions may wait for so many devices.
pub fn reach<'s>(
    input: Flow<'s, Candidates>,
    search: Arc<Search>,
    devices: usize,
    meters: &Arc<Meters>,
) -> Ways<'s, Candidates> {
    let (worker, workers) = (input.scope().index() as u64, input.scope().peers() as u64);
    let pose = PoseQuestions { search: Arc::clone(&search), home: worker };
    let (posed, unposed) = host(input, pose, devices, USERS_AT_ONCE, meters);
    let reacher = Rc::new(RefCell::new(Reacher::new(search, worker, workers)));
    let (questions, (plain, failed)) = ask(posed, &reacher, meters);
    let answers = answer(questions.broadcast(), Rc::clone(&reacher), meters);
    let (found, lost) = hear(answers, reacher, meters);
    (plain.concat(found), unposed.concat(failed).concat(lost))
}

/// Rows that ask nothing go on; the others' questions.
fn ask<'s>(
    input: Flow<'s, Posed>,
    reacher: &Shared,
    meters: &Arc<Meters>,
) -> (Flow<'s, Question>, Ways<'s, Candidates>) {
    let (reacher, meter) = (Rc::clone(reacher), meters.stage(StageName::Language));
    let mut builder = OperatorBuilder::new("ask".into(), input.scope());
    let mut input = builder.new_input(input, Pipeline);
    builder.set_notify_for(0, FrontierInterest::Never);
    let (mut outlets, ways) = Outlets::of(&mut builder);
    let (mut questions, question_stream) = builder.new_output();
    builder.build(move |_| {
        move |_| {
            input.for_each_time(|time, data| {
                let rows = gather(data);
                let mut out = Outcomes::new(StageName::Language);
                let mut asked = meter.time(0, || reacher.borrow_mut().ask(rows, &mut out));
                questions.activate().give(&time, &mut asked);
                outlets.send([&time, &time], out);
            });
        }
    });
    (question_stream, ways)
}

/// A few answers at a time.
fn answer<'s>(
    questions: Flow<'s, Question>,
    reacher: Shared,
    meters: &Arc<Meters>,
) -> Flow<'s, Answer> {
    let meter = meters.stage(StageName::Language);
    let scope = questions.scope();
    questions.unary_frontier(Pipeline, "answer", move |_, info| {
        let again = scope.activator_for(info.address);
        let mut waiting: BTreeMap<Epoch, (Capability<Epoch>, Vec<Question>)> = BTreeMap::new();
        move |(input, _), output| {
            input.for_each_time(|time, data| {
                let port = output.output_index();
                let slot = waiting.entry(*time.time());
                let (_, rows) = slot.or_insert_with(|| (time.retain(port), Vec::new()));
                append(rows, data);
            });
            let Some(mut entry) = waiting.first_entry() else { return };
            let (right, rows) = entry.get_mut();
            let later = rows.split_off(rows.len().min(QUESTIONS));
            let now = std::mem::replace(rows, later);
            let answers = meter.time(0, || reacher.borrow().answer(&now));
            output.session(right).give_iterator(answers.into_iter());
            if rows.is_empty() {
                entry.remove();
            }
            if !waiting.is_empty() {
                again.activate();
            }
        }
    })
}

/// Rows whose answers are all there.
fn hear<'s>(
    answers: Flow<'s, Answer>,
    reacher: Shared,
    meters: &Arc<Meters>,
) -> Ways<'s, Candidates> {
    let meter = meters.stage(StageName::Language);
    let mut builder = OperatorBuilder::new("hear".into(), answers.scope());
    let mut input = builder.new_input(answers, Exchange::new(|answer: &Answer| answer.home));
    builder.set_notify_for(0, FrontierInterest::Never);
    let (mut outlets, ways) = Outlets::of(&mut builder);
    builder.build(move |_| {
        move |_| {
            input.for_each_time(|time, data| {
                let mut out = Outcomes::new(StageName::Language);
                meter.time(0, || {
                    let mut reacher = reacher.borrow_mut();
                    gather(data).into_iter().for_each(|answer| reacher.hear(answer, &mut out));
                });
                outlets.send([&time, &time], out);
            });
        }
    });
    ways
}
