//! What do the networks compute?

pub mod adapter;
pub mod decoder;
pub mod encoder;
mod fields;
pub mod generate;
mod resident;
pub mod retriever;
pub mod spelling;
pub mod tensors;
pub mod tokenizer;
pub mod weights;
pub mod words;
