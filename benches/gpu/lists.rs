//! Are the lists of a run on a device those of a run on the processor?

use std::collections::BTreeMap;
use std::path::Path;
use steerage::error::{Error, Result};
use steerage::store::part::lists::{ListRow, decode};
use steerage::types::Key;

/// How many lists are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Compared {
    pub lists: usize,
    pub same: usize,
    /// Other lists whose places hold items of scores that are near enough.
    pub near: usize,
    /// The largest difference of scores at a place.
    pub worst: f32,
}

/// All lists of a run, by user and arm.
///
/// # Errors
/// If a part cannot be read.
pub fn read(run: &Path) -> Result<BTreeMap<(Key, String), ListRow>> {
    let mut all = BTreeMap::new();
    for epoch in entries(&run.join("parts"))? {
        for part in entries(&epoch)? {
            let bytes = std::fs::read(&part).map_err(Error::io("read", &part))?;
            for row in decode(&part.display().to_string(), bytes.into())? {
                all.insert((row.user.clone(), row.arm.clone()), row);
            }
        }
    }
    Ok(all)
}

fn entries(folder: &Path) -> Result<Vec<std::path::PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(Error::io("list", folder))?;
    let mut found = Vec::new();
    for entry in entries {
        found.push(entry.map_err(Error::io("list", folder))?.path());
    }
    found.sort();
    Ok(found)
}

/// Compares lists; at each place the scores may be `apart` from each other, so that neighbours
/// whose scores are may have changed places.
///
/// # Errors
/// If the runs are not of the same users and arms.
pub fn compare(
    here: &BTreeMap<(Key, String), ListRow>,
    there: &BTreeMap<(Key, String), ListRow>,
    apart: f32,
) -> Result<Compared> {
    if !here.keys().eq(there.keys()) {
        return Err(Error::Input("the runs have other users or arms".into()));
    }
    let mut compared = Compared { lists: here.len(), ..Compared::default() };
    for (here, there) in here.values().zip(there.values()) {
        let mut worst = if here.items.len() == there.items.len() { 0f32 } else { f32::INFINITY };
        for ((item, score), other) in there.items.iter().zip(&there.scores).zip(&here.scores) {
            // What the processor gave the item that is at this place, if its list holds it.
            let place = here.items.iter().position(|at| at == item);
            let given = place.map_or(*score, |place| here.scores[place]);
            worst = worst.max((given - other).abs()).max((given - score).abs());
        }
        compared.worst = compared.worst.max(worst);
        match here.items == there.items {
            true => compared.same += 1,
            false => compared.near += usize::from(worst <= apart),
        }
    }
    Ok(compared)
}
