//! Is a decoder copied to a device from its files as one that was loaded, and in small pieces?

use super::{Device, Order};
use crate::decoder::{MODELS, bits, expected, golden, load};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use steerage::device::Precision;
use steerage::device::cuda::{Counted, Driver, Launch, Memory, Product, View};
use steerage::error::Result;
use steerage::model::adapter::Adapter;
use steerage::model::decoder::{
    Decoder, DecoderConfig, DecoderFiles, Memory as Planned, Prompt, Resident, Rope, SharedDriver,
};

const TOKENS_MAX: usize = 160;
/// Addresses of one memory.
const APART: u64 = 1 << 40;

/// A device that computes nothing, and keeps what was written where.
#[derive(Default)]
struct Written {
    /// Of each memory that was taken.
    memories: Mutex<Vec<Vec<u8>>>,
    /// The lengths of what was written.
    pieces: Mutex<BTreeSet<usize>>,
}

#[derive(Debug)]
struct Number(u64);

impl Memory for Number {
    fn address(&self) -> u64 {
        self.0 * APART
    }
}

impl Driver for Written {
    fn take(&self, bytes: usize) -> Result<Arc<dyn Memory>> {
        let mut memories = self.memories.lock().unwrap();
        memories.push(vec![0; bytes]);
        Ok(Arc::new(Number(memories.len() as u64 - 1)))
    }
    fn upload(&self, from: &[u8], to: &View) -> Result<()> {
        let [number, start] = [to.address() / APART, to.address() % APART].map(|at| at as usize);
        self.pieces.lock().unwrap().insert(from.len());
        self.memories.lock().unwrap()[number][start..][..from.len()].copy_from_slice(from);
        Ok(())
    }
    fn download(&self, _: &View, _: &mut [u8]) -> Result<()> {
        unreachable!("nothing is computed")
    }
    fn launch(&self, _: &Launch) -> Result<()> {
        unreachable!("nothing is computed")
    }
    fn product(&self, _: &Product) -> Result<()> {
        unreachable!("nothing is computed")
    }
    fn synchronize(&self) -> Result<()> {
        Ok(())
    }
}

impl Written {
    /// What was taken, in bytes.
    fn bytes(&self) -> usize {
        self.memories.lock().unwrap().iter().map(Vec::len).sum()
    }
}

/// A golden model's files with its adapters.
pub fn files(model: &str) -> DecoderFiles {
    let mut files = DecoderFiles::open(&golden(model)).unwrap();
    for (name, ..) in expected(model).adapters.iter().filter(|(name, ..)| !name.is_empty()) {
        let folder = golden(model).join(format!("adapter-{name}"));
        let adapter = Adapter::open(&folder, files.config()).unwrap();
        files.attach(adapter);
    }
    files
}

/// Files of every kind there is, tied and not, each loaded too.
fn all() -> Vec<(DecoderFiles, Decoder)> {
    let mut all = Vec::new();
    for model in MODELS {
        for precision in [Precision::F32, Precision::Bf16] {
            all.push((files(model), load(model, precision)));
        }
        let meanings = vec![vec![1, 2, 3], Vec::new(), vec![4]];
        let extended = DecoderFiles::open_extended(&golden(model), meanings).unwrap();
        let loaded = extended.load().unwrap();
        all.push((extended, loaded));
        let added = golden(model).join("adapter-added");
        if added.exists() {
            let (adapted, number) =
                DecoderFiles::open_adapted(&golden(model), Some(&added)).unwrap();
            let loaded = adapted.load().unwrap();
            assert_eq!((number, loaded.adapters()), (Some(0), 1));
            all.push((adapted, loaded));
        }
    }
    assert!([true, false].iter().all(|tied| all.iter().any(|(f, _)| f.config().tied == *tied)));
    all
}

#[test]
fn logits_are_those_of_a_loaded_decoder_bit_for_bit() {
    let open = || Some(Arc::new(Device::open(Order::ALL[0], None)?) as SharedDriver);
    let (Some(one), Some(other)) = (open(), open()) else { return };
    for (files, decoder) in all() {
        let read = Resident::read(one.clone(), &files, TOKENS_MAX).unwrap();
        let loaded = Resident::of(other.clone(), &decoder, TOKENS_MAX).unwrap();
        let last = files.config().vocabulary as u32 - 1;
        let prompt = |adapter| Prompt { tokens: vec![3, 9, last, 4, last - 1, 7], adapter };
        let adapters = (0..read.adapters()).map(Some).chain([None]);
        let prompts: Vec<Prompt> = adapters.map(prompt).collect();
        let labels: Vec<u32> = (0..=last).collect();
        let [found, expected] = [&read, &loaded].map(|r| r.logits(&prompts, &labels).unwrap());
        assert_eq!(bits(&found), bits(&expected));
        assert_eq!(read.refusal(&prompts[0]), loaded.refusal(&prompts[0]));
    }
}

