//! Ranked lists, one row a user and arm: what a rerank job is for.
//!
//! | column | type | is |
//! |---|---|---|
//! | `user` | int64 or utf8 | who |
//! | `arm` | utf8 | the arm's name |
//! | `items` | list of int64 or utf8 | external ids, best first |
//! | `scores` | list of float32 | the arm's score of each place |
//! | `retrieval_ranks` | list of int32 | where the retriever had the item, from 1 |
//! | `controls_met` | list of uint32 | bit c: the item meets control c; empty without controls |
//! | `controls` | list of utf8 | what was asked for; control c is the c-th |
//! | `source` | utf8 | where the controls came from |
//! | `conflict` | utf8, nullable | why the controls cannot all be met |
//!
//! Rows ascend by (user, origin of the sequence, arm).

use super::columns::{Columns, Texts, batch, keys, lists, lists_over, offsets, required};
use super::{Dictionary, Kind};
use crate::error::{Error, Result};
use crate::types::{ArmList, Catalogue, Conflict, Control, ControlSource, Key, Ranked};
use arrow::array::{
    Array, ArrayRef, Float32Array, Int32Array, Int64Array, RecordBatch, StringArray, UInt32Array,
};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Field, Float32Type, Int32Type, UInt32Type};
use bytes::Bytes;
use parquet::basic::Compression;
use std::sync::Arc;

/// Uncompressed, and no dictionary for what hardly repeats: in lists of 20 integer ids the
/// encoder's time goes to Parquet's levels and to copying, not here (arrays alone: 7 million
/// rows/s). Measured in rows/s of one core, best of 7, on a busy two-core machine: none 1.79
/// million at 340 bytes a row; with shuffled ranks none 1.15 million at 340, delta packing of ids
/// and ranks 0.94 million at 161, LZ4 0.86 million at 196; with one more list column, none 0.84
/// million, Snappy 0.63, Zstd-1 0.41.
const KIND: Kind = Kind {
    name: "lists/1",
    compression: Compression::UNCOMPRESSED,
    dictionary: Dictionary::Only(&["arm", "controls.list.item", "source", "conflict"]),
};
/// Users of one batch of the writer: its buffers stay within a processor's second cache.
const BATCH_USERS: usize = 2_048;

/// What every part of a run's lists has in common: made once, shared by all writers.
pub struct Encoder<'a> {
    /// Names items.
    catalogue: &'a Catalogue,
    /// The items' integer ids side by side, eight bytes apart instead of a key's twenty-four; empty
    /// if the ids are texts.
    item_ints: Vec<i64>,
    /// Names arms, in the order of [`Ranked::arms`].
    arms: &'a [String],
    /// Longer lists are cut.
    depth_max: usize,
    /// What a control says, to read.
    describe: &'a (dyn Fn(&Control) -> String + Sync),
}

