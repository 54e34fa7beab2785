//! What a run shows while it works: bars on a terminal, plain lines in a scheduler's log.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use steerage::commands::Watcher;
use steerage::error::tell;
use steerage::flow::Meters;
use steerage::store::RunDir;
use steerage::train::Progress;

/// How often a bar is drawn anew.
const REDRAW: Duration = Duration::from_millis(100);
/// How often a log hears of a run that takes long.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Bars where somebody watches, lines where nobody does.
pub fn watcher() -> Box<dyn Watcher> {
    if std::io::stderr().is_terminal() { Box::<Bars>::default() } else { Box::<Lines>::default() }
}

/// Epochs, rows a second, faults, and when it will be done.
#[derive(Default)]
struct Bars {
    shown: Mutex<Option<Shown>>,
}

struct Shown {
    bar: ProgressBar,
    over: Arc<AtomicBool>,
    start: Instant,
}

impl Watcher for Bars {
    fn begin(&self, run: &RunDir, meters: &Arc<Meters>) {
        let bar = ProgressBar::new(meters.epochs_total.load(Relaxed).max(1));
        let style = "{prefix:<28!} {bar:30} {pos}/{len} epochs  {msg}  {elapsed} (left: {eta})";
        // The template is a constant, and a bar without its style is still a bar.
        bar.set_style(ProgressStyle::with_template(style).unwrap_or(ProgressStyle::default_bar()));
        bar.set_prefix(run.name().to_owned());
        let over = Arc::new(AtomicBool::new(false));
        let start = Instant::now();
        let (drawn, meters, ended) = (bar.clone(), Arc::clone(meters), Arc::clone(&over));
        std::thread::spawn(move || {
            while !ended.load(Relaxed) {
                if !meters.stages().is_empty() {
                    drawn.set_position(meters.epochs_done.load(Relaxed));
                    drawn.set_message(rows(&meters, start));
                }
                std::thread::sleep(REDRAW);
            }
        });
        self.put(Some(Shown { bar, over, start }));
    }

    fn step(&self, run: &RunDir, progress: &Progress) {
        let shown = self.shown.lock();
        if let Ok(Some(Shown { bar, start, .. })) = shown.as_deref() {
            bar.set_length(progress.steps_per_epoch);
            bar.set_position((progress.step - 1) % progress.steps_per_epoch + 1);
            bar.set_message(training(run, progress, *start));
        }
    }

    fn end(&self, run: &RunDir, skipped: bool, wall: Duration) {
        self.put(None);
        tell(ended(run, skipped, wall));
    }
}

impl Bars {
    /// Replaces the bar that is shown.
    fn put(&self, next: Option<Shown>) {
        let Ok(mut shown) = self.shown.lock() else { return };
        if let Some(Shown { bar, over, .. }) = std::mem::replace(&mut *shown, next) {
            over.store(true, Relaxed);
            bar.finish_and_clear();
        }
    }
}

/// One line when a run begins and ends, for each validation, and every ten seconds between.
#[derive(Default)]
struct Lines {
    over: Mutex<Option<Arc<AtomicBool>>>,
    start: Mutex<Option<Instant>>,
}

impl Watcher for Lines {
    fn begin(&self, run: &RunDir, meters: &Arc<Meters>) {
        let (done, total) = (meters.epochs_done.load(Relaxed), meters.epochs_total.load(Relaxed));
        if done > 0 && done < total {
            tell(format_args!("{}: goes on after {done} of {total} epochs", run.name()));
        }
        let over = Arc::new(AtomicBool::new(false));
        let (name, meters, ended) = (run.name().to_owned(), Arc::clone(meters), Arc::clone(&over));
        let start = Instant::now();
        std::thread::spawn(move || {
            let mut last = Instant::now();
            while !ended.load(Relaxed) {
                std::thread::sleep(REDRAW);
                if last.elapsed() >= LINE_EVERY && !meters.stages().is_empty() {
                    last = Instant::now();
                    let done = meters.epochs_done.load(Relaxed);
                    let total = meters.epochs_total.load(Relaxed);
                    tell(format_args!(
                        "{name}: {done} of {total} epochs, {}",
                        rows(&meters, start)
                    ));
                }
            }
        });
        if let (Ok(mut slot), Ok(mut began)) = (self.over.lock(), self.start.lock()) {
            (*slot, *began) = (Some(over), Some(start));
        }
    }

    fn step(&self, run: &RunDir, progress: &Progress) {
        let start = self.start.lock().ok().and_then(|start| *start);
        if let (Some(_), Some(start)) = (progress.validation, start) {
            tell(format_args!("{}: {}", run.name(), training(run, progress, start)));
        }
    }

    fn end(&self, run: &RunDir, skipped: bool, wall: Duration) {
        let over = self.over.lock().ok().and_then(|mut slot| slot.take());
        over.inspect(|over| over.store(true, Relaxed));
        tell(ended(run, skipped, wall));
    }
}

fn ended(run: &RunDir, skipped: bool, wall: Duration) -> String {
    match skipped {
        true => format!("{}: up to date, skipped", run.name()),
        false => format!("{}: done in {:.1} s", run.name(), wall.as_secs_f64()),
    }
}

fn rows(meters: &Meters, start: Instant) -> String {
    let rows = meters.rows.load(Relaxed);
    let rate = rows as f64 / start.elapsed().as_secs_f64().max(1e-3);
    format!("{rows} rows, {rate:.0} rows/s, {} faults", meters.faults.load(Relaxed))
}

fn training(run: &RunDir, progress: &Progress, start: Instant) -> String {
    let by = if run.manifest().kind == "train-encoder" { "AUC" } else { "NDCG@10" };
    let Progress { step, steps_per_epoch, loss, validation, .. } = progress;
    let seconds = start.elapsed().as_secs_f64();
    let epoch = (step - 1) / steps_per_epoch + 1;
    let validation = validation.map_or(String::new(), |value| format!(", {by} {value:.4}"));
    format!("epoch {epoch}, loss {loss:.4}{validation}, {seconds:.0} s")
}
