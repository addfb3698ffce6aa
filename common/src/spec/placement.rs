//! Where to run.

use schemars::JsonSchema;
use serde::Serialize;

use super::tag_expression::{Culprit, TagExpression};
use crate::read::{Node, Read};

/// Where to run. Anything but `LOCAL` is refused by validation, not by parsing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "camelCase")]
pub enum PlacementPolicy {
    /// On every matching executor.
    Local {
        /// Host ports are the declared ports, one instance per host.
        #[schemars(default)]
        host_level: bool,
        /// Addition: for which executors the service is.
        #[serde(skip_serializing_if = "TagMatch::is_empty")]
        #[schemars(default)]
        tags: TagMatch,
    },
    /// A policy of Drove's applications.
    #[schemars(skip)]
    Unsupported,
}

/// Which executors, by their tags. Says it nothing, it is all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TagMatch {
    /// An executor must have each of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub all: Vec<String>,
    /// It must have one of these at least.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub any: Vec<String>,
    /// It must have none of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub none: Vec<String>,
    /// This must hold of its tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matches: Option<TagExpression>,
}

impl TagMatch {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty() && self.any.is_empty() && self.none.is_empty() && self.matches.is_none()
    }

    /// Whether an executor is meant.
    pub fn matches(&self, has: impl Fn(&str) -> bool) -> bool {
        self.all.iter().all(|tag| has(tag))
            && (self.any.is_empty() || self.any.iter().any(|tag| has(tag)))
            && !self.none.iter().any(|tag| has(tag))
            && self.matches.as_ref().is_none_or(|expression| expression.holds(&has))
    }

    /// Why an executor is not meant, in words; `None`: it is.
    pub fn mismatch(&self, has: impl Fn(&str) -> bool) -> Option<String> {
        let missing = self.all.iter().filter(|tag| !has(tag));
        let mut words: Vec<String> = missing.map(|tag| Culprit::Lacks(tag).to_string()).collect();
        if !self.any.is_empty() && !self.any.iter().any(|tag| has(tag)) {
            words.push(format!("it has none of the tags {}", self.any.join(", ")));
        }
        words.extend(self.none.iter().filter(|tag| has(tag)).map(|tag| Culprit::Has(tag).to_string()));
        if let Some(expression) = &self.matches {
            let culprits: Vec<String> = expression.culprits(&has).iter().map(ToString::to_string).collect();
            if !culprits.is_empty() {
                words.push(format!("it does not match '{expression}': {}", culprits.join(", ")));
            }
        }
        (!words.is_empty()).then(|| words.join("; "))
    }
}

impl Read for TagMatch {
    fn read(node: &Node<'_>) -> Self {
        let tags = node.object();
        Self {
            all: tags.get_or_default("all"),
            any: tags.get_or_default("any"),
            none: tags.get_or_default("none"),
            matches: tags.get("matches"),
        }
    }
}

impl Read for PlacementPolicy {
    fn read(node: &Node<'_>) -> Self {
        let policy = node.object();
        let kind: String = policy.required_tag("- Specify the type of the policy: LOCAL");
        if kind.eq_ignore_ascii_case("LOCAL") {
            let tags = policy.get_or_default("tags");
            Self::Local { host_level: policy.get_or_default("hostLevel"), tags }
        } else {
            Self::Unsupported
        }
    }
}

deserialize_by_reading!(PlacementPolicy);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_executor_is_meant_or_it_is_said_why_not() {
        let tags = |all: &[&str], any: &[&str], none: &[&str]| {
            let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
            TagMatch { all: texts(all), any: texts(any), none: texts(none), matches: None }
        };
        let has = |tag: &str| matches!(tag, "ssd" | "zone=a");
        let expression =
            |text: &str| TagMatch { matches: Some(text.parse().unwrap()), ..TagMatch::default() };
        for (tags, mismatch) in [
            (tags(&[], &[], &[]), None),
            (tags(&["ssd"], &["zone=b", "zone=a"], &["gpu"]), None),
            (tags(&["ssd", "gpu"], &[], &[]), Some("it lacks the tag gpu")),
            (tags(&[], &["zone=b", "zone=c"], &[]), Some("it has none of the tags zone=b, zone=c")),
            (tags(&["gpu"], &[], &["ssd"]), Some("it lacks the tag gpu; it has the tag ssd")),
            (expression("ssd and (gpu or zone=a)"), None),
            (
                TagMatch { matches: expression("gpu or not ssd").matches, ..tags(&["nvme"], &[], &[]) },
                Some(
                    "it lacks the tag nvme; it does not match 'gpu or not ssd': it lacks the tag gpu, it has the tag ssd",
                ),
            ),
        ] {
            assert_eq!(tags.mismatch(has).as_deref(), mismatch, "{tags:?}");
            assert_eq!(tags.matches(has), mismatch.is_none(), "{tags:?}");
        }
    }
}