impl<'a> Encoder<'a> {
    /// For the lists of `arms`, at most `depth_max` items long.
    ///
    /// # Errors
    /// [`Error::Input`] if the catalogue's ids are integers and texts.
    pub fn new(
        catalogue: &'a Catalogue,
        arms: &'a [String],
        depth_max: usize,
        describe: &'a (dyn Fn(&Control) -> String + Sync),
    ) -> Result<Encoder<'a>> {
        let ints = catalogue.keys.iter().map_while(|key| match key {
            Key::Int(value) => Some(*value),
            Key::Text(_) => None,
        });
        let item_ints: Vec<i64> = ints.collect();
        // Ascending keys have their integers first.
        if !item_ints.is_empty() && item_ints.len() < catalogue.len() {
            return Err(Error::Input(format!(
                "the catalogue: expected item ids of one type, found the integer {} and the text \
                 {:?}: give the id column the same type in every input file",
                item_ints[0],
                catalogue.keys[item_ints.len()].to_string()
            )));
        }
        Ok(Encoder { catalogue, item_ints, arms, depth_max, describe })
    }

    /// The part of some users, who may come in any order. It has a row for each of them and each
    /// arm.
    ///
    /// # Errors
    /// [`Error::Input`] if users are integers in some rows and texts in others.
    ///
    /// # Panics
    /// If a list does not fit its candidates, or there are not as many lists as arms.
    pub fn encode(&self, rows: &[Ranked]) -> Result<Vec<u8>> {
        let rows = sorted(rows);
        let first = self.batch(&rows[..rows.len().min(BATCH_USERS)])?;
        let mut writer = KIND.writer(&first.schema())?;
        // A part is megabytes long: without room it would be copied each time that it outgrows it.
        let batches = rows.len().div_ceil(BATCH_USERS);
        writer.inner_mut().reserve(batches * first.get_array_memory_size());
        writer.write(&first).map_err(|e| KIND.bug(&e))?;
        for users in rows.chunks(BATCH_USERS).skip(1) {
            let next = self.batch(users)?;
            if next.schema() != first.schema() {
                return Err(mixed_users());
            }
            writer.write(&next).map_err(|e| KIND.bug(&e))?;
        }
        writer.into_inner().map_err(|e| KIND.bug(&e))
    }

    /// One pass over the lists into flat buffers. Lists of the same lengths share their offsets.
    fn batch(&self, users: &[&Ranked]) -> Result<RecordBatch> {
        let places = users.len() * self.arms.len() * self.depth_max.min(64);
        let mut ends = Vec::with_capacity(users.len() * self.arms.len());
        let mut met_ends = Vec::with_capacity(users.len() * self.arms.len());
        let mut items: Vec<u32> = Vec::with_capacity(places);
        let mut scores: Vec<f32> = Vec::with_capacity(places);
        let mut ranks: Vec<i32> = Vec::with_capacity(places);
        let mut met: Vec<u32> = Vec::new();
        for user in users {
            assert_eq!(user.arms.len(), self.arms.len(), "one list for each arm");
            let candidates = &user.candidates;
            for list in &user.arms {
                let ArmList { order, scores: list_scores } = list;
                let depth = order.len().min(self.depth_max);
                let order = &order[..depth];
                scores.extend_from_slice(&list_scores[..depth]);
                items.extend(order.iter().map(|&at| candidates.items[at as usize]));
                ranks.extend(order.iter().map(|&at| candidates.rank(at as usize) as i32));
                if !candidates.query.controls.is_empty() {
                    met.extend(order.iter().map(|&at| candidates.met[at as usize]));
                }
                ends.push(items.len() as i32);
                met_ends.push(met.len() as i32);
            }
        }
        let places = offsets(ends);
        let per_arm = || users.iter().flat_map(|user| self.arms.iter().map(move |arm| (user, arm)));
        let mut arms = Texts::default();
        let mut sources = Texts::default();
        for (user, arm) in per_arm() {
            arms.push(arm);
            sources.push(source_name(user.candidates.query.source));
        }
        Ok(batch(vec![
            keys("user", per_arm().map(|(user, _)| &user.candidates.query.user))
                .map_err(|_| mixed_users())?,
            required("arm", arms.finish()),
            lists_over("items", &places, self.item_keys(&items)),
            lists_over("scores", &places, Arc::new(Float32Array::from(scores))),
            lists_over("retrieval_ranks", &places, Arc::new(Int32Array::from(ranks))),
            lists("controls_met", met_ends, Arc::new(UInt32Array::from(met))),
            self.controls(per_arm().map(|(user, _)| *user)),
            required("source", sources.finish()),
            conflicts(per_arm().map(|(user, _)| *user)),
        ]))
    }

    fn item_keys(&self, items: &[u32]) -> ArrayRef {
        if self.item_ints.len() == self.catalogue.len() {
            let ints: Vec<i64> = items.iter().map(|&item| self.item_ints[item as usize]).collect();
            return Arc::new(Int64Array::new(ScalarBuffer::from(ints), None));
        }
        let mut texts = Texts::default();
        for &item in items {
            match &self.catalogue.keys[item as usize] {
                Key::Text(text) => texts.push(text),
                Key::Int(_) => unreachable!("new() refuses a catalogue of integers and texts"),
            }
        }
        texts.finish()
    }

    fn controls<'r>(&self, rows: impl Iterator<Item = &'r Ranked>) -> (Field, ArrayRef) {
        let (mut texts, mut ends, mut end) = (Texts::default(), Vec::new(), 0);
        for row in rows {
            for control in &row.candidates.query.controls {
                texts.push(&(self.describe)(control));
                end += 1;
            }
            ends.push(end);
        }
        lists("controls", ends, texts.finish())
    }
}

