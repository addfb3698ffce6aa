//! Specs in files: JSON, or one or several YAML documents; a directory stands for the files in it, `-` for standard
//! input. Reading is as lenient as the server's, and names as much.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use muster_common::exit::Exit;
use muster_common::read::accept_value;
use muster_common::spec::{ConfigSource, FetchUrl, FieldError, LocalServiceSpec, SpecLimits, validate};
use serde::Serialize;
use serde_json::Value;

use super::nearest::nearest;
use crate::error::CliError;

/// A larger file is not a spec; the server refuses it too.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// More files than these in one directory are not all specs.
const MAX_FILES: usize = 1000;
/// Files with such names are taken from a directory.
const EXTENSIONS: [&str; 3] = ["json", "yaml", "yml"];

/// The members of a spec that need not be there, for whoever mistyped one.
const MEMBERS: [&str; 18] = [
    "type",
    "executable",
    "placementPolicy",
    "volumes",
    "configs",
    "logging",
    "healthcheck",
    "readiness",
    "tags",
    "env",
    "args",
    "devices",
    "preShutdown",
    "userSpec",
    "grace",
    "restartPolicy",
    "drainPolicy",
    "resources",
];

/// One document of a file.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub(crate) file: PathBuf,
    /// Counted from 1; 0: the only one of its file.
    pub(crate) number: usize,
    /// Or why it cannot be read.
    pub(crate) value: Result<Value, String>,
}

/// Something that is wrong with a document, or may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Finding {
    pub(crate) place: String,
    /// Of the member; empty for the document as a whole.
    pub(crate) path: String,
    pub(crate) message: String,
    /// Whether the document is refused for its sake.
    pub(crate) is_error: bool,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_error { "error" } else { "warning" };
        let sentence = &self.message;
        match self.path.as_str() {
            "" => write!(f, "{}: {kind}: {sentence}", self.place),
            path => write!(f, "{}: {kind}: {path} - {sentence}", self.place),
        }
    }
}

impl Document {
    /// Where it is, for people.
    pub(crate) fn place(&self) -> String {
        let file = if self.file.as_os_str() == "-" {
            "standard input".into()
        } else {
            self.file.display().to_string()
        };
        match self.number {
            0 => file,
            number => format!("{file} (document {number})"),
        }
    }

    /// The spec, and what may be wrong with it; or all that is wrong.
    pub(crate) fn spec(&self) -> Result<(LocalServiceSpec, Vec<Finding>), Vec<Finding>> {
        let finding = |error: &FieldError, is_error| Finding {
            place: self.place(),
            path: error.path.clone(),
            message: error.message.trim_start_matches("- ").to_owned(),
            is_error,
        };
        let value = self.value.as_ref().map_err(|why| {
            vec![Finding { place: self.place(), path: String::new(), message: why.clone(), is_error: true }]
        })?;
        let spec: LocalServiceSpec =
            accept_value(value, |spec| validate(spec, &permissive(spec))).map_err(|refused| {
                refused.errors().iter().map(|error| finding(error, true)).collect::<Vec<_>>()
            })?;
        let known = serde_json::from_slice(&spec.to_json()).unwrap_or(Value::Null);
        let mut unknown = Vec::new();
        unread("", value, &known, &mut unknown);
        let warnings = unknown.iter().map(|error| finding(error, false)).collect();
        Ok((spec, warnings))
    }
}

/// What only a cluster can forbid is not judged here: devices, and where its controllers may fetch from.
fn permissive(spec: &LocalServiceSpec) -> SpecLimits {
    let fetched = spec.configs.iter().filter_map(|config| match &config.source {
        ConfigSource::ControllerHttpFetch { http } => {
            format!("{}://{}:*/", http.protocol.scheme(), bracketed(http.host())).parse::<FetchUrl>().ok()
        }
        ConfigSource::Inline { .. }
        | ConfigSource::ExecutorLocalFile { .. }
        | ConfigSource::ExecutorHttpFetch { .. } => None,
    });
    SpecLimits {
        enable_raw_device_access: true,
        allowed_fetch_urls: fetched.collect(),
        ..SpecLimits::default()
    }
}

