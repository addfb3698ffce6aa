//! What Muster's consensus is compared with: three etcd servers, and clients that put.
//!
//! | module | noun |
//! |---|---|
//! | [`message`] | the few messages of etcd's interface that are needed |
//! | [`servers`] | three servers, each a process of its own |
//! | [`put`] | one client's writes |

mod message;
mod put;
mod servers;

pub(crate) use put::Putter;
pub(crate) use servers::{Servers, connect, find};
