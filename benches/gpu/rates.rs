//! How fast a device is at most, measured in the same run as what is compared with it.

use steerage::device::cuda::kernels::Draw;
use steerage::device::cuda::{Bf16, Buffer, Driver, Nvidia, Product};
use steerage::error::Result;

/// What a device does in a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Bytes that are read or written.
    pub bytes: f64,
    /// Operations of the matrix units in bf16, a multiply-add counted as two.
    pub bf16: f64,
    /// Operations in f32 that are not fused: by processors, lanes and clock, not measured.
    pub f32: f64,
}

/// Says how many seconds the device takes for what a closure tells it to do.
pub type Clock<'a> = dyn Fn(&mut dyn FnMut() -> Result<()>) -> Result<f64> + 'a;

/// The median of some runs after two that do not count.
pub fn median(
    clock: &Clock<'_>,
    repeat: usize,
    run: &mut dyn FnMut() -> Result<()>,
) -> Result<f64> {
    median_after(clock, repeat, &mut || Ok(()), run)
}

/// The same, of runs that each need something to be done before, which is not timed.
pub fn median_after(
    clock: &Clock<'_>,
    repeat: usize,
    before: &mut dyn FnMut() -> Result<()>,
    run: &mut dyn FnMut() -> Result<()>,
) -> Result<f64> {
    let mut seconds = Vec::new();
    for at in 0..repeat.max(1) + 2 {
        before()?;
        let one = clock(run)?;
        if at >= 2 {
            seconds.push(one);
        }
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[seconds.len() / 2])
}

/// Numbers between −½ and ½ on the device.
pub fn drawn<T: steerage::device::cuda::kernels::DrawNumber>(
    driver: &dyn Driver,
    seed: u64,
    length: usize,
) -> Result<Buffer<T>> {
    let out = Buffer::new(driver, length)?;
    driver.launch(&Draw { seed: seed << 32, scale: 1.0, out: &out }.launch()?)?;
    Ok(out)
}

/// Seconds by the device's own events, from a cache that holds something else.
pub fn cold<'a>(device: &'a Nvidia, flush: &'a Buffer<f32>) -> Box<Clock<'a>> {
    Box::new(move |run| {
        device.launch(&Draw { seed: 0, scale: 1.0, out: flush }.launch()?)?;
        let from = device.mark()?;
        run()?;
        let to = device.mark()?;
        device.seconds(&from, &to)
    })
}

/// What the cache is flushed with: four times its size.
pub fn flush(device: &Nvidia) -> Result<Buffer<f32>> {
    Buffer::new(device, device.facts()?.cache_bytes.max(32 << 20))
}

impl Rates {
    /// Measures a device: a copy of 2 GiB, and a product of 8192 × 8192 × 8192.
    pub fn of(device: &Nvidia, clock: &Clock<'_>) -> Result<Rates> {
        let (length, side) = (2usize << 29, 8192usize);
        let bytes = {
            let from: Buffer<Bf16> = drawn(device, 1, length)?;
            let to = Buffer::<Bf16>::new(device, length)?;
            let copy = &mut || device.copy(from.view(), to.view());
            2.0 * from.view().bytes() as f64 / median(clock, 10, copy)?
        };
        let a: Buffer<Bf16> = drawn(device, 2, side * side)?;
        let b = drawn(device, 3, side * side)?;
        let c = Buffer::<Bf16>::new(device, side * side)?;
        let product = Product::new([side; 3], &a, &b, &c)?;
        let seconds = median(clock, 10, &mut || device.product(&product))?;
        let f32 = device.facts()?.f32_per_s();
        Ok(Rates { bytes, bf16: 2.0 * (side as f64).powi(3) / seconds, f32 })
    }
}
