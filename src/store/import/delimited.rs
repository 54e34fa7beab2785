//! Tables with a header: CSV, TSV, and RecBole's atomic files, whose header has types.

use super::lines::{Refused, Taken, bad_line, short, utf8};
use super::records::{Dialect, Fields, Records};
use super::write::{Cell, CellType, Sink, TableName};
use super::{Format, ImportRequest};
use crate::error::Result;
use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use std::path::Path;

/// Reads one file; which of the three it is, its header says.
pub(super) fn read(path: &Path, request: &ImportRequest, sink: &mut Sink) -> Result<()> {
    let recbole = request.format == Format::RecBole;
    let name = super::name(path);
    let name = name.trim_end_matches(".gz");
    let tabs = recbole || [".tsv", ".tab", ".txt"].iter().any(|end| name.ends_with(end));
    let delimiter = if tabs { b'\t' } else { b',' };
    let mut records = Records::open(path, Dialect { delimiter, quotes: !recbole })?;
    let mut record = Fields::default();
    let Some((first, found)) = records.next(&mut record)? else {
        return Err(bad_line(path, 1, "expected a header, found an empty file"));
    };
    found.map_err(|e| bad_line(path, first, e))?;
    let header = Header::parse(&record, recbole).map_err(|e| bad_line(path, first, e))?;
    let role = Role::of(&header, request).map_err(|e| bad_line(path, first, e))?;
    if let Role::Table { name, others, .. } = &role {
        let columns = others.iter().map(|&at| header.out(at, &role)).collect();
        sink.table(*name, path, columns)?;
    }
    let mut taken = Taken::new(path);
    while let Some((number, found)) = records.next(&mut record)? {
        let result = match found {
            Ok(()) => take(&record, &header, &role, sink),
            Err(reason) => Err(reason.into()),
        };
        taken.count(number, result, sink)?;
    }
    taken.finish()
}

struct Header {
    names: Vec<String>,
    kinds: Vec<CellType>,
}

impl Header {
    fn parse(record: &Fields, typed: bool) -> Result<Header, String> {
        let mut header = Header { names: Vec::new(), kinds: Vec::new() };
        for field in record.iter() {
            let text = std::str::from_utf8(field).map_err(|_| {
                let found = String::from_utf8_lossy(field);
                format!("expected a header, found {}, which is not UTF-8", short(&found))
            })?;
            let text = text.trim();
            let (name, kind) = match text.rsplit_once(':') {
                Some((name, kind)) if typed => (name, cell_type(name, kind)?),
                None if typed => {
                    return Err(format!("expected a name:type header, found {}", short(text)));
                }
                _ => (text, CellType::Text),
            };
            header.names.push(name.to_owned());
            header.kinds.push(kind);
        }
        Ok(header)
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|n| n == name)
    }

    /// The name and type under which a column is written.
    fn out(&self, at: usize, role: &Role) -> (String, CellType) {
        let first_title = self.names.iter().position(|name| is_title(name));
        let items = matches!(role, Role::Table { name: TableName::Items, .. });
        if items && first_title == Some(at) && self.find("title").is_none_or(|t| t == at) {
            return ("title".to_owned(), self.kinds[at]);
        }
        (self.names[at].clone(), self.kinds[at])
    }
}

fn is_title(name: &str) -> bool {
    name == "title" || name.ends_with("_title")
}

fn cell_type(name: &str, kind: &str) -> Result<CellType, String> {
    match kind {
        // RecBole has titles as sequences of words; people read them as one text.
        "token_seq" if is_title(name) => Ok(CellType::Text),
        "token" => Ok(CellType::Text),
        "token_seq" | "float_seq" => Ok(CellType::Texts),
        "float" => Ok(CellType::Number),
        _ => Err(format!(
            "column {name:?}: expected the type token, token_seq, float or float_seq, \
             found {kind:?}"
        )),
    }
}

/// What a file is, and where its columns are.
enum Role {
    Interactions { user: usize, item: usize, time: Option<usize>, weight: Option<usize> },
    Table { name: TableName, key: usize, others: Vec<usize> },
}

impl Role {
    fn of(header: &Header, request: &ImportRequest) -> Result<Role, String> {
        let names = &request.names;
        let user_name = names.user.as_deref().unwrap_or("user_id");
        let item_name = names.item.as_deref().unwrap_or("item_id");
        let optional = |given: &Option<String>, usual: &str| match given {
            None => Ok(header.find(usual)),
            Some(name) => header.find(name).map(Some).ok_or_else(|| missing(header, &[name])),
        };
        let table = |name, key| {
            let others = (0..header.names.len()).filter(|&at| at != key).collect();
            Ok(Role::Table { name, key, others })
        };
        match (header.find(user_name), header.find(item_name)) {
            (Some(user), Some(item)) => Ok(Role::Interactions {
                user,
                item,
                time: optional(&names.time, "timestamp")?,
                weight: optional(&names.weight, "rating")?,
            }),
            (None, Some(key)) => table(TableName::Items, key),
            (Some(key), None) => table(TableName::Users, key),
            (None, None) => Err(missing(header, &[user_name, item_name])),
        }
    }
}

fn missing(header: &Header, expected: &[&str]) -> String {
    let list =
        |names: &[&str]| names.iter().map(|name| short(name)).collect::<Vec<_>>().join(" or ");
    let found: Vec<String> = header.names.iter().take(20).map(|name| short(name)).collect();
    format!("expected a header with {}, found {}", list(expected), found.join(", "))
}

fn take(record: &Fields, header: &Header, role: &Role, sink: &mut Sink) -> Result<(), Refused> {
    if record.len() != header.names.len() {
        let (found, expected) = (record.len(), header.names.len());
        return Err(format!("expected {expected} fields, found {found}").into());
    }
    let text = |at: usize| utf8(record.get(at)).map(str::trim);
    match role {
        Role::Interactions { user, item, time, weight } => {
            let time = match time {
                Some(at) => when(text(*at)?)?,
                None => sink.interactions() as i64,
            };
            let weight = match weight {
                Some(at) => number(text(*at)?)?,
                None => 1.0,
            };
            sink.interaction(text(*user)?, text(*item)?, time, weight)
        }
        Role::Table { name, key, others } => {
            let cells = others.iter().map(|&at| cell(text(at)?, header.kinds[at]));
            let cells = cells.collect::<Result<_, _>>()?;
            sink.row(*name, text(*key)?, cells)
        }
    }
}

fn cell(text: &str, kind: CellType) -> Result<Cell, Refused> {
    Ok(match kind {
        CellType::Text => Cell::Text(Some(text.to_owned()).filter(|t| !t.is_empty())),
        CellType::Number if text.is_empty() => Cell::Number(None),
        CellType::Number => Cell::Number(Some(number(text)?)),
        CellType::Texts => Cell::Texts(text.split_whitespace().map(str::to_owned).collect()),
    })
}

fn number(text: &str) -> Result<f64, Refused> {
    text.parse().map_err(|_| format!("expected a number, found {}", short(text)).into())
}

/// A time as a number, cut to a whole one, or a date as seconds since 1970.
fn when(text: &str) -> Result<i64, Refused> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    match text.parse::<f64>() {
        // i64 holds every whole number of this size; NaN is in no range.
        Ok(time) if (-9.0e18..9.0e18).contains(&time) => Ok(time as i64),
        _ => string_to_timestamp_nanos(text).map(|ns| ns.div_euclid(1_000_000_000)).map_err(|_| {
            format!("expected a number or an ISO date as time, found {}", short(text)).into()
        }),
    }
}
