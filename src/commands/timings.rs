//! How long a run took: the part of a report that no hash depends on.

use crate::flow::{ArmMeters, Meter, Meters};
use crate::report::{ArmTime, StageTime, Timings};
use crate::types::StageName;
use std::sync::Arc;

/// The timings of a run that was just done.
pub fn timings(meters: &Meters, seconds: f64, workers: usize) -> Timings {
    let stages = meters.stages();
    let all: f64 = stages.iter().map(|(_, meter)| busy(meter)).sum();
    let stage = |(name, meter): &(StageName, Arc<Meter>)| StageTime {
        stage: name.to_string(),
        rows: meter.rows(),
        seconds: busy(meter),
        rows_per_second: meter.rows() as f64 / busy(meter).max(1e-9),
        share: busy(meter) / all.max(1e-9),
    };
    Timings {
        seconds,
        workers: workers as u32,
        machine: crate::device::machine(),
        stages: stages.iter().map(stage).collect(),
        retrieval: retrieval(&stages),
        arms: meters.arms.get().map_or_else(Vec::new, |arms| arms.iter().map(arm_time).collect()),
    }
}

fn busy(meter: &Meter) -> f64 {
    meter.busy().as_secs_f64()
}

/// Seconds that the stages before the arms' take for a user, the wishes' left out.
fn retrieval(stages: &[(StageName, Arc<Meter>)]) -> Option<f64> {
    let of = |name: StageName| stages.iter().find(|(n, _)| *n == name).map(|(_, meter)| meter);
    let users = of(StageName::Rerank)?.rows();
    let before =
        [StageName::Read, StageName::Retrieve].map(|name| of(name).map_or(0.0, |m| busy(m)));
    (users > 0).then(|| before.iter().sum::<f64>() / users as f64)
}

fn arm_time(meters: &ArmMeters) -> ArmTime {
    let ArmMeters { arm, methods, models } = meters;
    let tokens: u64 = models.iter().map(|model| model.rows()).sum();
    let reused: u64 = models.iter().map(|model| model.reused()).sum();
    let seconds: f64 = models.iter().map(|model| busy(model)).sum();
    ArmTime {
        arm: arm.clone(),
        methods: busy(methods) / methods.rows().max(1) as f64,
        models: (tokens > 0).then(|| seconds / tokens as f64),
        reused: (reused > 0).then(|| reused as f64 / tokens.max(1) as f64),
    }
}
