//! Items and people in words, as an encoder and a teacher read them: the same in training and when
//! people are waited on.

use crate::types::{Attribute, Catalogue, ItemId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Labels of an attribute that a person is told by.
const LABELS_MAX: usize = 3;

/// Writes items and people in words. Pure.
#[derive(Clone, Debug)]
pub struct Texts {
    /// The items.
    pub catalogue: Arc<Catalogue>,
    /// Which attributes are told, by their position in the catalogue.
    pub attributes: Vec<usize>,
    /// The latest titles of a person that are told.
    pub history_max: usize,
    /// Letters of a description that are told; 0 for none.
    pub description_chars_max: usize,
}

impl Texts {
    /// An item: `Toy Story. genre: Animation, Comedy. year 1995, the 90s. A cowboy doll …`
    ///
    /// Panics: if the item is not in the catalogue.
    pub fn item(&self, item: ItemId) -> String {
        let title = self.catalogue.titles.get(item as usize).map_or("", |title| title.trim());
        let mut parts = vec![title.to_owned()];
        for attribute in self.attributes() {
            let number = attribute.number(item);
            if number.is_finite() && !counted(attribute) {
                parts.push(told(attribute, number));
                continue;
            }
            let labels =
                attribute.codes(item).iter().map(|c| attribute.labels[*c as usize].as_str());
            let labels: Vec<&str> = labels.collect();
            if !labels.is_empty() {
                parts.push(format!("{}: {}", spoken(attribute), labels.join(", ")));
            }
        }
        let description = self.catalogue.descriptions.get(item as usize);
        parts.push(cut(description.map_or("", |text| text.trim()), self.description_chars_max));
        joined(parts)
    }

    /// A person, by what they took, oldest first: the labels that they took most often, what they
    /// mostly pay, and the latest titles: `genre: Comedy, Drama. latest: Toy Story; Heat`. Empty
    /// for nobody.
    ///
    /// Panics: if an item is not in the catalogue.
    pub fn context(&self, history: &[ItemId]) -> String {
        let mut parts = Vec::new();
        for attribute in self.attributes() {
            let mut numbers: Vec<f32> =
                history.iter().map(|item| attribute.number(*item)).collect();
            numbers.retain(|number| number.is_finite());
            if !numbers.is_empty() && !counted(attribute) {
                numbers.sort_unstable_by(f32::total_cmp);
                parts.push(told(attribute, numbers[numbers.len() / 2]));
                continue;
            }
            let labels = frequent(attribute, history);
            if !labels.is_empty() {
                parts.push(format!("{}: {}", spoken(attribute), labels.join(", ")));
            }
        }
        let latest = &history[history.len().saturating_sub(self.history_max)..];
        let titles = latest.iter().rev().map(|item| &*self.catalogue.titles[*item as usize]);
        let titles: Vec<&str> = titles.filter(|title| !title.is_empty()).collect();
        if !titles.is_empty() {
            parts.push(format!("latest: {}", titles.join("; ")));
        }
        joined(parts)
    }

    fn attributes(&self) -> impl Iterator<Item = &Attribute> {
        self.attributes.iter().map(|at| &self.catalogue.attributes[*at])
    }
}

/// Whether an attribute is the count of interactions, which only its label says anything about.
fn counted(attribute: &Attribute) -> bool {
    attribute.name == crate::control::request::POPULARITY
}

/// An attribute's name as people say it.
fn spoken(attribute: &Attribute) -> String {
    attribute.name.replace('_', " ")
}

/// An attribute with its number: `price 19.99`, `year 1995, the 90s`.
fn told(attribute: &Attribute, number: f32) -> String {
    let name = spoken(attribute);
    let year = name.to_lowercase().contains("year") && (1000.0..3000.0).contains(&number);
    let decade = number as u32 / 10 * 10;
    match year {
        true if (1920..2000).contains(&decade) => format!("{name} {number}, the {}s", decade % 100),
        true => format!("{name} {number}, the {decade}s"),
        false if number.fract() == 0.0 => format!("{name} {number}"),
        false => format!("{name} {number:.2}"),
    }
}

/// The labels that most items of a history have, the most frequent first; ties by code.
fn frequent<'a>(attribute: &'a Attribute, history: &[ItemId]) -> Vec<&'a str> {
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    for code in history.iter().flat_map(|item| attribute.codes(*item)) {
        *counts.entry(*code).or_default() += 1;
    }
    let mut counts: Vec<(u32, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(code, count)| (std::cmp::Reverse(*count), *code));
    counts
        .iter()
        .take(LABELS_MAX)
        .map(|(code, _)| attribute.labels[*code as usize].as_str())
        .collect()
}

/// The first letters of a text, up to the end of a word where there is one.
fn cut(text: &str, chars_max: usize) -> String {
    let Some((end, _)) = text.char_indices().nth(chars_max) else { return text.to_owned() };
    let within = &text[..end];
    let whole = within.rsplit_once(char::is_whitespace).map_or(within, |(before, _)| before);
    whole.trim_end().to_owned()
}

fn joined(parts: Vec<String>) -> String {
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(". ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts() -> Texts {
        let labelled = |name: &str, labels: &[&str], codes: &[u32]| Attribute {
            name: name.into(),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            offsets: (0..=codes.len() as u32).collect(),
            codes: codes.to_vec(),
            numbers: Vec::new(),
        };
        let genre = labelled("genre", &["Comedy", "Drama"], &[0, 1, 1]);
        let year = Attribute {
            numbers: vec![1995.0, 2004.0, f32::NAN],
            ..labelled("year", &["any"], &[0; 3])
        };
        let year = Attribute { offsets: vec![0, 1, 2, 2], codes: vec![0, 0], ..year };
        let price =
            Attribute { numbers: vec![19.99, 5.0, 7.5], ..labelled("price", &["any"], &[0; 3]) };
        let catalogue = Catalogue {
            keys: [1, 2, 3].map(crate::types::Key::Int).to_vec(),
            titles: vec!["Toy Story".into(), "Heat".into(), "".into()],
            descriptions: vec!["A doll comes alive".into(), "".into(), "".into()],
            popularity: vec![1, 2, 3],
            attributes: vec![genre, year, price],
        };
        Texts {
            catalogue: Arc::new(catalogue),
            attributes: vec![0, 1, 2],
            history_max: 2,
            description_chars_max: 12,
        }
    }

    #[test]
    fn an_item_is_told_by_its_title_its_attributes_and_the_beginning_of_its_description() {
        let texts = texts();
        assert_eq!(
            [0, 1, 2].map(|item| texts.item(item)),
            [
                "Toy Story. genre: Comedy. year 1995, the 90s. price 19.99. A doll",
                "Heat. genre: Drama. year 2004, the 2000s. price 5",
                "genre: Drama. price 7.50",
            ]
        );
        let plain = Texts { attributes: vec![], description_chars_max: 0, ..texts };
        assert_eq!(plain.item(0), "Toy Story");
    }

    #[test]
    fn a_person_is_told_by_what_they_took() {
        let texts = texts();
        assert_eq!(
            texts.context(&[0, 2, 1]),
            "genre: Drama, Comedy. year 2004, the 2000s. price 7.50. latest: Heat"
        );
        assert_eq!(
            texts.context(&[1, 0]),
            "genre: Comedy, Drama. year 2004, the 2000s. price 19.99. latest: Toy Story; Heat"
        );
        assert_eq!(texts.context(&[]), "");
    }
}
