//! MovieLens' `.dat` files: `ratings.dat`, `movies.dat` and `users.dat`.

use super::lines::{Refused, each, short, utf8};
use super::write::{Cell, CellType, Sink, TableName};
use crate::error::{Error, Result};
use std::borrow::Cow;
use std::path::Path;

/// Reads one of the three files, by its name.
pub(super) fn read(path: &Path, sink: &mut Sink) -> Result<()> {
    match super::name(path).trim_end_matches(".gz") {
        "ratings.dat" => each(path, sink, rating),
        "movies.dat" => {
            let columns = [
                ("title", CellType::Text),
                ("year", CellType::Number),
                ("genres", CellType::Texts),
            ];
            sink.table(TableName::Items, path, owned(&columns))?;
            each(path, sink, movie)
        }
        "users.dat" => {
            let columns = ["gender", "age", "occupation", "zip"].map(|n| (n, CellType::Text));
            sink.table(TableName::Users, path, owned(&columns))?;
            each(path, sink, user)
        }
        _ => Err(Error::Input(format!(
            "{}: expected ratings.dat, movies.dat or users.dat",
            path.display()
        ))),
    }
}

fn owned(columns: &[(&str, CellType)]) -> Vec<(String, CellType)> {
    columns.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect()
}

/// `UserID::MovieID::Rating::Timestamp`
fn rating(line: &[u8], sink: &mut Sink) -> Result<(), Refused> {
    let line = utf8(line)?;
    let [user, item, rating, time] = fields(line)?;
    let number = |what, text: &str| format!("expected a number as {what}, found {}", short(text));
    let weight = rating.parse().map_err(|_| number("rating", rating))?;
    let time = time.parse().map_err(|_| number("timestamp", time))?;
    sink.interaction(user, item, time, weight)
}

/// `MovieID::Title (Year)::Genre|Genre`. The title may hold anything, so it is what is in between.
fn movie(line: &[u8], sink: &mut Sink) -> Result<(), Refused> {
    let line = latin1(line);
    let between = line.split_once("::").and_then(|(item, rest)| {
        rest.rsplit_once("::").map(|(title, genres)| (item, title, genres))
    });
    let Some((item, title, genres)) = between else {
        return Err(format!("expected 3 fields with :: between, found {}", short(&line)).into());
    };
    let (title, year) = year(title);
    let genres = genres.split('|').filter(|g| !g.is_empty()).map(str::to_owned).collect();
    let cells = vec![Cell::Text(Some(title.to_owned())), Cell::Number(year), Cell::Texts(genres)];
    sink.row(TableName::Items, item, cells)
}

/// `UserID::Gender::Age::Occupation::Zip-code`
fn user(line: &[u8], sink: &mut Sink) -> Result<(), Refused> {
    let line = latin1(line);
    let [user, rest @ ..]: [&str; 5] = fields(&line)?;
    let cells = rest.map(|text| Cell::Text(Some(text.to_owned()).filter(|t| !t.is_empty())));
    sink.row(TableName::Users, user, cells.into())
}

fn fields<const N: usize>(line: &str) -> Result<[&str; N], Refused> {
    let fields: Vec<&str> = line.split("::").collect();
    let found = fields.len();
    fields
        .try_into()
        .map_err(|_| format!("expected {N} fields with :: between, found {found}").into())
}

/// The older files are Latin-1, in which each byte is the character of that number; the newer ones
/// are UTF-8, which Latin-1 text with accents practically never is by chance.
fn latin1(line: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(line) {
        Ok(text) => text.into(),
        Err(_) => line.iter().map(|&byte| char::from(byte)).collect::<String>().into(),
    }
}

/// A title, and the year that stands in brackets at its end.
fn year(title: &str) -> (&str, Option<f64>) {
    let found = title.trim_end().strip_suffix(')').and_then(|t| t.rsplit_once('('));
    match found {
        Some((title, year)) if year.len() == 4 && year.bytes().all(|b| b.is_ascii_digit()) => {
            (title.trim_end(), year.parse().ok())
        }
        _ => (title, None),
    }
}
