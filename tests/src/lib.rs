//! What the cross-crate tests share.

// A test fails by panicking, and so does what helps it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

pub mod agent;
pub mod api;
pub mod cluster;
pub mod controller;
pub mod docker_image;
pub mod engine;
pub mod lab;
pub mod leftovers;
pub mod ports;
pub mod python;
pub mod registry;
pub mod simulation;
pub mod small_disk;
pub mod sse;
pub mod terminal;
