//! What does the dataflow cost, and do two workers help?
//!
//! `cargo bench --bench flow [-- RUNS]`. 5,000,000 rows (user u64, item u64, value f32) in 77 row
//! groups of a Parquet file go by hash of their user to whoever counts and sums them: as a plain
//! loop on one thread, which is the bound, and as the crate's own source, stage and exchange on one
//! worker and on two. What two threads can win here is what two loops win that take half of the row
//! groups each and never meet. The ways alternate, so that a busy machine is unfair to none.
#![allow(missing_docs, clippy::unwrap_used)]

use arrow::array::{ArrayRef, AsArray, Float32Array, RecordBatch, UInt64Array};
use arrow::datatypes::{Float32Type, UInt64Type};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasherDefault, Hasher};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use steerage::flow::cluster::{Cluster, drive};
use steerage::flow::{Done, Meters, apply, tasks};
use steerage::stage::{Outcomes, Stage};
use steerage::types::{Epoch, StageName, mix64};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Operator;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROWS: u64 = 5_000_000;
const GROUPS: u64 = 77;
const USERS: u64 = 500_000;
const WINDOW_EPOCHS: u64 = 4;

/// Who, with what, how much.
type Row = (u64, u64, f32);
/// By user: rows, and the sum of their values, which are whole numbers: exact in any order.
type Sums = HashMap<u64, (u64, u64), BuildHasherDefault<Mixed>>;

fn main() {
    let runs = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(7);
    let folder = tempfile::tempdir().unwrap();
    let shard = Shard::write(folder.path().join("rows.parquet"));
    let expected = digest(&plain(&shard));
    let mut seconds: [Vec<f64>; 4] = Default::default();
    let mut on_cores = [f64::INFINITY; 4];
    for _ in 0..runs {
        for (way, seconds) in seconds.iter_mut().enumerate() {
            let (start, before) = (Instant::now(), on_cores_s());
            let sums = match way {
                0 => vec![plain(&shard)],
                3 => apart(&shard),
                workers => flow(&shard, workers),
            };
            seconds.push(start.elapsed().as_secs_f64());
            on_cores[way] = on_cores[way].min(on_cores_s() - before);
            if way == 3 {
                continue; // a user is in both
            }
            let found = sums.iter().map(digest).fold((0, 0), |a, b| (a.0 + b.0, a.1 ^ b.1));
            assert_eq!(found, expected, "the same sums whoever makes them");
        }
    }
    println!("{ROWS} rows, {GROUPS} row groups, {USERS} users, {runs} runs");
    println!("| way | least s | median s | M rows/s | least s on cores |\n|---|---|---|---|---|");
    let medians = seconds.map(|mut seconds| {
        seconds.sort_unstable_by(f64::total_cmp);
        (seconds[0], seconds[seconds.len() / 2])
    });
    let names = [
        "plain loop, 1 thread (the bound)",
        "dataflow, 1 worker",
        "dataflow, 2 workers",
        "2 plain loops, half of the groups each (the bound)",
    ];
    for ((name, (least, median)), busy) in names.iter().zip(medians).zip(on_cores) {
        let rate = ROWS as f64 / median / 1e6;
        println!("| {name} | {least:.3} | {median:.3} | {rate:.1} | {busy:.2} |");
    }
    let [plain, one, two, apart] = medians;
    println!(
        "1 worker over the loop: {:+.1} % by median, {:+.1} % by least; \
         2 workers over 1: {:.2}x by median, {:.2}x by least; \
         2 loops over 1: {:.2}x, {:.2}x",
        100.0 * (one.1 / plain.1 - 1.0),
        100.0 * (one.0 / plain.0 - 1.0),
        one.1 / two.1,
        one.0 / two.0,
        plain.1 / apart.1,
        plain.0 / apart.0,
    );
}

/// What the process's threads have had of all cores: other programs do not count.
fn on_cores_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    let ticks = after_name.split_ascii_whitespace().skip(11).take(2);
    ticks.map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

/// The file, its footer read once.
#[derive(Clone)]
struct Shard {
    path: PathBuf,
    footer: ArrowReaderMetadata,
}

impl Shard {
    fn write(path: PathBuf) -> Shard {
        let group = |group: u64| {
            let rows = || (group * ROWS / GROUPS..(group + 1) * ROWS / GROUPS).map(mix64);
            let users = UInt64Array::from_iter_values(rows().map(|draw| draw % USERS));
            let items = UInt64Array::from_iter_values(rows().map(|draw| (draw >> 24) % 10_000));
            let values = Float32Array::from_iter_values(rows().map(|draw| (draw >> 60) as f32));
            let columns: [(&str, ArrayRef); 3] =
                [("user", Arc::new(users)), ("item", Arc::new(items)), ("value", Arc::new(values))];
            RecordBatch::try_from_iter(columns).unwrap()
        };
        let zstd = Compression::ZSTD(ZstdLevel::default());
        let properties = WriterProperties::builder().set_compression(zstd).build();
        let first = group(0);
        let file = File::create(&path).unwrap();
        let mut writer = ArrowWriter::try_new(file, first.schema(), Some(properties)).unwrap();
        for at in 0..GROUPS {
            writer.write(&group(at)).unwrap();
            writer.flush().unwrap();
        }
        writer.close().unwrap();
        let footer =
            ArrowReaderMetadata::load(&File::open(&path).unwrap(), ArrowReaderOptions::new());
        Shard { path, footer: footer.unwrap() }
    }

