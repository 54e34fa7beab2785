//! `kind = "label"`: what people might ask for, in words, and how well items answer it.

use super::{BudgetSpec, Problems, TeacherSpec, TextsSpec};
use crate::types::{Asked, Category, Relation};
use serde::{Deserialize, Serialize};

/// The job as written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LabelSpec {
    /// `run:JOB`, a prepare job: the users, what they may be learned by, and the catalogue.
    #[serde(skip_serializing)] // the upstream run's id stands for it
    pub sequences: String,
    /// How items and people are put in words.
    pub texts: TextsSpec,
    /// What is asked for.
    pub requests: RequestsSpec,
    /// Which items are judged.
    pub items: JudgedSpec,
    /// Who judges.
    pub teacher: TeacherSpec,
    /// Which attribute's missing values the teacher says, besides.
    #[serde(skip_serializing_if = "Option::is_none")] // a job without it keeps its run
    pub infer: Option<InferSpec>,
    /// What may be spent on a teacher behind a server.
    #[serde(skip_serializing)] // the same judgements
    pub budget: BudgetSpec,
    /// In which pieces.
    pub output: LabelOutput,
}

/// `[requests]`: who asks, for what and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RequestsSpec {
    /// Where requests come from. Default `templates`.
    pub from: RequestsFrom,
    /// The file, folder or pattern of Parquet files with requests, with `from = "table"`.
    #[serde(skip_serializing)] // what is in it stands for it
    pub path: Option<String>,
    /// Of these categories: `attribute`, `bound`, `mood`, `similarity`, `exclusion`, `period`,
    /// `audience`, `quality`, `composition`, `aspiration`; those that there is something for when
    /// left out.
    pub categories: Vec<String>,
    /// What an item is called, in the singular: `film`. Default `thing`.
    pub noun: String,
    /// Attributes whose labels are asked for; those without numbers when left out.
    pub attributes: Vec<String>,
    /// Attributes whose numbers are bounded; the price when left out, or else all but years and
    /// ranks.
    pub numbers: Vec<String>,
    /// The attribute that holds years; the one that is called so when left out.
    pub period: Option<String>,
    /// The attribute that makes items alike; a genre or a category when left out.
    pub alike: Option<String>,
    /// Requests of a user, 1 to 100. Default 1.
    pub per_user: usize,
    /// Users who ask; 0 for all. Default 0.
    pub users_max: u64,
    /// The share of requests in wordings that are kept from training, 0 to 1. Default 0.25.
    pub held_out: f64,
    /// Everything drawn follows from it. Default 17.
    pub seed: u64,
    /// What the job's own sayings mean: `[[requests.meaning]]`, for moods, audiences and
    /// aspirations.
    #[serde(rename = "meaning")]
    pub meanings: Vec<MeaningSpec>,
}

/// Where requests come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequestsFrom {
    /// Our own wordings, over the catalogue and the job's sayings.
    #[default]
    Templates,
    /// The teacher behind a server writes them, for each user.
    Teacher,
    /// A table of what people have asked: a column `request` of texts and, if there is one, a
    /// column `category`.
    Table,
}

/// `[[requests.meaning]]`: a mood, an audience or an aspiration in people's words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeaningSpec {
    /// `mood` (says "something scary"), `audience` ("for children") or `aspiration` ("to learn
    /// something").
    pub category: String,
    /// Ways to say it; of three or more, every third is kept from training.
    pub says: Vec<String>,
    /// The attribute that it is about.
    pub attribute: String,
    /// `is`, `not`, `at-most` or `at-least`.
    pub relation: Relation,
    /// A label, several separated by `|` (any of them will do), or a number for the bounds.
    pub value: String,
}

/// `[items]`: which items are judged for a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JudgedSpec {
    /// Items for each request, 2 to 1000. Default 10.
    pub per_request: usize,
    /// The share of them that meet the request's meaning, or have what it excludes, 0 to 1. Default
    /// 0.4.
    pub likely: f64,
    /// The share of them that have a label of what the user took, 0 to 1; the rest are drawn from
    /// all items alike. Default 0.2.
    pub taste: f64,
    /// The share of items that are kept from training, by the hash of their keys, 0 to 0.9. Default
    /// 0.1.
    pub held_out: f64,
}

/// `[infer]`: an attribute that some items have no value of: the teacher says which label fits. A
/// decoder as the teacher cannot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InferSpec {
    /// The attribute; one of labels, not of numbers.
    pub attribute: String,
    /// Labels with less confidence count as none, 0 to 1. Default 0.5.
    pub confidence_min: f64,
    /// The share of items with a value that are asked about all the same, to measure the teacher, 0
    /// to 1. Default 0.05.
    pub held_out: f64,
    /// Items that are asked about, at most, of those without a value and of those with one; 0 for
    /// all. Default 0.
    pub items_max: u64,
}

