//! The state as a whole, one file per noun.

mod contact;
mod determinism;
mod duty;
mod events;
mod instances;
mod led;
mod maintenance;
mod operations;
mod placement;
mod report;
mod retention;
mod steer;
mod submit;
mod view;
mod watcher;
