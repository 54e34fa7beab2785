//! Who holds memory and runs launches.

use super::Buffer;
use super::buffer::View;
use super::element::{Bf16, Kind};
use super::launch::Launch;
use crate::error::{Error, Result};
use std::fmt::Debug;
use std::sync::Arc;

/// Memory of a device; dropping it gives it back.
pub trait Memory: Debug + Send + Sync {
    /// Where it begins, as the device names places.
    fn address(&self) -> u64;
}

/// A device's driver. What it is told it does one after the other, and may do later than it
/// returns; then an error may be told of by a later call.
pub trait Driver {
    /// Takes memory, whose content means nothing.
    ///
    /// # Errors
    /// If there is not so much.
    fn take(&self, bytes: usize) -> Result<Arc<dyn Memory>>;
    /// Copies bytes to the device.
    ///
    /// # Errors
    /// If they are not as many as the view has, or the device failed.
    fn upload(&self, from: &[u8], to: &View) -> Result<()>;
    /// Takes memory and copies bytes there, which need not wait for what was told before: nothing
    /// of that knows this memory. What is told later comes after the copy.
    ///
    /// # Errors
    /// If there is not so much memory, or the device failed.
    fn place(&self, from: &[u8], kind: Kind) -> Result<View> {
        let to = View::new(self.take(from.len())?, from.len(), kind);
        self.upload(from, &to)?;
        Ok(to)
    }
    /// Copies bytes from the device, when all before is done.
    ///
    /// # Errors
    /// If they are not as many as the view has, or the device failed.
    fn download(&self, from: &View, to: &mut [u8]) -> Result<()>;
    /// Runs a kernel.
    ///
    /// # Errors
    /// If it cannot be compiled or started, or the device failed.
    fn launch(&self, launch: &Launch) -> Result<()>;
    /// Runs kernels one after the other.
    ///
    /// # Errors
    /// Those of [`Driver::launch`].
    fn launch_all(&self, launches: &[Launch]) -> Result<()> {
        launches.iter().try_for_each(|launch| self.launch(launch))
    }
    /// Multiplies matrices.
    ///
    /// # Errors
    /// If it cannot be started, or the device failed.
    fn product(&self, product: &Product) -> Result<()>;
    /// Whether it has the products of Hopper's groups of warps, and its bulk copies (sm_90a).
    fn has_group_products(&self) -> bool {
        false
    }
    /// How many multiprocessors it has: fewer blocks than these leave some with nothing to do.
    fn processors(&self) -> usize {
        1
    }
    /// Whether it multiplies FP8 numbers.
    fn has_fp8(&self) -> bool {
        false
    }
    /// Waits until all is done.
    ///
    /// # Errors
    /// If the device failed.
    fn synchronize(&self) -> Result<()>;
}

/// What dimensions of FP8 products are multiples of.
pub(super) const FP8_SIZES: usize = 16;

/// A device's driver that threads share.
pub type SharedDriver = Arc<dyn Driver + Send + Sync>;

/// c = scale · a · bᵀ: rows times a weight; or c += that. Sums are f32; with the same weight each
/// row's order of summation is the same, however many rows there are. Numbers that are bytes are
/// FP8 (E4M3).
#[derive(Clone, Debug)]
pub struct Product {
    size: [usize; 3],
    operands: [View; 3],
    form: Form,
}

/// How a product's operands lie in memory, and what becomes of the result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Form {
    /// Whether a lies as (inputs, rows).
    pub a_turned: bool,
    /// Whether b lies as (inputs, outputs).
    pub b_turned: bool,
    /// How far apart the rows of a, b and c lie, as they lie; 0 for next to each other.
    pub apart: [usize; 3],
    /// What the result is multiplied by.
    pub scale: f32,
    /// Whether it is added to c.
    pub add: bool,
}

impl Default for Form {
    fn default() -> Self {
        Self { a_turned: false, b_turned: false, apart: [0; 3], scale: 1.0, add: false }
    }
}

