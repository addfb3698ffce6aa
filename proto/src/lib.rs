//! The gRPC interfaces between the roles, and the records that are kept on disk.
//!
//! [`v1`] is generated from `proto/muster/v1/*.proto`. The conversions between its messages and the
//! domain types live in private modules here; a message that names something the domain does not
//! know is refused with the field's name ([`Malformed`]).

/// The generated messages, clients and servers.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)] // generated; the .proto files are documented
pub mod v1 {
    tonic::include_proto!("muster.v1");
}

mod convert;

pub use convert::{Fields, Malformed};
