//! The command line: what may be typed, and what it means.

use clap::{Args, Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::time::Duration;
use steerage::commands::{GenerateRequest, LogitsRequest, Options, PromptText};
use steerage::device::Precision;
use steerage::error::{Error, Result};
use steerage::flow::cluster::Cluster;
use steerage::flow::rendezvous::Hosts;
use steerage::model::generate::{Draw, Sampling};
use steerage::spec::{DeviceSpec, GenerateSpec, RunSpec};
use steerage::store::import::{ColumnNames, Format, ImportRequest};
use steerage::store::input::KeyType;
use steerage::store::{RunDir, Store};

/// Re-ranks recommendations for everybody, under the control of what people asked for.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Reads a job file and those that it reads from, and reports every mistake in them.
    Check(JobArgs),
    /// Shows the epochs, partitions, graph and costs of a job, and does no work.
    Plan(JobArgs),
    /// Brings up to date what a job needs and the job itself; what is done already is skipped.
    Run(JobArgs),
    /// Makes a run's report again from its commits.
    Report(RunArgs),
    /// What changed between two runs: metrics, job, lists; exit code 1 past the drift gates.
    Compare {
        /// The earlier run's directory.
        old: PathBuf,
        /// The later run's directory.
        new: PathBuf,
    },
    /// Why one user's lists are what they are.
    Explain {
        /// The run's directory.
        run: PathBuf,
        /// The user's id.
        #[arg(long)]
        user: String,
    },
    /// Turns other people's formats into the Parquet files that jobs read.
    Import(ImportArgs),
    /// The last-position logits of lines of tokens, to compare a model with anything.
    Logits(LogitsArgs),
    /// What a decoder says after a prompt.
    Generate(GenerateArgs),
    /// Says what this machine has to compute on, and what is missing.
    Doctor(DoctorArgs),
    /// Writes the demo's data, seeded, as Parquet files: interactions, items, users, controls.
    DemoData(DemoDataArgs),
}

