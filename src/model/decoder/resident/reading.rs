//! Reading on, on a device: as on the processor, what was read of a prompt is kept and computed
//! once. It is kept in pages, which prompts that begin alike share.
//!
//! The logits are those of [`Resident::logits`] over whole prompts, bit for bit: a query's sums go
//! over the same keys in the same steps, wherever these lie.

use super::pass::Placed;
use super::shelf::{PAGE, Page, Shelf, page_bytes, pages, rows};
use super::{Resident, refused};
use crate::device::Queries;
use crate::device::cuda::kernels::{Indices, Paths};
use crate::error::Result;
use crate::model::decoder::batch::SHARED_MIN;
use crate::model::decoder::reading::FOREIGN;
use crate::model::decoder::{Ask, Batch, DAMAGED, KeyValues, Prompt};
use std::ops::Range;
use std::sync::Arc;

/// A prompt that is read on.
struct Going {
    /// Which of those that ask.
    at: usize,
    /// How many tokens are there already.
    known: usize,
}

impl Resident {
    /// Takes memory to keep what is read in: so many bytes for what is not being read, and room for
    /// a batch's tokens.
    ///
    /// Errors: [`crate::error::Error::Device`] if the device has too little memory.
    pub fn keeping(mut self, bytes: usize) -> Result<Self> {
        let pages = pages(page_bytes(&self.config, self.heads), self.tokens_max, bytes);
        self.shelf = Some(Shelf::new(&*self.driver, &self.config, self.heads, pages)?);
        Ok(self)
    }

    /// How many of the first prompts, of so many tokens, can be kept while they are read; at least
    /// one.
    pub fn kept_together(&self, prompts: impl Iterator<Item = usize>) -> usize {
        let mut pages = 0;
        let fits = prompts.take_while(|tokens| {
            pages += tokens.div_ceil(PAGE);
            pages <= self.tokens_max.div_ceil(PAGE)
        });
        fits.count().max(1)
    }

    /// The last-position logits of each prompt, as [`Resident::logits`] and with the same bits, but
    /// what is kept of a prompt, or of the one before it, is not computed again; the rest is, and
    /// is kept. What finds no room is read whole, and nothing is kept of it.
    ///
    /// Errors: those of [`Resident::logits`], and [`crate::error::Error::Model`] for what another
    /// model has kept. After an error nothing is kept.
    pub fn logits_on(&self, asks: &mut [Ask<'_>], tokens: &[u32]) -> Result<Vec<f32>> {
        let logits = self.read_on(asks, tokens);
        if logits.is_err() {
            asks.iter_mut().for_each(|ask| *ask.kept = KeyValues::default());
        }
        logits
    }

    fn read_on(&self, asks: &mut [Ask<'_>], tokens: &[u32]) -> Result<Vec<f32>> {
        self.check(asks.iter().map(|ask| ask.prompt), tokens)?;
        for (at, ask) in asks.iter().enumerate() {
            if !ask.kept.is_of(self.shelf.as_ref()) {
                return Err(refused(at, FOREIGN));
            }
        }
        let (mut going, mut whole) = (Vec::new(), Vec::new());
        for at in 0..asks.len() {
            let (before, ask) = asks.split_at_mut(at);
            let before = before.last().map(|before| &*before.kept);
            match self.shelf.as_ref().and_then(|shelf| known(shelf, &mut ask[0], before)) {
                Some(known) => going.push(Going { at, known }),
                None => whole.push(at),
            }
        }
        let asks = &*asks;
        let mut left = &going[..];
        let mut logits = self.passes(tokens, &mut || self.next_on(asks, &mut left))?;
        if !whole.is_empty() {
            let prompts: Vec<Prompt> = whole.iter().map(|at| asks[*at].prompt.clone()).collect();
            let mut left = &prompts[..];
            logits.extend(self.passes(tokens, &mut || self.next(&mut left))?);
        }
        let order = going.iter().map(|going| going.at).chain(whole);
        let width = tokens.len().max(1);
        let mut out = vec![0.0; logits.len()];
        for (at, logits) in order.zip(logits.chunks_exact(width)) {
            out[at * width..][..width].copy_from_slice(logits);
        }
        match out.iter().position(|logit| !logit.is_finite()) {
            None => Ok(out),
            Some(at) => Err(refused(at / width, DAMAGED)),
        }
    }

    /// Takes a batch off those that go on, if any are left, and places it.
    fn next_on(&self, asks: &[Ask<'_>], left: &mut &[Going]) -> Result<Option<Placed>> {
        let Some(shelf) = &self.shelf else { return Ok(None) };
        let mut tokens = 0;
        let fits = left.iter().take_while(|going| {
            tokens += asks[going.at].prompt.tokens.len() - going.known;
            tokens <= self.tokens_max
        });
        let (some, after) = left.split_at(fits.count());
        *left = after;
        if some.is_empty() {
            return Ok(None);
        }
        let (mut batch, mut seen, mut places) = (Batch::empty(), Vec::new(), Vec::new());
        for Going { at, known } in some {
            let (prompt, pages) = (asks[*at].prompt, &asks[*at].kept.pages);
            batch.end(prompt, *known, None);
            let rows: Vec<Range<usize>> = rows(pages, prompt.tokens.len());
            places.extend(rows.iter().cloned().flatten().skip(*known).map(|row| row as u32));
            seen.push(rows);
        }
        let (driver, shape) = (&*self.driver, self.shape(&batch));
        let paths = |queries| Paths::kept(driver, &shape, queries, &seen);
        let paths = [paths(Queries::All)?, paths(Queries::Last)?];
        let keep = (Indices::of(driver, &places)?, Arc::clone(shelf));
        let mut placed = self.place(&batch, paths)?;
        placed.keep = Some(keep);
        Ok(Some(placed))
    }
}

/// Finds room for a prompt, and tells how many of its tokens are there already: those that are kept
/// of it, or those that it begins with as the one before; none if there is no room.
fn known(shelf: &Arc<Shelf>, ask: &mut Ask<'_>, before: Option<&KeyValues>) -> Option<usize> {
    let (prompt, mut kept) = (ask.prompt, std::mem::take(ask.kept));
    let mut own = kept.shared(prompt);
    // A page that goes on otherwise elsewhere cannot be written.
    if !own.is_multiple_of(PAGE) && !kept.pages[own / PAGE].is_own() {
        own -= own % PAGE;
    }
    let whole = |before: &KeyValues| before.shared(prompt) / PAGE * PAGE;
    let lent = before.map_or(0, whole);
    let (known, mut pages) = match before {
        Some(before) if lent >= own + SHARED_MIN => (lent, before.pages[..lent / PAGE].to_vec()),
        _ => {
            kept.truncate(own);
            (own, kept.pages.to_vec())
        }
    };
    drop(kept); // what is not shared is free
    let more = shelf.take(prompt.tokens.len().div_ceil(PAGE) - pages.len())?;
    pages.extend(more);
    *ask.kept = KeyValues::paged(prompt, pages);
    Some(known)
}

impl KeyValues {
    fn paged(prompt: &Prompt, pages: Vec<Page>) -> Self {
        let Prompt { tokens, adapter } = prompt.clone();
        Self { tokens, adapter, layers: Vec::new(), pages }
    }
}
