//! The gradient of rows that were looked up, and of what they were multiplied with.

use super::super::launch::{
    Kernel, LOOKUP_BACKWARD_BF16, LOOKUP_BACKWARD_F32, LOOKUP_BACKWARD_PARTS, Launch, arguments,
};
use super::super::{Bf16, Buffer, Driver, Element};
use super::{by_columns, fits, u32_of, wide};
use crate::error::{Error, Result};

const NAME: &str = "lookup_backward";
/// Uses of a piece: enough to be worth a block, few enough that none is waited for.
pub const USES: usize = 64;
const PIECE: u32 = USES as u32;
/// The part of a piece that is all of its row.
const NONE: u32 = u32::MAX;

/// In what gradients come.
pub trait GradientNumber: Element {
    /// Sums rows of it.
    const KERNEL: Kernel;
}
impl GradientNumber for f32 {
    const KERNEL: Kernel = LOOKUP_BACKWARD_F32;
}
impl GradientNumber for Bf16 {
    const KERNEL: Kernel = LOOKUP_BACKWARD_BF16;
}

/// Which uses each row of a table has: a token has one, or several that follow each other.
#[derive(Clone, Debug)]
pub struct Uses {
    rows: usize,
    hidden: usize,
    count: usize,
    uses: Buffer<u32>,
    pieces: Buffer<u32>,
    /// The rows that have several pieces, whose sums go to `parts`.
    many: Buffer<u32>,
    parts: Buffer<f32>,
}

impl Uses {
    /// Sorts uses by the rows of a table (rows, hidden) that they are of, none for those that are
    /// not trained, and copies that to the device.
    ///
    /// # Errors
    /// If a row is not below `rows`; and those of [`Buffer::of`].
    pub fn of(
        driver: &dyn Driver,
        [rows, hidden]: [usize; 2],
        used: impl ExactSizeIterator<Item = Option<u32>> + Clone,
    ) -> Result<Self> {
        let count = used.len();
        u32_of(NAME, count)?;
        let last = used.clone().flatten().max().map_or(0, |row| row as usize + 1);
        super::indices::inside(NAME, "rows", last, rows)?;
        let Sorted { uses, pieces, many, parts } = Sorted::of(rows, used);
        Ok(Self {
            rows,
            hidden,
            count,
            uses: Buffer::of(driver, &uses)?,
            pieces: Buffer::of(driver, pieces.as_flattened())?,
            many: Buffer::of(driver, many.as_flattened())?,
            parts: Buffer::new(driver, parts as usize * hidden)?,
        })
    }
}

/// Uses by their rows, and what the kernels are told of them.
struct Sorted {
    uses: Vec<u32>,
    pieces: Vec<[u32; 4]>,
    many: Vec<[u32; 3]>,
    parts: u32,
}

impl Sorted {
    fn of(rows: usize, used: impl ExactSizeIterator<Item = Option<u32>> + Clone) -> Self {
        // A walk through a large table costs more than sorting a few uses.
        let (uses, runs) = if rows / 8 > used.len() { sorted(used) } else { counted(rows, used) };
        let (mut pieces, mut many, mut parts, mut end) = (Vec::new(), Vec::new(), 0, 0);
        for (row, count) in runs {
            let first = end;
            end += count;
            if count <= PIECE {
                pieces.push([first, end, row, NONE]);
                continue;
            }
            let own = parts;
            for first in (first..end).step_by(PIECE as usize) {
                pieces.push([first, end.min(first + PIECE), row, parts]);
                parts += 1;
            }
            many.push([row, own, parts]);
        }
        Self { uses, pieces, many, parts }
    }
}

/// Uses by their rows, in their order, and how many each row has.
type Runs = (Vec<u32>, Vec<(u32, u32)>);

fn sorted(used: impl Iterator<Item = Option<u32>>) -> Runs {
    let numbered = used.zip(0..).filter_map(|(row, at)| Some((row?, at)));
    let mut all: Vec<(u32, u32)> = numbered.collect();
    all.sort_unstable();
    let runs = all.chunk_by(|(a, _), (b, _)| a == b).map(|run| (run[0].0, run.len() as u32));
    (all.iter().map(|(_, at)| *at).collect(), runs.collect())
}

/// Counts, and then puts each use in its place.
fn counted(rows: usize, used: impl Iterator<Item = Option<u32>> + Clone) -> Runs {
    let mut ends = vec![0u32; rows];
    used.clone().flatten().for_each(|row| ends[row as usize] += 1);
    let counts = (0..).zip(&ends).filter(|(_, count)| **count > 0);
    let runs = counts.map(|(row, count)| (row, *count)).collect();
    let mut start = 0;
    for end in &mut ends {
        start += std::mem::replace(end, start);
    }
    let mut uses = vec![0; start as usize];
    for (row, at) in used.zip(0..).filter_map(|(row, at)| Some((row?, at))) {
        let place = &mut ends[row as usize];
        uses[*place as usize] = at;
        *place += 1;
    }
    (uses, runs)
}

/// Adds to each row's gradient that of its uses, in their order.
#[derive(Clone, Copy, Debug)]
pub struct LookupBackward<'a, T> {
    /// What the sums are multiplied by.
    pub scale: f32,
    /// Which use is which row's.
    pub uses: &'a Uses,
    /// (uses): what the row was multiplied with beside the token's; 1 without.
    pub weights: Option<&'a Buffer<f32>>,
    /// (tokens, hidden): the gradient of what was looked up, or what it was multiplied with.
    pub x: &'a Buffer<T>,
    /// (rows, hidden), added to.
    pub d_rows: &'a Buffer<f32>,
}

impl<T: GradientNumber> LookupBackward<'_, T> {
    /// Checks the call: one launch, or two if a row is used often.
    ///
    /// # Errors
    /// If a buffer's length disagrees with the shape.
    pub fn launches(&self) -> Result<Vec<Launch>> {
        let Uses { rows, hidden, count, uses, pieces, many, parts } = self.uses;
        wide(NAME, "hidden", *hidden, [1, i32::MAX as usize])?;
        let tokens = self.x.len() / hidden;
        fits(NAME, "x", self.x, &[tokens, *hidden])?;
        let each = count / tokens.max(1);
        if each * tokens != *count {
            return Err(Error::Device(format!(
                "{NAME}: expected as many uses of each token, found {count} of {tokens} tokens"
            )));
        }
        self.weights.map_or(Ok(()), |weights| fits(NAME, "weights", weights, &[*count]))?;
        fits(NAME, "d_rows", self.d_rows, &[*rows, *hidden])?;
        let (columns, each, scale) = (u32_of(NAME, *hidden)?, each as u32, self.scale);
        let Self { x, weights, d_rows, .. } = *self;
        let arguments = arguments![x, weights, pieces, uses, d_rows, parts, columns, each, scale];
        let (blocks, threads) = by_columns(*hidden);
        let mut launches =
            vec![Launch::new(T::KERNEL, arguments).over([pieces.len() / 4, blocks], threads)?];
        if !many.is_empty() {
            let launch =
                Launch::new(LOOKUP_BACKWARD_PARTS, arguments![parts, many, d_rows, columns]);
            launches.push(launch.over([many.len() / 3, blocks], threads)?);
        }
        Ok(launches)
    }
}
