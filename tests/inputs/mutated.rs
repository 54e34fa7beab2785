//! Sound Parquet files, changed at random: readers answer, whatever they find.

use super::{column, read, three_rows, write};
use arrow::array::{Int64Array, ListArray, StringArray};
use arrow::datatypes::Int64Type;
use proptest::prelude::*;
use proptest::sample::Index;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use steerage::store::input::*;
use steerage::types::Key;
use tempfile::TempDir;

/// A file of each kind that people bring.
fn files() -> &'static [Vec<u8>; 4] {
    static FILES: OnceLock<[Vec<u8>; 4]> = OnceLock::new();
    FILES.get_or_init(|| {
        let dir = TempDir::new().unwrap();
        let made = |name: &str, columns| {
            let path = dir.path().join(name);
            write(&path, 2, columns);
            fs::read(path).unwrap()
        };
        let users = || column("user", Int64Array::from(vec![1, 2, 3]));
        let controls = vec![
            users(),
            column("attribute", StringArray::from(vec!["brand", "price", "brand"])),
            column("relation", StringArray::from(vec!["is", "at-most", "not"])),
            column("value", StringArray::from(vec!["Acme", "20", "Bolt"])),
            column("time", Int64Array::from(vec![30, 20, 10])),
        ];
        let items = ListArray::from_iter_primitive::<Int64Type, _, _>([
            Some(vec![Some(1), Some(2)]),
            Some(vec![Some(3)]),
            Some(vec![]),
        ]);
        let given = vec![users(), column("items", items)];
        let table = vec![
            column("item", Int64Array::from(vec![1, 2, 3])),
            column("title", StringArray::from(vec!["a", "b", "c"])),
            column("price", StringArray::from(vec!["$1", "2.5", "x"])),
        ];
        [three_rows(), made("c", controls), made("g", given), made("t", table)]
    })
}

/// Reads a file as each kind.
fn try_all(path: &Path) {
    let _ = read(path, &super::bare(), 0);
    let _ = read(path, &super::columns(), 0);
    let controls = ControlColumns {
        user: "user".into(),
        attribute: "attribute".into(),
        relation: "relation".into(),
        value: "value".into(),
        time: Some("time".into()),
    };
    let _ = read_controls(&[path.into()], &controls);
    let requests = RequestColumns {
        user: "user".into(),
        request: "value".into(),
        weight: Some("time".into()),
    };
    let _ = read_requests(&[path.into()], &requests);
    let exclusions = ExclusionColumns { item: "item".into(), user: Some("user".into()) };
    let _ = read_exclusions(&[path.into()], &exclusions);
    let given = GivenColumns {
        user: "user".into(),
        items: "items".into(),
        scores: None,
        target: Some("item".into()),
    };
    if let Ok(given) = open_given(path, &given) {
        let index = ItemIndex::new(&[Key::Int(1), Key::Int(2), Key::Int(3)]);
        for row_group in 0..given.row_groups() {
            if let Ok(batches) = given.batches(row_group, 0, &index) {
                let _ = batches.take(10).filter(|batch| batch.is_ok()).count();
            }
        }
    }
    let attributes =
        vec![AttributeColumn { column: "price".into(), numeric: true, separator: None }];
    let texts = vec!["title".into()];
    let _ = read_table(&[path.into()], &TableColumns { key: "item".into(), texts, attributes });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn a_changed_parquet_file_is_read_or_refused(
        which in 0usize..4,
        changes in proptest::collection::vec((any::<Index>(), any::<u8>(), any::<bool>()), 1..4),
        cut in proptest::option::weighted(0.1, any::<Index>()),
    ) {
        let mut bytes = files()[which].clone();
        for (at, byte, footer) in changes {
            // The footer says where everything lies and how large it is.
            let first = if footer { bytes.len() / 2 } else { 0 };
            let at = first + at.index(bytes.len() - first);
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.remove(cut.index(bytes.len()));
        }
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("a.parquet");
        fs::write(&path, bytes).unwrap();
        try_all(&path);
    }
}
