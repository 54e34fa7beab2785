//! What if a step blocks? A stage on a thread of its own, or some: for a disk, a network, a GPU.
//!
//! The channel is bounded, so that a slow engine holds its feeder back instead of filling the
//! memory; the feeder asks first ([`Engine::try_submit`]) and never waits. No timely in here: the
//! reply closure carries whatever wakes the feeder up.

use crate::stage::{Outcomes, Stage};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Requests that wait for threads beside devices.
const AHEAD: usize = 2;

/// Takes a batch's outcomes and the time the stage spent on it.
type Reply<T> = Box<dyn FnOnce(Outcomes<T>, Duration) + Send>;

struct Request<S: Stage> {
    rows: Vec<S::In>,
    reply: Reply<S::Out>,
}

/// A handle to the threads a stage runs on. They end when the last handle is dropped.
pub struct Engine<S: Stage> {
    requests: SyncSender<Request<S>>,
}

impl<S: Stage> Engine<S> {
    /// Starts a thread and builds the stage on it. `queue_max` requests may wait.
    pub fn start(queue_max: usize, build: impl FnOnce() -> S + Send + 'static) -> Self {
        let (requests, inbox) = sync_channel(queue_max);
        spawn(build, Arc::new(Mutex::new(inbox)));
        Self { requests }
    }

    /// Starts a thread for each of so many devices and one more, each with a stage of its own:
    /// whichever is free takes the request that has waited longest, so replies may overtake each
    /// other. While all others wait for their devices, one makes the next batch.
    pub fn start_beside(devices: usize, build: impl Fn() -> S + Clone + Send + 'static) -> Self {
        let (requests, inbox) = sync_channel(AHEAD);
        let inbox = Arc::new(Mutex::new(inbox));
        (0..=devices).for_each(|_| spawn(build.clone(), Arc::clone(&inbox)));
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
            // Threads end before their handles only by a panic, and then the process has ended.
            Err(TrySendError::Disconnected(_)) => unreachable!("an engine outlives its handles"),
        }
    }
}

/// Starts a thread that builds a stage and runs it on what it finds in the inbox.
fn spawn<S: Stage>(
    build: impl FnOnce() -> S + Send + 'static,
    inbox: Arc<Mutex<Receiver<Request<S>>>>,
) {
    let run = move || {
        let mut stage = build();
        // Whoever holds the lock waits for the next request, and the others for the lock.
        let next = || inbox.lock().unwrap_or_else(PoisonError::into_inner).recv();
        while let Ok(Request { rows, reply }) = next() {
            let start = Instant::now();
            let mut out = Outcomes::new(S::NAME);
            stage.run(rows, &mut out);
            reply(out, start.elapsed());
        }
    };
    std::thread::Builder::new()
        .name(format!("engine:{}", S::NAME))
        .spawn(run)
        .expect("the system has room for a few more threads of a fixed, small number");
}
