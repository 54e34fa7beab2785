//! From what a job file says (`data/2026-*/*.parquet`, a folder, a file) to a sorted list of files.

use crate::error::{Error, Result};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// The files that the patterns name, sorted by path and without repeats.
///
/// A pattern is a file; a folder, which stands for every `*.parquet` under it except in files and
/// folders whose names start with `.` or `_` (what writers leave behind); or a path in which `*`
/// and `?` stand for any characters and any one character of a component.
///
/// # Errors
/// [`Error::Input`] for a pattern that names nothing, and [`Error::Io`] for a folder that cannot be
/// listed.
pub fn resolve(patterns: &[String]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for pattern in patterns {
        let before = files.len();
        for path in expand(Path::new(pattern))? {
            if path.is_dir() {
                collect(&path, &mut files)?;
            } else {
                files.push(path);
            }
        }
        if files.len() == before {
            return Err(Error::Input(format!(
                "{pattern}: no input there: expected a file, a folder with *.parquet files, or a \
                 pattern with * and ? that matches one"
            )));
        }
    }
    files.sort();
    files.dedup();
    Ok(files)
}

/// The existing paths a pattern stands for.
fn expand(pattern: &Path) -> Result<Vec<PathBuf>> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let text = part.as_os_str().to_string_lossy();
        if !matches!(part, Component::Normal(_)) || !text.contains(['*', '?']) {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        let mut next = Vec::new();
        for folder in found.iter().filter(|path| path.as_os_str().is_empty() || path.is_dir()) {
            for entry in list(folder)? {
                let name = entry.file_name().map(|n| n.to_string_lossy().into_owned());
                if name.is_some_and(|name| matches(text.as_bytes(), name.as_bytes())) {
                    next.push(entry);
                }
            }
        }
        found = next;
    }
    found.retain(|path| path.exists());
    Ok(found)
}

/// Every `*.parquet` under a folder. Links to folders are not followed: they can be circular.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for path in list(folder)? {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with(['.', '_']) {
            continue;
        }
        if path.is_dir() {
            if !path.is_symlink() {
                collect(&path, files)?;
            }
        } else if name.ends_with(".parquet") {
            files.push(path);
        }
    }
    Ok(())
}

fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries = fs::read_dir(here).map_err(Error::io("list", here))?;
    entries
        .map(|entry| Ok(folder.join(entry.map_err(Error::io("list", here))?.file_name())))
        .collect()
}

/// Whether a name matches a pattern of `*` and `?`. On a mismatch the last star takes one byte
/// more, which is linear in practice and never exponential.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&c) if c == b'?' || c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    n = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_and_question_marks_match_as_a_shell_does() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*.parquet", "a.parquet", true),
            ("*.parquet", "a.parquet.tmp", false),
            ("week=0?.parquet", "week=07.parquet", true),
            ("week=0?.parquet", "week=0.parquet", false),
            ("a*b*c", "aXbXbc", true),
            ("a*b*c", "aXbXb", false),
            ("?", "", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }
}
