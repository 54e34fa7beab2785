//! What somebody asks for in their own words, and what somebody else says about an item for it.

use super::{Control, ItemId, Key};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a request is about. Each is hard for another reason, so figures are kept apart by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Category {
    /// A genre, a department, a brand.
    Attribute,
    /// A price or another number with a bound.
    Bound,
    /// A mood or an atmosphere.
    Mood,
    /// Something like a thing they know, but different in one way.
    Similarity,
    /// Anything but something.
    Exclusion,
    /// A period, or what is new.
    Period,
    /// For whom, or for which occasion.
    Audience,
    /// What is good, popular, or known to few.
    Quality,
    /// One thing and another, or one and not another.
    Composition,
    /// What they would like to be: to learn something, to eat better.
    Aspiration,
}

impl Category {
    /// All ten, in the order of reports.
    pub const ALL: [Category; 10] = [
        Category::Attribute,
        Category::Bound,
        Category::Mood,
        Category::Similarity,
        Category::Exclusion,
        Category::Period,
        Category::Audience,
        Category::Quality,
        Category::Composition,
        Category::Aspiration,
    ];

    /// As files and reports write it.
    pub fn name(self) -> &'static str {
        match self {
            Category::Attribute => "attribute",
            Category::Bound => "bound",
            Category::Mood => "mood",
            Category::Similarity => "similarity",
            Category::Exclusion => "exclusion",
            Category::Period => "period",
            Category::Audience => "audience",
            Category::Quality => "quality",
            Category::Composition => "composition",
            Category::Aspiration => "aspiration",
        }
    }

    /// The category of a name.
    pub fn named(name: &str) -> Option<Category> {
        Category::ALL.into_iter().find(|category| category.name() == name)
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A request in somebody's own words.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The words, without those about the list as a whole.
    pub text: String,
    /// What it is about, where that is known.
    pub category: Option<Category>,
    /// Whether its wording is kept from training.
    pub held_out: bool,
    /// What it means in this catalogue, where that is known: an item satisfies it that meets all of
    /// these. Empty where nobody knows.
    pub meaning: Vec<Control>,
    /// What of it is about the list as a whole.
    pub quotas: Vec<Quota>,
    /// Its share of the score, 0 to 1; the job's where it has none.
    pub weight: Option<f32>,
}

/// A wish about a list and not about its items one by one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quota {
    /// At least this share of the places holds items that meet the control.
    AtLeast(Control, f32),
    /// At most this share does.
    AtMost(Control, f32),
    /// No label of the attribute is there more often than this.
    Each {
        /// Index into [`super::Catalogue::attributes`].
        attribute: u16,
        /// How often.
        most: u32,
    },
}

/// What a teacher says about an item for a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// Whose request.
    pub user: Key,
    /// The user in words, as the encoder reads them.
    pub context: String,
    /// The request.
    pub request: String,
    /// What it is about.
    pub category: Category,
    /// Whether the wording is kept from training.
    pub wording_held_out: bool,
    /// The item.
    pub item: ItemId,
    /// Whether the item is kept from training.
    pub item_held_out: bool,
    /// How well the item answers the request, 0 to 1.
    pub score: f32,
}
