//! What the dataflow has done so far: read by progress bars while it runs and by the report after.

use crate::types::StageName;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// One stage's rows and the time spent inside it, over all workers of the process.
#[derive(Debug, Default)]
pub struct Meter {
    rows: AtomicU64,
    nanos: AtomicU64,
}

impl Meter {
    /// Runs `work` on `rows` rows and adds the time it took.
    pub fn time<T>(&self, rows: usize, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.add(rows, start.elapsed());
        result
    }

    /// Adds rows and the time they took.
    pub fn add(&self, rows: usize, busy: Duration) {
        self.rows.fetch_add(rows as u64, Relaxed);
        self.nanos.fetch_add(busy.as_nanos() as u64, Relaxed);
    }

    /// Rows taken so far.
    pub fn rows(&self) -> u64 {
        self.rows.load(Relaxed)
    }

    /// Time spent inside so far, added over threads.
    pub fn busy(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Relaxed))
    }
}

/// All counters of a process, and its word that the job must stop.
#[derive(Debug, Default)]
pub struct Meters {
    stages: Mutex<Vec<(StageName, Arc<Meter>)>>,
    /// Epochs committed, those of earlier runs included.
    pub epochs_done: AtomicU64,
    /// Epochs of the plan.
    pub epochs_total: AtomicU64,
    /// Rows that ended as faults.
    pub faults: AtomicU64,
    /// Rows read.
    pub rows: AtomicU64,
    stopped: AtomicBool,
    failure: Mutex<Option<String>>,
}

impl Meters {
    /// The counter of a stage: one for all workers.
    pub fn stage(&self, name: StageName) -> Arc<Meter> {
        let mut stages = self.stages.lock().expect("nothing panics while it holds this lock");
        if let Some((_, meter)) = stages.iter().find(|(n, _)| *n == name) {
            return Arc::clone(meter);
        }
        let meter = Arc::new(Meter::default());
        stages.push((name, Arc::clone(&meter)));
        meter
    }

    /// Every stage that was metered, in pipeline order.
    pub fn stages(&self) -> Vec<(StageName, Arc<Meter>)> {
        let mut stages =
            self.stages.lock().expect("nothing panics while it holds this lock").clone();
        stages.sort_by_key(|(name, _)| *name);
        stages
    }

    /// Asks the sources of this process to emit nothing more, and says why.
    pub fn stop(&self, why: String) {
        let mut failure = self.failure.lock().expect("nothing panics while it holds this lock");
        failure.get_or_insert(why);
        self.stopped.store(true, Relaxed);
    }

    /// Whether the job must stop.
    pub fn stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    /// Why, if it had to.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().expect("nothing panics while it holds this lock").clone()
    }
}
