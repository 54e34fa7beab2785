//! Rules over fields, collected instead of returned at the first.

use std::fmt::{Debug, Display};

/// The mistakes found so far, each with its path in the file.
#[derive(Debug, Default)]
pub struct Problems(pub Vec<String>);

impl Problems {
    /// Notes a mistake.
    pub fn add(&mut self, path: impl Display, what: impl Display) {
        self.0.push(format!("{path}: {what}"));
    }

    /// A required text.
    pub fn required(&mut self, path: &str, value: &str, hint: &str) {
        if value.is_empty() {
            self.add(path, format!("is missing: {hint}"));
        }
    }

    /// A number with bounds, both included.
    pub fn range<T: PartialOrd + Display + Copy>(&mut self, path: &str, value: T, min: T, max: T) {
        let inside = value >= min && value <= max; // false for NaN
        if !inside {
            self.add(path, format!("{value} is not between {min} and {max}"));
        }
    }

    /// Numbers that ascend, with bounds, both included; at least one, if the list is there.
    pub fn ascending<T: PartialOrd + Display + Debug + Copy>(
        &mut self,
        path: &str,
        values: Option<&[T]>,
        min: T,
        max: T,
    ) {
        let Some(values) = values else { return };
        if values.is_empty() || !values.windows(2).all(|pair| pair[0] < pair[1]) {
            self.add(path, format!("expected ascending numbers, found {values:?}"));
        }
        for (at, value) in values.iter().enumerate() {
            self.range(&format!("{path}[{at}]"), *value, min, max);
        }
    }

    /// Names that must be there once each.
    pub fn unique<'a>(&mut self, path: &str, names: impl Iterator<Item = &'a str>) {
        let mut seen = std::collections::BTreeSet::new();
        for name in names {
            if !seen.insert(name) {
                self.add(path, format!("{name:?} is there twice"));
            }
        }
    }

    /// A reference to another job's run: `run:PATH`, where PATH.toml lies beside this job file.
    pub fn reference(&mut self, path: &str, value: &str) {
        if !value.starts_with("run:") || value.len() == 4 {
            let found = if value.is_empty() { "nothing".into() } else { format!("{value:?}") };
            self.add(
                path,
                format!("expected \"run:JOB\" for the job file JOB.toml, found {found}"),
            );
        }
    }
}
