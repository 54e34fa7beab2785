//! Is what people bring read as they meant it, and refused in words that help?

mod mutated;

use arrow::array::{
    ArrayRef, BinaryArray, Date32Array, DictionaryArray, Float32Array, Float64Array, Int32Array,
    Int64Array, LargeStringArray, ListArray, StringArray, StringViewArray,
    TimestampMillisecondArray, UInt8Array, UInt64Array,
};
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use steerage::error::Result;
use steerage::store::input::*;
use steerage::types::{FaultKind, Interaction, Key, Origin, Relation};
use tempfile::TempDir;

fn column<A: arrow::array::Array + 'static>(name: &str, array: A) -> (String, ArrayRef) {
    (name.to_owned(), Arc::new(array))
}

/// Writes a file with row groups of `group` rows.
fn write(path: &Path, group: usize, columns: Vec<(String, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )
    .unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group)).build();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn columns() -> InteractionColumns {
    InteractionColumns {
        user: "user".into(),
        item: "item".into(),
        time: Some("time".into()),
        weight: Some("weight".into()),
    }
}

fn bare() -> InteractionColumns {
    InteractionColumns { time: None, weight: None, ..columns() }
}

fn read(path: &Path, columns: &InteractionColumns, shard: u32) -> Result<Rows<Interaction>> {
    let file = open_interactions(path, columns)?;
    let mut out = Rows::default();
    for row_group in 0..file.row_groups() {
        let before = out.rows.len() + out.faults.len();
        file.read(row_group, shard, &mut out)?;
        let read = out.rows.len() + out.faults.len() - before;
        assert_eq!(read as u64, file.rows(row_group), "each row is a value or a fault");
    }
    Ok(out)
}

/// What a refusal says, with the folder's name taken out.
fn message<T>(dir: &TempDir, result: Result<T>) -> String {
    let error = result.err().expect("this input should be refused");
    assert_eq!(error.exit_code(), 2);
    error.to_string().replace(dir.path().to_str().unwrap(), "DIR")
}

fn refused(name: &str, bytes: &[u8]) -> String {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, bytes).unwrap();
    message(&dir, open_interactions(&path, &columns()))
}

/// Two row groups of two and one rows, as bytes.
fn three_rows() -> Vec<u8> {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.parquet");
    write(
        &path,
        2,
        vec![
            column("user", Int64Array::from(vec![1, 2, 3])),
            column("item", StringArray::from(vec!["a", "b", "c"])),
            column("time", Int64Array::from(vec![30, 20, 10])),
            column("weight", Float32Array::from(vec![1.0, 0.5, 2.0])),
        ],
    );
    fs::read(path).unwrap()
}

#[test]
fn interactions_come_with_their_place_in_the_file() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.parquet");
    fs::write(&path, three_rows()).unwrap();
    let read = read(&path, &columns(), 7).unwrap();
    assert_eq!(read.faults, []);
    let row = |row, user, item: &str, time, weight| Interaction {
        origin: Origin { shard: 7, row },
        user: Key::Int(user),
        item: item.into(),
        time,
        weight,
    };
    assert_eq!(
        read.rows,
        [row(0, 1, "a", 30, 1.0), row(1, 2, "b", 20, 0.5), row(2, 3, "c", 10, 2.0)]
    );
}

#[test]
fn every_way_to_write_a_key_or_a_time_is_read_alike() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.parquet");
    let texts = ["x", "y"];
    let dictionary: DictionaryArray<Int32Type> = texts.into_iter().collect();
    let text_columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(texts.to_vec())),
        Arc::new(LargeStringArray::from(texts.to_vec())),
        Arc::new(StringViewArray::from(texts.to_vec())),
        Arc::new(BinaryArray::from(vec![&b"x"[..], b"y"])),
        Arc::new(dictionary),
    ];
    for array in text_columns {
        let user = ("user".to_owned(), array);
        write(&path, 9, vec![user, column("item", UInt8Array::from(vec![200, 201]))]);
        let file = open_interactions(&path, &bare()).unwrap();
        assert_eq!((file.user_type(), file.item_type()), (KeyType::Text, KeyType::Int));
        let rows = read(&path, &bare(), 0).unwrap().rows;
        assert_eq!(
            rows.iter().map(|r| r.user.clone()).collect::<Vec<_>>(),
            ["x".into(), "y".into()]
        );
        assert_eq!([&rows[0].item, &rows[1].item], [&Key::Int(200), &Key::Int(201)]);
    }
    let times: [(ArrayRef, i64); 3] = [
        (Arc::new(Int32Array::from(vec![5])), 5),
        (Arc::new(TimestampMillisecondArray::from(vec![1_500]).with_timezone("UTC")), 1_500),
        (Arc::new(Date32Array::from(vec![365])), 365),
    ];
    for (array, expected) in times {
        let one = || Int64Array::from(vec![1]);
        let time = ("time".to_owned(), array);
        write(&path, 9, vec![column("user", one()), column("item", one()), time]);
        let columns = InteractionColumns { weight: None, ..columns() };
        assert_eq!(read(&path, &columns, 0).unwrap().rows[0].time, expected);
    }
}

