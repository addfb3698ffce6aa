//! The messages of etcd's gRPC interface (`etcdserverpb`) that the benchmark sends and reads, with the fields
//! that it uses: others are passed over when they are read.

use bytes::Bytes;

/// Stores a value under a key.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PutRequest {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) value: Bytes,
}

/// Answered once it is committed and applied.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PutResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) header: Option<ResponseHeader>,
}

/// Who answers.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ResponseHeader {
    #[prost(uint64, tag = "2")]
    pub(super) member_id: u64,
    /// How many changes there were; 0 in an answer that no store gave.
    #[prost(int64, tag = "3")]
    pub(super) revision: i64,
}

/// How are you?
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct StatusRequest {}

/// Its member's part of the answer.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) header: Option<ResponseHeader>,
    /// The id of the member that leads; 0 while nobody does.
    #[prost(uint64, tag = "4")]
    pub(super) leader: u64,
}
