//! A device behind NVIDIA's driver.
#![allow(unsafe_code)]

use super::buffer::View;
use super::compile::Compiler;
use super::driver::{Driver, Memory, Product};
use super::element::Kind;
use super::launch::{Argument, Kernel, Launch};
use super::product::Products;
use super::staging::Staging;
use crate::error::{Error, Result};
use cudarc::driver::sys::CUdevice_attribute_enum as Attribute;
use cudarc::driver::sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
use cudarc::driver::{CudaContext, CudaStream, DriverError, result, sys};
use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Shared memory that a block gets without asking for more.
const SHARED_BYTES: u32 = 48 << 10;

/// An NVIDIA device, on which one thing is done after the other; only new buffers are filled beside
/// that, on a stream of their own.
pub struct Nvidia {
    products: Products, // given back before the context is
    pub(super) context: Arc<CudaContext>,
    pub(super) stream: Arc<CudaStream>,
    staging: Mutex<Staging>,
    compiler: Compiler,
    hopper: bool,
    fp8: bool,
    processors: usize,
    loaded: Mutex<Loaded>,
}

/// Modules and functions, by name; they stay for as long as the process.
#[derive(Default)]
struct Loaded {
    modules: HashMap<&'static str, usize>,
    functions: HashMap<&'static str, usize>,
    /// Bytes that functions' blocks may share, where that is more than they get unasked.
    shared: HashMap<&'static str, u32>,
}

#[derive(Debug)]
struct Room {
    address: u64,
    context: Arc<CudaContext>,
}

impl Memory for Room {
    fn address(&self) -> u64 {
        self.address
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // An error here is one of an earlier launch, and the next call tells it.
        if self.context.bind_to_thread().is_ok() {
            // SAFETY: the driver gave this address and takes it back once; it waits for launches
            // that use it.
            let _ = unsafe { result::free_sync(self.address) };
        }
    }
}

/// Not the error's own text: making it asks a driver that has just failed.
pub(super) fn failed(what: &str) -> impl FnOnce(DriverError) -> Error {
    let what = what.to_owned();
    move |error| Error::Device(format!("cuda: {what}: {:?}", error.0))
}

/// That the driver is of some CUDA, given as it numbers them, or a later one; `or` says what else
/// can be done.
pub(super) fn check_driver(what: &str, needed: i32, or: &str) -> Result<()> {
    let mut found = 0;
    // SAFETY: writes one integer; the library is there, since there is a device.
    unsafe { sys::cuDriverGetVersion(&raw mut found) }.result().map_err(failed(what))?;
    if found >= needed {
        return Ok(());
    }
    let [(major, minor), (old, older)] = [needed, found].map(|v| (v / 1000, v % 1000 / 10));
    Err(Error::Device(format!(
        "{what}: expected a driver of CUDA {major}.{minor} or later, found one of {old}.{older}: \
         update NVIDIA's driver{or}"
    )))
}

impl Nvidia {
    /// Opens a device, by its number, with a folder where compiled kernels are kept.
    ///
    /// # Errors
    /// If there is none, it is older than Ampere, or one of NVIDIA's libraries is not there.
    pub fn open(ordinal: usize, folder: Option<&Path>) -> Result<Self> {
        // SAFETY: loads libcuda if it is there and calls nothing in it.
        if !unsafe { sys::is_culib_present() } {
            let why = "libcuda is not there: it comes with NVIDIA's driver";
            return Err(Error::Device(format!("cuda:{ordinal}: {why}")));
        }
        let name = format!("open device {ordinal}");
        let context = CudaContext::new(ordinal).map_err(failed(&name))?;
        let (major, minor) = context.compute_capability().map_err(failed(&name))?;
        let architecture = match (major, minor) {
            (9, 0) => "sm_90a".to_owned(),
            (8.., _) => format!("sm_{major}{minor}"),
            _ => {
                return Err(Error::Device(format!(
                    "cuda:{ordinal}: compute capability {major}.{minor}: expected at least 8.0"
                )));
            }
        };
        let compiler = Compiler::new(&architecture, folder)?;
        let or = ", or put libraries of its own CUDA first in LD_LIBRARY_PATH: for 12 \
                  nvidia-cuda-nvrtc-cu12 and nvidia-cublas-cu12";
        check_driver(&format!("cuda:{ordinal}: NVRTC"), compiler.major() * 1000, or)?;
        let stream = context.new_stream().map_err(failed(&name))?;
        let staging = Mutex::new(Staging::new(&context)?);
        let products = Products::open()?;
        let (hopper, fp8) = ((major, minor) == (9, 0), (major, minor) >= (8, 9));
        let processors = context.attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
        let processors = processors.map_err(failed(&name))?.max(1) as usize;
        let loaded = Mutex::default();
        Ok(Self { products, context, stream, staging, compiler, hopper, fp8, processors, loaded })
    }

    pub(super) fn bind(&self) -> Result<()> {
        self.context.bind_to_thread().map_err(failed("bind the context"))
    }

