//! What the dataflow has done so far: read by progress bars while it runs and by the report after.

use crate::stage::Meter;
use crate::types::StageName;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};

/// What tells how long an arm takes.
#[derive(Debug)]
pub struct ArmMeters {
    /// The arm's name.
    pub arm: String,
    /// Users, and the time of its methods that are no models.
    pub methods: Arc<Meter>,
    /// Tokens, and the time of each of its models, whichever arms they were asked for.
    pub models: Vec<Arc<Meter>>,
}

/// All counters of a process, and its word that the job must stop.
#[derive(Debug, Default)]
pub struct Meters {
    stages: Mutex<Vec<(StageName, Arc<Meter>)>>,
    /// The arms of a rerank job, in its order.
    pub arms: OnceLock<Vec<ArmMeters>>,
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
