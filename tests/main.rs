//! One binary, one link. Each module asks one question.
#![allow(clippy::unwrap_used)]

mod bases;
mod cli;
mod controls;
mod cuda;
mod decoder;
mod encoder;
mod encoders;
mod evidence;
mod faults;
mod generate;
mod imports;
mod inputs;
mod jobs;
mod kernels;
mod label;
mod language;
mod logits;
mod metrics;
mod models;
mod node_graph;
mod reports;
mod rerankers;
mod scorers;
mod specs;
mod stages;
mod stores;
mod support;
mod tidy;
mod top_k;
mod workers;
