//! `kind = "prepare"`: raw interactions and item files to sequences.

use super::Problems;
use serde::{Deserialize, Serialize};

/// The job as written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrepareSpec {
    /// Makes seeded demo data instead of reading files.
    pub generate: Option<GenerateSpec>,
    /// The interaction shards.
    pub interactions: InteractionsSpec,
    /// The item table; without it the catalogue has keys only.
    pub items: Option<ItemsSpec>,
    /// The user table: segments for the report's slices.
    pub users: Option<UsersSpec>,
    /// Which interactions count.
    pub filter: FilterSpec,
    /// What is learned from, validated on and tested on. Default `leave-one-out`.
    pub split: Split,
    /// In which pieces.
    pub output: PrepareOutput,
}

/// `[generate]`: the seeded demo catalogue and its users.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GenerateSpec {
    /// The same seed and sizes give the same data. Default 17.
    pub seed: u64,
    /// How many. Default 4000.
    pub users: u32,
    /// How many, at least 100. Default 2000.
    pub items: u32,
    /// Mean interactions of a user, 8 to 1000. Default 25.
    pub interactions_mean: u32,
}

/// `[interactions]`: Parquet shards and their columns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InteractionsSpec {
    /// Files, folders or patterns with `*`.
    #[serde(skip_serializing)] // where the data lies is not what it is
    pub paths: Vec<String>,
    /// Column of user ids: integer or string.
    pub user: String,
    /// Column of item ids: integer or string.
    pub item: String,
    /// Column of times: integer, timestamp or date; without it the order of rows is the time.
    pub time: Option<String>,
    /// Column of weights: rating, quantity, dwell time.
    pub weight: Option<String>,
    /// Rows with a smaller weight are left out.
    pub weight_min: Option<f32>,
}

/// `[items]`: the item table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ItemsSpec {
    /// Files, folders or patterns with `*`.
    #[serde(skip_serializing)]
    pub paths: Vec<String>,
    /// Column of item ids.
    pub item: String,
    /// Column of titles.
    pub title: Option<String>,
    /// Column of descriptions, which a prompt may show.
    #[serde(skip_serializing_if = "Option::is_none")] // a job without them keeps its run
    pub description: Option<String>,
    /// `[[items.attribute]]`.
    #[serde(rename = "attribute")]
    pub attributes: Vec<AttributeSpec>,
}

/// `[users]`: the user table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UsersSpec {
    /// Files, folders or patterns with `*`.
    #[serde(skip_serializing)]
    pub paths: Vec<String>,
    /// Column of user ids.
    pub user: String,
    /// `[[users.attribute]]`: segments.
    #[serde(rename = "attribute")]
    pub attributes: Vec<AttributeSpec>,
}

/// One attribute: a column, as it is (categorical) or binned.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AttributeSpec {
    /// The attribute's name.
    pub name: String,
    /// The column; the name when left out.
    pub column: Option<String>,
    /// Ascending bin edges: `[10, 25]` makes `under 10`, `10 to under 25`, `25 and over`.
    pub edges: Option<Vec<f64>>,
    /// Bins with about as many items each, 2 to 100.
    pub quantiles: Option<usize>,
    /// Splits a text into several labels.
    pub separator: Option<String>,
}

/// `[filter]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FilterSpec {
    /// Users with fewer interactions are left out, until all have as many (k-core). Default 1.
    pub user_min: u32,
    /// Items with fewer interactions are left out, likewise. Default 1.
    pub item_min: u32,
    /// What happens to a user's repeated interactions with one item. Default `keep-first`.
    pub duplicates: Duplicates,
}

/// The rule of de-duplication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Duplicates {
    /// The earliest stays.
    #[default]
    KeepFirst,
    /// The latest stays.
    KeepLast,
    /// All stay: repeat purchases matter.
    KeepAll,
}

