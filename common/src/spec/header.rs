//! The headers of a check's call.

use std::collections::{BTreeMap, btree_map};
use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use crate::read::{Node, Read};

/// Names and values. Values may be credentials: `Debug` shows only the names.
#[derive(Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Headers(BTreeMap<String, String>);

impl Headers {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each name with its value.
    pub fn iter(&self) -> btree_map::Iter<'_, String, String> {
        self.0.iter()
    }

    /// The same, as a map.
    pub(super) fn as_map(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// The same, to be masked.
    pub(super) fn as_map_mut(&mut self) -> &mut BTreeMap<String, String> {
        &mut self.0
    }
}

impl<'a> IntoIterator for &'a Headers {
    type Item = (&'a String, &'a String);
    type IntoIter = btree_map::Iter<'a, String, String>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl From<BTreeMap<String, String>> for Headers {
    fn from(headers: BTreeMap<String, String>) -> Self {
        Self(headers)
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Read for Headers {
    fn read(node: &Node<'_>) -> Self {
        Self(BTreeMap::read(node))
    }
}
