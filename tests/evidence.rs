//! Does the bench of devices (`benches/gpu.rs`) run, on an emulated one, and say what it measured?

#[path = "../benches/gpu/mod.rs"]
mod parts;

use crate::cuda::{Device, Order};
use parts::cases::{Bench, TINY};
use parts::rates::Rates;
use parts::report::Report;
use parts::table::{Row, Unit};
use parts::{decoder, families, lists, retriever, search, timeline, training};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;
use steerage::device::cuda::{KERNELS, SharedDriver};
use steerage::error::{Error, Result};
use steerage::model::retriever::RetrieverConfig;
use steerage::store::part::lists::ListRow;
use steerage::types::Key;

fn by_hand(run: &mut dyn FnMut() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    run()?;
    Ok(start.elapsed().as_secs_f64())
}

const RATES: Rates = Rates { bytes: 3e12, bf16: 8e14, f32: 3e13 };

#[test]
fn every_kernel_is_timed() {
    let Some(device) = Device::open(Order::ALL[0], None) else { return };
    let mut timed = BTreeSet::new();
    for group_products in [false, true] {
        if device.with_group_products(group_products) != group_products {
            continue;
        }
        let mut bench = Bench::new(&device, &by_hand, TINY);
        for (name, family) in families::ALL {
            family(&mut bench).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        for row in &bench.rows {
            assert!(row.seconds > 0.0 && row.bytes > 0.0, "{row:?}");
        }
        timed.extend(bench.rows.iter().map(|row| row.kernel));
    }
    let all = KERNELS.iter().map(|kernel| kernel.name).filter(|name| !name.starts_with("wrapped"));
    let missing: Vec<&str> = all.filter(|name| !timed.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn a_drawn_decoder_is_scored_and_a_search_compared() {
    let open = || Device::open(Order::ALL[0], None);
    let (Some(device), Some(other)) = (open(), open()) else { return };
    let device = Arc::new(device);
    for what in [(0, false), (1, false), (2, false), (1, true)] {
        let scored = decoder::score(device.clone(), &decoder::tiny(), what).unwrap();
        assert!(scored.tokens_per_s > 0.0 && scored.flops_per_s > 0.0 && scored.alike);
    }
    let on = decoder::read_on(device, &decoder::tiny()).unwrap();
    assert!(on.step_seconds > 0.0 && on.step_bytes > 0 && on.alike);
    let mut bench = Bench::new(&other, &by_hand, TINY);
    search::run(&mut bench, search::TINY).unwrap();
    assert_eq!(bench.rows.len(), 1);
}

/// The emulated device is done when it has been told.
impl timeline::Clocked for Device {
    type Moment = Instant;

    fn mark(&self) -> Result<Instant> {
        Ok(Instant::now())
    }

    fn seconds(&self, from: &Instant, to: &Instant) -> Result<f64> {
        Ok(to.duration_since(*from).as_secs_f64())
    }
}

#[test]
fn a_timeline_has_a_line_for_each_batch() {
    let Some(device) = Device::open(Order::ALL[0], None) else { return };
    let batches = timeline::run(&Arc::new(device), &decoder::tiny()).unwrap();
    assert_eq!(batches.len(), 4, "{batches:?}"); // of one prompt and of two, each of them twice
    for batch in &batches {
        assert!(batch.idle >= 0.0 && batch.idle < batch.lasted, "{batch:?}");
    }
    assert!(batches[0].waited == 0.0 && batches[1..].iter().all(|batch| batch.waited > 0.0));
    let batch = |waited, idle| timeline::Batch { waited, lasted: 0.010, idle };
    let lines = timeline::lines(&[batch(0.0, 0.001), batch(0.005, 0.0)]);
    assert_eq!(lines.last().unwrap(), "busy for 76.00 % of the time");
    assert_eq!(lines[2], "    2              5000 us     10.00 ms         0 us");
}

#[test]
fn adapters_of_a_drawn_decoder_learn() {
    let Some(device) = Device::open(Order::ALL[0], None) else { return };
    let setting = decoder::Setting { repeat: 3, ..decoder::tiny() };
    let device: SharedDriver = Arc::new(device);
    let stepped = training::step(&device, &setting).unwrap();
    assert!(stepped.seconds > 0.0 && stepped.flops_per_s > 0.0);
    assert!(stepped.losses[1] < stepped.losses[0], "{stepped:?}");
}

#[test]
fn a_retriever_learns_what_it_is_timed_with() {
    for setting in retriever::settings() {
        let Some(device) = Device::open(Order::ALL[0], None) else { return };
        let config = RetrieverConfig { items: 40, hidden: 16, length_max: 9, ..setting.config };
        let negatives = setting.negatives.map(|_| 3);
        let small = retriever::Setting { config, sequences: 3, negatives, repeat: 5 };
        let device: SharedDriver = Arc::new(device);
        let stepped = retriever::step(&device, &small).unwrap();
        assert!(stepped.seconds > 0.0 && stepped.positions_per_s > 0.0);
        assert!(stepped.losses[1] < stepped.losses[0], "{stepped:?}");
    }
}

#[test]
fn operations_are_counted_by_hand() {
    let setting = decoder::tiny();
    // Two layers, three prompts of nine tokens; queries, keys, values 16 × 32, output 16 × 16,
    // gates, ups and downs 3 × 16 × 32; two heads of 8 see 45 pairs.
    let layer = |rows: f64, ends: f64| 2.0 * (rows * 16.0 * 32.0 + ends * (256.0 + 1536.0));
    let attention = 3.0 * 45.0 * 4.0 * 16.0;
    assert_eq!(decoder::flops(&setting), layer(27.0, 27.0) + layer(27.0, 3.0) + attention);
}

#[test]
fn a_line_says_how_near_the_bound_is() {
    let row = Row {
        kernel: "rms_norm",
        note: "wide".into(),
        seconds: 1e-4,
        bytes: 1.5e8,
        flops: 0.0,
        unit: Unit::F32,
    };
    let fields = |row: &Row| row.line(&RATES).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(fields(&row), "rms_norm wide 100.0 µs 1500 GB/s 50 %");
    let row = Row { kernel: "keys", flops: 2e10, unit: Unit::Bf16, bytes: 1.0, ..row };
    assert_eq!(fields(&row), "keys wide 100.0 µs 200.0 TFLOP/s 25 %");
}

fn list(items: &[u64], scores: &[f32]) -> lists::Lists {
    let row = ListRow {
        user: Key::Int(1),
        arm: "a".into(),
        items: items.iter().map(|item| Key::Int(*item as i64)).collect(),
        scores: scores.into(),
        retrieval_ranks: Vec::new(),
        controls_met: Vec::new(),
        controls: Vec::new(),
        source: String::new(),
        conflict: None,
    };
    [((row.user.clone(), row.arm.clone()), row)].into()
}

#[test]
fn neighbours_may_swap_that_are_near() {
    let here = list(&[1, 2, 3], &[0.9, 0.89, 0.1]);
    let compare = |other: &_| lists::compare(&here, other, 0.02).unwrap();
    let found = compare(&list(&[1, 2, 3], &[0.9, 0.885, 0.1]));
    assert_eq!((found.lists, found.same, found.near), (1, 1, 0));
    let found = compare(&list(&[2, 1, 3], &[0.895, 0.894, 0.1]));
    assert_eq!((found.same, found.near), (0, 1));
    assert!(found.worst > 0.005 && found.worst < 0.02, "{found:?}");
    // Far ones may not, nor may one be missing; the last place may go to one that was cut off.
    let far = compare(&list(&[3, 2, 1], &[0.9, 0.89, 0.1]));
    let short = compare(&list(&[1, 2], &[0.9, 0.89]));
    let cut = compare(&list(&[1, 2, 4], &[0.9, 0.89, 0.11]));
    assert_eq!((far.near, short.near, cut.near), (0, 0, 1));
    assert!(lists::compare(&here, &lists::Lists::new(), 1.0).is_err());
    let arms = lists::by_arm(&here, &here, 0.0).unwrap();
    assert_eq!((arms.len(), arms[0].1.same), (1, 1));
    let line = arms[0].1.line("a", 0.02);
    assert!(line.starts_with("a ") && line.contains("1 lists: 1 the same, 0 with"), "{line}");
    assert!(lists::by_arm(&here, &lists::Lists::new(), 0.0).is_err());
}

#[test]
fn what_was_found_before_a_failure_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let report = Report::new(folder.path(), "kernels").unwrap();
    let written = || std::fs::read_to_string(folder.path().join("kernels.txt")).unwrap();
    report.line("one").unwrap();
    assert_eq!(written(), "one\n");
    report.end().unwrap();
    report.attempt("two", Ok(())).unwrap();
    report.attempt("three", Err(Error::Device("it is gone".into()))).unwrap();
    report.line("four").unwrap();
    assert_eq!(written(), "one\nFAILED: three: it is gone\nfour\n");
    let said = report.end().unwrap_err().to_string();
    assert!(said.contains("1 failed") && said.contains("kernels.txt"), "{said}");
}

/// With a program in place of the cases, of which one hangs and one fails.
#[test]
fn the_script_goes_on_after_a_case_that_hangs() {
    let script = include_str!("../benches/gpu.sh");
    let each = script.split("each='").nth(1).unwrap().split("'\n").next().unwrap();
    let each = each.replace("most=60", "most=1");
    let folder = tempfile::tempdir().unwrap();
    let it = folder.path().join("it");
    let program = "case $* in *--list) for case in a::hangs b::fails bulk::first c::last; do echo \
                   cuda::$case: test; done ;; *hangs) sleep 60 ;; *fails) exit 3 ;; *) echo $*; \
                   esac\n";
    std::fs::write(&it, format!("#!/bin/sh\n{program}")).unwrap();
    std::fs::set_permissions(&it, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let run = |only: &str| {
        let ran = Command::new("sh").args(["-c", &each, "sh", it.to_str().unwrap(), only]).output();
        let ran = ran.unwrap();
        (ran.status.success(), String::from_utf8(ran.stdout).unwrap())
    };
    let said = "--exact cuda::bulk::first\nFAILED cuda::a::hangs\nFAILED cuda::b::fails\n--exact \
                cuda::c::last\n2 of 4 cases failed\n";
    assert_eq!(run("."), (false, said.into()));
    assert_eq!(run("c::last"), (true, "--exact cuda::c::last\n0 of 1 cases failed\n".into()));
    assert_eq!(run("none"), (false, "0 of 0 cases failed\n".into()));
}

#[test]
fn without_a_device_the_script_says_so() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/gpu.sh");
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let call = Command::new("sh").arg(&script).args(arguments).env("GPU_DEVICES", "").output();
        let said = call.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (said.status.code(), text(said.stdout), text(said.stderr))
    };
    let new = folder.path().join("evidence");
    let (code, out, err) = run(&[new.to_str().unwrap()]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.lines().count() == 1 && err.contains("no NVIDIA device"), "{err}");
    assert!(!new.exists());
    let (code, _, err) = run(&[]);
    assert!(code == Some(2) && err.starts_with("usage:"), "{err}");
    let (code, _, err) = run(&[new.to_str().unwrap(), "everything"]);
    assert!(code == Some(2) && err.contains("\"everything\""), "{err}");
}
