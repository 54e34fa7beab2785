//! NVRTC: kernels from their sources to a device's machine code, once for each state of them.
#![allow(unsafe_code)]

use super::launch::Source;
use crate::error::{Error, Result};
use cudarc::nvrtc::sys;
use std::ffi::{CString, c_char, c_int};
use std::path::{Path, PathBuf};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering};

macro_rules! headers {
    ($($file:literal),*) => {
        [$(Source { file: $file, text: include_str!(concat!("../../../kernels/", $file)) }),*]
    };
}
/// What kernels include.
const HEADERS: [Source; 13] = headers![
    "attention.cuh",
    "attention_forward.cuh",
    "best.cuh",
    "common.cuh",
    "descriptor.cuh",
    "dropout.cuh",
    "excluded.cuh",
    "group_score.cuh",
    "hopper.cuh",
    "instructions.cuh",
    "lora.cuh",
    "screen.cuh",
    "types.cuh"
];

/// Machine code, and what the compiler says of each kernel: registers, spills.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// A module of the driver.
    pub cubin: Vec<u8>,
    /// Empty if the code was kept from an earlier run.
    pub log: String,
}

/// Compiles sources for one architecture, and keeps what it has compiled in a folder.
#[derive(Clone, Debug)]
pub struct Compiler {
    architecture: String,
    version: (i32, i32),
    folder: Option<PathBuf>,
}

impl Compiler {
    /// For an architecture that NVRTC names: `sm_80`, `sm_90a`.
    ///
    /// # Errors
    /// If NVRTC is not there.
    pub fn new(architecture: &str, folder: Option<&Path>) -> Result<Self> {
        // SAFETY: loads libnvrtc if it is there and calls nothing in it.
        if !unsafe { sys::is_culib_present() } {
            return Err(Error::Device(
                "libnvrtc is not there: it comes with the CUDA toolkit, or with `pip install \
                 nvidia-cuda-nvrtc` and its folder in LD_LIBRARY_PATH"
                    .into(),
            ));
        }
        let mut version = (0, 0);
        // SAFETY: writes one integer to each, and the library is there.
        let status = unsafe { sys::nvrtcVersion(&raw mut version.0, &raw mut version.1) };
        accepted(status, "version", String::new)?;
        let (architecture, folder) = (architecture.to_owned(), folder.map(Path::to_owned));
        Ok(Self { architecture, version, folder })
    }

    /// Of which CUDA NVRTC is: a driver of an earlier one does not load its code.
    pub fn major(&self) -> i32 {
        self.version.0
    }

    /// A source's machine code: from the folder, or compiled and put there.
    ///
    /// # Errors
    /// If the source is wrong, with the compiler's log.
    pub fn compile(&self, source: Source) -> Result<Compiled> {
        let Some(folder) = &self.folder else { return self.compile_now(source) };
        let kept = folder.join(format!("{}.cubin", self.hash(source)));
        if let Some(cubin) = std::fs::read(&kept).ok().and_then(unsealed) {
            return Ok(Compiled { cubin, log: String::new() });
        }
        let compiled = self.compile_now(source)?;
        // Where nothing can be kept, it is compiled again the next time.
        let _ = keep(folder, &kept, &sealed(&compiled.cubin));
        Ok(compiled)
    }

    fn options(&self) -> [String; 3] {
        let architecture = format!("--gpu-architecture={}", self.architecture);
        ["--std=c++17".into(), architecture, "--ptxas-options=-v".into()]
    }

