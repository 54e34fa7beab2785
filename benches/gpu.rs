//! What does a device do, and how near is that to what it can do? `benches/gpu.sh` runs all of it.
//!
//! ```text
//! gpu kernels FOLDER          every kernel: time, and its share of the bound
//! gpu decoder FOLDER          a decoder of Llama 3's 8 billion: tokens a second, what LoRA costs,
//!                             what FP8 gains, and whether the device waits for the host
//! gpu training FOLDER         a step of its adapters, over eight of its layers; of a retriever
//! gpu search FOLDER           the best 100 of 10 million items for 1024 users
//! gpu lists FOLDER A B APART  the lists of two runs, places' scores at most so far apart
//! ```
//!
//! Lines go to standard output and to a file of the part's name in the folder; there the compiled
//! kernels are kept, too. Times of kernels are by the device's events, from a cold cache, the
//! median of 20; a launch's own few microseconds are in them. Bounds are by what the same run
//! measured.
#![allow(missing_docs)]

#[path = "gpu/mod.rs"]
mod parts;

use parts::cases::{Bench, LARGE};
use parts::rates::{Rates, cold, flush};
use parts::table::rates_line;
use parts::{decoder, families, lists, retriever, search, timeline, training};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use steerage::device::cuda::{Nvidia, SharedDriver};
use steerage::error::{Error, Result};

const USAGE: &str =
    "usage: gpu kernels|decoder|training|search FOLDER, or gpu lists FOLDER A B APART";

