//! What do the networks compute?

pub mod retriever;
pub mod weights;
