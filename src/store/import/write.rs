//! What an import writes: interactions in parts, two tables, and what was rejected.

use super::ImportReport;
use super::files::{Part, Rejects, TableOut};
use super::lines::Refused;
use crate::error::{Error, Result};
use crate::store::input::KeyType;
use std::fs;
use std::path::{Path, PathBuf};

/// Rows of one part of the interactions.
const PART_ROWS: u64 = 1 << 22;

/// A cell of an item or user table.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Text(Option<String>),
    Number(Option<f64>),
    Texts(Vec<String>),
}

/// What a column of a table holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum CellType {
    Text,
    Number,
    Texts,
}

/// Which of the two tables.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum TableName {
    Items,
    Users,
}

/// Everything an import writes.
pub(super) struct Sink {
    to: PathBuf,
    keys: KeyType,
    report: ImportReport,
    part: Option<Part>,
    parts: usize,
    items: Option<TableOut>,
    users: Option<TableOut>,
    rejects: Option<Rejects>,
}

impl Sink {
    pub fn create(to: &Path, keys: KeyType) -> Result<Sink> {
        let folder = to.join("interactions");
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        for entry in folder.read_dir().map_err(Error::io("list", &folder))? {
            let path = entry.map_err(Error::io("list", &folder))?.path();
            // What an interrupted import left unfinished has another ending, and is written over.
            if path.extension().is_some_and(|end| end == "parquet") {
                return Err(Error::Input(format!(
                    "{}: expected a folder without interactions to import to, found this: import \
                     to another one, or remove it",
                    path.display()
                )));
            }
        }
        Ok(Sink {
            to: to.to_path_buf(),
            keys,
            report: ImportReport::default(),
            part: None,
            parts: 0,
            items: None,
            users: None,
            rejects: None,
        })
    }

    /// Interactions written so far: the time of formats whose order is the time.
    pub fn interactions(&self) -> u64 {
        self.report.interactions
    }

    pub fn interaction(
        &mut self,
        user: &str,
        item: &str,
        time: i64,
        weight: f64,
    ) -> Result<(), Refused> {
        let weight = weight as f32;
        if !weight.is_finite() {
            return Err("the weight is not a finite number".into());
        }
        let (user, item) = (self.keys.parse(user, "user")?, self.keys.parse(item, "item")?);
        if self.part.as_ref().is_some_and(|part| part.rows == PART_ROWS) {
            self.end_part()?;
        }
        if self.part.is_none() {
            let name = format!("interactions/part-{:04}.parquet", self.parts);
            self.part = Some(Part::create(self.to.join(name), self.keys)?);
            self.parts += 1;
        }
        if let Some(part) = &mut self.part {
            part.push(user, item, time, weight)?;
            self.report.interactions += 1;
        }
        Ok(())
    }

    /// Whether a user and items are keys of the import's type.
    pub fn check(&self, user: &str, items: &[&str]) -> Result<(), Refused> {
        self.keys.parse(user, "user")?;
        items.iter().try_for_each(|item| self.keys.parse(item, "item").map(drop))
    }

    /// Starts a table. Two files of one table have to have the same columns.
    pub fn table(
        &mut self,
        name: TableName,
        path: &Path,
        columns: Vec<(String, CellType)>,
    ) -> Result<()> {
        let (slot, file, key) = match name {
            TableName::Items => (&mut self.items, "items.parquet", "item"),
            TableName::Users => (&mut self.users, "users.parquet", "user"),
        };
        match slot {
            Some(table) if table.columns == columns => Ok(()),
            Some(table) => {
                let names = |columns: &[(String, CellType)]| -> Vec<String> {
                    columns.iter().map(|(name, _)| name.clone()).collect()
                };
                Err(Error::Input(format!(
                    "{}: expected the columns of the file before it, {:?}, found {:?}",
                    path.display(),
                    names(&table.columns),
                    names(&columns)
                )))
            }
            None => {
                *slot = Some(TableOut::create(self.to.join(file), key, self.keys, columns)?);
                Ok(())
            }
        }
    }

    /// Adds a row to a table that was started; one cell for each of its columns.
    pub fn row(&mut self, name: TableName, key: &str, cells: Vec<Cell>) -> Result<(), Refused> {
        let (table, rows, what) = match name {
            TableName::Items => (&mut self.items, &mut self.report.items, "item"),
            TableName::Users => (&mut self.users, &mut self.report.users, "user"),
        };
        let key = self.keys.parse(key, what)?;
        if let Some(table) = table {
            table.push(key, cells)?;
            *rows += 1;
        }
        Ok(())
    }

    pub fn reject(&mut self, path: &Path, line: u64, reason: &str) -> Result<()> {
        if self.rejects.is_none() {
            self.rejects = Some(Rejects::create(self.to.join("rejected.parquet"))?);
        }
        let file = path.display().to_string();
        self.report.rejected += 1;
        self.report.first_rejected.get_or_insert_with(|| format!("{file}: line {line}: {reason}"));
        match &mut self.rejects {
            Some(rejects) => rejects.push(&file, line, reason),
            None => Ok(()),
        }
    }

    pub fn finish(mut self) -> Result<ImportReport> {
        self.end_part()?;
        for table in [self.items.take(), self.users.take()].into_iter().flatten() {
            self.report.files.push(table.finish()?);
        }
        if self.rejects.is_none() {
            // Always there, so that an empty one says that nothing was lost.
            self.rejects = Some(Rejects::create(self.to.join("rejected.parquet"))?);
        }
        if let Some(rejects) = self.rejects.take() {
            self.report.files.push(rejects.finish()?);
        }
        Ok(self.report)
    }

    fn end_part(&mut self) -> Result<()> {
        if let Some(part) = self.part.take() {
            self.report.files.push(part.finish()?);
        }
        Ok(())
    }
}
