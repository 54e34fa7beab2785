//! How much is asked at once, and in a while.

use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

/// Shared by everybody who asks.
pub struct Limits {
    at_once: usize,
    per_second: Option<f64>,
    tokens_per_minute: Option<u64>,
    state: Mutex<State>,
    left: Condvar,
}

struct State {
    asking: usize,
    /// When the next may be asked.
    next: Instant,
    /// When the tokens asked for so far are allowed.
    tokens: Instant,
}

/// The right to ask one thing.
pub struct Turn<'a>(&'a Limits);

impl Limits {
    /// At most so many at once, in a second, and so many tokens in a minute.
    pub fn new(at_once: usize, per_second: Option<f64>, tokens_per_minute: Option<u64>) -> Limits {
        let now = Instant::now();
        Limits {
            at_once: at_once.max(1),
            per_second,
            tokens_per_minute,
            state: Mutex::new(State { asking: 0, next: now, tokens: now }),
            left: Condvar::new(),
        }
    }

    /// Waits until something of about so many tokens may be asked.
    pub fn wait(&self, tokens: u64) -> Turn<'_> {
        let mut state = self.lock();
        while state.asking >= self.at_once {
            state = self.left.wait(state).expect("nothing panics while it holds this lock");
        }
        state.asking += 1;
        let now = Instant::now();
        let start = now.max(state.next).max(state.tokens);
        if let Some(rate) = self.per_second {
            state.next = start + Duration::from_secs_f64(1.0 / rate);
        }
        state.tokens = start + self.time_of(tokens);
        drop(state);
        std::thread::sleep(start.saturating_duration_since(now));
        Turn(self)
    }

    /// Says how many tokens it were in the end.
    pub fn correct(&self, about: u64, tokens: u64) {
        let (more, less) = (self.time_of(tokens), self.time_of(about));
        let mut state = self.lock();
        state.tokens += more.saturating_sub(less);
        let back = less.saturating_sub(more);
        state.tokens = state.tokens.checked_sub(back).unwrap_or(state.tokens);
    }

    /// The time in which so many tokens are allowed.
    fn time_of(&self, tokens: u64) -> Duration {
        let minutes = self.tokens_per_minute.map_or(0.0, |most| tokens as f64 / most as f64);
        Duration::from_secs_f64(60.0 * minutes)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Ok(mut state) = self.0.state.lock() {
            state.asking -= 1;
        }
        self.0.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_are_asked_at_once_than_allowed_nor_sooner() {
        let limits = Limits::new(2, Some(50.0), None);
        let (most, now) = (Mutex::new(0), Instant::now());
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    let _turn = limits.wait(1);
                    let asking = limits.lock().asking;
                    let mut most = most.lock().expect("nobody panics");
                    *most = asking.max(*most);
                });
            }
        });
        assert!(*most.lock().expect("nobody panics") <= 2);
        assert!(now.elapsed() >= Duration::from_millis(95), "six at 50 a second");
        assert_eq!(limits.lock().asking, 0);
    }

    #[test]
    fn tokens_are_spread_over_minutes_and_corrected() {
        let limits = Limits::new(9, None, Some(60_000));
        let now = Instant::now();
        drop(limits.wait(100));
        limits.correct(100, 20); // twenty milliseconds' worth
        drop(limits.wait(0));
        let took = now.elapsed();
        assert!(took >= Duration::from_millis(15), "{took:?}");
        assert!(took < Duration::from_millis(95), "{took:?}");
    }
}
