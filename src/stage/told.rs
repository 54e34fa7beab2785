//! What each user said in their own words, and what of it the rules understand.

use crate::control::request::Requests;
use crate::spec::AskFrom;
use crate::types::{Category, Control, ControlSource, Key, Query, Request, mix64};
use std::collections::HashMap;
use std::sync::Arc;

/// Where requests come from: shared by all workers of a process.
pub struct Told {
    /// The job's choice.
    pub from: AskFrom,
    /// Everybody's.
    pub job: Option<String>,
    /// Each user's, with its weight.
    pub table: HashMap<Key, (String, Option<f32>)>,
    /// Writes and reads requests.
    pub requests: Arc<Requests>,
    /// Of which categories requests are made up.
    pub categories: Vec<Category>,
    /// Whether they are in words that no encoder has learned from.
    pub held_out: bool,
    /// The seed of what is made up.
    pub seed: u64,
    /// Whether what is understood joins the controls.
    pub controls: bool,
}

impl Told {
    /// What a user said.
    pub fn request(&self, query: &Query) -> Option<Request> {
        let read = |text: &str, weight| {
            let (quotas, text) = self.requests.feed(text);
            Request { text, quotas, weight, ..Request::default() }
        };
        match self.from {
            AskFrom::None => None,
            AskFrom::Job => self.job.as_deref().map(|text| read(text, None)),
            AskFrom::Table => self.table.get(&query.user).map(|(text, weight)| read(text, *weight)),
            AskFrom::Sampled => self.made_up(query),
        }
    }

    /// A request of a category drawn for the user; of the next one that has any for them.
    fn made_up(&self, query: &Query) -> Option<Request> {
        let count = self.categories.len();
        let draw = mix64(query.user.hash64() ^ mix64(self.seed));
        (0..count).find_map(|turn| {
            let category = self.categories[(draw as usize % count + turn) % count];
            self.requests.write(category, mix64(draw), &query.history, self.held_out)
        })
    }

    /// What of a request can be said in controls, unless the job wants none.
    pub fn understood(&self, request: &Request) -> Vec<Control> {
        if self.controls { self.requests.understand(&request.text) } else { Vec::new() }
    }

    /// Where controls that were understood came from.
    pub fn source(&self) -> ControlSource {
        match self.from {
            AskFrom::None => ControlSource::None,
            AskFrom::Job => ControlSource::Job,
            AskFrom::Table => ControlSource::Table,
            AskFrom::Sampled => ControlSource::Sampled,
        }
    }
}

/// The label of a request among [`labels`].
pub fn label(request: &Request) -> u32 {
    let at = |category| Category::ALL.iter().position(|other| *other == category);
    request.category.and_then(at).unwrap_or(Category::ALL.len()) as u32
}

/// What requests are sliced by: their categories, and what has none.
pub fn labels() -> Vec<String> {
    let named = Category::ALL.iter().map(|category| category.name());
    named.chain(["other"]).map(str::to_owned).collect()
}
