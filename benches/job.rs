//! Plumbing: 1,000,000 users with lists of 20 from Parquet through a `rerank` job with a trivial
//! arm to committed Parquet parts.
//!
//! `cargo bench --bench job [-- RUNS]`. The job is the one a user would run, through the same call
//! as `steerage run`, metrics included; its prepare run, a catalogue of 10,000 items, is made once
//! and not timed. Beside it stands what the machine and the codec allow: the same columns read from
//! and written to Parquet by two threads that do nothing else. Then the job is killed half-way, and
//! run again.
#![allow(missing_docs, clippy::unwrap_used)]

use arrow::array::{
    ArrayRef, Float32Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::Field;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use steerage::commands::{Brought, Options, Watcher, bring_up};
use steerage::flow::Meters;
use steerage::flow::cluster::Cluster;
use steerage::store::RunDir;
use steerage::train::Progress;
use steerage::types::mix64;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USERS: u64 = 1_000_000;
const SHARDS: u64 = 16;
/// Users of a row group, which is a task: what a worker holds at once, a few times over.
const GROUP_USERS: usize = 15_625;
/// Row groups of an epoch: eight epochs.
const EPOCH_TASKS: u64 = USERS / GROUP_USERS as u64 / 8;
const ITEMS: u64 = 10_000;
const LIST: u64 = 20;
/// Stages that run on a worker's own thread; the others have threads of their own.
const ON_WORKERS: [&str; 3] = ["control", "rerank", "measure"];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if let [child, job] = arguments.as_slice()
        && child == "child"
    {
        run(Path::new(job), 2);
        return;
    }
    let runs = arguments.first().map_or(5, |word| word.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    let bytes: u64 = (0..SHARDS).map(|shard| write_shard(&data, shard)).sum();
    println!("{USERS} users x {LIST} items in {SHARDS} shards, {:.0} MB", bytes as f64 / 1e6);
    let plain = write_jobs(folder.path(), "plain", "k = [10]\nreplicates = 0");
    let full = write_jobs(folder.path(), "full", "replicates = 200");
    println!("| job | workers | least s | median s | M users/s | cores busy | not stage work |");
    println!("|---|---|---|---|---|---|---|");
    let mut ways: [Vec<Timing>; 5] = Default::default();
    for _ in 0..runs {
        ways[0].push(codec_bound(&data, folder.path()));
        for (way, (job, workers)) in
            [(&plain, 1), (&plain, 2), (&full, 1), (&full, 2)].into_iter().enumerate()
        {
            ways[way + 1].push(timed(job, workers));
        }
    }
    let names = ["Parquet in and out, 2 threads (the bound)", "k = 10 | 1", "k = 10 | 2"];
    let more = ["k = 1, 5, 10, 20, 200 replicates | 1", "k = 1, 5, 10, 20, 200 replicates | 2"];
    for (name, timings) in names.into_iter().chain(more).zip(&mut ways) {
        print_row(name, timings);
    }
    for (name, timings) in [("k = 10", &ways[2]), ("200 replicates", &ways[4])] {
        println!("\n2 workers, {name}: {}", timings[timings.len() / 2].stages);
    }
    kill_and_resume(&plain);
}

/// One run's figures.
#[derive(Clone, Default)]
struct Timing {
    seconds: f64,
    on_core_s: f64,
    /// Of `on_core_s`: the workers' threads outside of stages.
    idle_work_s: f64,
    stages: String,
}

fn print_row(name: &str, timings: &mut [Timing]) {
    timings.sort_unstable_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let (least, median) = (&timings[0], &timings[timings.len() / 2]);
    let name = if name.contains('|') { name.to_owned() } else { format!("{name} | -") };
    println!(
        "| {name} | {:.2} | {:.2} | {:.2} | {:.2} | {:.1} % |",
        least.seconds,
        median.seconds,
        USERS as f64 / median.seconds / 1e6,
        median.on_core_s / median.seconds,
        100.0 * median.idle_work_s / median.on_core_s.max(1e-9),
    );
}

/// Runs the job from nothing but its prepare run.
fn timed(job: &Path, workers: usize) -> Timing {
    let watch = Threads::watch();
    let brought = run(job, workers);
    let by_thread = watch.stop();
    assert!(brought.worked, "the run was there already");
    let on_core_s = by_thread.values().sum();
    let workers = by_thread.iter().filter(|(name, _)| name.contains("timely"));
    let workers_s: f64 = workers.map(|(_, on_core_s)| on_core_s).sum();
    let stages = brought.meters.stages();
    let busy = |name: &str| stages.iter().find(|(n, _)| n.to_string() == name);
    let inline: f64 = ON_WORKERS
        .iter()
        .filter_map(|name| busy(name))
        .map(|(_, m)| m.on_core().as_secs_f64())
        .sum();
    let shares =
        stages.iter().map(|(name, m)| format!("{name} {:.2} s", m.on_core().as_secs_f64()));
    let shares = shares.collect::<Vec<_>>().join(", ");
    let threads = by_thread.iter().map(|(name, s)| format!("{name} {s:.2} s"));
    let threads = threads.collect::<Vec<_>>().join(", ");
    let seconds = brought.wall.as_secs_f64();
    fs::remove_dir_all(brought.outcome.run().path("")).unwrap();
    Timing {
        seconds,
        on_core_s,
        idle_work_s: workers_s - inline,
        stages: format!("{shares}; on cores by thread: {threads}"),
    }
}

fn run(job: &Path, workers: usize) -> Brought {
    let options = Options { sets: Vec::new(), cluster: Cluster::local(workers) };
    bring_up(job, &options, &Silent).unwrap()
}

/// Kills a run when half of its epochs are committed; then runs it again.
fn kill_and_resume(job: &Path) {
    let whole = run(job, 2);
    let folder = whole.outcome.run().path("");
    let (seconds, epochs) =
        (whole.wall.as_secs_f64(), whole.outcome.run().commits().unwrap().len());
    let expected = contents(&folder);
    fs::remove_dir_all(&folder).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    let mut child = child.arg("child").arg(job).spawn().unwrap();
    let commits = || fs::read_dir(folder.join("commits")).map_or(0, Iterator::count);
    while commits() < epochs / 2 {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let kept = whole.outcome.run().commits().unwrap().len();
    let resumed = run(job, 2);
    let rows = resumed.meters.rows.load(Relaxed);
    assert_eq!(contents(&folder), expected, "the same bytes as of the run that nobody killed");
    println!(
        "\nkilled with {kept} of {epochs} epochs committed: the resumed run read {rows} of {USERS} \
         users in {:.2} s (whole run: {seconds:.2} s; its share of that: {:.2} s); same bytes",
        resumed.wall.as_secs_f64(),
        seconds * (epochs - kept) as f64 / epochs as f64,
    );
}

/// The hash of every file of a run.
fn contents(folder: &Path) -> BTreeMap<PathBuf, blake3::Hash> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.to_string_lossy().contains('#') {
                found.insert(path.clone(), blake3::hash(&fs::read(&path).unwrap()));
            }
        }
    }
    found
}

