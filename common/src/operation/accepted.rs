//! The answer to an accepted request.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{OperationId, ServiceId};

/// The answer to an accepted request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// The service that it is about.
    pub service_id: ServiceId,
    /// An addition to Drove's answer: how to ask for the progress.
    pub operation_id: OperationId,
}