/// What is held out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// The last item is the test, the one before it the validation (users with at least 3).
    #[default]
    LeaveOneOut,
    /// Per user and in time: the first 80 %, the next 10 %, the last 10 %.
    #[serde(rename = "chronological-80-10-10")]
    Chronological,
    /// Nothing is held out: learn from everything.
    None,
}

/// `[output]` of a prepare job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrepareOutput {
    /// Hash partitions of users, 1 to 4096. Default 8.
    pub partitions: u32,
    /// Rows of an epoch of reading, at least 1. Default 2000000.
    pub epoch_rows: u64,
}

impl Default for GenerateSpec {
    fn default() -> Self {
        Self { seed: 17, users: 4000, items: 2000, interactions_mean: 25 }
    }
}

impl Default for FilterSpec {
    fn default() -> Self {
        Self { user_min: 1, item_min: 1, duplicates: Duplicates::KeepFirst }
    }
}

impl Default for PrepareOutput {
    fn default() -> Self {
        Self { partitions: 8, epoch_rows: 2_000_000 }
    }
}

impl AttributeSpec {
    /// The column the attribute is read from.
    pub fn column(&self) -> &str {
        self.column.as_deref().unwrap_or(&self.name)
    }

    fn check(&self, path: &str, problems: &mut Problems) {
        problems.required(&format!("{path}.name"), &self.name, "the attribute's name");
        if self.edges.is_some() && self.quantiles.is_some() {
            problems.add(path, "`edges` and `quantiles` exclude each other");
        }
        if let Some(edges) = &self.edges {
            let ascending = edges.windows(2).all(|pair| pair[0] < pair[1]);
            if edges.is_empty() || !ascending || edges.iter().any(|edge| !edge.is_finite()) {
                let path = format!("{path}.edges");
                problems.add(path, format!("expected ascending numbers, found {edges:?}"));
            }
        }
        if let Some(quantiles) = self.quantiles {
            problems.range(&format!("{path}.quantiles"), quantiles, 2, 100);
        }
    }
}

impl PrepareSpec {
    /// Every rule over the fields.
    pub fn check(&self, problems: &mut Problems) {
        if let Some(generate) = &self.generate {
            generate.check(problems);
        }
        let events = &self.interactions;
        if self.generate.is_none() {
            if events.paths.is_empty() {
                problems.add("interactions.paths", "is missing: where the interaction shards lie");
            }
            problems.required("interactions.user", &events.user, "the column of user ids");
            problems.required("interactions.item", &events.item, "the column of item ids");
        }
        if let Some(items) = &self.items {
            if items.paths.is_empty() && self.generate.is_none() {
                problems.add("items.paths", "is missing: where the item table lies");
            }
            problems.required("items.item", &items.item, "the column of item ids");
            check_attributes("items.attribute", &items.attributes, problems);
        }
        if let Some(users) = &self.users {
            if users.paths.is_empty() && self.generate.is_none() {
                problems.add("users.paths", "is missing: where the user table lies");
            }
            problems.required("users.user", &users.user, "the column of user ids");
            check_attributes("users.attribute", &users.attributes, problems);
        }
        problems.range("filter.user_min", self.filter.user_min, 1, 1_000_000);
        problems.range("filter.item_min", self.filter.item_min, 1, 1_000_000);
        problems.range("output.partitions", self.output.partitions, 1, 4096);
        problems.range("output.epoch_rows", self.output.epoch_rows, 1, u64::MAX);
    }
}

impl GenerateSpec {
    fn check(&self, problems: &mut Problems) {
        problems.range("generate.users", self.users, 10, 100_000_000);
        problems.range("generate.items", self.items, 100, 10_000_000);
        problems.range("generate.interactions_mean", self.interactions_mean, 8, 1000);
    }
}

fn check_attributes(path: &str, attributes: &[AttributeSpec], problems: &mut Problems) {
    for (at, attribute) in attributes.iter().enumerate() {
        attribute.check(&format!("{path}[{at}]"), problems);
    }
    problems.unique(path, attributes.iter().map(|a| a.name.as_str()));
}
