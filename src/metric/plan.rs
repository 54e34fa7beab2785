//! What is measured: plain data, made from the job.

/// What a [`super::Judge`] measures and [`super::summarise`] reads. The same plan must go to both.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricPlan {
    /// The places at which lists are cut, ascending, each at least 1.
    pub cutoffs: Vec<usize>,
    /// How many of a user's controls an item must meet to count as satisfying.
    pub threshold: Threshold,
    /// Bootstrap replicates; 0 for none.
    pub replicates: u32,
    /// The seed of the bootstrap's weights.
    pub seed: u64,
    /// The arms' names, in the order of [`crate::types::Ranked::arms`].
    pub arms: Vec<String>,
    /// The arm (an index into `arms`) that differences are to.
    pub baseline: usize,
    /// The attribute (an index into the catalogue's) whose labels α-NDCG counts; none: no α-NDCG.
    pub diversity_attribute: Option<usize>,
    /// α of α-NDCG: how much of a label's worth each earlier item with it takes away; in [0, 1).
    pub alpha: f64,
    /// What ILD calls far apart; none: no ILD.
    pub distance: Option<Distance>,
    /// The two groups of items between which MAD compares; none: no MAD.
    pub fairness: Option<FairnessGroups>,
    /// The users' segments, in the order of [`crate::types::Query::segments`].
    pub segments: Vec<Segment>,
    /// Whether people asked for something in their own words.
    pub requests: bool,
    /// Whether it is for a point of a sweep: nothing of exposure, slices by how the controls agree
    /// with the history alone, and what a diagnosis asks for.
    pub point: bool,
}

impl Default for MetricPlan {
    fn default() -> Self {
        MetricPlan {
            cutoffs: vec![1, 5, 10, 20],
            threshold: Threshold::AtLeast(1),
            replicates: 200,
            seed: 0,
            arms: Vec::new(),
            baseline: 0,
            diversity_attribute: None,
            alpha: 0.5,
            distance: None,
            fairness: None,
            segments: Vec::new(),
            requests: false,
            point: false,
        }
    }
}

/// θ of control precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threshold {
    /// Every control of the user.
    All,
    /// That many of them, or all where the user has fewer. At least 1.
    AtLeast(u32),
}

impl Threshold {
    /// How many controls an item must meet for a user who has `controls` of them.
    pub(super) fn of(self, controls: usize) -> u32 {
        match self {
            Threshold::All => controls as u32,
            Threshold::AtLeast(count) => count.max(1).min(controls as u32),
        }
    }
}

/// What ILD calls far apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distance {
    /// 1 − cos of the items' embeddings.
    Embedding,
    /// 1 − Jaccard of the items' labels of this attribute (an index into the catalogue's).
    Attribute(usize),
}

/// Two groups of items, by one attribute. Items whose value is unknown are in neither.
#[derive(Clone, Debug, PartialEq)]
pub struct FairnessGroups {
    /// Index into the catalogue's attributes.
    pub attribute: usize,
    /// Which of the items are the first group; the others are the second.
    pub first: Split,
}

/// What puts an item into the first group.
#[derive(Clone, Debug, PartialEq)]
pub enum Split {
    /// Its number is below the bound.
    Below(f32),
    /// One of its labels has one of these codes.
    Labels(Vec<u32>),
}

/// A way to divide the users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// As the report names it.
    pub name: String,
    /// A label's position is its code; a code past the end is in no part.
    pub labels: Vec<String>,
}
