//! What the lists of a rerank run come to: sums in commits, exposure in parts.

use crate::error::{Error, Result};
use crate::flow::commit::Folded;
use crate::metric::{Exposure, ExposureRow, Tally};
use crate::stage::write::Measured;
use crate::store::{RunDir, exposure_key, part};
use crate::types::Epoch;
use serde::{Deserialize, Serialize};

/// The payload of an epoch's commit.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sums {
    /// Sums of every metric.
    pub tally: Tally,
    /// Users whose controls cannot all be met.
    pub conflicts: u64,
    /// Sums of every point of the sweep.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "texts")]
    pub sweep: Vec<Tally>,
}

impl Sums {
    fn add(&mut self, tally: &Tally, conflicts: u64, sweep: &[Tally]) {
        self.tally.merge(tally);
        self.conflicts += conflicts;
        if self.sweep.len() < sweep.len() {
            self.sweep.resize_with(sweep.len(), Tally::default);
        }
        self.sweep.iter_mut().zip(sweep).for_each(|(ours, theirs)| ours.merge(theirs));
    }
}

/// Each tally as a text of its own: a commit is written to be read, one number a line, and a sweep
/// has millions of them.
mod texts {
    use super::Tally;
    use serde::{Deserialize, Deserializer, Serializer, de, ser};

    pub(super) fn serialize<S: Serializer>(tallies: &[Tally], to: S) -> Result<S::Ok, S::Error> {
        let texts: Result<Vec<String>, _> = tallies.iter().map(serde_json::to_string).collect();
        to.collect_seq(texts.map_err(ser::Error::custom)?)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Tally>, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        let tallies: Result<Vec<Tally>, _> =
            texts.iter().map(|text| serde_json::from_str(text)).collect();
        tallies.map_err(de::Error::custom)
    }
}

/// The sums of an epoch: those of the metrics into the commit, exposure into a part of its own,
/// since it is as long as the catalogue.
pub fn put_sums(run: &RunDir, epoch: Epoch, measured: &[Measured]) -> Result<Folded> {
    let (mut sums, mut exposure) = (Sums::default(), Exposure::default());
    for one in measured {
        sums.add(&one.tally, one.conflicts, &one.sweep);
        exposure.merge(&one.exposure);
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
        sums.add(&one.tally, one.conflicts, &one.sweep);
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
