//! What if a step blocks? A stage on its own thread: for a disk, a network, a GPU.
//!
//! The channel is bounded, so that a slow engine holds its feeder back instead of filling the
//! memory; the feeder asks first ([`Engine::try_submit`]) and never waits. No timely in here: the
//! reply closure carries whatever wakes the feeder up.

use crate::stage::{Outcomes, Stage};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

/// Takes a batch's outcomes and the time the stage spent on it.
type Reply<T> = Box<dyn FnOnce(Outcomes<T>, Duration) + Send>;

struct Request<S: Stage> {
    rows: Vec<S::In>,
    reply: Reply<S::Out>,
}

/// A handle to the thread a stage runs on. The thread ends when the last handle is dropped.
pub struct Engine<S: Stage> {
    requests: SyncSender<Request<S>>,
}

impl<S: Stage> Engine<S> {
    /// Starts the thread and builds the stage on it: a CUDA context stays where it was made.
    /// `queue_max` requests may wait.
    pub fn start(queue_max: usize, build: impl FnOnce() -> S + Send + 'static) -> Self {
        let (requests, inbox) = sync_channel::<Request<S>>(queue_max);
        std::thread::Builder::new()
            .name(format!("engine:{}", S::NAME))
            .spawn(move || {
                let mut stage = build();
                for Request { rows, reply } in inbox {
                    let start = Instant::now();
                    let mut out = Outcomes::new(S::NAME);
                    stage.run(rows, &mut out);
                    reply(out, start.elapsed());
                }
            })
            .expect("the system has room for one more thread of a fixed, small number");
        Self { requests }
    }

    /// Hands over a batch, or gives it back when the queue is full.
    pub fn try_submit(
        &self,
        rows: Vec<S::In>,
        reply: impl FnOnce(Outcomes<S::Out>, Duration) + Send + 'static,
    ) -> Result<(), Vec<S::In>> {
        match self.requests.try_send(Request { rows, reply: Box::new(reply) }) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(request)) => Err(request.rows),
            // The thread ends before its handles only by a panic, and then the process has ended.
            Err(TrySendError::Disconnected(_)) => unreachable!("an engine outlives its handles"),
        }
    }
}
