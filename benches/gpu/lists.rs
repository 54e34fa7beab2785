//! Are the lists of a run on a device those of a run on the processor?

use std::collections::{BTreeMap, BTreeSet};
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

impl Compared {
    /// As a line.
    pub fn line(&self, arm: &str, apart: f32) -> String {
        let Compared { lists, same, near, worst } = *self;
        format!(
            "{arm:26} {lists} lists: {same} the same, {near} with neighbours swapped whose scores \
             are at most {apart} apart, {} others; scores at most {worst:.2e} apart",
            lists - same - near
        )
    }
}

/// Lists by user and arm.
pub type Lists = BTreeMap<(Key, String), ListRow>;

/// All lists of a run.
///
/// # Errors
/// If a part cannot be read.
pub fn read(run: &Path) -> Result<Lists> {
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

/// Compares the lists of each arm.
///
/// # Errors
/// Those of [`compare`].
pub fn by_arm(here: &Lists, there: &Lists, apart: f32) -> Result<Vec<(String, Compared)>> {
    let arms: BTreeSet<&String> = here.keys().chain(there.keys()).map(|(_, arm)| arm).collect();
    let of = |lists: &Lists, arm: &str| -> Lists {
        let own = lists.iter().filter(|((_, of), _)| of == arm);
        own.map(|(key, row)| (key.clone(), row.clone())).collect()
    };
    let one = |arm: String| {
        let compared = compare(&of(here, &arm), &of(there, &arm), apart)?;
        Ok((arm, compared))
    };
    arms.into_iter().cloned().map(one).collect()
}

/// Compares lists; at each place the scores may be `apart` from each other, so that neighbours
/// whose scores are may have changed places.
///
/// # Errors
/// If the runs are not of the same users and arms.
pub fn compare(here: &Lists, there: &Lists, apart: f32) -> Result<Compared> {
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