/// One row of a part, as it was written: with external ids and names.
#[derive(Clone, Debug, PartialEq)]
pub struct ListRow {
    /// Who.
    pub user: Key,
    /// The arm's name.
    pub arm: String,
    /// External ids, best first.
    pub items: Vec<Key>,
    /// The arm's score of each place.
    pub scores: Vec<f32>,
    /// Where the retriever had each item, from 1.
    pub retrieval_ranks: Vec<i32>,
    /// Bit c of each: the item meets control c. Empty without controls.
    pub controls_met: Vec<u32>,
    /// What was asked for.
    pub controls: Vec<String>,
    /// Where the controls came from, as the job file would say it.
    pub source: String,
    /// Why the controls cannot all be met.
    pub conflict: Option<String>,
}

/// The rows of a part. `file` is what messages call it.
///
/// # Errors
/// [`Error::Input`] if it is truncated or another kind of file.
pub fn decode(file: &str, bytes: Bytes) -> Result<Vec<ListRow>> {
    let mut rows = Vec::new();
    stream(file, bytes)?.try_for_each(|group| group.map(|group| rows.extend(group)))?;
    Ok(rows)
}

/// The rows of a part, at most a row group at a time.
///
/// # Errors
/// Those of [`decode`], for the file and then for each group.
pub fn stream(
    file: &str,
    bytes: Bytes,
) -> Result<impl Iterator<Item = Result<Vec<ListRow>>> + use<>> {
    Ok(KIND.read(file, bytes)?.map(|columns| rows_of(&columns?)))
}

fn rows_of(columns: &Columns) -> Result<Vec<ListRow>> {
    let arms = columns.texts("arm", false)?;
    let scores = columns.lists::<Float32Type>("scores")?;
    let ranks = columns.lists::<Int32Type>("retrieval_ranks")?;
    let met = columns.lists::<UInt32Type>("controls_met")?;
    let controls = columns.text_lists("controls")?;
    let sources = columns.texts("source", false)?;
    let conflicts = columns.texts("conflict", true)?;
    let users = columns.keys("user")?.into_iter().zip(columns.key_lists("items")?);
    Ok(users
        .zip(controls)
        .enumerate()
        .map(|(at, ((user, items), controls))| ListRow {
            user,
            arm: arms.value(at).to_owned(),
            items,
            scores: scores.get(at).to_vec(),
            retrieval_ranks: ranks.get(at).to_vec(),
            controls_met: met.get(at).to_vec(),
            controls,
            source: sources.value(at).to_owned(),
            conflict: conflicts.is_valid(at).then(|| conflicts.value(at).to_owned()),
        })
        .collect())
}

/// By (user, origin). The first eight bytes decide almost always, so that few comparisons have to
/// follow a pointer.
fn sorted(rows: &[Ranked]) -> Vec<&Ranked> {
    let by = |a: &Ranked, b: &Ranked| {
        let (a, b) = (&a.candidates.query, &b.candidates.query);
        a.user.cmp(&b.user).then(a.origin.cmp(&b.origin))
    };
    if rows.is_sorted_by(|a, b| by(a, b).is_le()) {
        return rows.iter().collect();
    }
    let mut order: Vec<(u64, &Ranked)> =
        rows.iter().map(|row| (prefix(&row.candidates.query.user), row)).collect();
    order.sort_by(|(p, a), (q, b)| p.cmp(q).then_with(|| by(a, b)));
    order.into_iter().map(|(_, row)| row).collect()
}

/// Ascends with the key among keys of one type.
fn prefix(key: &Key) -> u64 {
    match key {
        Key::Int(value) => *value as u64 ^ 1 << 63,
        Key::Text(text) => {
            let mut first = [0; 8];
            let taken = text.len().min(8);
            first[..taken].copy_from_slice(&text.as_bytes()[..taken]);
            u64::from_be_bytes(first)
        }
    }
}

fn source_name(source: ControlSource) -> &'static str {
    match source {
        ControlSource::None => "none",
        ControlSource::Job => "job",
        ControlSource::Table => "table",
        ControlSource::Sampled => "sampled",
        ControlSource::Oracle => "oracle",
    }
}

fn conflicts<'r>(rows: impl Iterator<Item = &'r Ranked>) -> (Field, ArrayRef) {
    let texts = rows.map(|row| row.candidates.query.conflict.as_ref().map(Conflict::to_string));
    let array = StringArray::from_iter(texts);
    (Field::new("conflict", DataType::Utf8, true), Arc::new(array))
}

fn mixed_users() -> Error {
    Error::Input(
        "column \"user\": expected ids of one type, found integers and texts: give the user column \
         the same type in every input file"
            .to_owned(),
    )
}