#[test]
fn a_device_is_given_the_same_bytes() {
    for (files, decoder) in all() {
        let [read, loaded] = [(); 2].map(|()| Arc::<Written>::default());
        Resident::read(read.clone(), &files, TOKENS_MAX).unwrap();
        Resident::of(loaded.clone(), &decoder, TOKENS_MAX).unwrap();
        assert!(*read.memories.lock().unwrap() == *loaded.memories.lock().unwrap());
        assert!(read.bytes() > 0);
    }
}

/// A decoder whose embeddings are longer than what is copied at once, and whose heads are as wide
/// as the kernels'.
fn write_long(folder: &Path) -> DecoderConfig {
    let config = DecoderConfig {
        vocabulary: 70_000,
        hidden: 32,
        inner: 8,
        layers: 1,
        heads: 1,
        shared: 1,
        width: 64,
        context_max: 64,
        epsilon: 1e-5,
        rope: Rope { theta: 10_000.0, scaling: None },
        tied: true,
        qkv_bias: false,
        output_bias: false,
    };
    let fill = |_: &str, row: usize, to: &mut [f32]| {
        (row..).zip(to).for_each(|(i, x)| *x = (i * 37 % 101) as f32 / 50.5 - 1.0);
        Ok(())
    };
    let decoder = Decoder::fill(config.clone(), Precision::F32, &fill).unwrap();
    for (name, bytes) in decoder.to_files().unwrap() {
        fs::write(folder.join(name), bytes).unwrap();
    }
    config
}

#[test]
fn what_is_long_is_copied_in_pieces_and_what_is_damaged_is_refused_alike() {
    let folder = tempfile::tempdir().unwrap();
    let config = write_long(folder.path());
    let long = config.vocabulary * config.hidden * 2;
    let files = DecoderFiles::open(folder.path()).unwrap();
    let [read, loaded] = [(); 2].map(|()| Arc::<Written>::default());
    Resident::read(read.clone(), &files, 64).unwrap();
    Resident::of(loaded.clone(), &files.load().unwrap(), 64).unwrap();
    assert!(*read.memories.lock().unwrap() == *loaded.memories.lock().unwrap());
    assert_eq!(read.memories.lock().unwrap()[0].len(), long);
    let largest = read.pieces.lock().unwrap().last().copied().unwrap();
    assert!(largest <= 4 << 20 && largest < long, "{largest} of {long}");
    drop(files);
    // The last norm's last number, or one of the embeddings' second piece.
    let file = folder.path().join("model.safetensors");
    let bytes = fs::read(&file).unwrap();
    let data = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for at in [bytes.len() - 4, data + 69_990 * config.hidden * 4] {
        let mut spoilt = bytes.clone();
        spoilt[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
        fs::write(&file, spoilt).unwrap();
        let files = DecoderFiles::open(folder.path()).unwrap();
        let said = Resident::read(Arc::<Written>::default(), &files, 64).err().unwrap().to_string();
        assert_eq!(said, files.load().unwrap_err().to_string());
        assert!(said.contains("holds NaN or infinity"), "{said}");
    }
}

#[test]
fn fp8_is_refused_before_anything_is_copied() {
    let device = Arc::<Written>::default();
    let fp8 = |model| files(model).kept_in(Some(Precision::Fp8));
    let said = Resident::read(device.clone(), &fp8("llama3"), 64).err().unwrap().to_string();
    assert!(said.contains("expected a device of compute capability 8.9"), "{said}");
    assert!(!said.contains("MiB") && device.bytes() == 0, "{said}");
    let device = Arc::<Counted>::default();
    let said = Resident::read(device, &fp8("qwen2"), 64).err().unwrap().to_string();
    assert!(said.contains("multiples of 16, found 32 and 72"), "{said}");
}

/// But for the rows of biases, which are not counted.
#[test]
fn what_is_planned_is_what_a_device_is_asked_for() {
    let mut bytes = Vec::new();
    for precision in [Precision::Bf16, Precision::Fp8] {
        let files = files("llama3").kept_in(Some(precision));
        let folders = expected("llama3").adapters;
        let configs: Vec<_> = folders[1..]
            .iter()
            .map(|(name, ..)| {
                let folder = golden("llama3").join(format!("adapter-{name}"));
                Adapter::open(&folder, files.config()).unwrap().config().clone()
            })
            .collect();
        let planned = Planned::expected(files.config(), &configs, precision, 512).unwrap();
        let device = Arc::<Counted>::default();
        let there = Resident::read(device.clone(), &files, 512).unwrap();
        let off =
            device.bytes() as f64 / (planned.weights_bytes + planned.batch_bytes) as f64 - 1.0;
        assert!(off.abs() < 0.02, "{precision:?}: {off}");
        bytes.push(planned.weights_bytes);
        drop(there);
    }
    assert!(bytes[1] < bytes[0], "{bytes:?}");
}
