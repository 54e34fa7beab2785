//! Does everything that other formats hold arrive, and is what cannot be used said by file and
//! line?

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use steerage::error::Result;
use steerage::store::import::*;
use steerage::store::input::*;
use steerage::types::{Interaction, Key};
use tempfile::TempDir;

/// A folder with files to import, and where they go.
struct Case {
    dir: TempDir,
    request: ImportRequest,
}

impl Case {
    fn new(format: Format, files: &[(&str, &[u8])]) -> Case {
        let dir = TempDir::new().unwrap();
        let put = |(name, bytes): &(&str, &[u8])| {
            let path = dir.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        };
        let request = ImportRequest {
            format,
            from: files.iter().map(put).collect(),
            to: dir.path().join("to"),
            keys: None,
            names: ColumnNames::default(),
        };
        Case { dir, request }
    }

    fn import(&self) -> Result<ImportReport> {
        import(&self.request)
    }

    fn refused(&self) -> String {
        let error = self.import().expect_err("this input should be refused").to_string();
        self.named(&error)
    }

    /// A message with the folder's name taken out.
    fn named(&self, text: &str) -> String {
        text.replace(self.dir.path().to_str().unwrap(), "DIR")
    }

    fn interactions(&self) -> Vec<Interaction> {
        let columns = InteractionColumns {
            user: "user".into(),
            item: "item".into(),
            time: Some("time".into()),
            weight: Some("weight".into()),
        };
        let folder = self.request.to.join("interactions");
        let mut out = Rows::default();
        for path in resolve(&[folder.to_str().unwrap().to_owned()]).unwrap() {
            let file = open_interactions(&path, &columns).unwrap();
            (0..file.row_groups()).for_each(|g| file.read(g, 0, &mut out).unwrap());
        }
        assert_eq!(out.faults, []);
        out.rows
    }

    /// `user item time weight` of every interaction.
    fn lines(&self) -> Vec<String> {
        let line = |i: &Interaction| format!("{} {} {} {}", i.user, i.item, i.time, i.weight);
        self.interactions().iter().map(line).collect()
    }

    /// Every row of a table: key, title, and each attribute.
    fn table(&self, file: &str, key: &str, title: bool, attributes: &[(&str, bool)]) -> String {
        let attribute = |(column, numeric): &(&str, bool)| AttributeColumn {
            column: (*column).into(),
            numeric: *numeric,
            separator: None,
        };
        let columns = TableColumns {
            key: key.into(),
            texts: title.then(|| "title".into()).into_iter().collect(),
            attributes: attributes.iter().map(attribute).collect(),
        };
        let table = read_table(&[self.request.to.join(file)], &columns).unwrap();
        let row = |at: usize| {
            let values = table.columns.iter().map(|column| match &column.values {
                RawValues::Numbers(numbers) => format!("{}", numbers[at]),
                RawValues::Labels { names, offsets, codes } => {
                    let codes = &codes[offsets[at] as usize..offsets[at + 1] as usize];
                    format!("{:?}", codes.iter().map(|&c| &names[c as usize]).collect::<Vec<_>>())
                }
            });
            let values: Vec<String> = values.collect();
            format!(
                "{}, {:?}, {}",
                table.keys[at],
                table.texts.first().map_or("", |t| &t[at]),
                values.join(", ")
            )
        };
        (0..table.keys.len()).map(row).collect::<Vec<_>>().join("\n")
    }

    /// Every rejected line with its reason.
    fn rejected(&self) -> String {
        let columns = TableColumns {
            key: "line".into(),
            texts: vec!["reason".into()],
            attributes: Vec::new(),
        };
        let table = read_table(&[self.request.to.join("rejected.parquet")], &columns).unwrap();
        let rows = table.keys.iter().zip(&table.texts[0]);
        rows.map(|(line, reason)| format!("{line}: {reason}")).collect::<Vec<_>>().join("\n")
    }
}

