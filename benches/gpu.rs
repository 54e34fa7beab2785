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
use parts::decoder::{self, Scored, Setting};
use parts::rates::{Rates, cold, flush};
use parts::report::Report;
use parts::table::{Row, rates_line};
use parts::{families, lists, retriever, search, timeline, training};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use steerage::device::cuda::{Nvidia, SharedDriver};
use steerage::error::{Error, Result};

const USAGE: &str =
    "usage: gpu kernels|decoder|training|search FOLDER, or gpu lists FOLDER A B APART";

/// What prompts choose from, and whether weights are in FP8.
const SCORED: [(&str, (u32, bool)); 4] = [
    ("base alone", (0, false)),
    ("one adapter", (1, false)),
    ("two adapters in turn", (2, false)),
    ("one adapter, FP8", (1, true)),
];

fn main() -> ExitCode {
    // Cargo says `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<()> {
    let (part, folder) = match arguments {
        [part @ ("kernels" | "decoder" | "training" | "search"), folder]
        | [part @ "lists", folder, _, _, _] => (*part, Path::new(folder)),
        _ => return Err(Error::Input(USAGE.into())),
    };
    let report = &Report::new(folder, part)?;
    if let ["lists", _, here, there, apart] = arguments {
        compared(report, [here, there], apart)?;
        return report.end();
    }
    let device = Nvidia::open(0, Some(&folder.join("kernels")))?;
    let rates = measured(report, &device)?;
    match part {
        "kernels" => kernels(report, &device, &rates)?,
        "search" => searched(report, &device, &rates)?,
        "decoder" => scorer(report, &Arc::new(device), &rates)?,
        _ => learner(report, &(Arc::new(device) as SharedDriver), &rates)?,
    }
    report.end()
}

/// Says what the device is, and what it does in a second.
fn measured(report: &Report, device: &Nvidia) -> Result<Rates> {
    let facts = device.facts()?;
    let gib = |bytes: usize| bytes as f64 / f64::from(1 << 30);
    let (major, minor) = facts.capability;
    report.line(&format!(
        "{}, compute capability {major}.{minor}, {} processors at {:.0} MHz at most, {:.1} of \
         {:.1} GiB free",
        facts.name,
        facts.processors,
        facts.clock_hz / 1e6,
        gib(facts.free_bytes),
        gib(facts.total_bytes)
    ))?;
    let scratch = flush(device)?;
    let rates = Rates::of(device, &*cold(device, &scratch))?;
    report.line(&rates_line(&rates))?;
    Ok(rates)
}

fn kernels(report: &Report, device: &Nvidia, rates: &Rates) -> Result<()> {
    let scratch = flush(device)?;
    let clock = cold(device, &scratch);
    let tell = |row: &Row| report.line(&row.line(rates));
    let mut bench = Bench { told: &tell, ..Bench::new(device, &*clock, LARGE) };
    families::ALL.iter().try_for_each(|(name, family)| report.attempt(name, family(&mut bench)))
}

fn searched(report: &Report, device: &Nvidia, rates: &Rates) -> Result<()> {
    let scratch = flush(device)?;
    let clock = cold(device, &scratch);
    let tell = |row: &Row| report.line(&row.line(rates));
    let mut bench = Bench { told: &tell, ..Bench::new(device, &*clock, LARGE) };
    report.attempt("search", search::run(&mut bench, search::LARGE))?;
    let seconds: f64 = bench.rows.iter().map(|row| row.seconds).sum();
    let users = search::LARGE.users as f64;
    report.line(&format!("{:.1} ms, {:.0} users/s", 1e3 * seconds, users / seconds))
}