#[test]
fn without_a_time_column_the_order_is_that_of_shards_and_rows() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.parquet");
    fs::write(&path, three_rows()).unwrap();
    let times: Vec<i64> = (0..2)
        .flat_map(|shard| read(&path, &bare(), shard).unwrap().rows)
        .map(|row| row.time)
        .collect();
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
}

#[test]
fn each_bad_row_is_a_fault_and_the_others_are_read() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.parquet");
    let user = UInt64Array::from(vec![Some(1), None, Some(u64::MAX), Some(4), Some(5), Some(6)]);
    let item = BinaryArray::from_opt_vec(vec![
        Some(b"a"),
        Some(b"b"),
        Some(b"c"),
        Some(b"\xff\xfe"),
        Some(b"e"),
        Some(b"f"),
    ]);
    let weight = Float64Array::from(vec![1.0, 1.0, 1.0, 1.0, f64::NAN, 1e300]);
    write(&path, 4, vec![column("user", user), column("item", item), column("weight", weight)]);
    let columns = InteractionColumns { time: None, ..columns() };
    let read = read(&path, &columns, 3).unwrap();
    assert_eq!(read.rows.len(), 1);
    let said: Vec<String> = read
        .faults
        .iter()
        .map(|f| format!("{}:{} {}: {}", f.origin.shard, f.origin.row, f.stage, f.kind))
        .collect();
    insta::assert_snapshot!(said.join("\n"), @r#"
    3:1 read: column "user" is null
    3:2 read: column "user" cannot be read: found "18446744073709551615"
    3:3 read: column "item" cannot be read: found "��"
    3:4 read: column "weight" is not a finite number
    3:5 read: column "weight" is not a finite number
    "#);
}

#[test]
fn a_file_that_is_not_what_the_job_says_is_refused_in_words() {
    let good = three_rows();
    let mut said = vec![
        refused("empty.parquet", b""),
        refused("table.parquet", b"user,item\n1,2\n"),
        refused("truncated.parquet", &good[..300]),
    ];
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.parquet");
    fs::write(&path, &good).unwrap();
    let time = Some("times".to_owned());
    said.push(message(&dir, open_interactions(&path, &InteractionColumns { time, ..columns() })));
    let weight = Some("zzzzzzzz".to_owned());
    said.push(message(&dir, open_interactions(&path, &InteractionColumns { weight, ..columns() })));
    let time = Some("item".to_owned());
    said.push(message(&dir, open_interactions(&path, &InteractionColumns { time, ..columns() })));
    let user = "weight".to_owned();
    said.push(message(&dir, open_interactions(&path, &InteractionColumns { user, ..columns() })));
    insta::assert_snapshot!(said.join("\n"), @r#"
    DIR/empty.parquet: expected a Parquet file, found 0 bytes: write or copy it again
    DIR/table.parquet: expected a Parquet file, which starts with "PAR1", found "user": convert it with `steerage import`
    DIR/truncated.parquet: the Parquet file is truncated: 300 bytes, and no footer at the end: write or copy it again
    DIR/a.parquet: no column "times"; its columns are "user", "item", "time", "weight"; did you mean "time"?
    DIR/a.parquet: no column "zzzzzzzz"; its columns are "user", "item", "time", "weight"
    DIR/a.parquet: column "item": expected an integer, a timestamp or a date, found string
    DIR/a.parquet: column "weight": expected an integer or a string, found float32
    "#);
}

#[test]
fn a_string_column_that_is_not_utf8_is_a_damaged_file() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.parquet");
    let one = || Int64Array::from(vec![1]);
    write(&path, 9, vec![column("user", StringArray::from(vec!["ZZZZ"])), column("item", one())]);
    let mut bytes = fs::read(&path).unwrap();
    for at in 0..bytes.len() - 4 {
        if &bytes[at..at + 4] == b"ZZZZ" {
            bytes[at..at + 4].fill(0xff);
        }
    }
    fs::write(&path, bytes).unwrap();
    let said = message(&dir, read(&path, &bare(), 0));
    assert!(said.starts_with("DIR/a.parquet: row group 0 cannot be read: "), "{said}");
    assert!(said.contains("UTF-8"), "{said}");
}

