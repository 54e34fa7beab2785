//! Who asked for what, and when: the per-user table.
//!
//! People change their minds within a session. Of what a user asked of one attribute, only the
//! latest is in force; what was asked at the same moment holds together.

use crate::types::{Asked, Key};

/// The per-user table of controls, sorted by user.
#[derive(Clone, Debug, Default)]
pub struct ControlTable {
    rows: Vec<Row>,
}

#[derive(Clone, Debug)]
struct Row {
    user: Key,
    /// `None` sorts before every time: a standing wish, replaced by the first timed one.
    time: Option<i64>,
    /// The attribute's name as it is compared: without regard to case.
    attribute: String,
    asked: Asked,
}

impl ControlTable {
    /// A table from rows in the order of their file, which is the order that [`Self::for_user`]
    /// keeps.
    pub fn new(rows: Vec<(Key, Option<i64>, Asked)>) -> ControlTable {
        let row = |(user, time, asked): (Key, Option<i64>, Asked)| {
            let attribute = asked.attribute.trim().to_lowercase();
            Row { user, time, attribute, asked }
        };
        let mut rows: Vec<Row> = rows.into_iter().map(row).collect();
        rows.sort_by(|a, b| a.user.cmp(&b.user)); // stable: keeps the file's order within a user
        ControlTable { rows }
    }

    /// What the user asks for, as of a time (`None`: the end of the table): for each attribute the
    /// asks of its latest time, in the file's order and without repeats.
    pub fn for_user(&self, user: &Key, as_of: Option<i64>) -> Vec<Asked> {
        let start = self.rows.partition_point(|row| row.user < *user);
        let mine = &self.rows[start..];
        let mine = &mine[..mine.partition_point(|row| row.user == *user)];
        let seen = |row: &&Row| as_of.is_none_or(|at| row.time.is_none_or(|time| time <= at));
        let mut asked: Vec<Asked> = Vec::new();
        for row in mine.iter().filter(seen) {
            let mut same = mine.iter().filter(seen).filter(|r| r.attribute == row.attribute);
            let latest = same.all(|other| other.time <= row.time);
            if latest && !asked.contains(&row.asked) {
                asked.push(row.asked.clone());
            }
        }
        asked
    }

    /// How many rows the table has.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether nobody asks for anything.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}
