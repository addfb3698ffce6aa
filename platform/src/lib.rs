//! The outside world behind traits, so that the whole cluster can also run in one thread under a
//! seeded clock and network; and what both roles need to meet each other in it.
//!
//! | module | noun |
//! |---|---|
//! | [`world`] | clock, entropy, network and disk: all that a role touches of the machine |
//! | `steady` | wall-clock time that nobody can set |
//! | [`tls`] | the cluster's authority, a role's identity and its renewal, a peer's identity |
//! | [`serve`] | the one accept path: TLS for the cluster port, plain for the api port |
//! | `handshake` | the accepting half of mTLS handshakes: who comes first |
//! | `stalled` | connections whose other end stops reading |
//! | [`channel`] | gRPC channels that know whom they expect |
//! | [`call`] | one HTTP call to a server of somebody else, and what may be called |
//! | [`bind`] | sockets, with an error a person can act on |
//! | [`datadir`] | a data directory that one process owns |
//! | [`config`] | configuration files |
//! | [`role_error`] | why a role did not start, as one sentence and an exit code |
//! | [`systemd`] | what the service manager is told |
//! | [`telemetry`] | logs and metrics |
//! | [`shutdown`] | the signals that end a role |
//! | [`runtime`] | a program's threads, to its end |
//!
//! Tasks: [`serve::serve_cluster`] and [`serve::serve_plain`] each run an accept loop and one task
//! for each connection; nothing here holds state that outlives them. [`tls::keep_current`] looks at a role's certificate
//! files now and then.
//!
//! What decides (machine, reconcile, state) must not know this crate; what acts gets a [`World`].

pub mod bind;
pub mod call;
pub mod channel;
pub mod config;
pub mod datadir;
mod handshake;
mod own_process;
pub mod role_error;
pub mod runtime;
pub mod serve;
pub mod shutdown;
mod stalled;
mod steady;
pub mod systemd;
pub mod telemetry;
pub mod tls;
pub mod world;

pub use bind::{BindError, bind};
pub use channel::{ExpectedPeer, channel};
pub use datadir::DataDir;
pub use handshake::Crowd;
pub use role_error::RoleError;
pub use runtime::run_to_end;
pub use serve::{serve_cluster, serve_plain};
pub use steady::SteadyClock;
pub use tls::{Authority, IssuedCertificate, PeerIdentity, TlsError, TlsFiles, TlsIdentity, Validity};
pub use world::{Clock, Connection, Disk, Entropy, Listener, Network, Stream, World};
