//! Ports, cores and memory of this node, and which instances hold them.
//!
//! [`Room::lease`] is pure: what is held is derived from the instances that live, so that there is no
//! second book to keep in step. `bind_check` sees at the edge that nobody outside Muster holds a port;
//! `discovery` reads once, at the start, what the node has, and `outgoing` which of its ports others may be given.

mod bind_check;
mod discovery;
mod outgoing;
mod room;

pub(crate) use bind_check::{PortError, check_ports};
pub(crate) use discovery::discover;
pub(crate) use outgoing::outgoing_overlap;
pub(crate) use room::{Held, Room};