/// Members of `given` of which nothing is left in `kept`: the server would pass over them without a word.
fn unread(path: &str, given: &Value, kept: &Value, found: &mut Vec<FieldError>) {
    match (given, kept) {
        (Value::Object(given), Value::Object(kept)) => {
            for (name, value) in given {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                match kept.get(name) {
                    Some(kept) => unread(&path, value, kept, found),
                    None if is_nothing(value) => {}
                    None => {
                        let missing = kept.keys().map(String::as_str).chain(MEMBERS);
                        let meant = nearest(name, missing.filter(|kept| !given.contains_key(*kept)));
                        let meant =
                            meant.map(|meant| format!("; did you mean '{meant}'?")).unwrap_or_default();
                        let message = format!("- Is not known here, and is passed over{meant}");
                        found.push(FieldError { path, message, is_sentence: false });
                    }
                }
            }
        }
        (Value::Array(given), Value::Array(kept)) => {
            for (index, (given, kept)) in given.iter().zip(kept).enumerate() {
                unread(&format!("{path}[{index}]"), given, kept, found);
            }
        }
        _ => {}
    }
}

/// What leaves nothing behind when it is read.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(elements) => elements.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// The documents of all `paths`, in their order; those of a directory by their names. Each file is read once.
pub(crate) fn documents(paths: &[PathBuf]) -> Result<Vec<Document>, CliError> {
    let mut files = Vec::new();
    let mut seen = BTreeSet::new();
    for path in paths {
        let here = if path.is_dir() { files_in(path)? } else { vec![path.clone()] };
        files.extend(here.into_iter().filter(|file| seen.insert(file.clone())));
    }
    let mut documents = Vec::new();
    for file in files {
        documents.extend(documents_in(&file)?);
    }
    Ok(documents)
}

/// The specs in a file, those of which nothing is wrong; otherwise all that is.
pub(crate) fn read_specs(path: &Path) -> Result<Vec<LocalServiceSpec>, CliError> {
    specs(&documents(&[path.to_owned()])?).map(|(specs, _)| specs)
}

