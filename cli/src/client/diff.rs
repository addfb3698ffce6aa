//! How two specs differ, member by member. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use muster_common::spec::{LocalServiceSpec, masked};
use serde::Serialize;
use serde_json::Value;

use super::screen::{Screen, Tone};
use super::table::printable;

/// One member that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    pub(crate) path: String,
    pub(crate) before: Option<String>,
    pub(crate) after: Option<String>,
}

/// What differs between the spec that a cluster shows and another one. What is sensitive is shown by nobody, so that it
/// cannot be compared.
pub(crate) fn changes(shown: &LocalServiceSpec, wanted: &LocalServiceSpec) -> Vec<Change> {
    let (before, after) = (members(shown), members(&masked(wanted)));
    let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let change = |path: &String| Change {
        path: path.clone(),
        before: before.get(path).cloned(),
        after: after.get(path).cloned(),
    };
    paths.into_iter().map(change).filter(|change| change.before != change.after).collect()
}

/// The changes as lines: `+` is new, `-` goes, `~` is another value.
pub(crate) fn lines(changes: &[Change], screen: &Screen) -> String {
    let mut text = String::new();
    for Change { path, before, after } in changes {
        let (tone, line) = match (before, after) {
            (None, Some(after)) => (Tone::Good, format!("+ {path}: {after}")),
            (Some(before), None) => (Tone::Bad, format!("- {path}: {before}")),
            (Some(before), Some(after)) => (Tone::Busy, format!("~ {path}: {before} -> {after}")),
            (None, None) => continue,
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {}", screen.paint(tone, &printable(&line)));
    }
    text
}

/// Every member that holds a value, by its path.
fn members(spec: &LocalServiceSpec) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    gather("", &serde_json::from_slice(&spec.to_json()).unwrap_or(Value::Null), &mut found);
    found
}

fn gather(path: &str, value: &Value, found: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, value) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                gather(&path, value, found);
            }
        }
        Value::Array(elements) if !elements.is_empty() => {
            for (index, element) in elements.iter().enumerate() {
                gather(&format!("{path}[{index}]"), element, found);
            }
        }
        value => {
            found.insert(path.to_owned(), value.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::json;

    use super::*;
    use crate::client::samples::screen;
    use crate::example;

    #[test]
    fn what_comes_goes_and_changes_is_told_apart_and_secrets_are_not_shown() {
        let mut old = example::spec("/bin/old");
        old["env"] = json!({"GONE": "1", "KEPT": "2"});
        old["configs"] = json!([{"type": "INLINE", "localFilename": "/etc/x", "data": "c2VjcmV0"}]);
        let mut new = example::spec("/bin/new");
        new["env"] = json!({"KEPT": "2", "NEW": "3"});
        new["configs"] = json!([{"type": "INLINE", "localFilename": "/etc/x", "data": "b3RoZXI="}]);
        new["volumes"] = json!([{"pathInContainer": "/data", "pathOnHost": "/srv", "mode": "READ_ONLY"}]);
        let spec = |value: Value| serde_json::from_value::<LocalServiceSpec>(value).unwrap();
        let (old, new) = (spec(old), spec(new));
        let changes = changes(&masked(&old), &new);
        assert_snapshot!(lines(&changes, &screen()));
        assert_eq!(super::changes(&masked(&new), &new), []);
    }
}
