//! Parses, calls, and turns errors into exit codes.

mod cli;
mod progress;

use clap::Parser;
use cli::{Cli, Command, JobArgs, LogitsArgs, open_run};
use std::fs::File;
use std::io::BufWriter;
use std::process::ExitCode;
use steerage::commands::{self, Options};
use steerage::error::{Error, Result};
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
            eprintln!("steerage: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Check(args) => {
            let job = commands::check(&args.job, &args.options()?)?;
            println!("{}: a {} job called {}", args.job.display(), job.kind.name(), job.name);
        }
        Command::Plan(args) => print!("{}", commands::plan(&args.job, &args.options()?)?),
        Command::Run(args) => return run_job(&args),
        Command::Report(args) => {
            let (store, run) = open_run(&args.run)?;
            print!("{}", summary_text(&commands::write_report(&store, &run)?));
            println!("{}", run.path("report.html").display());
        }
        Command::Compare { old, new } => {
            let (store, old) = open_run(&old)?;
            let (_, new) = open_run(&new)?;
            let (text, alarmed) = commands::compare_runs(&store, &old, &new)?;
            print!("{text}");
            return Ok(ExitCode::from(u8::from(alarmed)));
        }
        Command::Explain { run, user } => {
            let (store, run) = open_run(&run)?;
            let options = Options { sets: Vec::new(), cluster: Cluster::local(1) };
            print!("{}", commands::explain(&store, &run, &user, &options)?);
        }
        Command::Import(args) => {
            let to = args.to.display().to_string();
            println!("{to}: {}", import(&args.into())?);
        }
        Command::Logits(args) => write_logits(&args)?,
        Command::Generate(args) => {
            let told = commands::generate(&args.into(), &mut std::io::stdout().lock())?;
            eprintln!("{told}");
        }
        Command::Doctor(args) => print!("{}", commands::doctor(&args.root)),
        Command::DemoData(args) => {
            commands::demo_data::write(&GenerateSpec::from(&args), &args.to)?;
            println!("{}: interactions, items, users and controls", args.to.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn write_logits(args: &LogitsArgs) -> Result<()> {
    let Some(path) = &args.out else {
        return commands::logits(&args.into(), false, &mut std::io::stdout().lock());
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
    print!("{}", summary_text(report));
    println!("{}", finished.page.display());
    Ok(ExitCode::from(u8::from(!report.expectations_met())))
}
