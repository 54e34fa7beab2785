//! The catalogue's texts to vectors, part by part; a text that was encoded before is not encoded
//! again.

use super::write::Written;
use super::{Outcomes, Stage};
use crate::error::Result;
use crate::plan::Task;
use crate::store::part::embeddings::{Embedding, encode, text_hash};
use crate::store::{RunDir, part_key};
use crate::types::{Catalogue, Epoch, ItemId, StageName};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Gives the vectors of texts, (texts, width) row-major.
pub type EncodeTexts = Arc<dyn Fn(&[String]) -> Result<Vec<f32>> + Send + Sync>;

/// Puts an item into words.
pub type ItemText = Arc<dyn Fn(ItemId) -> String + Send + Sync>;

/// A range of the catalogue → its vectors.
#[derive(Clone)]
pub struct EmbedItems {
    /// The items.
    pub catalogue: Arc<Catalogue>,
    /// What is encoded of an item.
    pub text: ItemText,
    /// The encoder.
    pub encode: EncodeTexts,
    /// Vectors of texts that the same encoder gave before, by the texts' hashes.
    pub known: Arc<HashMap<String, Vec<f32>>>,
    /// How many were taken from there.
    pub reused: Arc<AtomicU64>,
    /// Items of a part.
    pub part_items: usize,
}

/// The vectors of a part.
pub struct Embedded {
    /// Which part.
    pub partition: u32,
    /// In the order of the catalogue.
    pub rows: Vec<Embedding>,
}

impl EmbedItems {
    fn items(&self, partition: u32) -> Range<usize> {
        let start = partition as usize * self.part_items;
        start..(start + self.part_items).min(self.catalogue.len())
    }

    fn embed(&self, partition: u32) -> Result<Embedded> {
        let (mut rows, mut new, mut texts) = (Vec::new(), Vec::new(), Vec::new());
        for item in self.items(partition) {
            let text = (self.text)(item as ItemId);
            let text_hash = text_hash(&text);
            let known = self.known.get(&text_hash).cloned();
            if known.is_none() {
                new.push(rows.len());
                texts.push(text);
            }
            let (item, vector) = (self.catalogue.keys[item].clone(), known.unwrap_or_default());
            rows.push(Embedding { item, text_hash, vector });
        }
        let vectors = (self.encode)(&texts)?;
        let width = vectors.len().checked_div(texts.len()).unwrap_or(0);
        for (at, vector) in new.iter().zip(vectors.chunks_exact(width.max(1))) {
            rows[*at].vector = vector.to_vec();
        }
        self.reused.fetch_add((rows.len() - new.len()) as u64, Relaxed);
        Ok(Embedded { partition, rows })
    }
}

impl Stage for EmbedItems {
    type In = Task;
    type Out = Embedded;
    const NAME: StageName = StageName::Encode;

    fn run(&mut self, tasks: Vec<Task>, out: &mut Outcomes<Embedded>) {
        for task in tasks {
            match self.embed(task.shard) {
                Ok(embedded) => out.ok(embedded),
                Err(error) => out.fail(&error),
            }
        }
    }
}

/// Puts the vectors of parts.
pub struct WriteEmbeddings {
    /// Where to.
    pub run: RunDir,
    /// Which epoch each part belongs to.
    pub epochs: Arc<Vec<Epoch>>,
}

impl Stage for WriteEmbeddings {
    type In = Embedded;
    type Out = Written<()>;
    const NAME: StageName = StageName::Write;

    fn run(&mut self, parts: Vec<Embedded>, out: &mut Outcomes<Written<()>>) {
        for Embedded { partition, rows } in parts {
            let key = part_key(self.epochs[partition as usize], partition);
            let count = rows.len() as u64;
            let put = encode(&rows).and_then(|bytes| self.run.put_part(key, count, bytes.into()));
            match put {
                Ok(part) => out.ok(Written { part, covers: count, extra: () }),
                Err(error) => out.fail(&error),
            }
        }
    }
}