fn main() -> ExitCode {
    // Cargo says `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["kernels", folder] => opened(folder).and_then(|device| kernels(&device)),
        ["decoder", folder] => opened(folder).and_then(scorer),
        ["training", folder] => opened(folder).and_then(learner),
        ["search", folder] => opened(folder).and_then(|device| searched(&device)),
        ["lists", _, here, there, apart] => compared(here, there, apart),
        _ => Err(Error::Input(USAGE.into())),
    };
    let written = done.and_then(|lines| {
        lines.iter().for_each(|line| println!("{line}"));
        let file = Path::new(arguments[1]).join(format!("{}.txt", arguments[0]));
        std::fs::write(&file, lines.join("\n") + "\n").map_err(Error::io("write", &file))
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn opened(folder: &str) -> Result<Nvidia> {
    let folder = Path::new(folder);
    std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    Nvidia::open(0, Some(&folder.join("kernels")))
}

/// The device, and what it does in a second.
fn measured(device: &Nvidia) -> Result<(Rates, Vec<String>)> {
    let scratch = flush(device)?;
    let rates = Rates::of(device, &*cold(device, &scratch))?;
    let facts = device.facts()?;
    let gib = |bytes: usize| bytes as f64 / f64::from(1 << 30);
    let (major, minor) = facts.capability;
    let first = format!(
        "{}, compute capability {major}.{minor}, {} processors at {:.0} MHz at most, {:.1} of \
         {:.1} GiB free",
        facts.name,
        facts.processors,
        facts.clock_hz / 1e6,
        gib(facts.free_bytes),
        gib(facts.total_bytes)
    );
    Ok((rates, vec![first, rates_line(&rates)]))
}

fn kernels(device: &Nvidia) -> Result<Vec<String>> {
    let (rates, mut lines) = measured(device)?;
    let scratch = flush(device)?;
    let clock = cold(device, &scratch);
    let mut bench = Bench::new(device, &*clock, LARGE);
    families::all(&mut bench)?;
    lines.extend(bench.rows.iter().map(|row| row.line(&rates)));
    Ok(lines)
}

fn searched(device: &Nvidia) -> Result<Vec<String>> {
    let (rates, mut lines) = measured(device)?;
    let scratch = flush(device)?;
    let clock = cold(device, &scratch);
    let mut bench = Bench::new(device, &*clock, LARGE);
    search::run(&mut bench, search::LARGE)?;
    lines.extend(bench.rows.iter().map(|row| row.line(&rates)));
    let seconds: f64 = bench.rows.iter().map(|row| row.seconds).sum();
    let users = search::LARGE.users as f64;
    lines.push(format!("{:.1} ms, {:.0} users/s", 1e3 * seconds, users / seconds));
    Ok(lines)
}

fn scorer(device: Nvidia) -> Result<Vec<String>> {
    let (rates, mut lines) = measured(&device)?;
    let device = Arc::new(device);
    let setting = decoder::llama_8b();
    lines.push(format!(
        "{} prompts of {} tokens, {} candidates, batches of {} tokens, bf16 unless said; LoRA of \
         rank {} on all seven projections, not merged",
        setting.prompts, setting.tokens, setting.candidates, setting.batch, setting.rank
    ));
    let mut base = None;
    for (name, what) in [
        ("base alone", (0, false)),
        ("one adapter", (1, false)),
        ("two adapters in turn", (2, false)),
        ("one adapter, FP8", (1, true)),
    ] {
        let scored = decoder::score(device.clone(), &setting, what)?;
        let alone = *base.get_or_insert(scored.seconds);
        lines.push(format!(
            "{name:26} {:8.0} tokens/s, {:6.1} prompts/s, {:4.0} TFLOP/s: {:3.0} % of the \
             bf16 products' rate; {:+.1} % against the base",
            scored.tokens_per_s,
            setting.prompts as f64 / scored.seconds,
            scored.flops_per_s / 1e12,
            100.0 * scored.flops_per_s / rates.bf16,
            100.0 * (scored.seconds / alone - 1.0)
        ));
    }
    let on = decoder::read_on(device.clone(), &setting)?;
    lines.push(format!(
        "{:26} {:8.0} tokens/s, {:.2} ms for one of each prompt: {:3.0} % of the bandwidth",
        "reading on, base alone",
        setting.prompts as f64 / on.step_seconds,
        1e3 * on.step_seconds,
        100.0 * on.step_bytes as f64 / on.step_seconds / rates.bytes
    ));
    lines.extend(timeline::lines(&timeline::run(&device, &setting)?));
    Ok(lines)
}

fn learner(device: Nvidia) -> Result<Vec<String>> {
    let (rates, mut lines) = measured(&device)?;
    let setting = training::llama_8b_layers();
    let device: SharedDriver = Arc::new(device);
    let stepped = training::step(&device, &setting)?;
    lines.push(format!(
        "{} prompts of {} tokens, {} layers, LoRA of rank {} on all seven projections: a step of \
         {:.1} ms, {:.0} tokens/s, {:.0} TFLOP/s: {:.0} % of the products' rate",
        setting.prompts,
        setting.tokens,
        setting.config.layers,
        setting.rank,
        1e3 * stepped.seconds,
        stepped.tokens_per_s,
        stepped.flops_per_s / 1e12,
        100.0 * stepped.flops_per_s / rates.bf16
    ));
    for setting in retriever::settings() {
        let stepped = retriever::step(&device, &setting)?;
        let scored = match setting.negatives {
            None => "all".to_owned(),
            Some(negatives) => format!("{} of", negatives + 1),
        };
        lines.push(format!(
            "SASRec {} wide, {} sequences of {}, {scored} {} items scored: a step of {:.2} ms, \
             {:.0} positions/s",
            setting.config.hidden,
            setting.sequences,
            setting.config.length_max,
            setting.config.items,
            1e3 * stepped.seconds,
            stepped.positions_per_s
        ));
    }
    Ok(lines)
}

fn compared(here: &str, there: &str, apart: &str) -> Result<Vec<String>> {
    let apart = apart.parse().map_err(|_| Error::Input(USAGE.into()))?;
    let [here, there] = [here, there].map(|run| lists::read(Path::new(run)));
    let compared = lists::by_arm(&here?, &there?, apart)?;
    let lines: Vec<String> = compared.iter().map(|(arm, found)| found.line(arm, apart)).collect();
    match compared.iter().all(|(_, found)| found.same + found.near == found.lists) {
        true => Ok(lines),
        false => Err(Error::Device(lines.join("\n"))),
    }
}