    fn read(&self, group: u64, mut row: impl FnMut(Row)) {
        let file = File::open(&self.path).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.footer.clone());
        let reader = reader.with_row_groups(vec![group as usize]).with_batch_size(8192);
        for batch in reader.build().unwrap() {
            let batch = batch.unwrap();
            let users = batch.column(0).as_primitive::<UInt64Type>().values();
            let items = batch.column(1).as_primitive::<UInt64Type>().values();
            let values = batch.column(2).as_primitive::<Float32Type>().values();
            let rows = users.iter().zip(items.iter()).zip(values.iter());
            rows.for_each(|((&user, &item), &value)| row((user, item, value)));
        }
    }
}

fn add(sums: &mut Sums, (user, _, value): Row) {
    let sum = sums.entry(user).or_default();
    (sum.0, sum.1) = (sum.0 + 1, sum.1 + value as u64);
}

/// Users, and a number that any difference in their sums changes.
fn digest(sums: &Sums) -> (usize, u64) {
    let one = |(user, (count, sum)): (&u64, &(u64, u64))| mix64(mix64(mix64(*user) ^ count) ^ sum);
    (sums.len(), sums.iter().map(one).fold(0, |a, b| a ^ b))
}

fn plain(shard: &Shard) -> Sums {
    sums(shard, 0..GROUPS)
}

fn sums(shard: &Shard, groups: impl Iterator<Item = u64>) -> Sums {
    let mut sums = Sums::default();
    groups.for_each(|group| shard.read(group, |row| add(&mut sums, row)));
    sums
}

/// Two threads, each with every other row group.
fn apart(shard: &Shard) -> Vec<Sums> {
    std::thread::scope(|scope| {
        let groups = |first: usize| (0..GROUPS).skip(first).step_by(2);
        let other = scope.spawn(move || sums(shard, groups(1)));
        let own = sums(shard, groups(0));
        vec![own, other.join().unwrap()]
    })
}

/// A row group an epoch for each worker; each worker's sums.
fn flow(shard: &Shard, workers: usize) -> Vec<Sums> {
    let cluster = Cluster::local(workers);
    let groups: Vec<u64> = (0..GROUPS).collect();
    let waves = groups.chunks(workers).map(<[u64]>::to_vec);
    let epochs: Vec<(Epoch, Vec<u64>)> = (0..).zip(waves).collect();
    let (all, shard, mine) = (Arc::new(Mutex::new(Vec::new())), shard.clone(), cluster.clone());
    let found = Arc::clone(&all);
    let body = move |worker: &mut timely::worker::Worker| {
        let (done, meters) = (Done::new(), Arc::new(Meters::default()));
        let (kept, read) = (Arc::clone(&found), ReadRows(shard.clone()));
        worker.dataflow::<Epoch, _, _>(|scope| {
            let (epochs, meters) = (epochs.clone(), Arc::clone(&meters));
            let groups = tasks(scope, epochs, WINDOW_EPOCHS, &done, Arc::clone(&meters));
            let (rows, _) = apply(groups, read, &meters);
            let by_user = Exchange::new(|row: &Row| mix64(row.0));
            let summed = rows.unary_frontier::<CapacityContainerBuilder<Vec<()>>, _, _, _>(
                by_user,
                "sum",
                |_, _| {
                    let mut sums = Sums::default();
                    move |(input, frontier), _| {
                        input.for_each_time(|_, rows| {
                            rows.for_each(|rows| {
                                rows.drain(..).for_each(|row| add(&mut sums, row))
                            });
                        });
                        if frontier.is_empty() && !sums.is_empty() {
                            kept.lock().unwrap().push(std::mem::take(&mut sums));
                        }
                    }
                },
            );
            done.follow(summed);
        });
        drive(worker, &done, &meters, &mine);
    };
    cluster.execute("bench", body).unwrap();
    std::mem::take(&mut *all.lock().unwrap())
}

/// Decodes row groups on the worker.
struct ReadRows(Shard);

impl Stage for ReadRows {
    type In = u64;
    type Out = Row;
    const NAME: StageName = StageName::Read;

    fn run(&mut self, groups: Vec<u64>, out: &mut Outcomes<Row>) {
        for group in groups {
            out.reserve(self.0.footer.metadata().row_group(group as usize).num_rows() as usize);
            self.0.read(group, |row| out.ok(row));
        }
    }
}

/// One round of [`mix64`] for a user's number.
#[derive(Default)]
struct Mixed(u64);

impl Hasher for Mixed {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(byte.into()));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = mix64(self.0 ^ value);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
