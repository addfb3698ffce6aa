//! What to start.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use crate::duration::DroveDuration;
use crate::read::{Node, Read};

/// What to start. `type` defaults to `DOCKER`, as on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "UPPERCASE", rename_all_fields = "camelCase")]
pub enum Executable {
    /// A container image.
    Docker {
        /// The image reference.
        url: String,
        /// How long fetching may take. Must be there.
        docker_pull_timeout: DroveDuration,
    },
    /// Addition: a program on the node.
    Process {
        /// The program and its arguments; not through a shell.
        command: Vec<String>,
        /// Absolute; the instance's scratch directory when absent.
        #[serde(skip_serializing_if = "Option::is_none")]
        working_directory: Option<String>,
    },
}

impl Executable {
    /// The image, or the program: what events call EXECUTABLE.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Docker { url, .. } => url,
            Self::Process { command, .. } => command.first().map_or("", String::as_str),
        }
    }
}

impl fmt::Display for Executable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

wire_enum! {
    /// The `type` of an [`Executable`].
    enum ExecutableType {
        Docker = "DOCKER",
        Process = "PROCESS",
    }
}

impl Read for Executable {
    fn read(node: &Node<'_>) -> Self {
        let executable = node.object();
        match executable.tag().unwrap_or(ExecutableType::Docker) {
            ExecutableType::Docker => Self::Docker {
                url: executable.get_or_default("url"),
                docker_pull_timeout: executable.get_or_default("dockerPullTimeout"),
            },
            ExecutableType::Process => Self::Process {
                command: executable.get_or_default("command"),
                working_directory: executable.get("workingDirectory"),
            },
        }
    }
}

deserialize_by_reading!(Executable);
