//! Uploads beside what a device computes: through pinned memory, on a stream of their own.
//!
//! Pinned memory is two halves. One is filled while the other is copied, so a large upload runs at
//! the rate of the slower of the two, and a small one returns before it is on the device.
#![allow(unsafe_code)]

use super::nvidia::failed;
use crate::error::Result;
use cudarc::driver::{CudaContext, CudaEvent, CudaStream, DriverError, PinnedHostSlice, result};
use std::sync::Arc;

/// Bytes of a half.
const HALF: usize = 4 << 20;

/// A stream for copies to the device, and the memory that they are made from.
pub(super) struct Staging {
    stream: Arc<CudaStream>,
    halves: [Half; 2],
    /// Which half is being filled.
    turn: usize,
    /// How far.
    used: usize,
}

struct Half {
    pinned: PinnedHostSlice<u8>,
    /// The last copy that reads it.
    copied: CudaEvent,
}

impl Half {
    fn new(context: &Arc<CudaContext>) -> std::result::Result<Self, DriverError> {
        // SAFETY: bytes of any value are bytes, and each is written before it is read.
        let pinned = unsafe { context.alloc_pinned(HALF) }?;
        Ok(Self { pinned, copied: context.new_event(None)? })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Nothing may still read the memory when it is given back.
        let _ = self.stream.synchronize();
    }
}

impl Staging {
    /// Errors: too little memory that can be pinned.
    pub(super) fn new(context: &Arc<CudaContext>) -> Result<Self> {
        let make = || {
            let halves = [Half::new(context)?, Half::new(context)?];
            Ok(Self { stream: context.new_stream()?, halves, turn: 0, used: 0 })
        };
        make().map_err(failed("take pinned memory"))
    }

    /// Copies bytes to an address, and lets `then` wait for that. Returns when `from` may change.
    ///
    /// # Safety
    /// From the address on there are as many bytes, they stay until the device has done what it
    /// was told, and nothing that it was told before this knows them.
    pub(super) unsafe fn copy(&mut self, from: &[u8], to: u64, then: &CudaStream) -> Result<()> {
        let mut left = from;
        let mut copy = || {
            while !left.is_empty() {
                if self.used == HALF {
                    (self.turn, self.used) = (1 - self.turn, 0);
                    self.halves[self.turn].copied.synchronize()?;
                }
                let Half { pinned, copied } = &mut self.halves[self.turn];
                let (now, after) = left.split_at(left.len().min(HALF - self.used));
                let place = &mut pinned.as_mut_slice()?[self.used..][..now.len()];
                place.copy_from_slice(now);
                let address = to + (from.len() - left.len()) as u64;
                // SAFETY: the caller has seen to the bytes at the address. Those here stay as they
                // are until `copied` has come: only then does this half begin anew.
                unsafe { result::memcpy_htod_async(address, place, self.stream.cu_stream()) }?;
                copied.record(&self.stream)?;
                (self.used, left) = (self.used + now.len(), after);
            }
            then.wait(&self.halves[self.turn].copied)
        };
        copy().map_err(failed("upload"))
    }
}
