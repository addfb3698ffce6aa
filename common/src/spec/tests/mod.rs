//! Specs as users send them: what is read, what is written back, what is refused and in which words.

mod json;
mod rules;

use serde_json::Value;

use crate::spec::SpecLimits;

/// A service that uses every member; as it was sent.
pub(crate) const SENT: &str = include_str!("data/edge-cache.json");
/// The same, as it is written back.
const WRITTEN: &str = include_str!("data/edge-cache.written.json");
/// The same, as YAML.
pub(crate) const YAML: &str = include_str!("data/edge-cache.yaml");

/// [`SENT`] as a document, to be damaged.
pub(crate) fn sent() -> Value {
    serde_json::from_str(SENT).expect("test data is JSON")
}

/// A cluster that allows what the test data uses.
pub(crate) fn generous() -> SpecLimits {
    SpecLimits {
        enable_raw_device_access: true,
        allowed_fetch_urls: vec!["https://config.example.net/".parse().expect("the beginning of a URL")],
        ..SpecLimits::default()
    }
}
