//! Who takes part: the workers of this process, and the other processes if there are any.
//!
//! Timely's rule is that everything panics, and a panic in one worker leaves the others waiting for
//! ever. So a panic on a worker or an engine ends the process at once ([`end_on_panic`]); peers see
//! the closed connection and end too; the next run goes on from what is committed. Between
//! processes channels are the byte ones, which notice a peer that is gone where the typed ones
//! hang. A peer that is stopped, but keeps its connection, is noticed by the watchdog in [`drive`].

use super::rendezvous::{self, Hosts};
use super::{Done, Meters};
use crate::error::{Error, Result, tell};
use crate::store::input::survives_panics;
use std::io::{Read, Write};
use std::sync::Once;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use timely::communication::Hooks;
use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};
use timely::worker::Worker;
use timely::{CommunicationConfig, Config, WorkerConfig};

/// What process 0 says to those that wait for it.
const DONE: u8 = 1;

/// Who takes part.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Timely workers of each process, at least 1.
    pub workers: usize,
    /// The processes, when there are several.
    pub hosts: Option<Hosts>,
    /// How long a cluster may stand still before this process gives up.
    pub stall_max: Duration,
}

impl Cluster {
    /// This process alone.
    pub fn local(workers: usize) -> Self {
        Self { workers, hosts: None, stall_max: Duration::from_secs(600) }
    }

    /// This process's number, from 0.
    pub fn process(&self) -> usize {
        self.hosts.as_ref().map_or(0, |hosts| hosts.process)
    }

    /// Workers of all processes.
    pub fn peers(&self) -> usize {
        self.workers * self.hosts.as_ref().map_or(1, |hosts| hosts.addresses.len())
    }

    /// Has process 0 do something that is done once, while the others wait for it: they end when it
    /// is gone. Gives what came of it in process 0, and nothing in the others.
    pub fn once<T>(&self, digest: &str, work: impl FnOnce() -> Result<T>) -> Result<Option<T>> {
        let Some(hosts) = &self.hosts else { return work().map(Some) };
        let digest = format!("{digest}/{:?}/{}", hosts.addresses, self.workers);
        let mut streams = rendezvous::connect(hosts, digest.as_bytes())?;
        if hosts.process == 0 {
            let result = work()?;
            for stream in streams.iter_mut().flatten() {
                // A process that is gone by now has nothing to wait for.
                let _ = stream.write_all(&[DONE]);
            }
            return Ok(Some(result));
        }
        let mut word = [0];
        let told = streams[0].as_mut().map(|stream| stream.read_exact(&mut word));
        match (told, word) {
            (Some(Ok(())), [DONE]) => Ok(None),
            _ => Err(Error::Cluster(
                "process 0 is gone; what is committed is kept, run again to go on".into(),
            )),
        }
    }

    /// Runs `body` on every worker of this process and waits for them. `digest` names what is run:
    /// a peer that would run something else is refused.
    pub fn execute<F>(&self, digest: &str, body: F) -> Result<()>
    where
        F: Fn(&mut Worker) + Send + Sync + 'static,
    {
        end_on_panic();
        let refused = |what: String| Error::Cluster(format!("start the workers: {what}"));
        let guards = match &self.hosts {
            None => {
                let communication = match self.workers {
                    1 => CommunicationConfig::Thread, // nobody to serialise for, or to wait for
                    // Rows change the thread as they are: serialising them costs as much as a
                    // stage, and what byte channels are for, noticing a worker that is gone,
                    // cannot be needed where a panic ends the process.
                    workers => CommunicationConfig::Process(workers),
                };
                let config = Config { communication, worker: WorkerConfig::default() };
                timely::execute(config, body).map_err(refused)?
            }
            Some(hosts) => {
                let digest = format!("{digest}/{:?}/{}", hosts.addresses, self.workers);
                let sockets = rendezvous::connect(hosts, digest.as_bytes())?;
                let hooks = Hooks::default();
                let process = ProcessBuilder::new_bytes_vector(
                    self.workers,
                    hooks.refill.clone(),
                    hooks.spill.clone(),
                );
                let (builders, guard) = initialize_networking_from_sockets(
                    process,
                    sockets,
                    hosts.process,
                    self.workers,
                    hooks,
                )
                .map_err(|e| refused(e.to_string()))?;
                let builders = builders.into_iter().map(AllocatorBuilder::Tcp).collect();
                let worker = WorkerConfig::default();
                timely::execute::execute_from(builders, Box::new(guard), worker, body)
                    .map_err(refused)?
            }
        };
        for result in guards.join() {
            result.map_err(|e| Error::Cluster(format!("a worker ended early: {e}")))?;
        }
        Ok(())
    }
}

/// Steps a worker until everything up to `done` is committed.
pub fn drive(worker: &mut Worker, done: &Done, meters: &Meters, cluster: &Cluster) {
    let mut last_move = Instant::now();
    let mut last_seen = (0, 0);
    while !done.all() {
        worker.step_or_park(Some(Duration::from_millis(20)));
        if cluster.hosts.is_none() {
            continue; // nobody else to wait for
        }
        let rows: u64 = meters.stages().iter().map(|(_, meter)| meter.rows()).sum();
        let seen = (rows, meters.epochs_done.load(Relaxed));
        if seen != last_seen {
            (last_move, last_seen) = (Instant::now(), seen);
        } else if last_move.elapsed() > cluster.stall_max {
            tell(format_args!(
                "steerage: nothing has moved for {} s: a peer process is stopped or cut off; what \
                 is committed is kept, run again to go on",
                cluster.stall_max.as_secs()
            ));
            std::process::exit(1);
        }
    }
}

/// Ends the process when a worker, an engine or a connection panics. Other threads (a test's, the
/// caller's) keep the hook they had.
fn end_on_panic() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if survives_panics() {
                return;
            }
            let thread = std::thread::current();
            let name = thread.name().unwrap_or_default();
            let ours = name.starts_with("timely:") || name.starts_with("engine:");
            let text = info.payload().downcast_ref::<String>().map(String::as_str);
            let text = text.or(info.payload().downcast_ref::<&str>().copied()).unwrap_or_default();
            if text.starts_with("timely communication error") || text == "MergeQueue poisoned." {
                tell(format_args!(
                    "steerage: a peer process is gone ({text}); what is committed is kept, run \
                     again to go on"
                ));
                std::process::exit(1);
            }
            default(info);
            if ours {
                std::process::abort();
            }
        }));
    });
}