/// The specs in the documents and what may be wrong with them; otherwise all that is wrong with any.
pub(crate) fn specs(documents: &[Document]) -> Result<(Vec<LocalServiceSpec>, Vec<Finding>), CliError> {
    let (mut specs, mut warnings, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for document in documents {
        match document.spec() {
            Ok((spec, found)) => {
                specs.push(spec);
                warnings.extend(found);
            }
            Err(found) => errors.extend(found),
        }
    }
    if errors.is_empty() {
        return Ok((specs, warnings));
    }
    let list: String = errors.iter().map(|error| format!("\n  {error}")).collect();
    Err(CliError::new(Exit::Validation, format!("nothing was changed, because of what is wrong here:{list}")))
}

fn files_in(directory: &Path) -> Result<Vec<PathBuf>, CliError> {
    let unreadable = |error: std::io::Error| {
        CliError::new(Exit::Usage, format!("cannot read the directory {}: {error}", directory.display()))
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let is_spec =
            path.extension().and_then(|name| name.to_str()).is_some_and(|name| EXTENSIONS.contains(&name));
        if is_spec && path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() || files.len() > MAX_FILES {
        let message = format!(
            "{} holds {} files that end in {}; from 1 to {MAX_FILES} are taken",
            directory.display(),
            files.len(),
            EXTENSIONS.map(|name| format!(".{name}")).join(", ")
        );
        return Err(CliError::new(Exit::Usage, message));
    }
    files.sort();
    Ok(files)
}

fn documents_in(file: &Path) -> Result<Vec<Document>, CliError> {
    let text = text_of(file)?;
    let document = |number, value| Document { file: file.to_owned(), number, value };
    let values = match values_in(&text) {
        Ok(values) => values,
        Err(why) => return Ok(vec![document(0, Err(why))]),
    };
    let is_one = values.len() == 1;
    let numbered = values.into_iter().enumerate();
    Ok(numbered.map(|(index, value)| document(if is_one { 0 } else { index + 1 }, Ok(value))).collect())
}

/// The documents of a text.
fn values_in(text: &str) -> Result<Vec<Value>, String> {
    let from_yaml = || serde_saphyr::from_multiple(text).map_err(|error| error.without_snippet().to_string());
    let values: Result<Vec<Value>, String> = if text.trim_start().starts_with('{') {
        // What is no JSON may be YAML in its flow style.
        serde_json::from_str(text)
            .map(|value| vec![value])
            .or_else(|error| from_yaml().map_err(|_| error.to_string()))
    } else {
        from_yaml()
    };
    let values = values.map_err(|why| format!("is neither JSON nor YAML: {why}"))?;
    let values: Vec<Value> = values.into_iter().filter(|value| !value.is_null()).collect();
    if values.is_empty() { Err("holds no spec".to_owned()) } else { Ok(values) }
}

fn text_of(file: &Path) -> Result<String, CliError> {
    let name = file.display();
    let mut text = String::new();
    let limit = MAX_FILE_BYTES + 1;
    let read = if file.as_os_str() == "-" {
        std::io::stdin().take(limit).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(limit).read_to_string(&mut text))
    };
    read.map_err(|error| CliError::new(Exit::Usage, format!("cannot read {name}: {error}")))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(CliError::new(Exit::Usage, format!("{name} is larger than {MAX_FILE_BYTES} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::example;

    fn document(value: Value) -> Document {
        Document { file: "hello.yaml".into(), number: 0, value: Ok(value) }
    }

    #[test]
    fn documents_are_read_from_json_from_several_yaml_documents_and_from_directories() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        write("b.yaml", "name: b1\n---\nname: b2\n---\n");
        write("a.json", r#"{"name": "a"}"#);
        write("notes.txt", "no spec");
        let names = |paths: &[PathBuf]| -> Vec<String> {
            let documents = documents(paths).unwrap();
            documents
                .iter()
                .map(|found| found.value.as_ref().unwrap()["name"].as_str().unwrap().to_owned())
                .collect()
        };
        let all = dir.path().to_owned();
        assert_eq!(names(std::slice::from_ref(&all)), ["a", "b1", "b2"]);
        assert_eq!(names(&[all.join("b.yaml"), all.clone()]), ["b1", "b2", "a"], "each once");
        assert!(documents(&[all.join("b.yaml")]).unwrap()[1].place().ends_with("b.yaml (document 2)"));

        write("b.yaml", "{name: flow, version: \"1\"}");
        assert_eq!(names(&[all.join("b.yaml")]), ["flow"]);
        assert_eq!(documents(&["/nonexistent/spec".into()]).unwrap_err().exit, Exit::Usage);
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(documents(&[empty.path().to_owned()]).unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn what_cannot_be_read_is_a_problem_of_its_file_and_keeps_no_other_from_being_told() {
        let dir = tempfile::tempdir().unwrap();
        let texts = [("a.yaml", "a: [\n"), ("b.yaml", ""), ("c.json", "{\"a\": "), ("d.yaml", "name: a b\n")];
        let paths = texts.map(|(name, text)| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        });
        let error = specs(&documents(&paths).unwrap()).unwrap_err();
        assert_eq!(error.exit, Exit::Validation);
        let lines: Vec<&str> = error.message.lines().skip(1).collect();
        for (index, part) in [
            (0, "a.yaml: error: is neither JSON nor YAML: "),
            (1, "b.yaml: error: holds no spec"),
            (2, "c.json: error: is neither JSON nor YAML: EOF while parsing"),
            (3, "d.yaml: error: "),
        ] {
            assert!(lines[index].contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn every_problem_of_every_document_is_named_with_its_place() {
        let good = document(example::spec("/bin/true"));
        let bad = Document { number: 2, ..document(json!({"name": "a b", "version": "1"})) };
        let error = specs(&[good, bad]).unwrap_err();
        assert_eq!(error.exit, Exit::Validation);
        for part in ["hello.yaml (document 2): error: name - ", "exposedPorts", "executable"] {
            assert!(error.message.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn what_would_be_passed_over_is_a_warning() {
        let mut value = example::spec("/bin/true");
        assert_eq!(document(value.clone()).spec().unwrap().1, []);
        value["enviroment"] = json!({"A": "b"});
        value["envv"] = json!({"A": "b"});
        value["healthcheck"]["atempts"] = json!(4);
        value["volumes"] = json!([]);
        let (_, warnings) = document(value).spec().unwrap();
        let texts: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "hello.yaml: warning: enviroment - Is not known here, and is passed over",
                "hello.yaml: warning: envv - Is not known here, and is passed over; did you mean 'env'?",
                "hello.yaml: warning: healthcheck.atempts - Is not known here, and is passed over",
            ]
        );
    }

    #[test]
    fn what_only_a_cluster_can_forbid_is_let_through() {
        let mut value = example::spec("/bin/true");
        value["configs"] = json!([{"type": "CONTROLLER_HTTP_FETCH", "localFilename": "/etc/x", "http": {
            "protocol": "HTTPS", "hostname": "config.example.net", "port": 8443, "path": "/x"}}]);
        document(value).spec().unwrap();
    }
}
