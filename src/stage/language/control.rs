//! The step of an arm: a list's items by how well they answer the user's request.

use super::fuse::{Fusion, fused, order};
use crate::device::cpu::top_k::reference::score;
use crate::error::Result;
use crate::stage::Meter;
use crate::types::{ArmList, Candidates, Heard, ItemId, Key, Query};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

/// Gives the vectors of requests, each with its user in words: (requests, width) row-major.
pub type Hear = Arc<dyn Fn(&[(String, String)]) -> Result<Vec<f32>> + Send + Sync>;

/// Puts a history into words.
pub type Describe = Arc<dyn Fn(&[ItemId]) -> String + Send + Sync>;

/// f and g.
pub struct Speaker {
    /// Which of the job's encoders it is.
    pub number: usize,
    /// f.
    pub hear: Hear,
    /// What f knows of a user.
    pub describe: Describe,
    /// g of every item, (items, width).
    pub items: Vec<f32>,
    /// The length of a vector.
    pub width: usize,
    /// Requests that f has heard, and the time they took.
    pub meter: Arc<Meter>,
}

/// The step.
#[derive(Clone)]
pub struct LanguageControl {
    /// Shared by all workers.
    pub speaker: Arc<Speaker>,
    /// The request's share, 0 to 1, where the request has none of its own.
    pub weight: f32,
    /// How the orders become one.
    pub fusion: Fusion,
}

/// The vectors of requests that were heard, by encoder, user and words: arms that differ in what
/// they make of a request hear it once.
#[derive(Default)]
pub struct Said(HashMap<(usize, Key, String), Vec<f32>>);

impl Speaker {
    /// Notes what others have heard of some rows' requests already, and takes it from the rows.
    pub fn recall(rows: &mut [Candidates], said: &mut Said) {
        for row in rows {
            let heard = row.reach.as_mut().map(|reach| std::mem::take(&mut reach.heard));
            for Heard { encoder, vector } in heard.into_iter().flatten() {
                if let Some(key) = key(encoder, &row.query) {
                    said.0.insert(key, vector);
                }
            }
        }
    }

    /// Hears what was not heard yet.
    ///
    /// Errors: a failure of the encoder.
    pub fn listen<'a>(
        &self,
        queries: impl Iterator<Item = &'a Query>,
        said: &mut Said,
    ) -> Result<()> {
        let start = Instant::now();
        let (mut keys, mut texts) = (Vec::new(), Vec::new());
        for query in queries {
            let Some(key) = key(self.number, query) else { continue };
            if !said.0.contains_key(&key) {
                said.0.insert(key.clone(), Vec::new()); // once, however often it is said
                texts.push((key.2.clone(), (self.describe)(&query.history)));
                keys.push(key);
            }
        }
        if texts.is_empty() {
            return Ok(());
        }
        let vectors = (self.hear)(&texts)?;
        for (key, vector) in keys.into_iter().zip(vectors.chunks_exact(self.width)) {
            said.0.insert(key, vector.to_vec());
        }
        self.meter.add(texts.len(), start.elapsed());
        Ok(())
    }

    /// The vector of a user's request, once it was heard; none without a request.
    pub fn vector<'s>(&self, query: &Query, said: &'s Said) -> Option<&'s [f32]> {
        said.0.get(&key(self.number, query)?).map(Vec::as_slice)
    }

    /// How well an item answers.
    fn answers(&self, request: &[f32], item: ItemId) -> f32 {
        let at = item as usize * self.width;
        score(request, &self.items[at..at + self.width])
    }
}

/// Which encoder heard whom say what; none without a request.
fn key(encoder: usize, query: &Query) -> Option<(usize, Key, String)> {
    let request = query.request.as_ref().filter(|request| !request.text.is_empty())?;
    Some((encoder, query.user.clone(), request.text.clone()))
}

impl LanguageControl {
    /// The request's share.
    pub fn weight(&self, query: &Query) -> f32 {
        query.request.as_ref().and_then(|request| request.weight).unwrap_or(self.weight)
    }

    /// A list by its own order and the request's; a list without a request stays as it is.
    ///
    /// Equal fused scores are ordered by item id.
    pub fn apply(&self, row: &Candidates, mut list: ArmList, said: &Said) -> ArmList {
        let Some(request) = self.speaker.vector(&row.query, said) else { return list };
        // By item id, so that of equal scores the lower id comes first.
        let mut places: Vec<u32> = (0..list.order.len() as u32).collect();
        let item = |place: u32| row.items[list.order[place as usize] as usize];
        places.sort_unstable_by_key(|place| item(*place));
        let base: Vec<f32> = places.iter().map(|place| list.scores[*place as usize]).collect();
        let control: Vec<f32> =
            places.iter().map(|place| self.speaker.answers(request, item(*place))).collect();
        let merits = fused(&base, &control, self.fusion, self.weight(&row.query));
        let order = order(&merits);
        let positions = order.iter().map(|at| list.order[places[*at as usize] as usize]).collect();
        list.scores = order.iter().map(|at| merits[*at as usize] as f32).collect();
        list.order = positions;
        list
    }
}
