//! How do I run it? One file a subcommand; `main` parses the line and calls them.

mod bring_up;
mod compare;
pub mod demo_data;
mod devices;
mod doctor;
mod embed;
mod explain;
pub mod label;
mod logits;
mod plan;
mod prepare;
mod reachability;
mod ready;
mod report;
mod report_encoder;
mod report_walks;
mod report_label;
mod rerank;
mod run;
mod runs;
mod server;
mod timings;
mod train_encoder;
mod train_reranker;
mod train_retriever;

pub use bring_up::{Brought, Outcome, Watcher, bring_up};
pub use compare::compare_runs;
pub use doctor::doctor;
pub use explain::explain;
pub use logits::{LogitsRequest, logits};
pub use plan::plan;
pub use report::write as write_report;
pub use rerank::stages as rerank_stages;
pub use run::{Finished, run};
pub use runs::Options;
