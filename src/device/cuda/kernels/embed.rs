//! Items, their positions and kinds.

use super::super::Buffer;
use super::super::launch::{EMBED, Launch, arguments};
use super::{Dropout, Indices, by_columns, fits, u32_of, wide};
use crate::error::Result;

/// out[t] = drop(scale · item_table[items[t]] + position_table[positions[t]] +
/// kind_table[kinds[t]]).
#[derive(Clone, Copy, Debug)]
pub struct Embed<'a> {
    /// Width of a row.
    pub hidden: usize,
    /// (tokens) rows of the item table.
    pub items: &'a Indices,
    /// (tokens) rows of the position table.
    pub positions: &'a Indices,
    /// (items, hidden).
    pub item_table: &'a Buffer<f32>,
    /// (positions, hidden).
    pub position_table: &'a Buffer<f32>,
    /// (tokens) rows of the kinds' table, and that, (kinds, hidden); or 0.
    pub kinds: Option<(&'a Indices, &'a Buffer<f32>)>,
    /// What items' rows are multiplied by: √hidden in a retriever, 1 in a text encoder.
    pub scale: f32,
    /// By token.
    pub dropout: Dropout<'a>,
    /// (tokens, hidden).
    pub out: &'a Buffer<f32>,
}

impl Embed<'_> {
    /// Checks the call.
    ///
    /// # Errors
    /// If a buffer's length disagrees with the shape, or a row is not in its table.
    pub fn launch(&self) -> Result<Launch> {
        let (name, hidden, tokens) = (EMBED.name, self.hidden, self.items.len());
        wide(name, "hidden", hidden, [1, i32::MAX as usize])?;
        fits(name, "out", self.out, &[tokens, hidden])?;
        let tables = [
            ("items", self.items, self.item_table),
            ("positions", self.positions, self.position_table),
        ];
        let kinds = self.kinds.map(|(kinds, table)| ("kinds", kinds, table));
        for (which, rows, table) in tables.into_iter().chain(kinds) {
            fits(name, which, rows.buffer(), &[tokens])?;
            rows.are_all(name, which)?;
            rows.are_in(name, which, table.len() / hidden)?;
        }
        let (items, positions) = (self.items.buffer(), self.positions.buffer());
        let (kinds, kind_table) = self.kinds.unzip();
        let kinds = kinds.map(Indices::buffer);
        let Self { item_table, position_table, out, scale, .. } = *self;
        let mut arguments =
            arguments![items, positions, kinds, item_table, position_table, kind_table, out];
        arguments.extend(arguments![u32_of(name, hidden)?, scale]);
        arguments.extend(self.dropout.arguments(name, tokens)?);
        let (blocks, threads) = by_columns(hidden);
        Launch::new(EMBED, arguments).over([tokens, blocks], threads)
    }
}
