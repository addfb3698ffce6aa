//! What the cross-crate tests share.

// A test fails by panicking, and so does what helps it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

pub mod cluster;
pub mod docker_image;
pub mod engine;
pub mod simulation;
