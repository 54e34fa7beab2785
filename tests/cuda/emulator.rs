//! A driver whose device is another process: the kernels, compiled for the processor.
//!
//! The system's C++ compiler builds it once for each state of the sources. A kernel that crashes
//! ends that process, and the error says what it said last. What goes over the pipes is described
//! in `kernels/emulated/main.cpp`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use steerage::device::cuda::{Argument, Driver, Form, Kind, Launch, Memory, Product, View};
use steerage::error::{Error, Result};

/// In which order a block's threads take turns; and whether asynchronous copies come at once or at
/// the last moment.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    seed: u32,
    eager: bool,
}

impl Order {
    pub const ALL: [Order; 4] = [
        Order { seed: 0, eager: false },
        Order { seed: 1, eager: true },
        Order { seed: 2, eager: false },
        Order { seed: 3, eager: true },
    ];
}

/// The emulated device.
pub struct Emulator {
    order: Order,
    without: String,
    channel: Arc<Mutex<Channel>>,
    places: Mutex<BTreeSet<String>>,
    group_products: AtomicBool,
    processors: AtomicUsize,
}

#[derive(Debug)]
struct Channel {
    child: Child,
    to: ChildStdin,
    from: ChildStdout,
}

impl Drop for Channel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Debug)]
struct Room {
    address: u64,
    channel: Arc<Mutex<Channel>>,
}

impl Memory for Room {
    fn address(&self) -> u64 {
        self.address
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = ask(&self.channel, b'G', &[&self.address.to_le_bytes()]);
    }
}

fn ask(channel: &Mutex<Channel>, letter: u8, parts: &[&[u8]]) -> Result<Vec<u8>> {
    let mut channel = channel.lock().unwrap();
    let mut answer = || -> io::Result<(u8, Vec<u8>)> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        channel.to.write_all(&[letter])?;
        channel.to.write_all(&(length as u64).to_le_bytes())?;
        parts.iter().try_for_each(|part| channel.to.write_all(part))?;
        channel.to.flush()?;
        let (mut letter, mut length) = ([0], [0; 8]);
        channel.from.read_exact(&mut letter)?;
        channel.from.read_exact(&mut length)?;
        let mut bytes = vec![0; u64::from_le_bytes(length) as usize];
        channel.from.read_exact(&mut bytes)?;
        Ok((letter[0], bytes))
    };
    match answer() {
        Ok((b'=', bytes)) => Ok(bytes),
        Ok((_, text)) => Err(Error::Device(String::from_utf8_lossy(&text).into_owned())),
        Err(e) => Err(Error::Device(format!("the emulator is gone: {e}"))),
    }
}

impl Emulator {
    /// A device of its own, that leaves out the waiting at one place; none where nothing can be
    /// compiled, unless `REQUIRE_EMULATOR` says that this is a failure, and none where cases are
    /// for a real one.
    pub fn start(order: Order, without: Option<&str>) -> Option<Self> {
        if std::env::var_os("REQUIRE_CUDA").is_some() {
            println!("skipped: a case of the emulated device alone");
            return None;
        }
        static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        let program = match PROGRAM.get_or_init(build) {
            Ok(program) => program,
            Err(why) => {
                assert!(std::env::var_os("REQUIRE_EMULATOR").is_none(), "no emulator: {why}");
                println!("skipped: no emulator: {why}");
                return None;
            }
        };
        let mut child = Command::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the emulator was just built");
        let to = child.stdin.take().expect("piped");
        let from = child.stdout.take().expect("piped");
        let channel = Arc::new(Mutex::new(Channel { child, to, from }));
        let without = without.unwrap_or_default().to_owned();
        Some(Self {
            order,
            without,
            channel,
            places: Mutex::default(),
            group_products: AtomicBool::new(false),
            processors: AtomicUsize::new(1),
        })
    }

    /// Says that it has, or has not, what Hopper has.
    pub fn set_group_products(&self, there: bool) {
        self.group_products.store(there, Ordering::Relaxed);
    }

    /// How many it says that it has; all of them are the one that there is.
    pub fn set_processors(&self, count: usize) {
        self.processors.store(count, Ordering::Relaxed);
    }

    /// Where threads have waited so far: `file:line`.
    pub fn places(&self) -> BTreeSet<String> {
        self.places.lock().unwrap().clone()
    }
}

impl Driver for Emulator {
    fn take(&self, bytes: usize) -> Result<Arc<dyn Memory>> {
        let address = ask(&self.channel, b'T', &[&(bytes as u64).to_le_bytes()])?;
        let address = u64::from_le_bytes(address.try_into().expect("an address"));
        Ok(Arc::new(Room { address, channel: self.channel.clone() }))
    }