/// `[output]` of a label job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LabelOutput {
    /// Partitions of an epoch, at least 1. Default 4.
    pub epoch_tasks: usize,
}

impl Default for RequestsSpec {
    fn default() -> Self {
        RequestsSpec {
            from: RequestsFrom::Templates,
            path: None,
            categories: Vec::new(),
            noun: "thing".to_owned(),
            attributes: Vec::new(),
            numbers: Vec::new(),
            period: None,
            alike: None,
            per_user: 1,
            users_max: 0,
            held_out: 0.25,
            seed: 17,
            meanings: Vec::new(),
        }
    }
}

impl Default for JudgedSpec {
    fn default() -> Self {
        JudgedSpec { per_request: 10, likely: 0.4, taste: 0.2, held_out: 0.1 }
    }
}

impl Default for InferSpec {
    fn default() -> Self {
        InferSpec { attribute: String::new(), confidence_min: 0.5, held_out: 0.05, items_max: 0 }
    }
}

impl Default for LabelOutput {
    fn default() -> Self {
        LabelOutput { epoch_tasks: 4 }
    }
}

impl MeaningSpec {
    /// What it means, as somebody would ask for it.
    pub fn asked(&self) -> Asked {
        let MeaningSpec { attribute, relation, value, .. } = self.clone();
        Asked { attribute, relation, value }
    }
}

impl LabelSpec {
    /// Every rule over the fields.
    pub fn check(&self, problems: &mut Problems) {
        problems.reference("sequences", &self.sequences);
        self.texts.check(problems);
        self.requests.check(problems);
        let far = matches!(self.teacher, TeacherSpec::Http(_));
        if self.requests.from == RequestsFrom::Teacher && !far {
            problems.add("requests.from", "\"teacher\" needs a teacher of kind \"http\"");
        }
        self.items.check(problems);
        self.teacher.check(problems);
        self.budget.check(problems);
        if let Some(infer) = &self.infer {
            problems.required("infer.attribute", &infer.attribute, "the attribute's name");
            problems.range("infer.confidence_min", infer.confidence_min, 0.0, 1.0);
            problems.range("infer.held_out", infer.held_out, 0.0, 1.0);
            if matches!(self.teacher, TeacherSpec::Decoder(_)) {
                problems.add("infer", "a decoder names no labels: use another teacher");
            }
        }
        problems.range("output.epoch_tasks", self.output.epoch_tasks, 1, 1_000_000);
    }
}

impl RequestsSpec {
    /// The categories that are named.
    pub fn categories(&self) -> Vec<Category> {
        self.categories.iter().filter_map(|name| Category::named(name)).collect()
    }

    fn check(&self, problems: &mut Problems) {
        for (at, name) in self.categories.iter().enumerate() {
            if Category::named(name).is_none() {
                let known = Category::ALL.map(Category::name).join(", ");
                let path = format!("requests.categories[{at}]");
                problems.add(path, format!("expected one of {known}, found {name:?}"));
            }
        }
        if self.from == RequestsFrom::Table && self.path.is_none() {
            problems.add("requests.path", "is missing: where the table of requests lies");
        }
        problems.unique("requests.categories", self.categories.iter().map(String::as_str));
        problems.required("requests.noun", &self.noun, "what an item is called");
        problems.range("requests.per_user", self.per_user, 1, 100);
        problems.range("requests.held_out", self.held_out, 0.0, 1.0);
        for (at, meaning) in self.meanings.iter().enumerate() {
            let path = format!("requests.meaning[{at}]");
            if !["mood", "audience", "aspiration"].contains(&meaning.category.as_str()) {
                let found = format!(
                    "expected \"mood\", \"audience\" or \"aspiration\", found {:?}",
                    meaning.category
                );
                problems.add(format!("{path}.category"), found);
            }
            if meaning.says.is_empty() || meaning.says.iter().any(|says| says.trim().is_empty()) {
                problems.add(format!("{path}.says"), "expected at least one saying, none empty");
            }
        }
    }
}

impl JudgedSpec {
    fn check(&self, problems: &mut Problems) {
        problems.range("items.per_request", self.per_request, 2, 1000);
        problems.range("items.likely", self.likely, 0.0, 1.0);
        problems.range("items.taste", self.taste, 0.0, 1.0);
        if self.likely + self.taste > 1.0 {
            let sum = self.likely + self.taste;
            problems.add("items.taste", format!("with items.likely comes to {sum}, more than 1"));
        }
        problems.range("items.held_out", self.held_out, 0.0, 0.9);
    }
}
