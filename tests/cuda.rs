//! Does each kernel of the CUDA backend compute its formula? The kernels run on the processor, by
//! the emulator of `kernels/emulated`; values against f64, within twice the error of plain loops
//! in the same precision, under several orders of the threads.

mod attention;
mod backward;
mod bulk;
mod compile;
mod decoder;
mod emulator;
mod encoder;
mod jobs;
mod loading;
mod lora;
mod lora_norms;
mod losses;
mod meanwhile;
mod norms;
mod overlap;
mod reading;
mod retriever;
mod retrieving;
mod search;
mod training;
mod wrappers;

use crate::kernels::random;
use emulator::Emulator;
pub use emulator::Order;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use steerage::device::cuda::{Bf16, Buffer, Driver, Kind, Launch, Memory, Nvidia, Product, View};
use steerage::error::Result;

/// Random numbers rounded to bf16.
fn random_bf16(seed: u64, count: usize) -> Vec<Bf16> {
    random(seed, count).into_iter().map(Bf16::of).collect()
}

fn f32s(numbers: &[Bf16]) -> Vec<f32> {
    numbers.iter().map(|x| x.f32()).collect()
}

/// What cases run on.
pub enum Device {
    Emulated(Emulator),
    Nvidia(&'static Nvidia),
}

impl Driver for Device {
    fn take(&self, bytes: usize) -> Result<Arc<dyn Memory>> {
        self.driver().take(bytes)
    }
    fn upload(&self, from: &[u8], to: &View) -> Result<()> {
        self.driver().upload(from, to)
    }
    fn place(&self, from: &[u8], kind: Kind) -> Result<View> {
        self.driver().place(from, kind)
    }
    fn download(&self, from: &View, to: &mut [u8]) -> Result<()> {
        self.driver().download(from, to)
    }
    fn launch(&self, launch: &Launch) -> Result<()> {
        self.driver().launch(launch)
    }
    fn product(&self, product: &Product) -> Result<()> {
        self.driver().product(product)
    }
    fn has_group_products(&self) -> bool {
        self.driver().has_group_products()
    }
    fn processors(&self) -> usize {
        self.driver().processors()
    }
    fn has_fp8(&self) -> bool {
        self.driver().has_fp8()
    }
    fn synchronize(&self) -> Result<()> {
        self.driver().synchronize()
    }
}

impl Device {
    fn driver(&self) -> &dyn Driver {
        match self {
            Device::Emulated(emulator) => emulator,
            Device::Nvidia(nvidia) => *nvidia,
        }
    }

    /// None where there is no emulator.
    pub fn open(order: Order, without: Option<&str>) -> Option<Self> {
        if std::env::var_os("REQUIRE_CUDA").is_some() {
            return Some(Device::Nvidia(nvidia()));
        }
        Emulator::start(order, without).map(Device::Emulated)
    }

    /// Where it is emulated: says that it has so many multiprocessors.
    pub fn with_processors(&self, count: usize) {
        if let Device::Emulated(emulator) = self {
            emulator.set_processors(count);
        }
    }

    /// Whether it has Hopper's products, which an emulated one has, or has not, as it is told.
    pub fn with_group_products(&self, there: bool) -> bool {
        if let Device::Emulated(emulator) = self {
            emulator.set_group_products(there);
        }
        self.has_group_products()
    }
}

/// The device, opened once; `KERNELS_FOLDER` keeps its compiled kernels from one run to the next.
fn nvidia() -> &'static Nvidia {
    static DEVICE: OnceLock<Nvidia> = OnceLock::new();
    DEVICE.get_or_init(|| {
        let folder = std::env::var_os("KERNELS_FOLDER").map(PathBuf::from);
        Nvidia::open(0, folder.as_deref()).unwrap()
    })
}

/// Runs a case under every order of the threads, which must give the same. Nothing, where there is
/// no emulator.
///
/// A case makes its buffers, launches, and returns the bits of what came out.
fn under_all_orders(case: impl Fn(&Device) -> Result<Vec<u32>>) -> Option<Vec<u32>> {
    let expected = once(&case)?;
    for order in &Order::ALL[1..] {
        let device = Device::open(*order, None)?;
        assert!(case(&device).unwrap() == expected, "{order:?} gives something else");
    }
    Some(expected)
}

/// As [`under_all_orders`]; and then with each place left out where threads wait, arrive or make
/// known what they wrote, which some order must notice. For cases that are large enough to need
/// them all.
fn with_every_wait(case: impl Fn(&Device) -> Result<Vec<u32>>) -> Option<Vec<u32>> {
    let expected = under_all_orders(&case)?;
    let first = Device::open(Order::ALL[0], None)?;
    case(&first).unwrap();
    let Device::Emulated(emulator) = &first else { return Some(expected) };
    assert!(!emulator.places().is_empty(), "nobody waits");
    for place in emulator.places() {
        let noticed = Order::ALL.iter().any(|order| {
            let device = Device::open(*order, Some(&place)).expect("it has started before");
            case(&device).map_or(true, |found| found != expected)
        });
        assert!(noticed, "nobody misses the waiting at {place}");
    }
    Some(expected)
}

/// Runs a case once, in the first order.
fn once<T>(case: impl Fn(&Device) -> Result<T>) -> Option<T> {
    Some(case(&Device::open(Order::ALL[0], None)?).unwrap())
}

fn launch(driver: &dyn Driver, launch: Result<Launch>) -> Result<()> {
    driver.launch(&launch?)
}

fn bits_of_bf16(numbers: &[Bf16]) -> Vec<u32> {
    numbers.iter().map(|x| u32::from(x.0)).collect()
}

fn bits_of_f32(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|x| x.to_bits()).collect()
}

fn bf16_of_bits(bits: &[u32]) -> Vec<f32> {
    bits.iter().map(|bits| f32::from_bits(bits << 16)).collect()
}

fn f32_of_bits(bits: &[u32]) -> Vec<f32> {
    bits.iter().map(|bits| f32::from_bits(*bits)).collect()
}

/// Rounds plain results as a kernel rounds its own.
fn rounded(numbers: &[f32]) -> Vec<f32> {
    numbers.iter().map(|x| Bf16::of(*x).f32()).collect()
}

#[test]
fn an_emulated_device_keeps_what_it_is_given_and_says_what_is_wrong() {
    let Some(emulator) = Emulator::start(Order::ALL[0], None) else { return };
    let numbers = random(1, 1000);
    let buffer = Buffer::of(&emulator, &numbers).unwrap();
    assert_eq!(buffer.read(&emulator).unwrap(), numbers);
    let middle = buffer.slice(10..20).unwrap();
    assert_eq!(middle.read(&emulator).unwrap(), numbers[10..20]);
    assert!(buffer.slice(990..1001).is_err() && buffer.write(&emulator, &[1.0]).is_err());
    let fresh = Buffer::<f32>::new(&emulator, 3).unwrap();
    assert!(fresh.read(&emulator).unwrap().iter().all(|x| x.is_nan()));
}