struct Silent;

impl Watcher for Silent {
    fn begin(&self, _: &RunDir, _: &Arc<Meters>) {}
    fn step(&self, _: &RunDir, _: &Progress) {}
    fn end(&self, _: &RunDir, _: bool, _: Duration) {}
}

/// Watches how long each of the process's threads has been on a core: threads take that with them
/// when they end.
struct Threads {
    over: Arc<AtomicBool>,
    watcher: std::thread::JoinHandle<BTreeMap<String, f64>>,
}

impl Threads {
    fn watch() -> Threads {
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        let watcher = std::thread::spawn(move || {
            let before = on_cores();
            let mut last = before.clone();
            while !ended.load(Relaxed) {
                std::thread::sleep(Duration::from_millis(5));
                last.extend(on_cores());
            }
            let mut by_name: BTreeMap<String, f64> = BTreeMap::new();
            for (thread, (name, seconds)) in last {
                let earlier = before.get(&thread).map_or(0.0, |(_, seconds)| *seconds);
                *by_name.entry(name).or_default() += seconds - earlier;
            }
            by_name
        });
        Threads { over, watcher }
    }

    fn stop(self) -> BTreeMap<String, f64> {
        self.over.store(true, Relaxed);
        self.watcher.join().unwrap()
    }
}

/// By thread: its name, and its seconds on a core.
fn on_cores() -> BTreeMap<PathBuf, (String, f64)> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let one = |task: PathBuf| {
        let name = fs::read_to_string(task.join("comm")).ok()?;
        let stat = fs::read_to_string(task.join("schedstat")).ok()?;
        let nanos = stat.split_ascii_whitespace().next()?;
        let seconds = nanos.parse::<f64>().ok()? * 1e-9;
        let name = name.trim_end().trim_end_matches(char::is_numeric).to_owned();
        Some((task, (name, seconds)))
    };
    tasks.filter_map(|task| one(task.ok()?.path())).collect()
}

