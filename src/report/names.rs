//! What each metric is called, what it says and which way is better: one row a family.
//!
//! A metric's name is `[oracle-]family[-detail][@k]`, as the metric module writes it. A family that
//! is not listed here is shown all the same, under its own name and with no opinion on what is
//! better.

/// Where a metric's column stands in the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    Accuracy,
    Stated,
    Oracle,
    Request,
    Diversity,
    Other,
}

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Better {
    Higher,
    Lower,
    /// A fact of the data, the same for every arm, or a matter of taste.
    Neither,
}

/// A metric without its cut-off.
#[derive(Debug)]
pub(super) struct Family {
    /// As in a metric's name.
    id: &'static str,
    pub label: &'static str,
    /// `Stated` stands for both control groups; the name's prefix decides between them.
    group: Group,
    pub better: Better,
    pub formula: &'static str,
    pub meaning: &'static str,
}

/// A metric's name taken apart.
#[derive(Clone, Debug)]
pub(super) struct Name {
    /// As the summary has it.
    pub full: String,
    /// As people read it: `NDCG@10`.
    pub label: String,
    pub group: Group,
    pub better: Better,
    /// Position in [`FAMILIES`]; none for an unknown family.
    pub family: Option<usize>,
    pub cutoff: Option<u32>,
}

macro_rules! family {
    ($id:expr, $label:expr, $group:ident, $better:ident, $formula:expr, $meaning:expr) => {
        Family {
            id: $id,
            label: $label,
            group: Group::$group,
            better: Better::$better,
            formula: $formula,
            meaning: $meaning,
        }
    };
}

/// Every family, in the order of the report.
#[rustfmt::skip]
pub(super) const FAMILIES: &[Family] = &[
    family!("ndcg", "NDCG", Accuracy, Higher,
        "DCG@k / IDCG@k, DCG = Σ over hits 1 / log₂(place + 1)",
        "how near the top the held-out items stand, over all items of the catalogue"),
    family!("hit", "HR", Accuracy, Higher,
        "share of users with a held-out item at place ≤ k",
        "how many users find at least one held-out item in their list"),
    family!("mrr", "MRR", Accuracy, Higher,
        "mean of 1 / place of the first hit, 0 beyond k",
        "how near the top the first hit stands"),
    family!("recall", "Recall", Accuracy, Higher,
        "held-out items at place ≤ k / held-out items",
        "how many of the held-out items are in the list"),
    family!("retrieval-ceiling", "Ceiling", Accuracy, Neither,
        "share of users with a held-out item among the candidates",
        "the best hit rate that any re-ranking of these candidates can reach"),
    family!("cp", "CP", Stated, Higher,
        "places ≤ k whose item meets ≥ θ of the controls / k",
        "control precision: how much of the list is what was asked for"),
    family!("ncp", "nCP", Stated, Higher,
        "(CP − random CP) / (ceiling CP − random CP)",
        "control precision on the scale from random order (0) to the best possible order (1)"),
    family!("cd", "CD", Stated, Lower,
        "mean of the first place whose item meets ≥ θ of the controls, past the end if none",
        "control depth: how far one must read for the first item that was asked for"),
    family!("strict", "Strict CP", Stated, Higher,
        "places ≤ k whose item meets every control / k",
        "how much of the list meets all controls at once"),
    family!("per-control", "CSR", Stated, Higher,
        "mean over controls of places ≤ k that meet it / k",
        "how well each control is met by itself"),
    family!("random-cp", "Random CP", Stated, Neither,
        "satisfying candidates / candidates",
        "control precision that a random order of the same candidates has"),
    family!("ceiling-cp", "Ceiling CP", Stated, Neither,
        "min(satisfying candidates, k) / k",
        "the best control precision that any order of these candidates can have"),
    family!("empty-pool", "Empty pool", Stated, Neither,
        "share of users with no satisfying candidate",
        "how often there was nothing to recommend that was asked for"),
    family!("unmet-control", "Unmet control", Stated, Neither,
        "share of users with a control that no candidate meets",
        "how often a part of what was asked for was not retrieved at all"),
    family!("target-unmet", "Target unmet", Stated, Neither,
        "share of users whose held-out items all meet < θ of the controls",
        "how often what was taken next is not what was asked for"),
    family!("conflict", "Conflict", Stated, Neither,
        "share of users whose controls conflict",
        "how often what was asked for contradicts itself or is in no item"),
    family!("satisfaction", "Satisfaction", Request, Higher,
        "places ≤ k whose item meets all that the request means / k",
        "how much of the list answers a request in own words, where its meaning is known"),
    family!("random-satisfaction", "Random satisf.", Request, Neither,
        "candidates that answer the request / candidates",
        "satisfaction that a random order of the candidates has"),
    family!("ild", "ILD", Diversity, Higher,
        "mean over pairs of places ≤ k of their distance (1 − cosine, or 1 − Jaccard of labels)",
        "how unlike each other the items of one list are"),
    family!("alpha-ndcg", "α-NDCG", Diversity, Higher,
        "α-DCG / ideal α-DCG, gain of a hit (1 − α)^(earlier items with the label)",
        "relevance and variety of labels together: only held-out items count"),
    family!("alpha-ndcg-attribute", "α-NDCG attr.", Diversity, Higher,
        "α-DCG / ideal α-DCG, gain of an item (1 − α)^(earlier items with the label)",
        "variety of labels towards the top of the list, relevant or not"),
    family!("mad", "MAD", Diversity, Lower,
        "|mean score of group A − mean score of group B|, score 1 − (place − 1) / (N − 1)",
        "fairness: how much lower one group of items stands than the other, per user or pooled"),
    family!("coverage", "Coverage", Diversity, Higher,
        "items in any list / items of the catalogue",
        "how much of the catalogue anybody gets to see"),
    family!("gini", "Gini", Diversity, Lower,
        "Gini coefficient of how often each item is listed",
        "exposure: 0 when every item is shown equally often, 1 when one item has it all"),
    family!("novelty", "Novelty", Diversity, Higher,
        "mean over places ≤ k of −log₂(interactions of the item / all interactions)",
        "how unexpected the items are, in bits"),
];

