//! From raw values to an [`Attribute`]: disjoint labels in plain words, in an order that does not
//! depend on the input's.

use super::table::RawValues;
use crate::error::{Error, Result};
use crate::types::Attribute;

/// How an attribute's labels are made.
#[derive(Clone, Debug, PartialEq)]
pub enum BinRule {
    /// The labels as they are, sorted.
    Categorical {
        /// Keep this many of the most frequent labels (ties: the lower label); the others become
        /// unknown.
        labels_max: Option<usize>,
    },
    /// Bins of numbers between declared edges, which ascend: `x < e₀`, `e₀ ≤ x < e₁`, …, `x ≥ eₙ`.
    Edges(Vec<f64>),
    /// At most this many bins, with as nearly equal numbers of rows as ties allow.
    Quantiles(usize),
}

/// Makes the attribute `name` of every row.
///
/// Bins are half-open, so that their labels never overlap. Declared edges 10 and 15 give `under
/// 10`, `10 to under 15`, `15 and over`, whatever the values, so that labels stay the same from one
/// night to the next. Quantile edges are known values: edge i of n is the value at place ⌊i·rows/n⌋
/// of the sorted known values; equal values share a bin, and a bin that ties would leave empty is
/// dropped. Where all known values are whole numbers, a quantile bin is called by its least and
/// greatest value (`1990 to 1995`).
///
/// # Errors
/// [`Error::Input`] when the rule does not fit the values (a categorical rule for numbers, or bins
/// for labels), and for edges that do not ascend or no bins at all.
pub fn bin(name: &str, values: &RawValues, rule: &BinRule) -> Result<Attribute> {
    match (values, rule) {
        (RawValues::Labels { names, offsets, codes }, BinRule::Categorical { labels_max }) => {
            Ok(categorical(name, names, offsets, codes, *labels_max))
        }
        (RawValues::Numbers(numbers), BinRule::Edges(edges)) => {
            let ascending = edges.windows(2).all(|pair| pair[0] < pair[1]);
            if edges.is_empty() || !ascending || edges.iter().any(|edge| !edge.is_finite()) {
                return Err(Error::Input(format!(
                    "attribute {name:?}: expected bin edges that ascend, found {edges:?}"
                )));
            }
            let labels = (0..=edges.len()).map(|b| half_open(edges, b)).collect();
            Ok(binned(name, numbers, edges, labels))
        }
        (RawValues::Numbers(numbers), BinRule::Quantiles(bins)) => {
            if *bins == 0 {
                return Err(Error::Input(format!(
                    "attribute {name:?}: expected at least 1 quantile bin, found 0"
                )));
            }
            Ok(quantiles(name, numbers, *bins))
        }
        (RawValues::Numbers(_), BinRule::Categorical { .. }) => Err(Error::Input(format!(
            "attribute {name:?}: expected labels for a categorical attribute, found numbers: give \
             it bins"
        ))),
        (RawValues::Labels { .. }, _) => Err(Error::Input(format!(
            "attribute {name:?}: expected numbers for its bins, found labels: make it categorical"
        ))),
    }
}

fn categorical(
    name: &str,
    names: &[String],
    offsets: &[u32],
    codes: &[u32],
    labels_max: Option<usize>,
) -> Attribute {
    let mut counts = vec![0u64; names.len()];
    codes.iter().for_each(|&code| counts[code as usize] += 1);
    // Names that no row has any more (the table was cut to a run's items) are no labels of this
    // run.
    let mut kept: Vec<usize> = (0..names.len()).filter(|&n| counts[n] > 0).collect();
    kept.sort_by(|&a, &b| counts[b].cmp(&counts[a]).then_with(|| names[a].cmp(&names[b])));
    kept.truncate(labels_max.unwrap_or(usize::MAX));
    kept.sort_by(|&a, &b| names[a].cmp(&names[b]));
    let mut new_codes = vec![None; names.len()];
    kept.iter().enumerate().for_each(|(new, &old)| new_codes[old] = Some(new as u32));
    let mut out = Attribute {
        name: name.to_owned(),
        labels: kept.iter().map(|&n| names[n].clone()).collect(),
        offsets: vec![0],
        ..Attribute::default()
    };
    for row in offsets.windows(2) {
        let start = out.codes.len();
        let old = &codes[row[0] as usize..row[1] as usize];
        out.codes.extend(old.iter().filter_map(|&code| new_codes[code as usize]));
        out.codes[start..].sort_unstable();
        let mut end = start;
        for at in start..out.codes.len() {
            if end == start || out.codes[at] != out.codes[end - 1] {
                out.codes[end] = out.codes[at];
                end += 1;
            }
        }
        out.codes.truncate(end);
        out.offsets.push(end as u32);
    }
    out
}

fn quantiles(name: &str, numbers: &[f64], bins: usize) -> Attribute {
    let mut known: Vec<f64> = numbers.iter().copied().filter(|x| !x.is_nan()).collect();
    known.sort_by(f64::total_cmp);
    let Some(&least) = known.first() else {
        return binned(name, numbers, &[], Vec::new());
    };
    let bins = bins.min(known.len());
    let mut edges: Vec<f64> = (1..bins)
        .map(|i| known[(i as u128 * known.len() as u128 / bins as u128) as usize])
        .collect();
    edges.dedup();
    edges.retain(|&edge| edge > least);
    let whole = known.iter().all(|x| x.fract() == 0.0);
    let labels = (0..=edges.len()).map(|bin| match whole {
        true => {
            let start = if bin == 0 { 0 } else { known.partition_point(|&x| x < edges[bin - 1]) };
            let end = edges.get(bin).map_or(known.len(), |&e| known.partition_point(|&x| x < e));
            closed(known[start], known[end - 1])
        }
        false if edges.is_empty() => format!("{} and over", plain(least)),
        false => half_open(&edges, bin),
    });
    let labels = labels.collect();
    binned(name, numbers, &edges, labels)
}

/// Rows to bins: bin b holds `edges[b - 1] ≤ x < edges[b]`.
fn binned(name: &str, numbers: &[f64], edges: &[f64], labels: Vec<String>) -> Attribute {
    let mut out = Attribute {
        name: name.to_owned(),
        labels,
        offsets: vec![0],
        numbers: numbers.iter().map(|&x| x as f32).collect(),
        ..Attribute::default()
    };
    for &x in numbers {
        if !x.is_nan() {
            out.codes.push(edges.partition_point(|&edge| edge <= x) as u32);
        }
        out.offsets.push(out.codes.len() as u32);
    }
    out
}

fn half_open(edges: &[f64], bin: usize) -> String {
    match (bin.checked_sub(1).map(|b| edges[b]), edges.get(bin)) {
        (None, Some(&to)) => format!("under {}", plain(to)),
        (Some(from), Some(&to)) => format!("{} to under {}", plain(from), plain(to)),
        (Some(from), None) => format!("{} and over", plain(from)),
        (None, None) => "any".to_owned(),
    }
}

fn closed(least: f64, greatest: f64) -> String {
    if least == greatest {
        plain(least)
    } else {
        format!("{} to {}", plain(least), plain(greatest))
    }
}

/// A number as people write it: whole numbers without a point, and no negative zero.
fn plain(x: f64) -> String {
    (x + 0.0).to_string()
}
