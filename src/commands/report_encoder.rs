//! What an encoder's training came to, for its report.

use super::train_encoder::{Facts, Held, Quality};
use crate::metric::{Agreement, Estimate};
use crate::report::{Bar, Sheet};

/// A table for each kind of what was kept from training.
pub fn sheets(facts: &Facts) -> Vec<Sheet> {
    let of = |held| {
        let rows: Vec<&Quality> = facts.quality.iter().filter(|q| q.held == held).collect();
        (!rows.is_empty()).then(|| sheet(held, &rows))
    };
    Held::ALL.into_iter().filter_map(of).collect()
}

/// One line of a training: its AUC on requests of all categories, known wordings and items.
pub fn line(facts: &Facts) -> String {
    let best = facts.curve.iter().map(|(_, auc)| *auc).fold(f64::NAN, f64::max);
    let all = facts.quality.iter().filter(|quality| quality.category.is_none());
    let told: Vec<String> = all
        .map(|q| {
            let auc = |a: &Agreement| number(a.auc);
            format!("{} {} from {}", title(q.held), auc(&q.trained), auc(&q.untrained))
        })
        .collect();
    format!("validation AUC {best:.4}; {}", told.join("; "))
}

fn title(held: Held) -> &'static str {
    match held {
        Held::Requests => "new requests",
        Held::Wordings => "new wordings",
        Held::Arrangements => "new wordings of known words",
        Held::Words => "new wordings with new words",
        Held::Items => "new items",
        Held::Both => "new wordings, new items",
    }
}

fn note(held: Held) -> &'static str {
    match held {
        Held::Requests => "Requests in wordings and of items that were learned from.",
        Held::Wordings => "No request in these wordings was learned from.",
        Held::Arrangements => {
            "Of the new wordings those of which each word, names and numbers aside, is in some \
             request that was learned from: known words in a new arrangement."
        }
        Held::Words => {
            "Of the new wordings those with a word that is in no request that was learned from."
        }
        Held::Items => "Nothing about these items was learned from: a cold start.",
        Held::Both => "Neither the wordings nor the items were learned from.",
    }
}

fn sheet(held: Held, rows: &[&Quality]) -> Sheet {
    let columns = [
        "requests",
        "judgements",
        "AUC",
        "untrained",
        "BM25",
        "over untrained",
        "pooled AUC",
        "untrained",
        "BM25",
        "Spearman",
        "untrained",
        "BM25",
    ];
    let name = |q: &Quality| q.category.map_or("all", |category| category.name()).to_owned();
    let row = |q: &&Quality| {
        let three = [&q.trained, &q.untrained, &q.words];
        let gain = q.trained.auc.zip(q.untrained.auc).map(|(a, b)| a - b);
        let counts = [q.trained.requests.to_string(), q.trained.pairs.to_string()];
        let aucs = three.map(|a| number(a.auc));
        let pooled = three.map(|a| number(a.auc_pooled));
        let spearman = three.map(|a| number(a.spearman));
        let gain = [gain.map_or("–".into(), |gain| format!("{gain:+.3}"))];
        let cells = counts.into_iter().chain(aucs).chain(gain).chain(pooled).chain(spearman);
        (name(q), cells.collect())
    };
    let bar = |q: &&Quality| Bar {
        label: name(q),
        count: q.trained.requests,
        values: [&q.trained, &q.untrained, &q.words].map(estimate).to_vec(),
    };
    Sheet {
        title: format!("What was learned: {}", title(held)),
        note: format!(
            "{} AUC: how often a good item has a higher score than another, mean over requests.",
            note(held)
        ),
        head: "category".into(),
        columns: columns.map(str::to_owned).to_vec(),
        rows: rows.iter().map(row).collect(),
        caption: "AUC, mean over requests".into(),
        series: ["trained", "untrained", "BM25"].map(str::to_owned).to_vec(),
        bars: rows.iter().filter(|q| q.trained.auc.is_some()).map(bar).collect(),
        ..Sheet::default()
    }
}

fn number(value: Option<f64>) -> String {
    value.map_or("–".into(), |value| format!("{value:.3}"))
}

fn estimate(agreement: &Agreement) -> Estimate {
    let mean = agreement.auc.unwrap_or(f64::NAN);
    let margin = agreement.auc_margin.unwrap_or(0.0);
    let users = agreement.requests;
    Estimate { mean, low: mean - margin, high: mean + margin, users }
}