#[derive(Args)]
pub struct ImportArgs {
    /// What the files are.
    pub format: ImportFormat,
    /// Files, or folders with files whose names are usual for the format.
    #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
    pub from: Vec<PathBuf>,
    /// A folder without interactions in it; made if need be.
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// What ids are; integers in MovieLens and strings elsewhere when left out.
    #[arg(long, value_name = "int|text", value_parser = key_type)]
    pub keys: Option<KeyType>,
    /// The column of user ids in recbole and csv files; `user_id` when left out.
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// The column of item ids; `item_id` when left out.
    #[arg(long, value_name = "NAME")]
    pub item: Option<String>,
    /// The column of times; `timestamp` when left out.
    #[arg(long, value_name = "NAME")]
    pub time: Option<String>,
    /// The column of weights; `rating` when left out.
    #[arg(long, value_name = "NAME")]
    pub weight: Option<String>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
pub enum ImportFormat {
    /// `ratings.dat`, `movies.dat`, `users.dat`.
    Movielens,
    /// RecBole's atomic files: `.inter`, `.item`, `.user`.
    Recbole,
    /// Reviews and metadata, one object a line, plain or gzipped.
    Amazon,
    /// A header, then one row a line; commas or tabs.
    Csv,
    /// `user item item …` lines, in the order of time.
    Sequences,
}

fn key_type(text: &str) -> Result<KeyType, String> {
    match text {
        "int" => Ok(KeyType::Int),
        "text" => Ok(KeyType::Text),
        _ => Err("expected int or text".to_owned()),
    }
}

impl From<ImportArgs> for ImportRequest {
    fn from(args: ImportArgs) -> Self {
        let ImportArgs { format, from, to, keys, user, item, time, weight } = args;
        let format = match format {
            ImportFormat::Movielens => Format::MovieLens,
            ImportFormat::Recbole => Format::RecBole,
            ImportFormat::Amazon => Format::Amazon,
            ImportFormat::Csv => Format::Csv,
            ImportFormat::Sequences => Format::Sequences,
        };
        ImportRequest { format, from, to, keys, names: ColumnNames { user, item, time, weight } }
    }
}

#[derive(Args)]
pub struct LogitsArgs {
    /// A model's folder: config.json and safetensors files.
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// A LoRA adapter's folder, as PEFT writes it.
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// One prompt a line: a JSON array of token numbers, or numbers with blanks between them.
    #[arg(long, value_name = "FILE")]
    pub tokens: PathBuf,
    /// Where to compute.
    #[arg(long, value_name = "cpu|cuda:N", default_value_t)]
    pub device: DeviceSpec,
    /// In what the weights are kept: fp8 is for projections, the rest is bf16 then. When left out,
    /// f32 if the file is in f32 and else bf16.
    #[arg(long, value_name = "f32|bf16|fp8", value_parser = precision)]
    pub precision: Option<Precision>,
    /// One for each core when left out.
    #[arg(long)]
    pub threads: Option<usize>,
    /// Writes an array of f32 here instead of a JSON array for each line on standard output.
    #[arg(long, value_name = "FILE.npy")]
    pub out: Option<PathBuf>,
}

fn precision(text: &str) -> Result<Precision, String> {
    match text {
        "f32" => Ok(Precision::F32),
        "bf16" => Ok(Precision::Bf16),
        "fp8" => Ok(Precision::Fp8),
        _ => Err("expected f32, bf16 or fp8".to_owned()),
    }
}

impl From<&LogitsArgs> for LogitsRequest {
    fn from(args: &LogitsArgs) -> Self {
        let cores = || std::thread::available_parallelism().map_or(1, |n| n.get());
        LogitsRequest {
            model: args.model.clone(),
            adapter: args.adapter.clone(),
            tokens: args.tokens.clone(),
            precision: args.precision,
            device: args.device.clone(),
            threads: args.threads.unwrap_or_else(cores).max(1),
        }
    }
}

#[derive(Args)]
pub struct GenerateArgs {
    /// A model's folder: config.json, tokenizer.json and safetensors files.
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// A LoRA adapter's folder, as PEFT writes it.
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// What is read. It is text: no special token can be in it.
    #[arg(long, value_name = "TEXT", required_unless_present = "file", conflicts_with = "file")]
    pub prompt: Option<String>,
    /// A file that is read, the whole of it.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Puts the prompt into the model's chat template, as what a user says.
    #[arg(long)]
    pub chat: bool,
    /// What the system says before the user does.
    #[arg(long, value_name = "TEXT", requires = "chat")]
    pub system: Option<String>,
    /// Tokens of the answer, at most.
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub tokens_max: usize,
    /// Draws tokens: the greater, the less likely ones come. The likeliest one when left out.
    #[arg(long, value_name = "T")]
    pub temperature: Option<f64>,
    /// Draws from so many of the likeliest tokens; from all when 0.
    #[arg(long, value_name = "K", default_value_t = 0, requires = "temperature")]
    pub top_k: usize,
    /// Draws from the likeliest tokens that have this probability together.
    #[arg(long, value_name = "P", default_value_t = 1.0, requires = "temperature")]
    pub top_p: f64,
    /// The same seed draws the same answer.
    #[arg(long, default_value_t = 0, requires = "temperature")]
    pub seed: u64,
    /// The answer is one of these.
    #[arg(long, value_name = "A,B,…", value_delimiter = ',')]
    pub one_of: Vec<String>,
    /// Where to compute.
    #[arg(long, value_name = "cpu|cuda:N", default_value_t)]
    pub device: DeviceSpec,
    /// In what the weights are kept: fp8 is for projections, the rest is bf16 then. When left out,
    /// f32 if the file is in f32 and else bf16.
    #[arg(long, value_name = "f32|bf16|fp8", value_parser = precision)]
    pub precision: Option<Precision>,
}

impl From<GenerateArgs> for GenerateRequest {
    fn from(args: GenerateArgs) -> Self {
        let GenerateArgs { top_k, top_p, seed, .. } = args;
        let draw = |temperature| Sampling::Drawn(Draw { seed, temperature, top_k, top_p });
        let prompt = match args.file {
            Some(file) => PromptText::File(file),
            None => PromptText::Given(args.prompt.unwrap_or_default()),
        };
        GenerateRequest {
            model: args.model,
            adapter: args.adapter,
            prompt,
            chat: args.chat,
            system: args.system,
            tokens_max: args.tokens_max,
            sampling: args.temperature.map_or(Sampling::Greedy, draw),
            one_of: args.one_of,
            precision: args.precision,
            device: args.device,
        }
    }
}

#[derive(Args)]
pub struct DoctorArgs {
    /// The folder of the runs: how much room it has.
    #[arg(long, value_name = "DIR", default_value_os_t = RunSpec::default().root)]
    pub root: PathBuf,
}

#[derive(Args)]
pub struct DemoDataArgs {
    /// The folder to write to.
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// The same seed and sizes give the same files.
    #[arg(long, default_value_t = GenerateSpec::default().seed)]
    pub seed: u64,
    /// How many users.
    #[arg(long, default_value_t = GenerateSpec::default().users,
        value_parser = clap::value_parser!(u32).range(1..))]
    pub users: u32,
    /// How many items.
    #[arg(long, default_value_t = GenerateSpec::default().items,
        value_parser = clap::value_parser!(u32).range(100..))]
    pub items: u32,
    /// Mean interactions of a user.
    #[arg(long, default_value_t = GenerateSpec::default().interactions_mean,
        value_parser = clap::value_parser!(u32).range(8..))]
    pub interactions_mean: u32,
}