    /// The kernel's function; compiled and loaded when it is first asked for.
    fn function(&self, kernel: Kernel) -> Result<sys::CUfunction> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = loaded.functions.get(kernel.name) {
            return Ok(*function as sys::CUfunction);
        }
        let file = kernel.source.file;
        let module = match loaded.modules.get(file) {
            Some(module) => *module as sys::CUmodule,
            None => {
                let cubin = self.compiler.compile(kernel.source)?.cubin;
                // SAFETY: the image is whole, as the compiler made it: what was kept is told by its
                // hash; and it lives through the call.
                let module = unsafe { result::module::load_data(cubin.as_ptr().cast()) };
                let module = module.map_err(failed(file))?;
                loaded.modules.insert(file, module as usize);
                module
            }
        };
        let name = CString::new(kernel.name)
            .map_err(|_| Error::Device("a kernel's name holds a zero byte".into()))?;
        // SAFETY: the module is loaded and never unloaded.
        let function = unsafe { result::module::get_function(module, name) };
        let function = function.map_err(failed(kernel.name))?;
        loaded.functions.insert(kernel.name, function as usize);
        Ok(function)
    }

    /// Lets a function's blocks share more than they get unasked.
    fn share(&self, name: &'static str, function: sys::CUfunction, bytes: u32) -> Result<()> {
        if bytes <= SHARED_BYTES {
            return Ok(());
        }
        let most = Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN;
        let most = self.context.attribute(most).map_err(failed(name))?;
        if i64::from(bytes) > i64::from(most) {
            return Err(Error::Device(format!(
                "{name}: a block needs {bytes} bytes of shared memory: this device has {most}"
            )));
        }
        // Only ever more: another thread may be about to launch it with what it has set.
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = loaded.shared.entry(name).or_default();
        if bytes <= *shared {
            return Ok(());
        }
        let attribute = CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // SAFETY: the function is of a loaded module.
        unsafe { result::function::set_function_attribute(function, attribute, bytes as i32) }
            .map_err(failed(name))?;
        *shared = bytes;
        Ok(())
    }
}

impl Driver for Nvidia {
    fn take(&self, bytes: usize) -> Result<Arc<dyn Memory>> {
        self.bind()?;
        // SAFETY: any size that is not 0 may be asked for; what is there is written before it is
        // read, or means nothing.
        let address = unsafe { result::malloc_sync(bytes.max(1)) }
            .map_err(failed(&format!("take {bytes} bytes")))?;
        Ok(Arc::new(Room { address, context: self.context.clone() }))
    }

    fn upload(&self, from: &[u8], to: &View) -> Result<()> {
        same(from.len(), to)?;
        self.synchronize()?;
        let mut staging = self.staging.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the view is inside memory that its handle keeps until the driver, when freeing,
        // has waited; it is as long as the bytes; all that was told before is done.
        unsafe { staging.copy(from, to.address(), &self.stream) }
    }

    fn place(&self, from: &[u8], kind: Kind) -> Result<View> {
        let to = View::new(self.take(from.len())?, from.len(), kind);
        let mut staging = self.staging.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: as in `upload`; and the memory has just been taken, so nothing that was told
        // before knows it.
        unsafe { staging.copy(from, to.address(), &self.stream) }?;
        Ok(to)
    }

    fn download(&self, from: &View, to: &mut [u8]) -> Result<()> {
        same(to.len(), from)?;
        self.synchronize()?;
        if to.is_empty() {
            return Ok(());
        }
        // SAFETY: the view is inside memory that its handle keeps, as long as the bytes, and
        // nothing else uses it: all before is done.
        unsafe { result::memcpy_dtoh_sync(to, from.address()) }.map_err(failed("download"))
    }

    fn launch(&self, launch: &Launch) -> Result<()> {
        let (grid, block, shared) = (launch.grid(), launch.block(), launch.shared_bytes());
        if grid.contains(&0) {
            return Ok(());
        }
        self.bind()?;
        let name = launch.kernel().name;
        let function = self.function(launch.kernel())?;
        self.share(name, function, shared)?;
        // Each argument's bytes, at the start of the largest: the driver reads as many as the type
        // has.
        let mut bits =
            launch.arguments().iter().map(bits_of).collect::<Result<Vec<sys::CUtensorMap>>>()?;
        let mut arguments: Vec<*mut c_void> =
            bits.iter_mut().map(|bits| std::ptr::from_mut(bits).cast()).collect();
        let ([x, y, z], [i, j, k]) = (grid, block);
        // SAFETY: the function is of a loaded module; the call that made the launch gives arguments
        // of the types that the kernel takes, in its order, and has seen that no thread leaves its
        // buffers, which their handles keep until the driver, when freeing, has waited.
        unsafe {
            let stream = self.stream.cu_stream();
            result::launch_kernel(function, (x, y, z), (i, j, k), shared, stream, &mut arguments)
        }
        .map_err(failed(name))
    }

    fn product(&self, product: &Product) -> Result<()> {
        self.bind()?;
        self.products.run(product, self.stream.cu_stream())
    }

    fn has_group_products(&self) -> bool {
        self.hopper
    }

    fn has_fp8(&self) -> bool {
        self.fp8
    }

    fn processors(&self) -> usize {
        self.processors
    }

    fn synchronize(&self) -> Result<()> {
        self.bind()?;
        self.stream.synchronize().map_err(failed("synchronize"))
    }
}

fn same(bytes: usize, view: &View) -> Result<()> {
    match view.bytes() == bytes {
        true => Ok(()),
        false => Err(Error::Device(format!("{bytes} bytes for a view of {}", view.bytes()))),
    }
}

fn bits_of(argument: &Argument) -> Result<sys::CUtensorMap> {
    let mut bits = sys::CUtensorMap { opaque: [0; 16] };
    bits.opaque[0] = match argument {
        Argument::Buffer(view) => view.address(),
        Argument::Null(_) => 0,
        Argument::U32(number) => u64::from(*number),
        Argument::F32(number) => u64::from(number.to_bits()),
        Argument::Map(map) => return map.encoded(),
    };
    Ok(bits)
}
