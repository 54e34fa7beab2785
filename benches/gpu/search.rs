//! The best items of many users, out of very many.

use super::cases::{Bench, Work, computes, moves};
use super::rates::drawn;
use super::table::Unit;
use steerage::device::cpu::top_k::{TopKQuery, TopKShape, reference};
use steerage::device::cuda::kernels::{
    Coarse, CoarseUsers, Exclusions, SCREENED_FIRST, SCREENED_GROWTH, ScreenRoom, Screened,
};
use steerage::device::cuda::{Buffer, Driver, Launch};
use steerage::error::{Error, Result};

/// 100 of 10 million items of width 64, for 1024 users.
pub const LARGE: TopKShape = TopKShape { users: 1024, items: 10_000_000, width: 64, k: 100 };
/// For an emulated device.
pub const TINY: TopKShape = TopKShape { users: 9, items: 100, width: 8, k: 5 };
/// Users whose lists are compared with the definition's.
const CHECKED: usize = 2;

/// Times a search behind a screen, and compares some lists with the definition's, bit for bit.
///
/// # Errors
/// If the device fails, or a list is another.
pub fn run(bench: &mut Bench<'_>, shape: TopKShape) -> Result<()> {
    let TopKShape { users, items, k, .. } = shape;
    let search = Drawn::new(bench.driver, shape)?;
    let launches = search.launches(bench.driver)?;
    let note = format!("{k} of {items}, {users} users");
    bench.together(("a whole search", &note), &launches, screens(shape))?;
    search.check(bench.driver)
}

/// Times the last round of a search, which is most of it: the screen, and the exact scores of what
/// passes it.
///
/// # Errors
/// If the device fails, or a list is another.
pub fn rounds(bench: &mut Bench<'_>, width: usize) -> Result<()> {
    let s = bench.sizes;
    let shape = TopKShape { users: s.users, items: s.searched, width, k: s.k };
    let search = Drawn::new(bench.driver, shape)?;
    let launches = search.launches(bench.driver)?;
    bench.driver.launch_all(&launches)?;
    search.check(bench.driver)?;
    let [before @ .., screen, rescore, _] = &launches[..] else {
        return Err(Error::Device("a search of no rounds".into()));
    };
    // What was timed has left some that passed: they are taken away, and all begins anew.
    let mut again = vec![rescore.clone()];
    again.extend_from_slice(before);
    let note = format!("{} of {}, width {width}", s.k, s.searched);
    let seen = seen_before(s.searched);
    let last = TopKShape { items: s.searched - seen, ..shape };
    bench.launch_after(&note, &again, screen, screens(last))?;
    again.push(screen.clone());
    // A user's row once, and about as many items as the list has for each time that as many come as
    // came before; of one round all of them.
    let passed = if seen == 0 { s.searched } else { s.k * (s.searched - seen).div_ceil(seen) };
    let rows = s.users * (1 + passed);
    bench.launch_after(&note, &again, rescore, moves(rows * width * size_of::<f32>()))
}

/// How many items the rounds before the last one have looked at.
fn seen_before(items: usize) -> usize {
    let rounds = std::iter::successors(Some(SCREENED_FIRST), |seen| Some(SCREENED_GROWTH * seen));
    rounds.take_while(|seen| *seen < items).last().unwrap_or(0)
}

/// What a screen must do at least: read the items once, and multiply all pairs.
fn screens(shape: TopKShape) -> Work {
    let bytes = Coarse::bytes(shape.items, shape.width);
    Work { bytes: Some(bytes), ..computes(shape.flops(), Unit::Bf16) }
}

/// Users and items that look random, and a search.
struct Drawn {
    shape: TopKShape,
    users: Buffer<f32>,
    items: Buffer<f32>,
    coarse: Coarse,
    coarse_users: CoarseUsers,
    excluded: Exclusions,
    room: ScreenRoom,
    lists: Buffer<u32>,
    scores: Buffer<f32>,
}

impl Drawn {
    fn new(driver: &dyn Driver, shape: TopKShape) -> Result<Self> {
        let TopKShape { users: count, items, width, k } = shape;
        let users = drawn::<f32>(driver, 201, count * width)?;
        let items = drawn::<f32>(driver, 202, items * width)?;
        Ok(Self {
            shape,
            coarse: Coarse::of(driver, &items.read(driver)?, width)?,
            coarse_users: CoarseUsers::of(driver, &users.read(driver)?, width)?,
            users,
            items,
            excluded: Exclusions::of(driver, &vec![&[][..]; count])?,
            room: ScreenRoom::new(driver, count, k)?,
            lists: Buffer::new(driver, count * k)?,
            scores: Buffer::new(driver, count * k)?,
        })
    }

    fn launches(&self, driver: &dyn Driver) -> Result<Vec<Launch>> {
        let call = Screened {
            shape: self.shape,
            users: &self.users,
            coarse_users: &self.coarse_users,
            items: &self.items,
            coarse: &self.coarse,
            excluded: &self.excluded,
            barred: None,
            room: &self.room,
            lists: &self.lists,
            scores: &self.scores,
        };
        call.launches(driver)
    }

    /// That some lists are the definition's, bit for bit.
    fn check(&self, driver: &dyn Driver) -> Result<()> {
        let TopKShape { users, width, k, .. } = self.shape;
        let some = CHECKED.min(users);
        let query = TopKQuery { k, excluded: &[], barred: None, threads: 1 };
        let (rows, table) = (self.users.read(driver)?, self.items.read(driver)?);
        let expected = reference::top_k(&table, &rows[..some * width], width, &query);
        let (lists, scores) = (self.lists.read(driver)?, self.scores.read(driver)?);
        let bits = |scores: &[f32]| scores.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
        if lists[..some * k] != expected.items
            || bits(&scores[..some * k]) != bits(&expected.scores)
        {
            return Err(Error::Device("a search's lists differ from the definition's".into()));
        }
        Ok(())
    }
}