impl From<&DemoDataArgs> for GenerateSpec {
    fn from(args: &DemoDataArgs) -> Self {
        let &DemoDataArgs { seed, users, items, interactions_mean, .. } = args;
        GenerateSpec { seed, users, items, interactions_mean }
    }
}

/// A run's directory.
#[derive(Args)]
pub struct RunArgs {
    /// The run's directory: `runs/<job>-<hash>`.
    pub run: PathBuf,
}

/// A run by its directory: the store is the directory's parent.
pub fn open_run(path: &Path) -> Result<(Store, RunDir)> {
    let path = path.canonicalize().map_err(Error::io("open the run", path))?;
    let (Some(root), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::Input(format!("{}: expected a run directory", path.display())));
    };
    let store = Store::open(root)?;
    let run = RunDir::open(&store, &name.to_string_lossy())?;
    Ok((store, run))
}

#[derive(Args)]
pub struct JobArgs {
    /// The job file.
    pub job: PathBuf,
    /// Overrides a field: `--set retrieve.k=50`, `--set vars.data=/mnt/data`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Timely workers of this process; one for each core when left out.
    #[arg(long,
        value_parser = clap::value_parser!(u16).range(1..=i64::from(RunSpec::WORKERS_MAX)))]
    pub workers: Option<u16>,
    /// A file with one host:port a line, one for each process.
    #[arg(long, requires = "process")]
    pub hosts: Option<PathBuf>,
    /// Which line of the hosts file this process is, from 0.
    #[arg(long, requires = "hosts")]
    pub process: Option<usize>,
    /// How long to wait for the other processes to start.
    #[arg(long, default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(..=RunSpec::SECONDS_MAX))]
    pub wait_seconds: u64,
}

impl JobArgs {
    pub fn options(&self) -> Result<Options> {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        let mut options = Options { sets: self.sets.clone(), cluster: Cluster::local(cores) };
        let job = options.load(&self.job, false)?;
        let asked =
            self.workers.map(usize::from).or((job.run.workers > 0).then_some(job.run.workers));
        options.cluster.workers = asked.unwrap_or(cores).max(1);
        options.cluster.stall_max = Duration::from_secs(job.run.stall_seconds_max);
        options.cluster.hosts = self.hosts()?;
        Ok(options)
    }

    fn hosts(&self) -> Result<Option<Hosts>> {
        let (Some(file), Some(process)) = (&self.hosts, self.process) else { return Ok(None) };
        let text = std::fs::read_to_string(file).map_err(Error::io("read the hosts file", file))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let addresses: Vec<String> = lines.map(str::to_owned).collect();
        if process >= addresses.len() {
            return Err(Error::Cluster(format!(
                "--process {process}: {} has {} hosts, numbered from 0",
                file.display(),
                addresses.len()
            )));
        }
        let secret = std::env::var("STEERAGE_SECRET").unwrap_or_default();
        if secret.len() < 16 {
            return Err(Error::Cluster(
                "STEERAGE_SECRET: expected at least 16 characters that all processes share and \
                 nobody else knows"
                    .into(),
            ));
        }
        let wait_max = Duration::from_secs(self.wait_seconds);
        let listener = Default::default();
        Ok(Some(Hosts { addresses, process, secret, wait_max, listener }))
    }
}
