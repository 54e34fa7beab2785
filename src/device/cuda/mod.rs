//! NVIDIA's devices: hand-written kernels, launched as data.
//!
//! A kernel is a file of `kernels/`, compiled where it runs. A *call* ([`kernels`]) names its
//! buffers and dimensions, checks them, and becomes a [`Launch`]: which kernel, how many threads,
//! which arguments. A [`Driver`] runs launches; so the same calls run on a device and, in the
//! tests, on a processor that emulates one.

mod buffer;
mod compile;
mod counted;
mod driver;
mod element;
mod items;
pub mod kernels;
mod launch;
mod measure;
mod nvidia;
mod product;
mod staging;
mod tensor_map;

pub use buffer::{Buffer, View, WriteRow};
pub use compile::{Compiled, Compiler};
pub use counted::Counted;
pub use driver::{Driver, Form, Memory, Output, Product, SharedDriver};
pub use element::{Bf16, Element, Kind};
pub use items::{Asked, Items};
pub use launch::{Argument, KERNELS, Kernel, Launch, Source};
pub use measure::{Facts, Moment};
pub use nvidia::Nvidia;
pub use tensor_map::TensorMap;
