//! The state as a whole, one file per noun.

mod contact;
mod determinism;
mod maintenance;
mod report;
mod retention;
mod steer;
mod submit;
mod view;
