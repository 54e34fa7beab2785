//! Does the checker see what is wrong, and nothing else?

use super::tokens::tokens;
use super::{COLUMNS_MAX, FILE_LINES_MAX, FUNCTION_LINES_MAX, Source, kernel_faults};

/// What the checker says of a file that holds this after its module doc, without the path.
fn said(path: &str, code: &str) -> Vec<String> {
    let text = format!("//! Doc.\n{code}");
    let faults = Source::new(path, &text).faults();
    faults.into_iter().map(|fault| fault[path.len() + 1..].to_owned()).collect()
}

/// That exactly one fault is found, on this line, and that it says this.
#[track_caller]
fn bad(path: &str, code: &str, line: usize, words: &str) {
    let faults = said(path, code);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].starts_with(&format!("{line}: ")) && faults[0].contains(words), "{faults:?}");
}

#[track_caller]
fn good(path: &str, code: &str) {
    assert_eq!(said(path, code), [""; 0]);
}

#[test]
fn floors_point_down() {
    bad("src/control/x.rs", "use crate::stage::Stage;", 2, "`control` (floor 1) may not name");
    bad("src/control/x.rs", "\nfn f() { crate::store::put() }", 3, "`store` (floor 1)");
    bad("src/stage/x.rs", "use crate::train::Loss;", 2, "`train` (floor 3)");
    bad("src/types/key.rs", "use super::super::error::Error;", 2, "`error` (floor 0)");
    bad("src/types/mod.rs", "use super::plan;", 2, "`plan` (floor 2)");
    bad("src/metric/x.rs", "use crate::{types::Key, flow::{Op, types}};", 2, "`flow`");
    bad("src/store/x.rs", "use crate::commands::run;", 2, "`commands` (floor 7)");
    bad("src/novel/x.rs", "use crate::types::Key;", 1, "on no floor");
    bad("src/flow/x.rs", "use crate::testing::dataset;", 2, "may not name `testing`");
    good("src/control/x.rs", "use crate::types::Key;\nuse super::met;\nuse crate::control::met;");
    good("src/report/x.rs", "use crate::{metric::Summary, store::{self, Store}, types::Key};");
    good("src/stage/a/b.rs", "use super::super::Stage;\n// crate::flow is above\n");
    good("src/testing/x.rs", "use crate::flow::Op;");
    good("src/commands/x.rs", "use steerage::testing::dataset;\nuse steerage::report;");
}

#[test]
fn packages_stay_behind_their_doors() {
    bad("src/stage/x.rs", "use timely::dataflow::Scope;", 2, "`timely` only behind its door");
    bad("src/metric/x.rs", "fn f() -> arrow::Array {}", 2, "`arrow`");
    bad("src/flow/x.rs", "use rayon;", 2, "`rayon`");
    bad("src/spec/x.rs", "use ::clap::Parser;", 2, "`clap`");
    good("src/flow/x.rs", "use timely::dataflow::Scope;");
    good("src/device/cpu/x.rs", "use rayon::prelude::*;");
    good("src/stage/x.rs", "use super::arrow::read;\nlet toml = 1;\nlet a = \"timely::x\";");
}

#[test]
fn words_that_do_not_ship() {
    bad("src/spec/x.rs", "fn f() {\n    g().unwrap();\n}", 3, "no `.unwrap()`");
    bad("src/spec/x.rs", "fn f() { todo!() }", 2, "no `todo!`");
    bad("src/report/x.rs", "fn f() { dbg!(1); }", 2, "no `dbg!`");
    bad("src/spec/x.rs", "fn f() { println!(); }", 2, "no `println!`");
    bad("src/main.rs", "fn f() { eprint!(\"{}\", 1); }", 2, "no `eprint!`");
    good("src/report/x.rs", "fn f() { writeln!(to, \"{}\", x.unwrap_or(1)); }");
    good("src/spec/x.rs", "#[cfg(test)]\nmod tests {\n    fn f() { x.unwrap(); }\n}\nfn g() {}");
    bad(
        "src/spec/x.rs",
        "#[cfg(test)]\nmod tests {\n    fn f() { x.unwrap(); }\n}\nfn g() { y.unwrap(); }",
        6,
        "no `.unwrap()`",
    );
    good("src/spec/x.rs", "/* .unwrap() /* todo!() */ dbg!() */ fn f() { \"todo!()\" }");
    good("tests/x.rs", "fn f() { x.unwrap(); println!(); }");
    bad("tests/x.rs", "#[test]\n#[ignore]\nfn f() {}", 3, "says why");
    good("tests/x.rs", "#[test]\n#[ignore = \"needs a disk that is full\"]\nfn f() {}");
}

#[test]
fn unsafe_code_is_in_one_place_and_argued() {
    let allow = "#![allow(unsafe_code)]\n";
    let argued = format!("{allow}// SAFETY: in bounds by `check`.\nfn f() {{ unsafe {{ g() }} }}");
    bad("src/store/x.rs", "fn f() { unsafe { g() } }", 2, "only under src/device");
    bad("src/device/x.rs", &argued[allow.len()..], 3, "`#![allow(unsafe_code)]`");
    bad("src/device/x.rs", &format!("{allow}fn f() {{ unsafe {{ g() }} }}"), 3, "`// SAFETY:`");
    good("src/device/x.rs", &argued);
}

#[test]
fn sizes_have_limits() {
    let wide = |columns: usize| format!("// {}", "é".repeat(columns - 3));
    good("src/spec/x.rs", &wide(COLUMNS_MAX));
    bad("src/spec/x.rs", &wide(COLUMNS_MAX + 1), 2, "columns, found 101");
    let long = |lines: usize| {
        format!("struct S;\n    pub fn f(x: [u8; 2]) {{{}}}\nfn g();", "\n".repeat(lines - 1))
    };
    good("src/spec/x.rs", &long(FUNCTION_LINES_MAX));
    bad("src/spec/x.rs", &long(FUNCTION_LINES_MAX + 1), 3, "lines a function, found 71");
    good("src/spec/x.rs", &"\n".repeat(FILE_LINES_MAX - 1));
    bad("src/spec/x.rs", &"\n".repeat(FILE_LINES_MAX), 401, "lines a file, found 401");
    let said = kernel_faults(&format!("#pragma once\n{}", wide(COLUMNS_MAX + 1)));
    assert_eq!(said.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(kernel_faults("// out = x.\n"), []);
    let faults = Source::new("src/spec/x.rs", "use std::fmt;\n").faults();
    assert_eq!(faults, ["src/spec/x.rs:1: a file begins with `//!` and what it owns"]);
}

#[test]
fn literals_and_comments_are_no_code() {
    let words = |text| tokens(text).iter().map(|token| token.1).collect::<Vec<_>>().join(" ");
    assert_eq!(words("a // b\n/* c /* d */ e */ f"), "a f");
    assert_eq!(words(r##"x("a\"b", r#"c"d"#, b"e", 'f', '\'', '"')"##), {
        r#"x ( "" , "" , b "" , "" , "" , "" )"#
    });
    assert_eq!(words("fn f<'a>(x: &'a str)"), "fn f < a > ( x : & a str )");
    let lines: Vec<usize> = tokens("a\n\"b\nc\"\nd").iter().map(|token| token.0).collect();
    assert_eq!(lines, [1, 2, 4]);
}