fn scorer(report: &Report, device: &Arc<Nvidia>, rates: &Rates) -> Result<()> {
    let setting = decoder::llama_8b();
    report.line(&format!(
        "{} prompts of {} tokens, {} candidates, batches of {} tokens, bf16 unless said; LoRA of \
         rank {} on all seven projections, not merged",
        setting.prompts, setting.tokens, setting.candidates, setting.batch, setting.rank
    ))?;
    let mut base = None;
    for (name, what) in SCORED {
        let scored = decoder::score(device.clone(), &setting, what);
        let said = scored.and_then(|scored| {
            let alone = *base.get_or_insert(scored.seconds);
            report.line(&scored_line(name, &setting, rates, (&scored, alone)))?;
            alike(scored.alike, "a prompt has other bits alone")
        });
        report.attempt(name, said)?;
    }
    let name = "reading on, base alone";
    let said = decoder::read_on(device.clone(), &setting).and_then(|on| {
        report.line(&format!(
            "{name:26} {:8.0} tokens/s, {:.2} ms for one of each prompt: {:3.0} % of the bandwidth",
            setting.prompts as f64 / on.step_seconds,
            1e3 * on.step_seconds,
            100.0 * on.step_bytes as f64 / on.step_seconds / rates.bytes
        ))?;
        alike(on.alike, "a prompt that was read on has other bits than whole")
    });
    report.attempt(name, said)?;
    let batches = timeline::run(device, &setting);
    let said = batches.and_then(|batches| {
        timeline::lines(&batches).iter().try_for_each(|line| report.line(line))
    });
    report.attempt("timeline", said)
}

fn scored_line(
    name: &str,
    setting: &Setting,
    rates: &Rates,
    (scored, alone): (&Scored, f64),
) -> String {
    format!(
        "{name:26} {:8.0} tokens/s, {:6.1} prompts/s, {:4.0} TFLOP/s: {:3.0} % of the bf16 \
         products' rate; {:+.1} % against the base",
        scored.tokens_per_s,
        setting.prompts as f64 / scored.seconds,
        scored.flops_per_s / 1e12,
        100.0 * scored.flops_per_s / rates.bf16,
        100.0 * (scored.seconds / alone - 1.0)
    )
}

fn alike(alike: bool, or: &str) -> Result<()> {
    if alike { Ok(()) } else { Err(Error::Device(or.into())) }
}

fn learner(report: &Report, device: &SharedDriver, rates: &Rates) -> Result<()> {
    let setting = training::llama_8b_layers();
    let said = training::step(device, &setting).and_then(|stepped| {
        report.line(&format!(
            "{} prompts of {} tokens, {} layers, LoRA of rank {} on all seven projections: a step \
             of {:.1} ms, {:.0} tokens/s, {:.0} TFLOP/s: {:.0} % of the products' rate",
            setting.prompts,
            setting.tokens,
            setting.config.layers,
            setting.rank,
            1e3 * stepped.seconds,
            stepped.tokens_per_s,
            stepped.flops_per_s / 1e12,
            100.0 * stepped.flops_per_s / rates.bf16
        ))
    });
    report.attempt("a step of adapters", said)?;
    for setting in retriever::settings() {
        let scored = match setting.negatives {
            None => "all".to_owned(),
            Some(negatives) => format!("{} of", negatives + 1),
        };
        let name = format!(
            "SASRec {} wide, {} sequences of {}, {scored} {} items scored",
            setting.config.hidden,
            setting.sequences,
            setting.config.length_max,
            setting.config.items
        );
        let said = retriever::step(device, &setting).and_then(|stepped| {
            let (ms, rate) = (1e3 * stepped.seconds, stepped.positions_per_s);
            report.line(&format!("{name}: a step of {ms:.2} ms, {rate:.0} positions/s"))
        });
        report.attempt(&name, said)?;
    }
    Ok(())
}

fn compared(report: &Report, runs: [&str; 2], apart: &str) -> Result<()> {
    let apart = apart.parse().map_err(|_| Error::Input(USAGE.into()))?;
    let [here, there] = runs.map(|run| lists::read(Path::new(run)));
    for (arm, found) in lists::by_arm(&here?, &there?, apart)? {
        report.line(&found.line(&arm, apart))?;
        let same = found.same + found.near == found.lists;
        report.attempt(&arm, alike(same, "lists that are neither the same nor near"))?;
    }
    Ok(())
}
