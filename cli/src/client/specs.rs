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
    pub(crate) value: Value,
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
        let sentence = self.message.trim_start_matches("- ");
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
            message: error.message.clone(),
            is_error,
        };
        let spec: LocalServiceSpec = accept_value(&self.value, |spec| validate(spec, &permissive(spec)))
            .map_err(|refused| {
                refused.errors().iter().map(|error| finding(error, true)).collect::<Vec<_>>()
            })?;
        let known = serde_json::from_slice(&spec.to_json()).unwrap_or(Value::Null);
        let mut unknown = Vec::new();
        unread("", &self.value, &known, &mut unknown);
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
    let name = if file.as_os_str() == "-" { "standard input".to_owned() } else { file.display().to_string() };
    let values = if text.trim_start().starts_with('{') {
        serde_json::from_str(&text).map(|value| vec![value]).map_err(|error| error.to_string())
    } else {
        serde_saphyr::from_multiple(&text).map_err(|error| error.without_snippet().to_string())
    };
    let values: Vec<Value> = values.map_err(|error| {
        CliError::new(Exit::Validation, format!("{name} is neither JSON nor YAML: {error}"))
    })?;
    let values: Vec<Value> = values.into_iter().filter(|value| !value.is_null()).collect();
    if values.is_empty() {
        return Err(CliError::new(Exit::Validation, format!("{name} holds no spec")));
    }
    let first = usize::from(values.len() > 1);
    let numbered = values.into_iter().enumerate().map(|(index, value)| Document {
        file: file.to_owned(),
        number: if first == 0 { 0 } else { index + first },
        value,
    });
    Ok(numbered.collect())
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
        Document { file: "hello.yaml".into(), number: 0, value }
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
            documents.iter().map(|found| found.value["name"].as_str().unwrap().to_owned()).collect()
        };
        let all = dir.path().to_owned();
        assert_eq!(names(std::slice::from_ref(&all)), ["a", "b1", "b2"]);
        assert_eq!(names(&[all.join("b.yaml"), all.clone()]), ["b1", "b2", "a"], "each once");
        assert!(documents(&[all.join("b.yaml")]).unwrap()[1].place().ends_with("b.yaml (document 2)"));

        let broken = write("c.yaml", "a: [\n");
        let error = documents(&[broken]).unwrap_err();
        assert_eq!(error.exit, Exit::Validation);
        assert!(!error.message.contains('\n'), "{error}");
        assert_eq!(documents(&[write("d.yaml", "")]).unwrap_err().exit, Exit::Validation);
        assert_eq!(documents(&["/nonexistent/spec".into()]).unwrap_err().exit, Exit::Usage);
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(documents(&[empty.path().to_owned()]).unwrap_err().exit, Exit::Usage);
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
