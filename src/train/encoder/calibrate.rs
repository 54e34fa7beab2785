//! Where training begins: the bias of the logit, so that the first steps need not look for it.

use super::lessons::{Lesson, Readings};
use crate::device::Cpu;
use crate::error::Result;
use crate::model::encoder::{Learner, Projected, Tower, dot};

/// Lessons that are looked at: enough for a mean.
const LESSONS: usize = 128;
/// Mean scores nearer to 0 or 1 than this are taken to be as near.
const SHARE_MIN: f64 = 1e-3;

/// Sets the bias so that the mean logit of some lessons, taken evenly from all, is that of their
/// mean score.
///
/// Formula: bias = ln(ȳ / (1 − ȳ)) − scale · mean ⟨f, g⟩
pub fn calibrate(
    learner: &mut Learner,
    (lessons, readings): (&[Lesson], &Readings),
    threads: usize,
) -> Result<()> {
    let step = lessons.len().div_ceil(LESSONS).max(1);
    let chosen: Vec<usize> = (0..lessons.len()).step_by(step).collect();
    let pairs = || {
        let some = chosen.iter().enumerate();
        some.flat_map(|(place, at)| lessons[*at].items.iter().map(move |item| (place, *item)))
    };
    let count = pairs().count();
    if count == 0 {
        return Ok(());
    }
    let items: Vec<usize> = pairs().map(|(_, (item, _))| item as usize).collect();
    let [asked, told] = readings.pooled(learner, [&chosen, &items], threads)?;
    let heads = learner.encoder().heads();
    let (width, mut f, mut g) = (heads.shape()[0], Projected::default(), Projected::default());
    heads.project(&Cpu, Tower::Request, &asked, &mut f);
    heads.project(&Cpu, Tower::Item, &told, &mut g);
    let row = |of: &'_ Projected, at: usize| of.units[at * width..(at + 1) * width].to_vec();
    let cosines = pairs().enumerate().map(|(i, (place, _))| dot(&row(&f, place), &row(&g, i)));
    let cosine = cosines.map(f64::from).sum::<f64>() / count as f64;
    let score = pairs().map(|(_, (_, score))| f64::from(score)).sum::<f64>() / count as f64;
    let score = score.clamp(SHARE_MIN, 1.0 - SHARE_MIN);
    let (scale, _) = heads.scale_and_bias();
    let mut parameters = learner.parameters().to_vec();
    if let Some(bias) = parameters.last_mut() {
        *bias = ((score / (1.0 - score)).ln() - f64::from(scale) * cosine) as f32;
    }
    learner.set(&parameters)
}