    fn upload(&self, from: &[u8], to: &View) -> Result<()> {
        assert_eq!(from.len(), to.bytes());
        let head = numbers(&[to.address(), from.len() as u64]);
        ask(&self.channel, b'U', &[&head, from]).map(drop)
    }

    fn download(&self, from: &View, to: &mut [u8]) -> Result<()> {
        let head = numbers(&[from.address(), from.bytes() as u64]);
        to.copy_from_slice(&ask(&self.channel, b'D', &[&head])?);
        Ok(())
    }

    fn launch(&self, launch: &Launch) -> Result<()> {
        let mut message = text(launch.kernel().name);
        let sizes = launch.grid().into_iter().chain(launch.block());
        let order = [launch.shared_bytes(), self.order.seed, u32::from(self.order.eager)];
        sizes.chain(order).for_each(|number| message.extend(number.to_le_bytes()));
        message.extend(text(&self.without));
        launch.arguments().iter().for_each(|argument| message.extend(encoded(argument)));
        let places = ask(&self.channel, b'L', &[&message])?;
        let places = String::from_utf8(places).expect("file names");
        self.places.lock().unwrap().extend(places.lines().map(str::to_owned));
        Ok(())
    }

    fn product(&self, product: &Product) -> Result<()> {
        let letter = match (product.factors(), product.kind()) {
            (Kind::U8, _) => b'8',
            (Kind::F32, _) => b'F',
            (_, Kind::Bf16) => b'P',
            _ => b'Q',
        };
        let Form { a_turned, b_turned, apart, scale, add } = product.form();
        let sizes = product.size().into_iter().chain(apart).map(|size| size as u64);
        let flags = [a_turned, b_turned, add].map(u64::from);
        let places = product.operands().each_ref().map(View::address);
        let all = sizes.chain(flags).chain([u64::from(scale.to_bits())]).chain(places);
        let message = numbers(&all.collect::<Vec<_>>());
        ask(&self.channel, letter, &[&message]).map(drop)
    }

    fn has_group_products(&self) -> bool {
        self.group_products.load(Ordering::Relaxed)
    }

    fn processors(&self) -> usize {
        self.processors.load(Ordering::Relaxed)
    }

    fn has_fp8(&self) -> bool {
        true
    }

    fn synchronize(&self) -> Result<()> {
        Ok(())
    }
}

fn numbers(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = numbers(&[text.len() as u64]);
    bytes.extend(text.bytes());
    bytes
}

/// A kind, and eight bytes; more of a map. See `kernels/emulated/calls.h`.
fn encoded(argument: &Argument) -> Vec<u8> {
    const POINTER: u8 = 64;
    const MAP: u8 = 128;
    let (kind, bits) = match argument {
        Argument::Map(map) => {
            let mut bytes = vec![MAP];
            bytes.extend(map.view().address().to_le_bytes());
            map.size().iter().for_each(|size| bytes.extend((*size as u64).to_le_bytes()));
            return bytes;
        }
        Argument::Buffer(view) => (POINTER + view.kind() as u8, view.address()),
        Argument::Null(kind) => (POINTER + *kind as u8, 0),
        Argument::U32(number) => (Kind::U32 as u8, u64::from(*number)),
        Argument::F32(number) => (Kind::F32 as u8, u64::from(number.to_bits())),
    };
    let mut bytes = vec![kind];
    bytes.extend(bits.to_le_bytes());
    bytes
}

/// Compiles the emulator, unless these sources have been compiled before.
fn build() -> Result<PathBuf, String> {
    if !cfg!(target_arch = "x86_64") {
        return Err("it switches stacks as x86-64 does".into());
    }
    let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    let mut hasher = blake3::Hasher::new();
    for folder in [kernels.clone(), kernels.join("emulated")] {
        let entries = std::fs::read_dir(&folder).map_err(|e| e.to_string())?;
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for file in files.iter().filter(|file| file.is_file()) {
            hasher.update(&std::fs::read(file).map_err(|e| e.to_string())?);
        }
    }
    let mut name = String::from("emulator-");
    write!(name, "{}", &hasher.finalize().to_hex()[..16]).expect("writing to a string");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if program.exists() {
        return Ok(program);
    }
    let made = program.with_extension(std::process::id().to_string());
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    let said = Command::new(&compiler)
        .args(["-std=c++17", "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"])
        .args(["-Wno-unknown-pragmas", "-o"])
        .arg(&made)
        .arg(kernels.join("emulated/main.cpp"))
        .output()
        .map_err(|e| format!("{compiler}: {e}"))?;
    // A compiler that is there and refuses the sources is no reason to skip.
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    std::fs::rename(&made, &program).map_err(|e| e.to_string())?;
    Ok(program)
}
