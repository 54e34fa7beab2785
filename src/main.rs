//! Parses, calls, and turns errors into exit codes.

mod cli;
mod progress;

use clap::Parser;
use cli::{Cli, Command, JobArgs, LogitsArgs, open_run};
use std::fmt::Display;
use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};
use std::process::ExitCode;
use steerage::commands::{self, Options};
use steerage::error::{Error, Result, tell};
use steerage::flow::cluster::Cluster;
use steerage::report::summary_text;
use steerage::spec::GenerateSpec;
use steerage::store::import::import;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            tell(format_args!("steerage: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Check(args) => {
            let job = commands::check(&args.job, &args.options()?)?;
            let file = args.job.display();
            say(format_args!("{file}: a {} job called {}\n", job.kind.name(), job.name))?;
        }
        Command::Plan(args) => say(commands::plan(&args.job, &args.options()?)?)?,
        Command::Run(args) => return run_job(&args),
        Command::Report(args) => {
            let (store, run) = open_run(&args.run)?;
            let summary = summary_text(&commands::write_report(&store, &run)?);
            say(format_args!("{summary}{}\n", run.path("report.html").display()))?;
        }
        Command::Compare { old, new } => {
            let (old, new) = (open_run(&old)?, open_run(&new)?);
            let (text, alarmed) = commands::compare_runs((&old.0, &old.1), (&new.0, &new.1))?;
            say(text)?;
            return Ok(ExitCode::from(u8::from(alarmed)));
        }
        Command::Explain { run, user } => {
            let (store, run) = open_run(&run)?;
            let options = Options { sets: Vec::new(), cluster: Cluster::local(1) };
            say(commands::explain(&store, &run, &user, &options)?)?;
        }
        Command::Import(args) => {
            let to = args.to.display().to_string();
            say(format_args!("{to}: {}\n", import(&args.into())?))?;
        }
        Command::Logits(args) => write_logits(&args)?,
        Command::Generate(args) => {
            tell(commands::generate(&args.into(), &mut StandardOutput)?);
        }
        Command::Doctor(args) => say(commands::doctor(&args.root))?,
        Command::DemoData(args) => {
            commands::demo_data::write(&GenerateSpec::from(&args), &args.to)?;
            let to = args.to.display();
            say(format_args!("{to}: interactions, items, users and controls\n"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what was asked for.
///
/// Errors: [`Error::Io`] if standard output cannot be written; that nobody reads on is none.
fn say(what: impl Display) -> Result<()> {
    let said = StandardOutput.write_all(what.to_string().as_bytes());
    let said = said.and_then(|()| StandardOutput.flush());
    said.map_err(Error::io("write", "to standard output"))
}

/// Standard output, which takes everything once nobody reads on: `steerage plan JOB | head` ends
/// well.
struct StandardOutput;

impl Write for StandardOutput {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match std::io::stdout().lock().write(bytes) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(bytes.len()),
            written => written,
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match std::io::stdout().lock().flush() {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            flushed => flushed,
        }
    }
}

fn write_logits(args: &LogitsArgs) -> Result<()> {
    let Some(path) = &args.out else {
        return commands::logits(&args.into(), false, &mut StandardOutput);
    };
    // The file is there when it is whole.
    let part = path.with_extension("part");
    let mut file = File::create(&part).map_err(Error::io("create", &part))?;
    let written = commands::logits(&args.into(), true, &mut BufWriter::new(&mut file));
    let written =
        written.and_then(|()| std::fs::rename(&part, path).map_err(Error::io("rename", &part)));
    if written.is_err() {
        let _ = std::fs::remove_file(&part); // nothing more can be done about it
    }
    written
}

fn run_job(args: &JobArgs) -> Result<ExitCode> {
    let finished = commands::run(&args.job, &args.options()?, &*progress::watcher())?;
    let Some(report) = &finished.report else { return Ok(ExitCode::SUCCESS) };
    say(format_args!("{}{}\n", summary_text(report), finished.page.display()))?;
    Ok(ExitCode::from(u8::from(!report.expectations_met())))
}
