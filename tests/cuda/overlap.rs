//! Is the next batch placed while the device computes the one before, and does that change no bit?

use super::*;
use crate::decoder::{bits, expected, load};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use steerage::device::Precision;
use steerage::model::decoder::{Prompt, Resident};

/// A device that does what it is told at the last moment: when somebody waits for it. New memory is
/// filled at once. It notes what came in which order, and how many tokens were looked up.
pub struct Late {
    device: Device,
    told: Mutex<Vec<Told>>,
    notes: Mutex<String>,
    pub tokens: AtomicUsize,
}

enum Told {
    Launch(Launch),
    Product(Product),
}

impl Late {
    pub fn new(device: Device) -> Arc<Self> {
        let (told, notes) = (Mutex::default(), Mutex::default());
        Arc::new(Self { device, told, notes, tokens: AtomicUsize::new(0) })
    }

    fn note(&self, what: char) {
        let mut notes = self.notes.lock().unwrap();
        if !notes.ends_with(what) {
            notes.push(what);
        }
    }
}

impl Driver for Late {
    fn take(&self, bytes: usize) -> Result<Arc<dyn Memory>> {
        self.device.take(bytes)
    }
    fn upload(&self, from: &[u8], to: &View) -> Result<()> {
        self.synchronize()?;
        self.device.upload(from, to)
    }
    fn place(&self, from: &[u8], kind: Kind) -> Result<View> {
        self.note('p');
        self.device.place(from, kind)
    }
    fn download(&self, from: &View, to: &mut [u8]) -> Result<()> {
        self.note('r');
        self.synchronize()?;
        self.device.download(from, to)
    }
    fn launch(&self, launch: &Launch) -> Result<()> {
        self.note('l');
        if launch.kernel().name == "lookup" {
            self.tokens.fetch_add(launch.grid()[0] as usize, Ordering::Relaxed);
        }
        self.told.lock().unwrap().push(Told::Launch(launch.clone()));
        Ok(())
    }
    fn product(&self, product: &Product) -> Result<()> {
        self.told.lock().unwrap().push(Told::Product(product.clone()));
        Ok(())
    }
    fn has_group_products(&self) -> bool {
        self.device.has_group_products()
    }
    fn has_fp8(&self) -> bool {
        self.device.has_fp8()
    }
    fn synchronize(&self) -> Result<()> {
        for told in self.told.lock().unwrap().drain(..) {
            match told {
                Told::Launch(launch) => self.device.launch(&launch)?,
                Told::Product(product) => self.device.product(&product)?,
            }
        }
        Ok(())
    }
}

#[test]
fn the_next_batch_is_placed_before_the_one_before_is_read() {
    let decoder = load("qwen2", Precision::Bf16);
    let tokens = expected("qwen2").prompts;
    let prompts: Vec<Prompt> = (0..3 * tokens.len())
        .map(|p| Prompt {
            tokens: tokens[p % tokens.len()].clone(),
            adapter: [None, Some(0)][p % 2],
        })
        .collect();
    let longest = prompts.iter().map(|prompt| prompt.tokens.len()).max().unwrap();
    let open = || Device::open(Order::ALL[0], None);
    let (Some(device), Some(other)) = (open(), open()) else { return };
    let late = Late::new(device);
    let labels = [3, 0, 49, 17];
    // One prompt at a time, or little more, and all together.
    let apart = Resident::of(late.clone(), &decoder, longest).unwrap();
    late.notes.lock().unwrap().clear();
    let found = apart.logits(&prompts, &labels).unwrap();
    let together = Resident::of(Arc::new(other), &decoder, 4096).unwrap();
    assert_eq!(bits(&found), bits(&together.logits(&prompts, &labels).unwrap()));
    let notes = late.notes.lock().unwrap().clone();
    let batches = notes.matches('r').count();
    assert!(batches > 2, "{notes}");
    // Launch a batch, place the next one, and only then read.
    assert_eq!(notes, format!("p{}lr", "lpr".repeat(batches - 1)));
}
