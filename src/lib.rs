//! Steerage re-ranks recommendations for everybody, every night, under the control of what people
//! asked for.

pub mod commands;
pub mod control;
pub mod device;
pub mod engine;
pub mod error;
pub mod flow;
pub mod metric;
pub mod model;
pub mod plan;
pub mod remote;
pub mod report;
pub mod spec;
pub mod stage;
pub mod store;
#[doc(hidden)]
pub mod testing;
pub mod train;
pub mod types;
