//! A device that only counts what memory it is asked for: plans take room on it by the code that
//! takes room on a real one.

use super::buffer::View;
use super::driver::{Driver, Memory, Product};
use super::launch::Launch;
use crate::error::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A device of any size and kind, which computes nothing and forgets what it is given.
#[derive(Debug, Default)]
pub struct Counted {
    held: Arc<AtomicUsize>,
    peak: AtomicUsize,
}

/// So many bytes of it.
#[derive(Debug)]
struct Nowhere {
    bytes: usize,
    held: Arc<AtomicUsize>,
}

impl Memory for Nowhere {
    fn address(&self) -> u64 {
        0
    }
}

impl Drop for Nowhere {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Counted {
    /// What is held of it, in bytes.
    pub fn bytes(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// What was held of it at most, in bytes.
    pub fn peak_bytes(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }
}

impl Driver for Counted {
    fn take(&self, bytes: usize) -> Result<Arc<dyn Memory>> {
        let held = self.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak.fetch_max(held, Ordering::Relaxed);
        Ok(Arc::new(Nowhere { bytes, held: Arc::clone(&self.held) }))
    }

    fn upload(&self, _: &[u8], _: &View) -> Result<()> {
        Ok(())
    }

    fn download(&self, _: &View, to: &mut [u8]) -> Result<()> {
        to.fill(0);
        Ok(())
    }

    fn launch(&self, _: &Launch) -> Result<()> {
        Ok(())
    }

    fn product(&self, _: &Product) -> Result<()> {
        Ok(())
    }

    fn has_fp8(&self) -> bool {
        true
    }

    fn synchronize(&self) -> Result<()> {
        Ok(())
    }
}
