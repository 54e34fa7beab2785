//! Storage that loses requests and answers, by a seed: (did it happen) × (did you hear of it).

use crate::store::{Created, Failure, Listed, Objects};
use crate::types::{mix64, unit_f64};
use bytes::Bytes;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// What goes wrong, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Operation n of a store always fares the same under one seed.
    pub seed: u64,
    /// How likely a request gets lost: it did not happen, and nobody hears of it.
    pub request_lost: f64,
    /// How likely an answer gets lost: it happened, and nobody hears of it.
    pub reply_lost: f64,
    /// After so many losses in a row an operation succeeds.
    pub losses_in_a_row_max: u32,
    /// The disk is full after so many objects.
    pub full_after_puts: Option<u64>,
}

impl Default for Weather {
    fn default() -> Weather {
        Weather {
            seed: 0,
            request_lost: 0.0,
            reply_lost: 0.0,
            losses_in_a_row_max: 3,
            full_after_puts: None,
        }
    }
}

/// Called with the number of objects put so far, the last one included: a place to die.
pub type AfterPut = Box<dyn Fn(u64) + Send + Sync>;

/// A store's objects, in bad weather.
pub struct FaultyStore<O> {
    inner: O,
    weather: Weather,
    after_put: AfterPut,
    operations: AtomicU64,
    losses_in_a_row: AtomicU32,
    puts: AtomicU64,
}

enum Fate {
    Fine,
    RequestLost,
    ReplyLost,
}

impl<O: Objects> FaultyStore<O> {
    /// Puts the weather before the objects.
    pub fn new(inner: O, weather: Weather) -> FaultyStore<O> {
        FaultyStore {
            inner,
            weather,
            after_put: Box::new(|_| {}),
            operations: AtomicU64::new(0),
            losses_in_a_row: AtomicU32::new(0),
            puts: AtomicU64::new(0),
        }
    }

    /// Has a callback called after each object that was put, before anybody hears of it: a process
    /// that ends there is one that was killed after its n-th put.
    pub fn after_put(self, after_put: impl Fn(u64) + Send + Sync + 'static) -> FaultyStore<O> {
        FaultyStore { after_put: Box::new(after_put), ..self }
    }

    /// How many operations were tried so far.
    pub fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }

    fn through<T>(&self, operation: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        match self.fate() {
            Fate::Fine => operation(),
            Fate::RequestLost => Err(Failure::Unknown("the request was lost".to_owned())),
            Fate::ReplyLost => {
                operation()?;
                Err(Failure::Unknown("the reply was lost".to_owned()))
            }
        }
    }

    fn fate(&self) -> Fate {
        let operation = self.operations.fetch_add(1, Ordering::Relaxed);
        let draw = unit_f64(mix64(self.weather.seed ^ mix64(operation)));
        let in_a_row = self.losses_in_a_row.load(Ordering::Relaxed);
        let lost = draw < self.weather.request_lost + self.weather.reply_lost;
        if !lost || in_a_row >= self.weather.losses_in_a_row_max {
            self.losses_in_a_row.store(0, Ordering::Relaxed);
            return Fate::Fine;
        }
        self.losses_in_a_row.store(in_a_row + 1, Ordering::Relaxed);
        if draw < self.weather.request_lost { Fate::RequestLost } else { Fate::ReplyLost }
    }

    fn put<T>(&self, operation: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        self.through(|| {
            let full_after = self.weather.full_after_puts.unwrap_or(u64::MAX);
            if self.puts.load(Ordering::Relaxed) >= full_after {
                return Err(Failure::Full);
            }
            let done = operation()?;
            (self.after_put)(self.puts.fetch_add(1, Ordering::Relaxed) + 1);
            Ok(done)
        })
    }
}

impl<O: Objects> Objects for FaultyStore<O> {
    fn get(&self, key: &str) -> Result<Option<Bytes>, Failure> {
        self.through(|| self.inner.get(key))
    }

    fn create(&self, key: &str, bytes: Bytes) -> Result<Created, Failure> {
        self.put(|| self.inner.create(key, bytes))
    }

    fn replace(&self, key: &str, bytes: Bytes) -> Result<(), Failure> {
        self.put(|| self.inner.replace(key, bytes))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>, Failure> {
        self.through(|| self.inner.list(prefix))
    }

    fn size(&self, key: &str) -> Result<Option<u64>, Failure> {
        self.through(|| self.inner.size(key))
    }
}