#[test]
fn shards_that_disagree_on_a_type_are_refused_by_name() {
    let dir = TempDir::new().unwrap();
    let (a, b) = (dir.path().join("a.parquet"), dir.path().join("b.parquet"));
    fs::write(&a, three_rows()).unwrap();
    let users = StringArray::from(vec!["1"]);
    let one = || Int64Array::from(vec![1]);
    write(&b, 9, vec![column("user", users), column("item", StringArray::from(vec!["a"]))]);
    fn open(path: &Path, columns: &InteractionColumns) -> InteractionFile {
        open_interactions(path, columns).unwrap()
    }
    let first = open(&a, &bare());
    assert!(agree(&first, &open(&a, &bare())).is_ok());
    let mut said = vec![message(&dir, agree(&first, &open(&b, &bare())))];
    let time = TimestampMillisecondArray::from(vec![1]);
    let item = StringArray::from(vec!["a"]);
    write(&b, 9, vec![column("user", one()), column("item", item), column("time", time)]);
    let timed = InteractionColumns { weight: None, ..columns() };
    said.push(message(&dir, agree(&open(&a, &timed), &open(&b, &timed))));
    insta::assert_snapshot!(said.join("\n"), @r#"
    DIR/b.parquet: column "user" is string here and integer in DIR/a.parquet: write all shards with one type
    DIR/b.parquet: column "time" is timestamp(ms) here and int64 in DIR/a.parquet: write all shards with one type
    "#);
}

#[test]
fn patterns_name_files_folders_and_globs() {
    let dir = TempDir::new().unwrap();
    let root = dir.path();
    for name in ["b/2.parquet", "b/1.parquet", "b/notes.txt", "b/_tmp/3.parquet", "c/k=1/4.parquet"]
    {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    let found = |patterns: &[&str]| -> Result<Vec<String>> {
        let full: Vec<String> =
            patterns.iter().map(|p| root.join(p).to_str().unwrap().to_owned()).collect();
        let strip = |p: PathBuf| p.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        Ok(resolve(&full)?.into_iter().map(strip).collect())
    };
    let all = ["b/1.parquet", "b/2.parquet", "c/k=1/4.parquet"];
    assert_eq!(found(&["c", "b", "b/1.parquet"]).unwrap(), all);
    assert_eq!(found(&["?"]).unwrap(), all);
    assert_eq!(found(&["*/k=?/*.parquet"]).unwrap(), ["c/k=1/4.parquet"]);
    assert_eq!(
        found(&["b/*"]).unwrap(),
        ["b/1.parquet", "b/2.parquet", "b/_tmp/3.parquet", "b/notes.txt"]
    );
    insta::assert_snapshot!(message(&dir, found(&["b", "d/*.parquet"])), @r#"DIR/d/*.parquet: no input there: expected a file, a folder with *.parquet files, or a pattern with * and ? that matches one"#);
}

fn attribute(column: &str, numeric: bool, separator: Option<&str>) -> AttributeColumn {
    let separator = separator.map(str::to_owned);
    AttributeColumn { column: column.into(), numeric, separator }
}

/// The labels of each row.
fn labels(values: &RawValues) -> Vec<Vec<&str>> {
    let RawValues::Labels { names, offsets, codes } = values else { panic!("{values:?}") };
    let row = |pair: &[u32]| {
        let codes = &codes[pair[0] as usize..pair[1] as usize];
        codes.iter().map(|&code| names[code as usize].as_str()).collect()
    };
    offsets.windows(2).map(row).collect()
}

fn items(dir: &TempDir) -> PathBuf {
    let path = dir.path().join("items.parquet");
    let genres = ListArray::from_iter_primitive::<Int64Type, _, _>(vec![
        Some(vec![Some(7), Some(8)]),
        None,
        Some(vec![]),
        Some(vec![Some(8), None]),
        Some(vec![Some(9)]),
    ]);
    write(
        &path,
        2,
        vec![
            column("id", StringArray::from(vec![Some("a"), Some("b"), Some("a"), None, Some("c")])),
            column("title", BinaryArray::from(vec![&b"A"[..], b"\xc3\x28", b"A2", b"", b"C"])),
            column(
                "price",
                Float64Array::from(vec![Some(1.5), Some(f64::NAN), Some(2.0), Some(3.0), None]),
            ),
            column("rank", StringArray::from(vec!["#1,234 in Toys", "none", "1", "2", ""])),
            column("kind", StringArray::from(vec!["x| y|", "", "z", "z", "x"])),
            column("genres", genres),
            column("year", Float32Array::from(vec![1995.0, 2000.5, 1.0, 2.0, f32::NAN])),
        ],
    );
    path
}

#[test]
fn an_item_table_keeps_first_rows_and_says_what_it_could_not_use() {
    let dir = TempDir::new().unwrap();
    let table = read_table(
        &[items(&dir)],
        &TableColumns {
            key: "id".into(),
            texts: vec!["title".into()],
            attributes: vec![
                attribute("price", true, None),
                attribute("rank", true, None),
                attribute("kind", false, Some("|")),
                attribute("genres", false, None),
                attribute("year", false, None),
            ],
        },
    )
    .unwrap();
    assert_eq!(table.keys, ["a".into(), "b".into(), "c".into()]);
    assert_eq!(table.texts[0].iter().map(|t| &**t).collect::<Vec<_>>(), ["A", "", "C"]);
    let number = |at: usize| match &table.columns[at].values {
        RawValues::Numbers(numbers) => format!("{numbers:?}"),
        other => panic!("{other:?}"),
    };
    assert_eq!(number(0), "[1.5, NaN, NaN]");
    assert_eq!(number(1), "[1234.0, NaN, NaN]");
    assert_eq!(labels(&table.columns[2].values), [vec!["x", "y"], vec![], vec!["x"]]);
    assert_eq!(labels(&table.columns[3].values), [vec!["7", "8"], vec![], vec!["9"]]);
    assert_eq!(labels(&table.columns[4].values), [vec!["1995"], vec!["2000.5"], vec![]]);
    let said: Vec<String> =
        table.faults.iter().map(|f| format!("{}: {}", f.origin.row, f.kind)).collect();
    insta::assert_snapshot!(said.join("\n"), @r#"
    1: column "title" cannot be read: found "�("
    1: column "price" is not a finite number
    1: column "rank" cannot be read: found "none"
    2: key a is there already: the first row was kept
    3: column "id" is null
    "#);
    let chosen = table.columns[2].values.select(&[Some(2), None, Some(0)]);
    assert_eq!(labels(&chosen), [vec!["x"], vec![], vec!["x", "y"]]);
}

#[test]
fn an_attribute_of_a_wrong_type_is_refused() {
    let dir = TempDir::new().unwrap();
    let attributes = vec![attribute("genres", true, None)];
    let columns = TableColumns { key: "id".into(), texts: Vec::new(), attributes };
    insta::assert_snapshot!(message(&dir, read_table(&[items(&dir)], &columns)), @r#"DIR/items.parquet: column "genres": expected a number, or a string with a number in it, found list of int64"#);
}

#[test]
fn controls_are_read_with_their_relation_and_time() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("asked.parquet");
    write(
        &path,
        9,
        vec![
            column("who", Int64Array::from(vec![Some(1), Some(1), None, Some(2)])),
            column("what", StringArray::from(vec!["price", "genre", "price", "price"])),
            column("how", StringArray::from(vec!["at-most", "not", "is", "below"])),
            column("value", StringArray::from(vec!["10", "Horror", "1", "2"])),
            column("when", Int64Array::from(vec![Some(5), None, Some(6), Some(7)])),
        ],
    );
    let read = read_controls(
        &[path],
        &ControlColumns {
            user: "who".into(),
            attribute: "what".into(),
            relation: "how".into(),
            value: "value".into(),
            time: Some("when".into()),
        },
    )
    .unwrap();
    let rows: Vec<_> = read
        .rows
        .iter()
        .map(|r| (r.user.clone(), r.time, r.asked.relation, r.asked.value.as_str()))
        .collect();
    assert_eq!(
        rows,
        [
            (Key::Int(1), Some(5), Relation::AtMost, "10"),
            (Key::Int(1), None, Relation::Not, "Horror")
        ]
    );
    let said: Vec<String> =
        read.faults.iter().map(|f| format!("{}: {}", f.origin.row, f.kind)).collect();
    insta::assert_snapshot!(said.join("\n"), @r#"
    2: column "who" is null
    3: column "how" cannot be read: found "below"
    "#);
}

#[test]
fn an_exclusion_is_for_one_user_or_for_everybody() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("not.parquet");
    write(
        &path,
        9,
        vec![
            column("item", Int64Array::from(vec![Some(10), Some(11), None])),
            column("user", StringArray::from(vec![Some("u"), None, None])),
        ],
    );
    let columns = |user: Option<&str>| ExclusionColumns {
        item: "item".into(),
        user: user.map(str::to_owned),
    };
    let rows = |user| read_exclusions(std::slice::from_ref(&path), &columns(user)).unwrap();
    let one: Vec<_> = rows(Some("user")).rows.into_iter().map(|r| (r.item, r.user)).collect();
    assert_eq!(one, [(Key::Int(10), Some("u".into())), (Key::Int(11), None)]);
    let all = rows(None);
    assert!(all.rows.iter().all(|r| r.user.is_none()));
    assert_eq!(all.faults[0].kind, FaultKind::Null { column: "item".into() });
}

fn lists<const N: usize>(rows: [Option<Vec<Option<i64>>>; N]) -> ListArray {
    ListArray::from_iter_primitive::<Int64Type, _, _>(rows)
}

#[test]
fn given_candidates_become_item_ids_and_unknown_ones_faults() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("given.parquet");
    let some = |items: &[i64]| Some(items.iter().copied().map(Some).collect());
    let scores = [some(&[5, 4]), some(&[3, 2, 1]), some(&[1]), some(&[1, 2]), some(&[])];
    write(
        &path,
        2,
        vec![
            column("user", Int64Array::from(vec![1, 2, 3, 4, 5])),
            column(
                "items",
                lists([
                    some(&[100, 102]),
                    Some(vec![Some(101), Some(7), None]),
                    None,
                    some(&[100]),
                    some(&[]),
                ]),
            ),
            column("scores", lists(scores)),
            column("target", Int64Array::from(vec![Some(101), Some(8), None, None, None])),
        ],
    );
    let file = open_given(
        &path,
        &GivenColumns {
            user: "user".into(),
            items: "items".into(),
            scores: Some("scores".into()),
            target: Some("target".into()),
        },
    )
    .unwrap();
    let index = ItemIndex::new(&[Key::Int(100), Key::Int(101), Key::Int(102)]);
    let mut said = Vec::new();
    for row_group in 0..file.row_groups() {
        for batch in file.batches(row_group, 0, &index).unwrap() {
            let batch = batch.unwrap();
            for (at, user) in batch.users.iter().enumerate() {
                let range = |o: &[u32]| o[at] as usize..o[at + 1] as usize;
                let places = range(&batch.offsets);
                let targets = &batch.targets[range(&batch.target_offsets)];
                let (items, scores) = (&batch.items[places.clone()], &batch.scores[places]);
                said.push(format!("{user}: {items:?} {scores:?} {targets:?}"));
            }
            said.extend(batch.faults.iter().map(|f| format!("row {}: {}", f.origin.row, f.kind)));
        }
    }
    insta::assert_snapshot!(said.join("\n"), @r#"
    1: [0, 2] [5.0, 4.0] [1]
    2: [1] [3.0] []
    row 1: item 7 is not in the item table
    row 1: column "items" is null
    row 1: item 8 is not in the item table
    row 2: column "items" is null
    row 3: column "scores" cannot be read: found "2 scores for 1 items"
    5: [] [] []
    "#);
}

#[test]
fn given_candidates_with_string_ids_are_found_too() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("given.parquet");
    let mut builder = arrow::array::ListBuilder::new(arrow::array::StringBuilder::new());
    builder.append_value([Some("b"), Some("a")]);
    write(
        &path,
        2,
        vec![column("user", StringArray::from(vec!["u"])), column("items", builder.finish())],
    );
    let columns =
        GivenColumns { user: "user".into(), items: "items".into(), scores: None, target: None };
    let file = open_given(&path, &columns).unwrap();
    let index = ItemIndex::new(&["a".into(), "b".into()]);
    let batch = file.batches(0, 0, &index).unwrap().next().unwrap().unwrap();
    assert_eq!((batch.items, batch.users), (vec![1, 0], vec!["u".into()]));
    assert_eq!((batch.scores, batch.targets, batch.target_offsets), (vec![], vec![], vec![0, 0]));
}

fn bins(numbers: &[f64], rule: &BinRule) -> steerage::types::Attribute {
    bin("price", &RawValues::Numbers(numbers.to_vec()), rule).unwrap()
}

#[test]
fn declared_edges_give_half_open_bins() {
    let made =
        bins(&[9.99, 10.0, 14.9, 25.0, f64::NAN, 15.0], &BinRule::Edges(vec![10., 15., 25.]));
    assert_eq!(made.labels, ["under 10", "10 to under 15", "15 to under 25", "25 and over"]);
    assert_eq!(made.codes, [0, 1, 1, 3, 2]);
    assert_eq!(made.offsets, [0, 1, 2, 3, 4, 4, 5]);
    assert!(made.number(4).is_nan());
    assert_eq!(made.number(0), 9.99);
}

#[test]
fn quantiles_of_whole_numbers_are_called_by_what_they_hold() {
    let years = [1990., 1991., 1995., 1995., 1995., 1996., 2000., 2000.];
    let made = bins(&years, &BinRule::Quantiles(3));
    // Edges at places 8/3 = 2 and 16/3 = 5: 1995 and 1996.
    assert_eq!(made.labels, ["1990 to 1991", "1995", "1996 to 2000"]);
    assert_eq!(made.codes, [0, 0, 1, 1, 1, 2, 2, 2]);
    assert_eq!(bins(&[5.0, 5.0], &BinRule::Quantiles(4)).labels, ["5"]);
    assert_eq!(bins(&[f64::NAN], &BinRule::Quantiles(4)).labels, [""; 0]);
    let made = bins(&[0.5, 1.5, 2.5, 3.5], &BinRule::Quantiles(2));
    assert_eq!(made.labels, ["under 2.5", "2.5 and over"]);
}

#[test]
fn categorical_labels_are_sorted_and_the_rarest_dropped() {
    let raw = RawValues::Labels {
        names: ["z", "rare", "a", "unused"].map(str::to_owned).to_vec(),
        offsets: vec![0, 3, 3, 5],
        codes: vec![0, 2, 0, 1, 2],
    };
    let all = bin("kind", &raw, &BinRule::Categorical { labels_max: None }).unwrap();
    assert_eq!(all.labels, ["a", "rare", "z"]);
    assert_eq!((all.codes, all.offsets), (vec![0, 2, 0, 1], vec![0, 2, 2, 4]));
    let two = bin("kind", &raw, &BinRule::Categorical { labels_max: Some(2) }).unwrap();
    assert_eq!(two.labels, ["a", "z"]);
    assert_eq!((two.codes, two.offsets), (vec![0, 1, 0], vec![0, 2, 2, 3]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn quantile_bins_ascend_hold_every_known_value_and_never_split_ties(
        numbers in prop::collection::vec(prop_oneof![
            Just(f64::NAN), (-50i32..50).prop_map(f64::from), -3.0..3.0f64,
        ], 0..60),
        count in 1usize..9,
    ) {
        let made = bins(&numbers, &BinRule::Quantiles(count));
        prop_assert!(made.labels.len() <= count);
        let mut distinct = made.labels.clone();
        distinct.dedup();
        prop_assert_eq!(&distinct, &made.labels);
        let mut coded: Vec<(f64, u32)> = Vec::new();
        for (at, number) in numbers.iter().enumerate() {
            let codes = made.codes(at as u32);
            prop_assert_eq!(codes.len(), usize::from(!number.is_nan()));
            coded.extend(codes.iter().map(|&code| (*number, code)));
        }
        coded.sort_by(|a, b| a.0.total_cmp(&b.0));
        for pair in coded.windows(2) {
            prop_assert!(pair[0].1 <= pair[1].1, "bins ascend with the values");
            prop_assert!(pair[0].0 != pair[1].0 || pair[0].1 == pair[1].1, "ties share a bin");
        }
        let mut used: Vec<u32> = coded.iter().map(|c| c.1).collect();
        used.dedup();
        prop_assert_eq!(used.len(), made.labels.len(), "no bin is empty");
    }

    #[test]
    fn a_damaged_file_is_an_error_or_rows_but_never_a_panic(
        at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in 0usize..40,
    ) {
        let mut bytes = three_rows();
        let place = at.index(bytes.len());
        bytes[place] = byte;
        bytes.truncate(bytes.len() - cut);
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("a.parquet");
        fs::write(&path, bytes).unwrap();
        if let Ok(file) = open_interactions(&path, &columns()) {
            for row_group in 0..file.row_groups() {
                let _ = file.read(row_group, 0, &mut Rows::default());
            }
        }
    }
}