/// A shard of the table that somebody else's retriever would leave. Gives its size.
fn write_shard(folder: &Path, shard: u64) -> u64 {
    let users = shard * USERS / SHARDS..(shard + 1) * USERS / SHARDS;
    // Places `LIST` apart in a permutation of the catalogue: no repeats.
    let item = |user: u64, place: u64| ((mix64(user) % ITEMS + place * 487) % ITEMS) as i64;
    let score =
        |user, place| 1.0 - (place * 700 + mix64(user ^ place << 40) % 700) as f32 / 16384.0;
    let target = |user| item(user, mix64(!user) % (2 * LIST)); // half of them are in the list
    let each = |range: std::ops::Range<u64>| range.flat_map(|u| (0..LIST).map(move |p| (u, p)));
    let ids = Int64Array::from_iter_values(each(users.clone()).map(|(u, p)| item(u, p)));
    let scores = Float32Array::from_iter_values(each(users.clone()).map(|(u, p)| score(u, p)));
    let columns: [(&str, ArrayRef); 4] = [
        ("user", Arc::new(Int64Array::from_iter_values(users.clone().map(|u| u as i64)))),
        ("items", lists(Arc::new(ids))),
        ("scores", lists(Arc::new(scores))),
        ("target", Arc::new(Int64Array::from_iter_values(users.map(target)))),
    ];
    let path = folder.join(format!("shard-{shard:02}.parquet"));
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(GROUP_USERS))
        .build();
    write(&path, &RecordBatch::try_from_iter(columns).unwrap(), properties)
}

fn lists(values: ArrayRef) -> ArrayRef {
    let field = Arc::new(Field::new_list_field(values.data_type().clone(), false));
    let lengths = std::iter::repeat_n(LIST as usize, values.len() / LIST as usize);
    Arc::new(ListArray::new(field, OffsetBuffer::from_lengths(lengths), values, None))
}

fn write(path: &Path, batch: &RecordBatch, properties: WriterProperties) -> u64 {
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    fs::metadata(path).unwrap().len()
}

/// The chain of jobs; gives the file of the last.
fn write_jobs(folder: &Path, name: &str, metrics: &str) -> PathBuf {
    let events: Vec<i64> = (0..ITEMS as i64).collect();
    let columns: [(&str, ArrayRef); 2] = [
        ("user", Arc::new(Int64Array::from_iter_values(events.iter().map(|item| item / 50)))),
        ("item", Arc::new(Int64Array::from(events.clone()))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    write(&folder.join("events.parquet"), &batch, WriterProperties::default());
    let at = folder.display();
    let prepare = format!(
        r#"
        kind = "prepare"
        name = "catalogue"
        interactions = {{ paths = ["{at}/events.parquet"], user = "user", item = "item" }}
        run = {{ root = "{at}/runs" }}
        "#
    );
    let rerank = format!(
        r#"
        kind = "rerank"
        name = "{name}"
        sequences = "run:catalogue"
        run = {{ root = "{at}/runs" }}
        output = {{ epoch_tasks = {EPOCH_TASKS} }}
        [candidates]
        paths = ["{at}/data"]
        user = "user"
        items = "items"
        scores = "scores"
        target = "target"
        [[arm]]
        name = "retrieval-order"
        [metrics]
        {metrics}
        "#
    );
    fs::write(folder.join("catalogue.toml"), prepare).unwrap();
    let file = folder.join(format!("{name}.toml"));
    fs::write(&file, rerank).unwrap();
    run(&folder.join("catalogue.toml"), 1);
    file
}

/// The lists read and written again, with the columns that the job adds, and nothing else done.
fn codec_bound(data: &Path, to: &Path) -> Timing {
    let watch = Threads::watch();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..2 {
            scope.spawn(move || {
                let mine = (thread..SHARDS).step_by(2);
                mine.for_each(|shard| copy_shard(data, to, shard));
            });
        }
    });
    let seconds = start.elapsed().as_secs_f64();
    let on_core_s = watch.stop().values().sum();
    Timing { seconds, on_core_s, ..Timing::default() }
}

fn copy_shard(data: &Path, to: &Path, shard: u64) {
    let file = File::open(data.join(format!("shard-{shard:02}.parquet"))).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().with_batch_size(2048);
    let mut writer: Option<ArrowWriter<Vec<u8>>> = None;
    for batch in reader.build().unwrap() {
        let batch = batch.unwrap();
        let rows = batch.num_rows();
        let ranks = Int32Array::from_iter_values((0..rows).flat_map(|_| 1..=LIST as i32));
        let arm = StringArray::from_iter_values((0..rows).map(|_| "retrieval-order"));
        let columns: [(&str, ArrayRef); 5] = [
            ("user", Arc::clone(batch.column(0))),
            ("arm", Arc::new(arm)),
            ("items", Arc::clone(batch.column(1))),
            ("scores", Arc::clone(batch.column(2))),
            ("retrieval_ranks", lists(Arc::new(ranks))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let writer = writer.get_or_insert_with(|| {
            let properties = WriterProperties::builder()
                .set_dictionary_enabled(false)
                .set_column_dictionary_enabled("arm".into(), true)
                .set_statistics_enabled(EnabledStatistics::None)
                .build();
            ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap()
        });
        writer.write(&batch).unwrap();
    }
    let bytes = writer.unwrap().into_inner().unwrap();
    fs::write(to.join(format!("copy-{shard}.parquet")), bytes).unwrap();
}
