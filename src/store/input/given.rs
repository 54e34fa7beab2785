//! Candidates that somebody else retrieved: one row a user, with a list of items, perhaps their
//! scores, perhaps the target. The fastest path in: flat buffers, and no value by itself.

use super::column::{Flaw, KeyType, Keys, cast, is_key, is_number};
use super::index::{ItemIndex, NO_ITEM};
use super::source::{Batches, Column, Source, input};
use crate::error::Result;
use crate::types::{Fault, FaultKind, ItemId, Key, Origin, StageName};
use arrow::array::{Array, ArrayRef, AsArray, Float32Array, ListArray};
use arrow::datatypes::{DataType, Float32Type};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use std::ops::Range;
use std::path::Path;

/// The columns of a table of given candidates.
#[derive(Clone, Debug, PartialEq)]
pub struct GivenColumns {
    /// Who: an integer or a string.
    pub user: String,
    /// Lists of integers or strings, best first.
    pub items: String,
    /// Lists of numbers, as long as the items'.
    pub scores: Option<String>,
    /// What the user did next: an item, or a list of items.
    pub target: Option<String>,
}

/// A file of given candidates whose schema has been checked.
pub struct GivenFile {
    source: Source,
    user: Column,
    items: Column,
    scores: Option<Column>,
    target: Option<Column>,
}

/// Some rows of given candidates, as columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GivenBatch {
    /// Where each row was read.
    pub origins: Vec<Origin>,
    /// Who.
    pub users: Vec<Key>,
    /// Row i's candidates are `items[offsets[i]..offsets[i + 1]]`. Length: rows + 1.
    pub offsets: Vec<u32>,
    /// In the order of the input; repeats are not looked for.
    pub items: Vec<ItemId>,
    /// One for each of `items`; empty where there is no such column. Finite.
    pub scores: Vec<f32>,
    /// As `offsets`, for `targets`.
    pub target_offsets: Vec<u32>,
    /// What the users did next.
    pub targets: Vec<ItemId>,
    /// Rows that cannot be used are left out. An item or target that the catalogue does not have,
    /// or that is null, is left out, and its row stays.
    pub faults: Vec<Fault>,
}

/// Opens a file of given candidates and checks its schema.
///
/// # Errors
/// [`Error::Input`](crate::error::Error::Input) for a file that is empty, not Parquet, truncated or
/// damaged, and for a column that is missing or of a wrong type.
pub fn open_given(path: &Path, columns: &GivenColumns) -> Result<GivenFile> {
    let mut source = Source::open(path)?;
    let user = source.column(&columns.user, "an integer or a string", is_key)?;
    let items = source
        .column(&columns.items, "a list of integers or strings", |kind| list_of(kind, is_key))?;
    let scores = match &columns.scores {
        Some(name) => {
            Some(source.column(name, "a list of numbers", |kind| list_of(kind, is_number))?)
        }
        None => None,
    };
    let target = match &columns.target {
        Some(name) => Some(source.column(name, "an item or a list of items", |kind| {
            is_key(kind) || list_of(kind, is_key)
        })?),
        None => None,
    };
    Ok(GivenFile { source, user, items, scores, target })
}

fn list_of(kind: &DataType, accepts: fn(&DataType) -> bool) -> bool {
    matches!(kind, DataType::List(inner) if accepts(inner.data_type()))
}

impl GivenFile {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.source.path
    }

    /// What the user column holds.
    pub fn user_type(&self) -> KeyType {
        KeyType::of(&self.user.kind)
    }

    /// How many row groups there are.
    pub fn row_groups(&self) -> usize {
        self.source.row_groups()
    }

    /// How many rows a row group has, by the file's footer.
    ///
    /// # Panics
    /// If there is no such row group.
    pub fn rows(&self, row_group: usize) -> u64 {
        self.source.rows(row_group)
    }

    /// Reads a row group in batches of some thousand rows; `shard` is the file's number in the
    /// plan.
    ///
    /// # Errors
    /// [`Error::Io`](crate::error::Error::Io) when the file cannot be opened. The batches give
    /// [`Error::Input`](crate::error::Error::Input) where it is damaged.
    pub fn batches<'a>(
        &'a self,
        row_group: usize,
        shard: u32,
        index: &'a ItemIndex,
    ) -> Result<impl Iterator<Item = Result<GivenBatch>> + 'a> {
        let batches: Batches = self.source.batches(row_group)?;
        Ok(batches.map(move |batch| {
            let (row, batch) = batch?;
            let first = Origin { shard, row };
            self.decode(&batch, first, index).map_err(|e| input(self.path(), e))
        }))
    }

    fn decode(
        &self,
        batch: &RecordBatch,
        first: Origin,
        index: &ItemIndex,
    ) -> Result<GivenBatch, ArrowError> {
        let pick = |column| self.source.pick(batch, column);
        let users = Keys::of(pick(&self.user))?;
        let items = Lists::of(pick(&self.items), index)?;
        let scores = self.scores.as_ref().map(|c| Scores::of(pick(c))).transpose()?;
        let targets = self.target.as_ref().map(|c| Lists::of(pick(c), index)).transpose()?;
        let mut out = GivenBatch {
            offsets: vec![0],
            target_offsets: vec![0],
            users: Vec::with_capacity(batch.num_rows()),
            origins: Vec::with_capacity(batch.num_rows()),
            items: Vec::with_capacity(items.items.len()),
            scores: Vec::with_capacity(scores.as_ref().map_or(0, |s| s.numbers.len())),
            ..GivenBatch::default()
        };
        for row in 0..batch.num_rows() {
            let origin = Origin { row: first.row.saturating_add(row as u32), ..first };
            let mut push = Push { out: &mut out, origin };
            if let Err(kind) = push.row(self, (&users, &items, scores.as_ref()), row) {
                push.fault(kind);
                continue;
            }
            if let (Some(targets), Some(column)) = (&targets, &self.target) {
                push.targets(targets, row, &column.name);
            }
            out.target_offsets.push(out.targets.len() as u32);
        }
        Ok(out)
    }
}

