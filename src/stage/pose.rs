//! What somebody might ask for, and which items are to be judged for it.

use super::judge::{Spent, Writer};
use super::texts::Texts;
use super::{Outcomes, Stage};
use crate::control::Requests;
use crate::error::Result;
use crate::types::{
    Category, Control, FaultKind, ItemId, Key, Origin, Query, Relation, Request, StageName, mix64,
    unit_f64,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Draws after which a request has fewer items than it should.
const TRIES_A_PLACE: usize = 20;

/// What a user asks for.
#[derive(Clone, Debug)]
pub struct Posed {
    /// Where their sequence was read.
    pub origin: Origin,
    /// Who.
    pub user: Key,
    /// The user in words.
    pub context: String,
    /// Their requests, each with the items to be judged, ascending.
    pub asked: Vec<(Request, Vec<ItemId>)>,
    /// What it took to write them.
    pub spent: Spent,
}

/// Where requests come from.
#[derive(Clone)]
pub enum Source {
    /// Our own wordings.
    Templates,
    /// What people have asked, with what it is about where that is known.
    Table(Arc<Vec<(String, Option<Category>)>>),
    /// A model behind a server.
    Teacher(Arc<Writer>),
}

/// How requests and items are drawn.
#[derive(Clone, Debug)]
pub struct PoseSettings {
    /// The categories, from which one is drawn for each request.
    pub categories: Vec<Category>,
    /// Requests of a user.
    pub per_user: usize,
    /// The share in wordings that are kept from training.
    pub held_out: f64,
    /// Everything drawn follows from it, the user and the request's number.
    pub seed: u64,
    /// Items of a request.
    pub per_request: usize,
    /// The share of items that meet the request.
    pub likely: f64,
    /// The share of items that have a label of what the user took.
    pub taste: f64,
}

/// Writes the requests of users and draws their items.
#[derive(Clone)]
pub struct Pose {
    /// Where requests come from.
    pub source: Source,
    /// Writes and reads requests.
    pub requests: Arc<Requests>,
    /// Puts users in words.
    pub texts: Arc<Texts>,
    /// How.
    pub settings: Arc<PoseSettings>,
}

impl Stage for Pose {
    type In = Query;
    type Out = Posed;
    const NAME: StageName = StageName::Request;

    fn run(&mut self, queries: Vec<Query>, out: &mut Outcomes<Posed>) {
        let one = |at: usize| self.written(&queries[at]);
        let written = match &self.source {
            Source::Teacher(writer) => writer.asking.all(queries.len(), one),
            Source::Templates | Source::Table(_) => (0..queries.len()).map(one).collect(),
        };
        let written = match written {
            Ok(written) => written,
            Err(error) => return out.fail(&error),
        };
        for (query, Written { context, requests, spent, fault }) in queries.into_iter().zip(written)
        {
            if let Some(fault) = fault {
                out.fault(query.origin, fault);
            }
            if requests.is_empty() {
                continue;
            }
            let asked = requests.into_iter().map(|(draw, request)| {
                let items = self.items(draw, &request, &query.history);
                (request, items)
            });
            let asked = asked.collect();
            out.ok(Posed { origin: query.origin, user: query.user, context, asked, spent });
        }
    }
}

/// What was written for a user.
struct Written {
    context: String,
    /// With the draw that their items follow from.
    requests: Vec<(u64, Request)>,
    spent: Spent,
    fault: Option<FaultKind>,
}

impl Pose {
    /// The requests of a user, none twice.
    fn written(&self, query: &Query) -> Result<Written> {
        let context = self.texts.context(&query.history);
        let draws: Vec<u64> = (0..self.settings.per_user as u64)
            .map(|nth| mix64(self.settings.seed ^ mix64(query.user.hash64() ^ mix64(nth))))
            .collect();
        let (mut spent, mut fault) = (Spent::default(), None);
        let written: Vec<Option<Request>> = match &self.source {
            Source::Templates => {
                draws.iter().map(|draw| self.request(*draw, &query.history)).collect()
            }
            Source::Table(table) => draws.iter().map(|draw| self.listed(table, *draw)).collect(),
            Source::Teacher(writer) => {
                let kinds: Vec<Category> = draws.iter().map(|draw| self.category(*draw)).collect();
                let (texts, took) = writer.write(&context, &kinds)?;
                spent = took;
                match texts {
                    Ok(texts) => {
                        let read = |(text, kind)| Some(self.read(text, Some(kind)));
                        texts.into_iter().zip(kinds).map(read).collect()
                    }
                    Err(found) => {
                        let request = "write requests".to_owned();
                        fault = Some(FaultKind::Unjudged { request, found });
                        Vec::new()
                    }
                }
            }
        };
        let mut requests: Vec<(u64, Request)> = Vec::new();
        for (draw, request) in draws.into_iter().zip(written) {
            let Some(request) = request else { continue };
            if requests.iter().all(|(_, other)| other.text != request.text) {
                requests.push((draw, request));
            }
        }
        if requests.is_empty() && fault.is_none() {
            fault = Some(FaultKind::NothingToAsk);
        }
        Ok(Written { context, requests, spent, fault })
    }

    /// A request of the table.
    fn listed(&self, table: &[(String, Option<Category>)], draw: u64) -> Option<Request> {
        let (text, category) = table.get(below(draw, table.len()))?;
        Some(self.read(text.clone(), *category))
    }

    /// A request that somebody wrote, with the meaning that the rules find in it.
    fn read(&self, text: String, category: Option<Category>) -> Request {
        let hash = Key::from(text.as_str()).hash64();
        let held_out = unit_f64(mix64(self.settings.seed ^ hash)) < self.settings.held_out;
        let meaning = self.requests.understand(&text);
        Request { text, category, held_out, meaning, ..Request::default() }
    }

    /// The category that is drawn.
    fn category(&self, draw: u64) -> Category {
        let categories = &self.settings.categories;
        categories[(unit_f64(draw) * categories.len() as f64) as usize]
    }

    /// A request of the category that is drawn, or of the next one that has something.
    fn request(&self, draw: u64, history: &[ItemId]) -> Option<Request> {
        let PoseSettings { categories, held_out, .. } = &*self.settings;
        let kept = unit_f64(mix64(draw ^ 1)) < *held_out;
        let first = (unit_f64(draw) * categories.len() as f64) as usize;
        let turns = (0..categories.len()).map(|turn| categories[(first + turn) % categories.len()]);
        let mut written = turns.map(|category| self.requests.write(category, draw, history, kept));
        written.find_map(|request| request)
    }

    /// Items that meet the request, items to the user's taste, and any items, without repeats.
    fn items(&self, draw: u64, request: &Request, history: &[ItemId]) -> Vec<ItemId> {
        let PoseSettings { per_request, likely, taste, .. } = *self.settings;
        let all = self.requests.catalogue().len();
        let many = per_request.min(all);
        let share = |share: f64| (share * many as f64).round() as usize;
        let mut chosen = BTreeSet::new();
        let mut next = draws(draw);
        let mut likely = share(likely);
        if let Some(unwanted) = unwanted(&request.meaning) {
            // What is excluded is rare: without these hardly anything would be judged badly.
            let all = request.meaning.iter().all(|control| control.relation == Relation::Not);
            let tempting = self.requests.meeting(&unwanted);
            let some = if all { likely } else { likely / 2 };
            fill(&mut chosen, some, &mut next, |at| pick(&tempting, at));
            likely -= some;
        }
        let meeting = self.requests.meeting(&request.meaning);
        let wanted = chosen.len() + likely;
        fill(&mut chosen, wanted, &mut next, |at| pick(&meeting, at));
        let wanted = chosen.len() + share(taste);
        fill(&mut chosen, wanted, &mut next, |at| self.to_taste(history, at));
        fill(&mut chosen, many, &mut next, |at| Some(below(at, all) as ItemId));
        chosen.into_iter().collect()
    }

    /// An item with a label of something the user took.
    fn to_taste(&self, history: &[ItemId], draw: u64) -> Option<ItemId> {
        let liked = pick(history, draw)?;
        let catalogue = self.requests.catalogue();
        let labelled: Vec<u16> = (0..catalogue.attributes.len() as u16)
            .filter(|at| {
                let attribute = &catalogue.attributes[usize::from(*at)];
                attribute.numbers.is_empty() && !attribute.codes(liked).is_empty()
            })
            .collect();
        let attribute = pick(&labelled, mix64(draw ^ 2))?;
        let codes = catalogue.attributes[usize::from(attribute)].codes(liked);
        let code = pick(codes, mix64(draw ^ 4))?;
        pick(self.requests.labelled(attribute, code), mix64(draw ^ 3))
    }
}

/// What items meet that are all but what is asked for: they have what is excluded. None where
/// nothing is.
fn unwanted(meaning: &[Control]) -> Option<Vec<Control>> {
    let turned = |control: &Control| match control.relation {
        Relation::Not => Control { relation: Relation::Is, ..control.clone() },
        _ => control.clone(),
    };
    let excludes = meaning.iter().any(|control| control.relation == Relation::Not);
    excludes.then(|| meaning.iter().map(turned).collect())
}

/// Whether an item is kept from training: by the hash of its key alone.
pub fn kept_from_training(item: &Key, share: f64, seed: u64) -> bool {
    unit_f64(mix64(mix64(seed) ^ item.hash64())) < share
}

/// Adds items until there are so many, or too many draws gave nothing new.
fn fill(
    chosen: &mut BTreeSet<ItemId>,
    wanted: usize,
    next: &mut impl FnMut() -> u64,
    draw: impl Fn(u64) -> Option<ItemId>,
) {
    let places = wanted.saturating_sub(chosen.len());
    for _ in 0..places * TRIES_A_PLACE {
        if chosen.len() >= wanted {
            break;
        }
        chosen.extend(draw(next()));
    }
}

fn draws(seed: u64) -> impl FnMut() -> u64 {
    let mut count = 0u64;
    move || {
        count += 1;
        mix64(seed ^ mix64(count))
    }
}

fn below(draw: u64, count: usize) -> usize {
    ((u128::from(draw) * count as u128) >> 64) as usize
}

fn pick<T: Copy>(some: &[T], draw: u64) -> Option<T> {
    some.get(below(draw, some.len())).copied()
}
