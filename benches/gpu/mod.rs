//! What the evidence of a device is made of; the tests run it on an emulated one.
#![allow(missing_docs, dead_code)]

pub mod cases;
pub mod decoder;
pub mod families;
pub mod lists;
pub mod products;
pub mod rates;
pub mod report;
pub mod retriever;
pub mod retrieving;
pub mod search;
pub mod table;
pub mod timeline;
pub mod training;