impl Product {
    /// Shapes: a (rows, inputs), b (outputs, inputs), both bf16, both FP8 or both f32; c (rows,
    /// outputs), bf16, or of bf16 also f32, and of f32 f32 alone.
    ///
    /// # Errors
    /// If a buffer is too short, or a dimension is 0.
    pub fn new<A: Factor, C: Output>(
        size: [usize; 3],
        a: &Buffer<A>,
        b: &Buffer<A>,
        c: &Buffer<C>,
    ) -> Result<Self> {
        Self::of(size, a, b, c, Form::default())
    }

    /// As [`Product::new`], of what lies in another form.
    ///
    /// # Errors
    /// If a buffer is too short, or a dimension is 0; for FP8 numbers of another form, or whose
    /// dimensions are not multiples of 16 (rows apart).
    pub fn of<A: Factor, C: Output>(
        size: [usize; 3],
        a: &Buffer<A>,
        b: &Buffer<A>,
        c: &Buffer<C>,
        mut form: Form,
    ) -> Result<Self> {
        let [rows, outputs, inputs] = size;
        let turn = |size: [usize; 2], turned| if turned { [size[1], size[0]] } else { size };
        let stored = [
            ("a", turn([rows, inputs], form.a_turned), a.len()),
            ("b", turn([outputs, inputs], form.b_turned), b.len()),
            ("c", [rows, outputs], c.len()),
        ];
        for ((name, [high, wide], found), apart) in stored.into_iter().zip(&mut form.apart) {
            *apart = if *apart == 0 { wide } else { *apart };
            let needed = high.checked_sub(1).and_then(|above| above.checked_mul(*apart));
            let needed = needed.and_then(|needed| needed.checked_add(wide));
            if wide == 0 || *apart < wide || needed.is_none_or(|needed| needed > found) {
                return Err(Error::Device(format!(
                    "product: {name}: expected {high} rows of {wide} numbers, at least one, \
                     {apart} apart, found {found} numbers"
                )));
            }
        }
        let operands = [a.view(), b.view(), c.view()].map(View::clone);
        let product = Self { size, operands, form };
        if product.factors() == Kind::F32 && product.kind() != Kind::F32 {
            return Err(Error::Device("product: what comes of f32 is f32".into()));
        }
        let fits = |size: usize| size.is_multiple_of(FP8_SIZES);
        let plain = !form.a_turned && !form.b_turned && product.kind() == Kind::Bf16;
        if product.is_fp8() && !(plain && fits(outputs) && fits(inputs)) {
            return Err(Error::Device(format!(
                "product: FP8: expected outputs and inputs that are multiples of {FP8_SIZES}, next \
                 to each other, and bf16 out of them, found {outputs} and {inputs}"
            )));
        }
        Ok(product)
    }

    /// Rows, outputs, inputs.
    pub fn size(&self) -> [usize; 3] {
        self.size
    }

    /// Rows, weight and what comes out.
    pub fn operands(&self) -> &[View; 3] {
        &self.operands
    }

    /// How they lie; no distance is 0.
    pub fn form(&self) -> Form {
        self.form
    }

    /// In what the result is written.
    pub fn kind(&self) -> Kind {
        self.operands[2].kind()
    }

    /// In what the operands are.
    pub fn factors(&self) -> Kind {
        self.operands[0].kind()
    }

    /// Whether FP8 numbers are multiplied.
    pub fn is_fp8(&self) -> bool {
        self.factors() == Kind::U8
    }
}

/// What a product can multiply: bf16, f32 or, as bytes, FP8.
pub trait Factor: super::Element {}
impl Factor for f32 {}
impl Factor for Bf16 {}
impl Factor for u8 {}

/// What a product can be written in: bf16 or f32.
pub trait Output: super::Element {}
impl Output for Bf16 {}
impl Output for f32 {}