impl Name {
    /// Takes a metric's name apart.
    pub(super) fn parse(full: &str) -> Name {
        let (rest, oracle) = match full.strip_prefix("oracle-") {
            Some(rest) => (rest, true),
            None => (full, false),
        };
        let (base, cutoff) = match rest.rsplit_once('@') {
            Some((base, k)) if k.parse::<u32>().is_ok() => (base, k.parse().ok()),
            _ => (rest, None),
        };
        let suffix = cutoff.map(|k: u32| format!("@{k}")).unwrap_or_default();
        let Some((family, detail)) = find(base) else {
            return Name {
                full: full.into(),
                label: full.into(),
                group: if oracle { Group::Oracle } else { Group::Other },
                better: Better::Neither,
                family: None,
                cutoff,
            };
        };
        let Family { label, group, better, .. } = &FAMILIES[family];
        let detail = if detail.is_empty() { String::new() } else { format!(" {detail}") };
        Name {
            full: full.into(),
            label: format!("{label}{detail}{suffix}"),
            group: if oracle { Group::Oracle } else { *group },
            better: *better,
            family: Some(family),
            cutoff,
        }
    }

    /// Where the metric stands among others: by group, family, cut-off, name.
    pub(super) fn order(&self) -> (Group, usize, Option<u32>, &str) {
        (self.group, self.family.unwrap_or(usize::MAX), self.cutoff, &self.full)
    }

    /// Whether the metric is of the family with this id.
    pub(super) fn is(&self, id: &str) -> bool {
        self.family.is_some_and(|f| FAMILIES[f].id == id)
    }
}

/// The family with the longest id that `base` is, or starts with before a separator; and what is
/// left.
fn find(base: &str) -> Option<(usize, &str)> {
    FAMILIES
        .iter()
        .enumerate()
        .filter_map(|(at, Family { id, .. })| {
            let rest = base.strip_prefix(id)?;
            let detail = rest.strip_prefix(['-', ':', '.', '/']);
            (rest.is_empty() || detail.is_some()).then(|| (id.len(), at, detail.unwrap_or("")))
        })
        .max_by_key(|(length, ..)| *length)
        .map(|(_, at, detail)| (at, detail))
}

impl Group {
    /// The groups, in the order of the report.
    pub(super) const ALL: [Group; 6] = [
        Group::Accuracy,
        Group::Stated,
        Group::Oracle,
        Group::Request,
        Group::Diversity,
        Group::Other,
    ];

    pub(super) fn title(self) -> &'static str {
        match self {
            Group::Accuracy => "Accuracy",
            Group::Stated => "Control, as stated",
            Group::Oracle => "Control, oracle",
            Group::Request => "Requests in own words",
            Group::Diversity => "Diversity, fairness, exposure",
            Group::Other => "Other",
        }
    }

    pub(super) fn note(self) -> &'static str {
        match self {
            Group::Accuracy => "Held-out items against the full catalogue; no sampled negatives.",
            Group::Stated => "Controls from the job, the table, or drawn from a candidate.",
            Group::Oracle => {
                "Controls read off the held-out item: they leak the answer, so these figures are \
                 an upper bound and are never mixed with the others."
            }
            Group::Request => {
                "Judged by what each request means, which no arm is told: of all users, then by \
                 category of request."
            }
            Group::Diversity => "What the lists look like as a whole, whatever was held out.",
            Group::Other => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let cp = Name::parse("oracle-random-cp@3");
        assert_eq!(
            (cp.label.as_str(), cp.group, cp.cutoff),
            ("Random CP@3", Group::Oracle, Some(3))
        );
        assert_eq!(cp.better, Better::Neither);
        let mad = Name::parse("mad-user");
        assert_eq!((mad.label.as_str(), mad.better), ("MAD user", Better::Lower));
        assert!(Name::parse("cd").is("cd"));
        assert_eq!(Name::parse("cd").better, Better::Lower);
        // The longest id wins, and a word that merely starts alike is another metric.
        assert_eq!(Name::parse("alpha-ndcg-attribute@10").label, "α-NDCG attr.@10");
        assert_eq!(Name::parse("hitch@5").family, None);
        assert_eq!(Name::parse("hitch@5").label, "hitch@5");
    }

    #[test]
    fn no_id_stands_for_two_families() {
        let mut ids: Vec<_> = FAMILIES.iter().map(|f| f.id).collect();
        let all = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), all);
    }
}