/// One row on its way into a batch.
struct Push<'a> {
    out: &'a mut GivenBatch,
    origin: Origin,
}

impl Push<'_> {
    fn fault(&mut self, kind: FaultKind) {
        self.out.faults.push(Fault { origin: self.origin, stage: StageName::Read, kind });
    }

    /// Everything but the targets. Writes nothing if there is an error.
    fn row(
        &mut self,
        file: &GivenFile,
        (users, items, scores): (&Keys, &Lists, Option<&Scores>),
        row: usize,
    ) -> Result<(), FaultKind> {
        let user = users.get(row).map_err(|flaw| flaw.of(&file.user.name))?;
        let places = items.range(row).map_err(|flaw| flaw.of(&file.items.name))?;
        let mut given = None;
        if let (Some(scores), Some(column)) = (scores, &file.scores) {
            given = Some(scores.row(row, places.len()).map_err(|flaw| flaw.of(&column.name))?);
        }
        let found = &items.items[places.clone()];
        if !found.contains(&NO_ITEM) {
            self.out.items.extend_from_slice(found);
            self.out.scores.extend_from_slice(given.unwrap_or_default());
        } else {
            for (place, at) in places.enumerate() {
                match items.get(at) {
                    Ok(item) => {
                        self.out.items.push(item);
                        self.out.scores.extend(given.map(|given| given[place]));
                    }
                    Err(problem) => self.fault(problem.of(&file.items.name)),
                }
            }
        }
        self.out.users.push(user);
        self.out.origins.push(self.origin);
        self.out.offsets.push(self.out.items.len() as u32);
        Ok(())
    }

    fn targets(&mut self, targets: &Lists, row: usize, column: &str) {
        // No target is no fault: such a user is ranked and not measured.
        let Ok(places) = targets.range(row) else { return };
        for at in places {
            match targets.get(at) {
                Ok(item) => self.out.targets.push(item),
                Err(Problem::Flaw(Flaw::Null)) => {}
                Err(problem) => self.fault(problem.of(column)),
            }
        }
    }
}

enum Problem {
    Flaw(Flaw),
    Unknown(Key),
}

impl Problem {
    fn of(self, column: &str) -> FaultKind {
        match self {
            Problem::Flaw(flaw) => flaw.of(column),
            Problem::Unknown(item) => FaultKind::UnknownItem { item },
        }
    }
}

/// Lists of items; a column of single items is one of lists of one.
struct Lists {
    lists: Option<ListArray>,
    keys: Keys,
    /// The whole batch's, in one pass over the flat values; `NO_ITEM` where null or unknown.
    items: Vec<ItemId>,
}

impl Lists {
    fn of(raw: &ArrayRef, index: &ItemIndex) -> Result<Lists, ArrowError> {
        let lists = raw.as_list_opt::<i32>().cloned();
        let values = lists.as_ref().map_or(raw, |lists| lists.values());
        let keys = Keys::of(values)?;
        let items = match &keys {
            Keys::Int(ints) => match ints.flat() {
                Some(flat) => index.ints(flat),
                None => (0..values.len())
                    .map(|at| ints.get(at).ok().and_then(|key| index.int(key)).unwrap_or(NO_ITEM))
                    .collect(),
            },
            Keys::Text(texts) => (0..values.len())
                .map(|at| texts.get(at).ok().and_then(|key| index.text(key)).unwrap_or(NO_ITEM))
                .collect(),
        };
        Ok(Lists { lists, keys, items })
    }

    fn range(&self, row: usize) -> Result<Range<usize>, Flaw> {
        match &self.lists {
            None => Ok(row..row + 1),
            Some(lists) => range(lists, row),
        }
    }

    fn get(&self, at: usize) -> Result<ItemId, Problem> {
        match self.items[at] {
            NO_ITEM => Err(self.keys.get(at).map_or_else(Problem::Flaw, Problem::Unknown)),
            item => Ok(item),
        }
    }
}

struct Scores {
    lists: ListArray,
    numbers: Float32Array,
}

impl Scores {
    fn of(raw: &ArrayRef) -> Result<Scores, ArrowError> {
        let lists = raw.as_list::<i32>().clone();
        let numbers = cast(lists.values(), &DataType::Float32)?;
        Ok(Scores { numbers: numbers.as_primitive::<Float32Type>().clone(), lists })
    }

    /// A row's scores: as many as it has items, and all of them finite.
    fn row(&self, row: usize, items: usize) -> Result<&[f32], Flaw> {
        let places = range(&self.lists, row)?;
        if places.len() != items {
            let found = format!("{} scores for {items} items", places.len());
            return Err(Flaw::Unreadable(found));
        }
        let nulls = self.numbers.null_count() > 0;
        if nulls && places.clone().any(|at| self.numbers.is_null(at)) {
            return Err(Flaw::Null);
        }
        let values = &self.numbers.values()[places];
        match values.iter().all(|score| score.is_finite()) {
            true => Ok(values),
            false => Err(Flaw::NotFinite),
        }
    }
}

fn range(lists: &ListArray, row: usize) -> Result<Range<usize>, Flaw> {
    if lists.is_null(row) {
        return Err(Flaw::Null);
    }
    let offsets = lists.value_offsets();
    Ok(offsets[row] as usize..offsets[row + 1] as usize)
}
