//! What a retriever minimises on a device, and the gradient by its output and by the items.

use super::EIGHT;
use super::learner::ResidentLearner;
use crate::device::cuda::kernels::{
    CrossEntropy, Indices, LookupBackward, SampledLoss, SampledLossRule, Uses,
};
use crate::device::cuda::{Bf16, Buffer, Driver, Product};
use crate::error::Result;
use crate::model::resident::{Given, Heads, Laid, Multiplied, SiteBackward, TrainedSite, rounded};
use crate::model::retriever::Retriever;

/// Scores that are computed together, but for rows that are.
const SCORES_MAX: usize = 1 << 26;
/// Rows that are scored together at least: each time, the table's whole gradient is read and
/// written.
const ROWS_MIN: usize = 64;

/// Of how many of so many rows all items are scored together.
pub fn rows_at_once(items: usize, rows: usize) -> usize {
    (SCORES_MAX / items.max(1)).max(ROWS_MIN).min(rows)
}

/// What is minimised, over which items.
#[derive(Clone, Copy, Debug)]
pub enum LossRule<'a> {
    /// Softmax over all, of so many rows at a time.
    All(usize),
    /// Softmax over the target and a few: (items) ln of how often each is drawn.
    Softmax(&'a [f32]),
    /// The target and a few, each by itself: the power of the target's probability.
    Binary(f32),
}

/// What it needs on the device.
pub enum Scored {
    All(Box<AllScores>),
    Softmax(Buffer<f32>),
    Binary(f32),
}

/// What is needed for the scores of all items.
pub struct AllScores {
    /// The items as products read them, filled up to a multiple of eight rows.
    pub items: Multiplied,
    room: ScoreRoom,
}

/// Scores of as many rows as there is room for, and their gradient.
pub struct ScoreRoom {
    wide: usize,
    scores: Buffer<f32>,
    d_scores: Buffer<Bf16>,
}

impl ScoreRoom {
    /// Of so many rows.
    pub fn new(driver: &dyn Driver, items: usize, rows: usize) -> Result<Self> {
        let wide = items.next_multiple_of(EIGHT);
        let numbers = rows.max(1) * wide;
        let (scores, d_scores) = (Buffer::new(driver, numbers)?, Buffer::new(driver, numbers)?);
        Ok(Self { wide, scores, d_scores })
    }
}

impl Scored {
    /// Copies what the rule needs.
    pub fn of(
        driver: &dyn Driver,
        retriever: &Retriever,
        rule: LossRule<'_>,
        tokens: usize,
    ) -> Result<Self> {
        let (items, hidden) = (retriever.config().items, retriever.config().hidden);
        Ok(match rule {
            LossRule::Softmax(log_q) => Scored::Softmax(Buffer::of(driver, log_q)?),
            LossRule::Binary(beta) => Scored::Binary(beta),
            LossRule::All(rows) => {
                let room = ScoreRoom::new(driver, items, rows.min(tokens))?;
                let table = retriever.item_embeddings();
                let given = Given {
                    size: [room.wide, hidden],
                    read: &|row, to| {
                        match table.get(row * hidden..(row + 1) * hidden) {
                            Some(from) => to.copy_from_slice(from),
                            None => to.fill(0.0),
                        }
                        Ok(())
                    },
                    bias: &[],
                    changes: &[],
                    fp8: false,
                };
                let laid = Laid { heads: Heads::new(1)?, site: 2 }; // as it is
                let items = Multiplied::of(driver, laid, &given)?;
                Scored::All(Box::new(AllScores { items, room }))
            }
        })
    }
}

impl ResidentLearner {
    /// The rows' losses; leaves the gradient of scale times them by the model's output in the room,
    /// and adds the items'. `taught` is the target of each row, or its candidates.
    pub(super) fn loss(&self, rows: usize, taught: &[u32], scale: f32) -> Result<Lost> {
        let losses = Buffer::new(self.driver(), rows)?;
        let taught_there = Indices::of(self.driver(), taught)?;
        let few = |rule| self.over_few(rule, (taught, &taught_there), scale, &losses);
        let few = match &self.scored {
            Scored::All(scored) => {
                self.over_all(scored, &taught_there, scale, &losses)?;
                None
            }
            Scored::Softmax(log_q) => Some(few(SampledLossRule::Softmax(log_q))?),
            Scored::Binary(beta) => Some(few(SampledLossRule::Binary(*beta))?),
        };
        Ok(Lost { losses, _taught: taught_there, _few: few })
    }

    fn over_all(
        &self,
        AllScores { items: with, room: scored }: &AllScores,
        targets: &Indices,
        scale: f32,
        losses: &Buffer<f32>,
    ) -> Result<()> {
        let (driver, room) = (self.driver(), &self.room);
        let config = &self.resident.config;
        let (hidden, wide) = (config.hidden, scored.wide);
        let output = &room.forward.hidden.slice(0..targets.len() * hidden)?;
        let output = rounded(driver, output, &room.rounded)?;
        let trained = &TrainedSite::Weight { weight: self.places.tables[0].clone(), bias: None };
        let at_once = scored.scores.len() / wide;
        for first in (0..targets.len()).step_by(at_once) {
            let rows = at_once.min(targets.len() - first);
            let numbers = first * hidden..(first + rows) * hidden;
            let x = &output.slice(numbers.clone())?;
            let scores = &scored.scores.slice(0..rows * wide)?;
            let d_scores = &scored.d_scores.slice(0..rows * wide)?;
            let size = [rows, wide, hidden];
            driver.product(&Product::new(size, x, with.adapters.weight()?, scores)?)?;
            let targets = &targets.slice(first..first + rows)?;
            let (items, losses) = (config.items, &losses.slice(first..first + rows)?);
            let call = CrossEntropy { items, wide, scale, scores, targets, losses, d_scores };
            driver.launch(&call.launch()?)?;
            let (parameters, sums, d_out) = (&self.parameters, d_scores, d_scores);
            let room_of_sites = &room.sites;
            SiteBackward { parameters, room: room_of_sites, with, trained, rows, x, sums, d_out }
                .run(&room.d_branch.slice(numbers)?, false)?;
        }
        Ok(())
    }

    fn over_few(
        &self,
        rule: SampledLossRule<'_>,
        (taught, candidates): (&[u32], &Indices),
        scale: f32,
        losses: &Buffer<f32>,
    ) -> Result<(Uses, Buffer<f32>)> {
        let (driver, room, config) = (self.driver(), &self.room, &self.resident.config);
        let (rows, items, hidden) = (losses.len(), config.items, config.hidden);
        let numbers = 0..rows * hidden;
        let x = &room.forward.hidden.slice(numbers.clone())?;
        let d_x = &room.d_branch.slice(numbers)?;
        let d_scores = Buffer::new(driver, taught.len())?;
        let table = &self.resident.weights.tables[0];
        let size = [rows, items, hidden];
        let d = &d_scores;
        let call =
            SampledLoss { size, rule, scale, x, table, candidates, losses, d_scores: d, d_x };
        driver.launch(&call.launch()?)?;
        let uses = Uses::of(driver, [items, hidden], taught.iter().copied().map(Some))?;
        let d_rows = &self.parameters.gradient(&self.places.tables[0])?;
        let call = LookupBackward { scale: 1.0, uses: &uses, weights: Some(d), x, d_rows };
        driver.launch_all(&call.launches()?)?;
        Ok((uses, d_scores))
    }
}

/// A batch's losses, in nats, and what the device reads for their gradient.
pub struct Lost {
    pub losses: Buffer<f32>,
    _taught: Indices,
    _few: Option<(Uses, Buffer<f32>)>,
}
