//! The state as a whole, one file per noun.

mod contact;
mod determinism;
mod report;
mod retention;
mod steer;
mod submit;
mod view;
