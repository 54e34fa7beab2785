//! What the lists of a rerank run come to: sums in commits, exposure in parts.

use crate::error::{Error, Result};
use crate::flow::commit::Folded;
use crate::metric::{Exposure, ExposureRow, Tally};
use crate::stage::node_graph::{WalkSums, add_walks};
use crate::stage::write::{Measured, add_costs};
use crate::store::{RunDir, exposure_key, part};
use crate::types::{Cost, Epoch};
use serde::{Deserialize, Serialize};

/// The payload of an epoch's commit.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sums {
    /// Sums of every metric.
    pub tally: Tally,
    /// Users whose controls cannot all be met.
    pub conflicts: u64,
    /// What the ways through each graph of nodes come to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub walks: Vec<WalkSums>,
    /// Sums of every point of the sweep.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "texts")]
    pub sweep: Vec<Tally>,
    /// What each arm's models read: left out where no arm has a model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub costs: Vec<Cost>,
    /// What each arm's models read at every point of the sweep.
    #[serde(default, skip_serializing_if = "none", with = "texts")]
    pub sweep_costs: Vec<Vec<Cost>>,
}

fn none(costs: &[Vec<Cost>]) -> bool {
    costs.iter().all(Vec::is_empty)
}

impl Sums {
    fn add(&mut self, other: &Sums) {
        self.tally.merge(&other.tally);
        self.conflicts += other.conflicts;
        add_costs(&mut self.costs, &other.costs);
        add_walks(&mut self.walks, &other.walks);
        if self.sweep.len() < other.sweep.len() {
            self.sweep.resize_with(other.sweep.len(), Tally::default);
        }
        self.sweep.iter_mut().zip(&other.sweep).for_each(|(ours, theirs)| ours.merge(theirs));
        if self.sweep_costs.len() < other.sweep_costs.len() {
            self.sweep_costs.resize_with(other.sweep_costs.len(), Vec::new);
        }
        let costs = self.sweep_costs.iter_mut().zip(&other.sweep_costs);
        costs.for_each(|(ours, theirs)| add_costs(ours, theirs));
    }
}

/// Each point as a text of its own: a commit is written to be read, one number a line, and a sweep
/// has millions of them.
mod texts {
    use serde::de::DeserializeOwned;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

    pub(super) fn serialize<S: Serializer, T: Serialize>(
        points: &[T],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let texts: Result<Vec<String>, _> = points.iter().map(serde_json::to_string).collect();
        to.collect_seq(texts.map_err(ser::Error::custom)?)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, T: DeserializeOwned>(
        from: D,
    ) -> Result<Vec<T>, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        let points: Result<Vec<T>, _> =
            texts.iter().map(|text| serde_json::from_str(text)).collect();
        points.map_err(de::Error::custom)
    }
}

/// The sums of an epoch: those of the metrics into the commit, exposure into a part of its own,
/// since it is as long as the catalogue.
pub fn put_sums(run: &RunDir, epoch: Epoch, measured: Vec<Measured>) -> Result<Folded> {
    let (mut sums, mut exposure) = (Sums::default(), Exposure::default());
    for one in measured {
        exposure.merge(&one.exposure);
        let Measured { tally, conflicts, costs, walks, sweep, sweep_costs, .. } = one;
        sums.add(&Sums { tally, conflicts, costs, walks, sweep, sweep_costs });
    }
    let row = |row: ExposureRow| part::exposure::Exposure {
        arm: u32::from(row.arm),
        item: row.item,
        cutoff: u32::from(row.cutoff),
        count: row.count,
    };
    let rows: Vec<_> = exposure.rows().map(row).collect();
    let bytes = part::exposure::encode(&rows)?;
    let part = run.put_part(exposure_key(epoch), rows.len() as u64, bytes.into())?;
    let payload = serde_json::to_value(&sums).map_err(|e| Error::Incomplete(e.to_string()))?;
    Ok((payload, vec![part]))
}

/// All sums of a run: the fold over its commits.
pub fn sums(run: &RunDir) -> Result<(Sums, Exposure)> {
    let (mut sums, mut exposure) = (Sums::default(), Exposure::default());
    for (epoch, commit) in run.commits()? {
        let one: Sums = serde_json::from_value(commit.payload).map_err(|e| {
            Error::Input(format!("{}: commit {epoch}: unreadable sums: {e}", run.name()))
        })?;
        sums.add(&one);
        for part in commit.parts.iter().filter(|part| part.key == exposure_key(epoch)) {
            let path = run.path(&part.key).display().to_string();
            for row in part::exposure::decode(&path, run.get_part(part)?)? {
                exposure.add(ExposureRow {
                    arm: row.arm as u16,
                    item: row.item,
                    cutoff: row.cutoff as u16,
                    count: row.count,
                });
            }
        }
    }
    Ok((sums, exposure))
}
