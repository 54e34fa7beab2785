//! What a label job did, for its report.

use super::label::{Facts, InferFacts};
use crate::report::Sheet;
use crate::stage::judge::{Paid, Spent};
use crate::stage::labels::CategorySums;

/// What was asked and judged, how scores lie, the teacher beside the catalogue, what it took, and
/// what was inferred: a table each, where there is something to say.
pub fn sheets(facts: &Facts) -> Vec<Sheet> {
    let rows = rows(facts);
    if rows.is_empty() {
        return Vec::new();
    }
    let all = [
        Some(judged(&rows)),
        scores(&rows),
        beside(&rows),
        spent(facts),
        facts.inferred.as_ref().map(inferred),
    ];
    all.into_iter().flatten().collect()
}

/// All categories together, then each.
fn rows(facts: &Facts) -> Vec<(String, CategorySums)> {
    let categories = &facts.sums.categories;
    let each = categories.iter().map(|(category, sums)| (category.to_string(), *sums));
    let mut rows: Vec<(String, CategorySums)> = each.collect();
    if !rows.is_empty() {
        let requests = facts.sums.requests; // earlier versions counted them together alone
        rows.insert(0, ("all".to_owned(), CategorySums { requests, ..facts.sums.all() }));
    }
    rows
}

fn sheet<R>(title: &str, note: &str, columns: &[&str], rows: Vec<(String, R)>) -> Sheet
where
    R: IntoIterator<Item = String>,
{
    Sheet {
        title: title.to_owned(),
        note: note.to_owned(),
        head: "category".to_owned(),
        columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        rows: rows.into_iter().map(|(name, cells)| (name, cells.into_iter().collect())).collect(),
        ..Sheet::default()
    }
}

fn judged(rows: &[(String, CategorySums)]) -> Sheet {
    let row = |(name, sums): &(String, CategorySums)| {
        let mean = sums.score_micro as f64 / 1e6 / sums.judgements.max(1) as f64;
        let cells = [
            sums.requests.to_string(),
            sums.judgements.to_string(),
            percent(sums.positive, sums.judgements),
            format!("{mean:.3}"),
            percent(sums.wordings_held_out, sums.judgements),
            percent(sums.items_held_out, sums.judgements),
        ];
        (name.clone(), cells)
    };
    let note = "Good is a score of at least a half. Judgements of wordings and of items that are \
                kept from training say what an encoder knows of what it has not seen.";
    let columns = ["requests", "judgements", "good", "mean score", "wordings kept", "items kept"];
    sheet("What was asked and judged", note, &columns, rows.iter().map(row).collect())
}

fn scores(rows: &[(String, CategorySums)]) -> Option<Sheet> {
    let counted = rows.iter().any(|(_, sums)| sums.tenths.iter().any(|count| *count > 0));
    let row = |(name, sums): &(String, CategorySums)| {
        (name.clone(), sums.tenths.map(|count| percent(count, sums.judgements)))
    };
    let from: Vec<String> = (0..10).map(|tenth| format!("≥ 0.{tenth}")).collect();
    let columns: Vec<&str> = from.iter().map(String::as_str).collect();
    let note = "The share of judgements by tenths of the score: each column from its bound up to \
                the next one's.";
    counted.then(|| sheet("How scores lie", note, &columns, rows.iter().map(row).collect()))
}

fn beside(rows: &[(String, CategorySums)]) -> Option<Sheet> {
    let compared = |row: &&(String, CategorySums)| row.1.beside.all() > 0;
    let row = |(name, sums): &(String, CategorySums)| {
        let all = sums.beside.all();
        let cells = [
            all.to_string(),
            percent(sums.beside.both + sums.beside.neither, all),
            sums.beside.kappa().map_or("–".to_owned(), |kappa| format!("{kappa:.3}")),
            percent(sums.beside.teacher, all),
            percent(sums.beside.catalogue, all),
        ];
        (name.clone(), cells)
    };
    let rows: Vec<(String, [String; 5])> = rows.iter().filter(compared).map(row).collect();
    let note = "Requests whose meaning is known are judged by the catalogue too: an item is good \
                that meets all of it. κ is the agreement beyond chance, 1 at most.";
    let columns =
        ["judgements", "the same", "κ", "good by the teacher alone", "good by the catalogue alone"];
    (!rows.is_empty()).then(|| sheet("The teacher beside the catalogue", note, &columns, rows))
}

fn spent(facts: &Facts) -> Option<Sheet> {
    let Spent { prompts, tokens_in, tokens_out } = facts.sums.spent;
    let mut rows = vec![(
        "all answers".to_owned(),
        [prompts, tokens_in, tokens_out].map(|count| count.to_string()).to_vec(),
    )];
    if let Some(Paid { requests, usage, cached, cost }) = facts.paid {
        let mut paid: Vec<String> =
            [requests, usage.tokens_in, usage.tokens_out].map(|count| count.to_string()).to_vec();
        paid.push(format!("{cost:.2}"));
        rows.push(("of them paid for this run".to_owned(), paid));
        rows.push(("there before".to_owned(), vec![cached.to_string()]));
    }
    for (_, cells) in &mut rows {
        cells.resize(4, "–".to_owned());
    }
    let note = "An answer that is there is not asked for, nor paid, again.";
    let columns = ["prompts", "tokens read", "tokens written", "cost"];
    (prompts > 0)
        .then(|| Sheet { head: "which".to_owned(), ..sheet("What it took", note, &columns, rows) })
}

fn inferred(facts: &InferFacts) -> Sheet {
    let cells = [
        facts.unknown.to_string(),
        facts.filled.to_string(),
        facts.known.to_string(),
        percent(facts.right, facts.known),
        percent(facts.sure, facts.known),
        percent(facts.sure_right, facts.sure),
    ];
    let note = "How often the teacher is right is measured on items that have a value, of which \
                it is not told; sure is with enough confidence to be filled in.";
    let columns = ["without a value", "filled in", "measured", "right", "sure", "sure and right"];
    let rows = vec![(facts.attribute.clone(), cells)];
    Sheet { head: "attribute".to_owned(), ..sheet("What was inferred", note, &columns, rows) }
}

fn percent(part: u64, of: u64) -> String {
    if of == 0 { "–".to_owned() } else { format!("{:.1} %", 100.0 * part as f64 / of as f64) }
}