    /// Of all that the code depends on.
    fn hash(&self, source: Source) -> String {
        let mut hasher = blake3::Hasher::new();
        let version = format!("{:?}", self.version);
        let options = self.options();
        let options = options.iter().map(String::as_str).chain([&version[..]]);
        let texts = HEADERS.iter().chain([&source]).flat_map(|source| [source.file, source.text]);
        for text in options.chain(texts) {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }

    fn compile_now(&self, source: Source) -> Result<Compiled> {
        let program = Program::new(source)?;
        let options = self.options().map(c_string);
        let pointers: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        // SAFETY: the program is alive, and so are the options, as many as are said.
        let status = unsafe {
            sys::nvrtcCompileProgram(program.0, pointers.len() as c_int, pointers.as_ptr())
        };
        let log = program.text(sys::nvrtcGetProgramLogSize, sys::nvrtcGetProgramLog);
        let log = String::from_utf8_lossy(&log).trim_end_matches('\0').to_owned();
        accepted(status, source.file, || log.clone())?;
        let cubin = program.text(sys::nvrtcGetCUBINSize, sys::nvrtcGetCUBIN);
        if cubin.is_empty() {
            let architecture = &self.architecture;
            return Err(Error::Device(format!("{}: no code for {architecture}", source.file)));
        }
        Ok(Compiled { cubin, log })
    }
}

/// Code as it is kept: after its hash, since the driver reads as much as the code itself says.
fn sealed(cubin: &[u8]) -> Vec<u8> {
    [blake3::hash(cubin).as_bytes(), cubin].concat()
}

/// The code of a file; none if the file is not as it was written.
fn unsealed(mut file: Vec<u8>) -> Option<Vec<u8>> {
    let (hash, cubin) = file.split_first_chunk::<{ blake3::OUT_LEN }>()?;
    let whole = !cubin.is_empty() && blake3::hash(cubin) == blake3::Hash::from_bytes(*hash);
    whole.then(|| file.split_off(blake3::OUT_LEN))
}

/// Puts a file where others may be reading, or writing the same: it is there when it is complete.
fn keep(folder: &Path, kept: &Path, bytes: &[u8]) -> std::io::Result<()> {
    static WRITTEN: AtomicUsize = AtomicUsize::new(0);
    let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let whole = kept.with_extension(format!("{}-{number}", std::process::id()));
    std::fs::create_dir_all(folder)?;
    let put = std::fs::write(&whole, bytes).and_then(|()| std::fs::rename(&whole, kept));
    put.inspect_err(|_| drop(std::fs::remove_file(&whole)))
}

/// A program of NVRTC's.
struct Program(sys::nvrtcProgram);

type SizeOf = unsafe fn(sys::nvrtcProgram, *mut usize) -> sys::nvrtcResult;
type CopyOf = unsafe fn(sys::nvrtcProgram, *mut c_char) -> sys::nvrtcResult;

impl Program {
    fn new(source: Source) -> Result<Self> {
        let (text, name) = (c_string(source.text), c_string(source.file));
        let (texts, names) = (HEADERS.map(|h| c_string(h.text)), HEADERS.map(|h| c_string(h.file)));
        let texts = texts.each_ref().map(|text| text.as_ptr());
        let names = names.each_ref().map(|name| name.as_ptr());
        let (headers, mut program) = (HEADERS.len() as c_int, null_mut());
        // SAFETY: every string ends with 0 and lives through the call, which copies them; there are
        // as many headers as names, and as many as is said.
        let status = unsafe {
            let (texts, names) = (texts.as_ptr(), names.as_ptr());
            let program = &raw mut program;
            sys::nvrtcCreateProgram(program, text.as_ptr(), name.as_ptr(), headers, texts, names)
        };
        accepted(status, source.file, String::new)?;
        Ok(Self(program))
    }

    /// What the program has of this kind; empty if it has none.
    fn text(&self, size_of: SizeOf, copy_of: CopyOf) -> Vec<u8> {
        let mut size = 0;
        // SAFETY: the program is alive; writes one number.
        if unsafe { size_of(self.0, &raw mut size) } != sys::nvrtcResult::NVRTC_SUCCESS {
            return Vec::new();
        }
        let mut bytes = vec![0u8; size];
        // SAFETY: the program is alive; writes as many bytes as it has just said.
        match unsafe { copy_of(self.0, bytes.as_mut_ptr().cast()) } {
            sys::nvrtcResult::NVRTC_SUCCESS => bytes,
            _ => Vec::new(),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: it was made by NVRTC and is given back once.
        let _ = unsafe { sys::nvrtcDestroyProgram(&raw mut self.0) };
    }
}

fn c_string(text: impl Into<Vec<u8>>) -> CString {
    CString::new(text).expect("sources and options of this crate hold no zero byte")
}

fn accepted(status: sys::nvrtcResult, what: &str, log: impl Fn() -> String) -> Result<()> {
    match status {
        sys::nvrtcResult::NVRTC_SUCCESS => Ok(()),
        status => Err(Error::Device(format!("nvrtc: {what}: {status:?}\n{}", log()))),
    }
}
