//! The best items of many users, out of very many.

use super::cases::{Bench, computes};
use super::rates::drawn;
use super::table::Unit;
use steerage::device::cpu::top_k::{TopKQuery, TopKShape, reference};
use steerage::device::cuda::kernels::{Exclusions, TopK, found_length};
use steerage::device::cuda::{Buffer, Driver};
use steerage::error::{Error, Result};

/// 100 of 10 million items of width 64, for 1024 users.
pub const LARGE: TopKShape = TopKShape { users: 1024, items: 10_000_000, width: 64, k: 100 };
/// For an emulated device.
pub const TINY: TopKShape = TopKShape { users: 9, items: 100, width: 8, k: 5 };
/// Users whose lists are compared with the definition's.
const CHECKED: usize = 2;

/// Times the search and the merging of what its parts found, and compares some lists with the
/// definition's, bit for bit.
///
/// # Errors
/// If the device fails, or a list is another.
pub fn run(bench: &mut Bench<'_>, shape: TopKShape) -> Result<()> {
    let driver: &dyn Driver = bench.driver;
    let TopKShape { users, items, width, k } = shape;
    let (rows, table) =
        (&drawn::<f32>(driver, 201, users * width)?, &drawn::<f32>(driver, 202, items * width)?);
    let (lists, scores) = (Buffer::new(driver, users * k)?, Buffer::new(driver, users * k)?);
    let call = TopK {
        shape,
        users: rows,
        items: table,
        excluded: &Exclusions::of(driver, &vec![&[][..]; users])?,
        barred: None,
        found: &Buffer::new(driver, found_length(&shape))?,
        lists: &lists,
        scores: &scores,
    };
    let note = format!("{k} of {items}, {users} users");
    let [search, merge] = call.launches()?;
    bench.launch(&note, &search, computes(shape.flops(), Unit::F32))?;
    bench.launch(&note, &merge, super::cases::BUFFERS)?;
    let some = CHECKED.min(users);
    let query = TopKQuery { k, excluded: &[], barred: None, threads: 1 };
    let (rows, table) = (rows.read(driver)?, table.read(driver)?);
    let expected = reference::top_k(&table, &rows[..some * width], width, &query);
    let (lists, scores) = (lists.read(driver)?, scores.read(driver)?);
    let bits = |scores: &[f32]| scores.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
    if lists[..some * k] != expected.items || bits(&scores[..some * k]) != bits(&expected.scores) {
        return Err(Error::Device("top_k: lists differ from the definition's".into()));
    }
    Ok(())
}