fn zipped(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn movielens_files_arrive_with_years_genres_and_accents() {
    let case = Case::new(
        Format::MovieLens,
        &[
            ("ratings.dat", b"1::20::5::978300760\n1::x::4::1\n2::10::3.5::978300761\n2::10::3\n"),
            (
                "movies.dat",
                b"10::Caf\xe9: A Story (1995)::Drama|Comedy\r\n20::No Year::(none)\nnonsense\n",
            ),
            ("users.dat", b"1::F::25::10::48067\n"),
        ],
    );
    let report = case.import().unwrap();
    assert_eq!((report.interactions, report.items, report.users, report.rejected), (2, 2, 1, 3));
    assert_eq!(case.lines(), ["1 20 978300760 5", "2 10 978300761 3.5"]);
    assert_eq!(case.interactions()[0].user, Key::Int(1));
    let attributes = [("year", true), ("genres", false)];
    insta::assert_snapshot!(case.table("items.parquet", "item", true, &attributes), @r#"
    10, "Café: A Story", 1995, ["Drama", "Comedy"]
    20, "No Year", NaN, ["(none)"]
    "#);
    let attributes = [("gender", false), ("age", true), ("zip", false)];
    insta::assert_snapshot!(case.table("users.parquet", "user", false, &attributes), @r#"1, "", ["F"], 25, ["48067"]"#);
    insta::assert_snapshot!(case.rejected(), @r#"
    2: expected an integer as item, found "x"
    4: expected 4 fields with :: between, found 3
    3: expected 3 fields with :: between, found "nonsense"
    "#);
    insta::assert_snapshot!(case.named(&report.to_string()), @r#"2 interactions, 2 items, 1 users; 3 lines rejected, the first: DIR/ratings.dat: line 2: expected an integer as item, found "x""#);
}

#[test]
fn recbole_headers_say_what_columns_hold() {
    let case = Case::new(
        Format::RecBole,
        &[
            (
                "a.inter",
                b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n\
                  u1\ti\"1\t3.5\t881250949.7\nu1\ti2\tx\t1\nu2\ti2\tnan\t1\nu2\ti2\t1\t2\n",
            ),
            (
                "a.item",
                b"item_id:token\tmovie_title:token_seq\tclass:token_seq\tprice:float\n\
                  i2\tToy Story\tFun Kids\t9.5\ni3\t\t\t\n",
            ),
            ("a.user", b"user_id:token\tage:token\nu1\t24\n"),
        ],
    );
    let report = case.import().unwrap();
    assert_eq!((report.interactions, report.items, report.users, report.rejected), (2, 2, 1, 2));
    assert_eq!(case.lines(), ["u1 i\"1 881250949 3.5", "u2 i2 2 1"]);
    let attributes = [("class", false), ("price", true)];
    insta::assert_snapshot!(case.table("items.parquet", "item", true, &attributes), @r#"
    i2, "Toy Story", ["Fun", "Kids"], 9.5
    i3, "", [], NaN
    "#);
    insta::assert_snapshot!(case.rejected(), @r#"
    3: expected a number, found "x"
    4: the weight is not a finite number
    "#);
}

#[test]
fn amazon_lines_of_both_years_arrive() {
    let reviews =
        br#"{"reviewerID": "A1", "asin": "B1", "overall": 5.0, "unixReviewTime": 1529193600}
{"reviewerID": "A1", "overall": 5.0, "unixReviewTime": 1529193600}
{"reviewerID": "A1", "asin":
{'reviewerID': 'A2', 'asin': 'B1', 'overall': 4.0, 'unixReviewTime': 1000}
"#;
    let items = br##"{"asin": "B1", "title": "Salt &amp; <b>Pepper</b>", "brand": "X", "price": "$1,299.00", "rank": "17 in Toys (", "category": ["Toys", "Toys", "Games"]}
{"asin": "B2", "price": ".a-box-inner{margin:0 0 10px}", "rank": [">#1,234 in Books (See top)", ">#5 in Other"], "description": ["a", "b"]}
{'asin': 'B3', 'title': 'It\'s', 'price': 12.5, 'salesRank': {'Toys': 7}, 'categories': [['A', 'B'], ['A', 'C']]}
{'asin': 'B4', 'price': '$10.00 - $20.00' 'x'}
"##;
    let files: [(&str, &[u8]); 2] = [("r.json.gz", &zipped(reviews)), ("meta.json", items)];
    let case = Case::new(Format::Amazon, &files);
    let report = case.import().unwrap();
    assert_eq!((report.interactions, report.items, report.rejected), (2, 3, 3));
    assert_eq!(case.lines(), ["A1 B1 1529193600 5", "A2 B1 1000 4"]);
    let attributes = [
        ("brand", false),
        ("price", true),
        ("rank", true),
        ("rank_category", false),
        ("category", false),
        ("description", false),
    ];
    insta::assert_snapshot!(case.table("items.parquet", "item", true, &attributes), @r#"
    B1, "Salt & Pepper", ["X"], 1299, 17, ["Toys"], ["Toys", "Games"], []
    B2, "", [], NaN, 1234, ["Books"], [], ["a b"]
    B3, "It's", [], 12.5, 7, ["Toys"], ["A", "B", "C"], []
    "#);
    insta::assert_snapshot!(case.rejected(), @r#"
    2: expected a string as asin
    3: not JSON: EOF while parsing a value at line 1 column 28
    4: not a Python dict: expected ',' or '}' at byte 43, found '\''
    "#);
}

#[test]
fn csv_columns_are_found_by_name_and_the_header_says_which_table_it_is() {
    let mut case = Case::new(
        Format::Csv,
        &[
            ("a.csv", b"\xef\xbb\xbfwhen,who,what\n2020-01-02T00:00:01Z,\"u,1\",i1\n5,u2,i2\n5,u2\n5,,i\n"),
            ("b.tsv", b"what\tcolour\tprice\ni1\tred\t$5\n"),
        ],
    );
    case.request.names = ColumnNames {
        user: Some("who".into()),
        item: Some("what".into()),
        time: Some("when".into()),
        weight: None,
    };
    let report = case.import().unwrap();
    assert_eq!((report.interactions, report.items, report.users, report.rejected), (2, 1, 0, 2));
    // 2020-01-02 is 18,263 days after 1970-01-01.
    let time = 18_263 * 86_400 + 1;
    assert_eq!(case.lines(), [format!("u,1 i1 {time} 1"), "u2 i2 5 1".into()]);
    let attributes = [("colour", false), ("price", true)];
    assert_eq!(case.table("items.parquet", "item", false, &attributes), "i1, \"\", [\"red\"], 5");
    insta::assert_snapshot!(case.rejected(), @r#"
    4: expected 3 fields, found 2
    5: the user is empty
    "#);
}

#[test]
fn a_quote_that_nothing_ends_costs_its_own_line_alone() {
    let rows = |rows: std::ops::Range<u32>| -> String {
        rows.map(|row| format!("u{row},i{row}\n")).collect()
    };
    let text = format!("user_id,item_id\n{}u,\"12 inch pan\n{}", rows(0..8), rows(8..20_000));
    let case = Case::new(Format::Csv, &[("a.csv", text.as_bytes())]);
    let report = case.import().unwrap();
    assert_eq!((report.interactions, report.rejected), (20_000, 1));
    assert_eq!(case.lines()[8], "u8 i8 8 1");
    insta::assert_snapshot!(case.rejected(), @r#"10: expected a quote at the end of field 2, found none: "12 inch pan""#);

    // The first field ends where another one starts; those that end as they should go over lines.
    let text = "item_id,title\r\n1,\"12 inch\r\n2,pan\r\n3,\"a\"\"b, c\"\r\n4,\"over\r\nlines\"\r\n\
                \r\n5\r\n6,5\" pan\r\n7,\"open";
    let case = Case::new(Format::Csv, &[("b.csv", text.as_bytes())]);
    assert_eq!(case.import().unwrap().rejected, 3);
    let items = case.table("items.parquet", "item", true, &[]);
    let items: Vec<&str> = items.lines().map(|line| line.trim_end_matches(", ")).collect();
    assert_eq!(
        items,
        [r#"2, "pan""#, r#"3, "a\"b, c""#, r#"4, "over\r\nlines""#, r#"6, "5\" pan""#]
    );
    insta::assert_snapshot!(case.rejected(), @r#"
    2: expected a quote at the end of field 2, found none: "12 inch"
    8: expected 2 fields, found 1
    10: expected a quote at the end of field 2, found none: "open"
    "#);

    // So far from its quote no field ends.
    let far: String = (0..1100).map(|user| format!("{user:01000}\n")).collect();
    let text = format!("user_id\n\"a\n{far}\"\n");
    let case = Case::new(Format::Csv, &[("c.csv", text.as_bytes())]);
    assert_eq!(case.import().unwrap().users, 1100);
    insta::assert_snapshot!(case.rejected(), @r#"
    2: expected a quote at the end of field 1, found none: "a"
    1103: expected a quote at the end of field 1, found none: ""
    "#);
}

#[test]
fn lines_of_any_length_are_counted() {
    let (long, longer) = ("x".repeat(17 << 20), "x".repeat(40 << 20));
    let text = format!(
        "user_id,item_id\nu1,i1\nu2,{longer}\nu3\nu4,\"{}\"\nu5,{long}\nu6,i6\n",
        "y".repeat(9)
    );
    let case = Case::new(Format::Csv, &[("a.csv", text.as_bytes())]);
    let report = case.import().unwrap();
    assert_eq!((report.interactions, report.rejected), (3, 3));
    insta::assert_snapshot!(case.rejected(), @"
    3: longer than 16777216 bytes
    4: expected 2 fields, found 1
    6: longer than 16777216 bytes
    ");
}

#[test]
fn plain_sequences_keep_their_order_over_lines() {
    let mut case = Case::new(Format::Sequences, &[("a.txt", b"7 1 2 3\n\n8 5\n7 9\n9\n8 x\n")]);
    case.request.keys = Some(KeyType::Int);
    let report = case.import().unwrap();
    assert_eq!((report.interactions, report.rejected), (5, 2));
    assert_eq!(case.lines(), ["7 1 0 1", "7 2 1 1", "7 3 2 1", "8 5 3 1", "7 9 4 1"]);
    assert_eq!(case.interactions()[0].item, Key::Int(1));
    insta::assert_snapshot!(case.rejected(), @r#"
    5: expected a user and items, found "9"
    6: expected an integer as item, found "x"
    "#);
}

#[test]
fn files_that_are_not_of_the_format_are_refused_by_line() {
    let junk: &[u8] = b"\x00\x01\xff\xfe\x00";
    let broken = &zipped(&b"1 2 3\n".repeat(1000))[..30];
    let said: Vec<String> = [
        Case::new(Format::MovieLens, &[("ratings.dat", junk)]),
        Case::new(Format::MovieLens, &[("u.data", b"1\t2\t3\t4\n")]),
        Case::new(Format::RecBole, &[("a.inter", b"user_id\titem_id\n1\t2\n")]),
        Case::new(Format::RecBole, &[("a.inter", b"user_id:token\titem_id:int\n1\t2\n")]),
        Case::new(Format::Amazon, &[("a.json", b"hello\n")]),
        Case::new(Format::Csv, &[("a.csv", b"userId,movieId\n1,2\n")]),
        Case::new(Format::Csv, &[("a.csv", b"")]),
        Case::new(Format::Csv, &[("a.csv", b"user_id,item_id\n")]),
        Case::new(Format::Sequences, &[("a.txt", junk)]),
        Case::new(Format::Sequences, &[("a.txt", b"")]),
        Case::new(Format::Sequences, &[("a.txt.gz", broken)]),
    ]
    .iter()
    .map(Case::refused)
    .collect();
    insta::assert_snapshot!(said.join("\n"), @r#"
    DIR/ratings.dat: line 1: not UTF-8 from byte 3 on, and no other line is good: is this the right format?
    DIR/u.data: expected ratings.dat, movies.dat or users.dat
    DIR/a.inter: line 1: expected a name:type header, found "user_id"
    DIR/a.inter: line 1: column "item_id": expected the type token, token_seq, float or float_seq, found "int"
    DIR/a.json: line 1: not JSON: expected value at line 1 column 1, and no other line is good: is this the right format?
    DIR/a.csv: line 1: expected a header with "user_id" or "item_id", found "userId", "movieId"
    DIR/a.csv: line 1: expected a header, found an empty file
    DIR/a.csv: expected lines of the format, found an empty file
    DIR/a.txt: line 1: not UTF-8 from byte 3 on, and no other line is good: is this the right format?
    DIR/a.txt: expected lines of the format, found an empty file
    DIR/a.txt.gz: line 1: cannot be read: incomplete deflate stream: copy the file again
    "#);
}

#[test]
fn an_import_does_not_mix_with_an_earlier_one() {
    let case = Case::new(Format::Sequences, &[("a.txt", b"1 2\n")]);
    case.import().unwrap();
    insta::assert_snapshot!(case.refused(), @r#"DIR/to/interactions/part-0000.parquet: expected a folder without interactions to import to, found this: import to another one, or remove it"#);
}

#[test]
fn a_folder_stands_for_its_files_of_the_format() {
    let mut case = Case::new(Format::Sequences, &[("b.txt", b"2 1\n"), ("a.txt", b"1 1\n")]);
    fs::write(case.dir.path().join("notes.md"), "not a sequence").unwrap();
    case.request.from = vec![case.dir.path().to_path_buf()];
    case.import().unwrap();
    assert_eq!(case.lines(), ["1 1 0 1", "2 1 1 1"]);
    let empty = case.dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    case.request.from = vec![empty];
    case.request.to = PathBuf::from(case.dir.path()).join("other");
    insta::assert_snapshot!(case.refused(), @r#"DIR/empty: expected a file whose name ends with one of [".txt", ".txt.gz"], found none"#);
}

/// An import of any bytes ends with an error, or with files that can be read again.
fn survives(format: Format, name: &str, bytes: &[u8]) {
    let case = Case::new(format, &[(name, bytes)]);
    if let Ok(report) = case.import() {
        let read = if report.interactions > 0 { case.interactions().len() } else { 0 };
        assert_eq!(read as u64, report.interactions);
        assert!(report.files.iter().all(|path| path.exists() && !is_unfinished(path)));
    }
}

fn is_unfinished(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "tmp")
}

const FORMATS: [(Format, &str, &str); 8] = [
    (Format::MovieLens, "ratings.dat", "1::2::3::4\n"),
    (Format::MovieLens, "movies.dat", "1::A (1990)::B|C\n"),
    (Format::MovieLens, "users.dat", "1::F::1::2::3\n"),
    (Format::RecBole, "a.inter", "user_id:token\titem_id:token\ttimestamp:float\n1\t2\t3\n"),
    (Format::RecBole, "a.item", "item_id:token\tx:float\ty:token_seq\n1\t2\ta b\n"),
    (Format::Amazon, "a.json", "{'asin': 'B1', 'price': '$1', 'rank': ['>#1 in X (']}\n"),
    (Format::Csv, "a.csv", "user_id,item_id,rating\n1,\"2\",3\n"),
    (Format::Sequences, "a.txt", "1 2 3\n"),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for (format, name, _) in FORMATS {
            survives(format, name, &bytes);
        }
    }

    #[test]
    fn nearly_good_files_never_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        tail in prop::collection::vec(prop::sample::select(b"{}[]()'\"\\u:,\t\n |0-.e$#>\xe9".to_vec()), 0..40),
    ) {
        for (format, name, text) in FORMATS {
            let mut bytes = text.as_bytes().repeat(2);
            for (at, byte) in &edits {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            bytes.extend(&tail);
            survives(format, name, &bytes);
        }
    }
}
