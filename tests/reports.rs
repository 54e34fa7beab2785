//! What came of it, as people read it: golden texts, hostile names, empty runs, equal bytes.

mod forms;
mod pairs;
mod sample;
