//! Where keys and values are kept on a device: pages of memory that is taken once.

use super::Heads;
use crate::device::cuda::{Bf16, Buffer, Driver};
use crate::error::Result;
use crate::model::decoder::DecoderConfig;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Tokens of a page: the positions that the attention kernel takes in a step lie together.
pub const PAGE: usize = 64;

/// Pages in each layer's memory, which prompts take and give back.
pub struct Shelf {
    /// Of each layer, (pages · [`PAGE`], 2 · shared · wide): a token's keys, then its values.
    layers: Vec<Buffer<Bf16>>,
    page_bytes: usize,
    free: Mutex<BTreeSet<u32>>,
}

impl Shelf {
    /// Takes so many pages.
    pub fn new(
        driver: &dyn Driver,
        config: &DecoderConfig,
        heads: Heads,
        pages: usize,
    ) -> Result<Arc<Self>> {
        let numbers = 2 * config.shared * heads.wide;
        let layer = |_| Buffer::new(driver, pages * PAGE * numbers);
        Ok(Arc::new(Self {
            layers: (0..config.layers).map(layer).collect::<Result<_>>()?,
            page_bytes: page_bytes(config, heads),
            free: Mutex::new((0..pages as u32).collect()),
        }))
    }

    /// A layer's keys and values.
    pub fn layer(&self, l: usize) -> &Buffer<Bf16> {
        &self.layers[l]
    }

    /// So many pages, if they are free: the first ones, so that they are neighbours if possible.
    pub fn take(self: &Arc<Self>, count: usize) -> Option<Vec<Page>> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < count {
            return None;
        }
        let page = |number| Page(Arc::new(Taken { shelf: Arc::clone(self), number }));
        Some((0..count).filter_map(|_| free.pop_first()).map(page).collect())
    }
}

/// What a page takes in all layers.
pub fn page_bytes(config: &DecoderConfig, heads: Heads) -> usize {
    config.layers * PAGE * 2 * config.shared * heads.wide * size_of::<Bf16>()
}

/// How many pages there are for so many bytes of what is not being read, and what is being read.
pub fn pages(page_bytes: usize, tokens_max: usize, bytes: usize) -> usize {
    bytes / page_bytes + tokens_max.div_ceil(PAGE)
}

/// A page, which is free again when the last clone of it is gone.
#[derive(Clone)]
pub struct Page(Arc<Taken>);

struct Taken {
    shelf: Arc<Shelf>,
    number: u32,
}

impl Page {
    /// What it takes.
    pub fn bytes(&self) -> usize {
        self.0.shelf.page_bytes
    }

    /// Whether nobody else has it.
    pub fn is_own(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// Whether it is one of a shelf's.
    pub fn is_of(&self, shelf: &Arc<Shelf>) -> bool {
        Arc::ptr_eq(&self.0.shelf, shelf)
    }

    /// Its first row.
    fn row(&self) -> usize {
        self.0.number as usize * PAGE
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "page {}", self.0.number)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut free = self.shelf.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.insert(self.number);
    }
}

/// The rows of the first tokens that pages hold; pages that are neighbours as one.
pub fn rows(pages: &[Page], tokens: usize) -> Vec<Range<usize>> {
    let mut rows: Vec<Range<usize>> = Vec::new();
    for (page, first) in pages.iter().zip((0..tokens).step_by(PAGE)) {
        let own = page.row()..page.row() + PAGE.min(tokens - first);
        match rows.last_mut() {
            Some(last) if last.end == own.start => last.end = own.end,
            _ => rows.push(own),
        }
    }
    rows
}
