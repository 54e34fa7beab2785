//! Does the device wait for the host? When it began and ended what it was told, batch by batch.

use super::decoder::{Setting, prompts};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use steerage::device::cuda::{Driver, Kind, Launch, Memory, Moment, Nvidia, Product, View};
use steerage::error::{Error, Result};
use steerage::model::decoder::{Drawn, Resident};

/// A device that can tell when it did something.
pub trait Clocked: Driver + Send + Sync {
    type Moment: Send;
    /// When all that it was told so far will be done.
    ///
    /// # Errors
    /// If the device failed.
    fn mark(&self) -> Result<Self::Moment>;
    /// Seconds from one moment to another.
    ///
    /// # Errors
    /// If the device failed.
    fn seconds(&self, from: &Self::Moment, to: &Self::Moment) -> Result<f64>;
}

impl Clocked for Nvidia {
    type Moment = Moment;

    fn mark(&self) -> Result<Moment> {
        self.mark()
    }

    fn seconds(&self, from: &Moment, to: &Moment) -> Result<f64> {
        self.seconds(from, to)
    }
}

/// A device whose launches and products are noted, by when they began and ended; and downloads,
/// which end batches.
struct Watched<D: Clocked> {
    device: Arc<D>,
    batches: Mutex<Batches<D::Moment>>,
}

/// From when to when each thing lasted: of the batches that have ended, and of this one.
struct Batches<M> {
    ended: Vec<Vec<[M; 2]>>,
    now: Vec<[M; 2]>,
}

impl<D: Clocked> Watched<D> {
    fn note(&self, run: impl FnOnce() -> Result<()>) -> Result<()> {
        let from = self.device.mark()?;
        run()?;
        let to = self.device.mark()?;
        self.batches().now.push([from, to]);
        Ok(())
    }

    fn batches(&self) -> MutexGuard<'_, Batches<D::Moment>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D: Clocked> Driver for Watched<D> {
    fn take(&self, bytes: usize) -> Result<Arc<dyn Memory>> {
        self.device.take(bytes)
    }
    fn upload(&self, from: &[u8], to: &View) -> Result<()> {
        self.device.upload(from, to)
    }
    fn place(&self, from: &[u8], kind: Kind) -> Result<View> {
        self.device.place(from, kind)
    }
    fn download(&self, from: &View, to: &mut [u8]) -> Result<()> {
        self.device.download(from, to)?;
        let mut batches = self.batches();
        let batch = std::mem::take(&mut batches.now);
        batches.ended.push(batch);
        Ok(())
    }
    fn launch(&self, launch: &Launch) -> Result<()> {
        self.note(|| self.device.launch(launch))
    }
    fn product(&self, product: &Product) -> Result<()> {
        self.note(|| self.device.product(product))
    }
    fn has_group_products(&self) -> bool {
        self.device.has_group_products()
    }
    fn has_fp8(&self) -> bool {
        self.device.has_fp8()
    }
    fn synchronize(&self) -> Result<()> {
        self.device.synchronize()
    }
}

/// What the device did in a batch, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// From the end of the batch before: what the device waited for the host.
    pub waited: f64,
    /// From the beginning of its first kernel to the end of its last one.
    pub lasted: f64,
    /// While no kernel ran, in that.
    pub idle: f64,
}

/// Scores prompts once to warm up and twice watched, by two threads in turns, as a job's engine
/// does: while the device computes for one, the other makes what comes next.
///
/// # Errors
/// If the device fails.
pub fn run<D: Clocked + 'static>(device: &Arc<D>, setting: &Setting) -> Result<Vec<Batch>> {
    let batches = Mutex::new(Batches { ended: Vec::new(), now: Vec::new() });
    let watched = Arc::new(Watched { device: Arc::clone(device), batches });
    let drawn = Drawn { adapters: 1, rank: setting.rank, seed: 7, fp8: false };
    let decoder = Resident::drawn(watched.clone(), setting.config.clone(), drawn, setting.batch)?;
    let (prompts, labels) = (prompts(setting, 1), 0..setting.candidates as u32);
    let labels: Vec<u32> = labels.collect();
    decoder.logits(&prompts, &labels)?;
    watched.batches().ended.clear();
    let (half, other) = prompts.split_at(prompts.len() / 2);
    std::thread::scope(|threads| {
        let ask = |prompts| {
            let (decoder, labels) = (&decoder, &labels);
            threads
                .spawn(move || (0..2).try_for_each(|_| decoder.logits(prompts, labels).map(drop)))
        };
        [ask(half), ask(other)].into_iter().try_for_each(|asked| {
            asked.join().map_err(|_| Error::Device("a thread of the timeline panicked".into()))?
        })
    })?;
    let batches = std::mem::take(&mut watched.batches().ended);
    let batches: Vec<_> = batches.iter().filter(|batch| !batch.is_empty()).collect();
    let mut lines = Vec::new();
    for (at, batch) in batches.iter().enumerate() {
        let [first, last] = [&batch[0], &batch[batch.len() - 1]];
        let busy = batch.iter().map(|[from, to]| device.seconds(from, to));
        let busy: f64 = busy.sum::<Result<f64>>()?;
        let before = at.checked_sub(1).and_then(|before| batches[before].last());
        let waited = before.map_or(Ok(0.0), |before| device.seconds(&before[1], &first[0]))?;
        let lasted = device.seconds(&first[0], &last[1])?;
        lines.push(Batch { waited, lasted, idle: lasted - busy });
    }
    Ok(lines)
}

/// A line for each batch, and one for all.
pub fn lines(batches: &[Batch]) -> Vec<String> {
    let mut lines = vec!["batch  waited for the host     lasted   of that idle".to_owned()];
    for (at, Batch { waited, lasted, idle }) in batches.iter().enumerate() {
        let [waited, idle] = [waited * 1e6, idle * 1e6];
        lines.push(format!(
            "{:5}  {waited:16.0} us  {:8.2} ms  {idle:8.0} us",
            at + 1,
            lasted * 1e3
        ));
    }
    let sum = |of: fn(&Batch) -> f64| batches.iter().map(of).sum::<f64>();
    let (all, idle) = (sum(|b| b.waited + b.lasted), sum(|b| b.waited + b.idle));
    lines.push(format!("busy for {:.2} % of the time", 100.0 * (1.0 - idle / all)));
    lines
}
