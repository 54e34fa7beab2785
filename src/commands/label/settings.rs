//! The job's names, looked up in the catalogue.

use crate::commands::rerank::attribute;
use crate::control::{Meaning, RequestSettings, Requests};
use crate::error::{Error, Result};
use crate::spec::{LabelSpec, RequestsFrom, RequestsSpec, TextsSpec};
use crate::stage::pose::PoseSettings;
use crate::stage::texts::Texts;
use crate::store::input;
use crate::types::{Catalogue, Category, Key};
use std::path::PathBuf;
use std::sync::Arc;

/// What puts items and people in words.
///
/// Errors: an attribute that the catalogue does not have.
pub fn texts(spec: &TextsSpec, catalogue: &Arc<Catalogue>) -> Result<Texts> {
    let attributes = match &spec.attributes {
        None => (0..catalogue.attributes.len()).collect(),
        Some(names) => {
            let found = names.iter().map(|name| attribute(catalogue, "texts.attributes", name));
            found.collect::<Result<Vec<usize>>>()?
        }
    };
    Ok(Texts {
        catalogue: Arc::clone(catalogue),
        attributes,
        history_max: spec.history_max,
        description_chars_max: spec.description_chars_max,
    })
}

/// What writes and reads requests.
///
/// Errors: an attribute or a meaning that the catalogue does not have.
pub fn requests(spec: &RequestsSpec, catalogue: &Arc<Catalogue>) -> Result<Requests> {
    let meaning = |meaning: &crate::spec::MeaningSpec| {
        let category = Category::named(&meaning.category).unwrap_or(Category::Mood);
        Meaning { category, says: meaning.says.clone(), asked: meaning.asked() }
    };
    let settings = RequestSettings {
        noun: spec.noun.clone(),
        attributes: spec.attributes.clone(),
        numbers: spec.numbers.clone(),
        period: spec.period.clone(),
        alike: spec.alike.clone(),
        meanings: spec.meanings.iter().map(meaning).collect(),
    };
    Requests::new(Arc::clone(catalogue), settings)
}

/// How requests and items are drawn.
///
/// Errors: no category has anything in this catalogue, or one that the job names has not.
pub fn pose(spec: &LabelSpec, requests: &Requests) -> Result<PoseSettings> {
    let named = spec.requests.categories();
    let supported = match spec.requests.from {
        RequestsFrom::Templates => requests.supported(),
        RequestsFrom::Teacher | RequestsFrom::Table => Category::ALL.to_vec(),
    };
    if let Some(lacking) = named.iter().find(|category| !supported.contains(category)) {
        return Err(Error::Input(format!(
            "requests.categories: {lacking}: nothing in the catalogue can be asked for so: \
             expected labels, a price, years, titles or [[requests.meaning]] for it"
        )));
    }
    let categories = if named.is_empty() { supported } else { named };
    if categories.is_empty() {
        let why = "requests: nothing in the catalogue can be asked for: expected labels that \
                   at least 5 items have";
        return Err(Error::Input(why.into()));
    }
    Ok(PoseSettings {
        categories,
        per_user: spec.requests.per_user,
        held_out: spec.requests.held_out,
        seed: spec.requests.seed,
        per_request: spec.items.per_request,
        likely: spec.items.likely,
        taste: spec.items.taste,
    })
}

/// The files with what people have asked, if the job reads some.
///
/// Errors: files that are not there.
pub fn files(spec: &RequestsSpec) -> Result<Vec<PathBuf>> {
    match (&spec.path, spec.from) {
        (Some(path), RequestsFrom::Table) => input::resolve(std::slice::from_ref(path)),
        _ => Ok(Vec::new()),
    }
}

/// What people have asked, each once, in the order of the files.
///
/// Errors: files that cannot be read; a category that is none; nothing in them.
pub fn table(spec: &RequestsSpec) -> Result<Vec<(String, Option<Category>)>> {
    let files = files(spec)?;
    let mut categories = true;
    for file in &files {
        categories &= input::has_column(file, "category")?;
    }
    let texts = categories.then(|| "category".to_owned()).into_iter().collect();
    let columns = input::TableColumns { key: "request".to_owned(), texts, attributes: Vec::new() };
    let table = input::read_table(&files, &columns)?;
    let row = |(at, key): (usize, &Key)| {
        let name = table.texts.first().map_or("", |names| names[at].trim());
        match Category::named(name) {
            None if !name.is_empty() => Err(Error::Input(format!(
                "requests.path: column \"category\": expected a category, found {name:?}"
            ))),
            category => Ok((key.to_string(), category)),
        }
    };
    let rows = table.keys.iter().enumerate().map(row).collect::<Result<Vec<_>>>()?;
    if rows.is_empty() {
        return Err(Error::Input("requests.path: expected requests, found none".into()));
    }
    Ok(rows)
}
