//! What an encoder learned of its teacher: on requests, wordings and items that it did not learn
//! from, beside the encoder it began with and beside BM25.

use super::lessons::{Held, Judged};
use crate::device::cpu::top_k::reference::score;
use crate::error::Result;
use crate::metric::{Agreement, Pair};
use crate::model::encoder::Encoder;
use crate::stage::bm25::Bm25;
use crate::types::{Category, ItemId};
use serde::{Deserialize, Serialize};

/// Validations look at this many requests at most: training waits for them.
const EXAMINED_MAX: usize = 512;

/// How far three ways to score agree with the teacher, on some of the judgements.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Of which category; all where there is none.
    pub category: Option<Category>,
    /// What was kept from training.
    pub held: Held,
    /// The encoder.
    pub trained: Agreement,
    /// The encoder that it began with.
    pub untrained: Agreement,
    /// BM25 over the items' texts.
    pub words: Agreement,
}

/// The scores of all requests for all items.
struct Scores {
    requests: Vec<f32>,
    items: Vec<f32>,
    width: usize,
}

impl Scores {
    fn of(encoder: &Encoder, kept: &[Judged], texts: &[String], threads: usize) -> Result<Scores> {
        let requests: Vec<(String, String)> =
            kept.iter().map(|judged| (judged.request.clone(), judged.context.clone())).collect();
        Ok(Scores {
            requests: encoder.requests(&requests, threads)?,
            items: encoder.items(texts, threads)?,
            width: encoder.width(),
        })
    }

    fn pair(&self, request: usize, item: ItemId) -> f32 {
        let row = |at: usize| at * self.width..(at + 1) * self.width;
        score(&self.requests[row(request)], &self.items[row(item as usize)])
    }
}

/// Every category and kind that something was judged for, all categories together first.
///
/// Errors: a failure of an encoder.
pub fn qualities(
    [trained, untrained]: [&Encoder; 2],
    kept: &[Judged],
    texts: &[String],
    threads: usize,
) -> Result<Vec<Quality>> {
    let trained = Scores::of(trained, kept, texts, threads)?;
    let untrained = Scores::of(untrained, kept, texts, threads)?;
    let index = Bm25::new(texts.iter().map(String::as_str));
    let words: Vec<Vec<f32>> = kept.iter().map(|judged| index.scores(&judged.request)).collect();
    let mut all = Vec::new();
    for held in Held::ALL {
        for category in std::iter::once(None).chain(Category::ALL.map(Some)) {
            let some: Vec<usize> = (0..kept.len())
                .filter(|at| category.is_none_or(|category| kept[*at].category == category))
                .filter(|at| !held.of(&kept[*at]).is_empty())
                .collect();
            if some.is_empty() {
                continue;
            }
            let agreement = |model: &dyn Fn(usize, ItemId) -> f32| {
                let pairs: Vec<Vec<Pair>> = some
                    .iter()
                    .map(|at| {
                        let items = held.of(&kept[*at]).iter();
                        items.map(|(i, t)| Pair { model: model(*at, *i), teacher: *t }).collect()
                    })
                    .collect();
                Agreement::of(pairs.iter().map(Vec::as_slice))
            };
            all.push(Quality {
                category,
                held,
                trained: agreement(&|at, item| trained.pair(at, item)),
                untrained: agreement(&|at, item| untrained.pair(at, item)),
                words: agreement(&|at, item| words[at][item as usize]),
            });
        }
    }
    Ok(all)
}

/// The mean AUC over requests in known wordings that were kept from training; none without any that
/// says something.
///
/// Errors: a failure of the encoder.
pub fn examine(
    encoder: &Encoder,
    kept: &[Judged],
    texts: &[String],
    threads: usize,
) -> Result<Option<f64>> {
    let known = kept.iter().filter(|judged| !judged.new_wording);
    let some: Vec<Judged> = known.take(EXAMINED_MAX).cloned().collect();
    // The items that are looked at, and no others.
    let mut items: Vec<ItemId> = some.iter().flat_map(|j| &j.items).map(|(i, _)| *i).collect();
    items.sort_unstable();
    items.dedup();
    let texts: Vec<String> = items.iter().map(|item| texts[*item as usize].clone()).collect();
    let scores = Scores::of(encoder, &some, &texts, threads)?;
    let pairs: Vec<Vec<Pair>> = (0..)
        .zip(&some)
        .map(|(at, judged)| {
            let one = |(item, teacher): &(ItemId, f32)| {
                let place = items.binary_search(item).unwrap_or_default();
                Pair { model: scores.pair(at, place as ItemId), teacher: *teacher }
            };
            judged.items.iter().map(one).collect()
        })
        .collect();
    Ok(Agreement::of(pairs.iter().map(Vec::as_slice)).auc)
}
