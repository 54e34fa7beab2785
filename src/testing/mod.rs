//! What tests, benches and the demo share.

pub mod dataset;
pub mod faulty_store;
pub mod llama;
pub mod oracle;
