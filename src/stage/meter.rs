//! How long work took: for progress bars and the report, and for nothing that is committed.

use rustix::time::{ClockId, clock_gettime};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How long the calling thread has had a core.
fn on_core() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// One stage's rows and the time spent inside it, over all workers of the process.
#[derive(Debug, Default)]
pub struct Meter {
    rows: AtomicU64,
    nanos: AtomicU64,
    on_core_nanos: AtomicU64,
    reused: AtomicU64,
}

impl Meter {
    /// Runs `work` on `rows` rows and adds the time it took.
    pub fn time<T>(&self, rows: usize, work: impl FnOnce() -> T) -> T {
        let (start, computed) = (Instant::now(), on_core());
        let result = work();
        let computed = on_core().saturating_sub(computed);
        self.on_core_nanos.fetch_add(computed.as_nanos() as u64, Relaxed);
        self.add(rows, start.elapsed());
        result
    }

    /// Adds rows and the time they took.
    pub fn add(&self, rows: usize, busy: Duration) {
        self.rows.fetch_add(rows as u64, Relaxed);
        self.nanos.fetch_add(busy.as_nanos() as u64, Relaxed);
    }

    /// Adds rows that were taken, but not worked on again.
    pub fn reuse(&self, rows: u64) {
        self.reused.fetch_add(rows, Relaxed);
    }

    /// Of the rows those that were not worked on again.
    pub fn reused(&self) -> u64 {
        self.reused.load(Relaxed)
    }

    /// Rows taken so far.
    pub fn rows(&self) -> u64 {
        self.rows.load(Relaxed)
    }

    /// Time that threads had a core inside of [`Meter::time`] so far.
    pub fn on_core(&self) -> Duration {
        Duration::from_nanos(self.on_core_nanos.load(Relaxed))
    }

    /// Time spent inside so far, added over threads.
    pub fn busy(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Relaxed))
    }
}
