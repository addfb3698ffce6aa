//! Damage: what arrives from a broken program, a failing disk, or somebody who means harm. It begins with something whole,
//! so that most of it gets past the first look and far into the reader.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

/// How many things are wrong with one input at most; more of them hide each other.
const MAX_EDITS: usize = 4;
/// Bytes that mean something to one of the readers: of JSON, YAML, HTTP, paths, UTF-8 and protobuf.
const TOKENS: &[&[u8]] = &[
    b"\"",
    b"\\u0000",
    b"\\ud800",
    b"null",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    b"{\"",
    b"&a [*a, *a]",
    b"---\n",
    b"../",
    b"%2e%2e%2f",
    b"%00",
    b"\r\n",
    b"\0",
    b"\xc3\x28",
    b"\xe2\x80\xae",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
];

/// One thing that is wrong with a run of bytes.
#[derive(Debug, Clone)]
enum Edit {
    Flip(u8),
    Set(u8),
    Insert(Vec<u8>),
    Remove(usize),
    Repeat(usize),
    End,
}

impl Edit {
    fn make(&self, bytes: &mut Vec<u8>, at: Index) {
        let at = at.index(bytes.len() + 1);
        let until = |length: usize| bytes.len().min(at + length);
        match self {
            Self::Flip(bit) => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            Self::Set(value) => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = *value;
                }
            }
            Self::Insert(more) => drop(bytes.splice(at..at, more.iter().copied())),
            Self::Remove(length) => drop(bytes.drain(at..until(*length))),
            Self::Repeat(length) => {
                let again = bytes[at..until(*length)].to_vec();
                drop(bytes.splice(at..at, again));
            }
            Self::End => bytes.truncate(at),
        }
    }
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        (0..8_u8).prop_map(Edit::Flip),
        any::<u8>().prop_map(Edit::Set),
        select(TOKENS).prop_map(|token| Edit::Insert(token.to_vec())),
        (1..40_usize).prop_map(Edit::Remove),
        (1..40_usize).prop_map(Edit::Repeat),
        Just(Edit::End),
    ]
}

/// The bytes of something `whole` with up to four things wrong; now and then bytes that never were anything.
pub fn damaged<B: Into<Vec<u8>>>(whole: impl Strategy<Value = B>) -> impl Strategy<Value = Vec<u8>> {
    let edits = vec((edit(), any::<Index>()), 0..=MAX_EDITS);
    let damaged = (whole.prop_map(Into::into), edits).prop_map(|(mut bytes, edits)| {
        for (edit, at) in edits {
            edit.make(&mut bytes, at);
        }
        bytes
    });
    prop_oneof![9 => damaged, 1 => vec(any::<u8>(), 0..300)]
}

/// Values that nobody expects where they are.
fn odd_value() -> impl Strategy<Value = Value> {
    let nested = (0..100).fold(Value::Null, |inside, _| json!([inside]));
    let long = "x".repeat(70_000);
    let values = [
        Value::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(0.5),
        json!(1e308),
        json!(""),
        json!(" "),
        json!("\0"),
        json!("../../etc/passwd"),
        json!("\u{202e}x\u{fffd}"),
        json!("18446744073709551615 days"),
        json!("99999999999999999999999"),
        json!(long),
        json!([]),
        json!({}),
        json!([null]),
        json!({"": null}),
        json!({"type": "LATER"}),
        json!({long.clone(): null}),
        json!(vec![json!({}); 300]),
        nested,
    ];
    select(values.to_vec())
}

/// How many values a document has, itself among them.
fn count(document: &Value) -> usize {
    let inside = match document {
        Value::Array(elements) => elements.iter().map(count).sum(),
        Value::Object(members) => members.values().map(count).sum(),
        _ => 0,
    };
    1 + inside
}

/// Puts `value` in the place of the one that comes `nth` when a document is read; how many are left to pass, if it has
/// not come yet.
fn replace(document: &mut Value, nth: usize, value: Value) -> Result<(), (usize, Value)> {
    let Some(nth) = nth.checked_sub(1) else {
        *document = value;
        return Ok(());
    };
    let mut left = (nth, value);
    let inside: Vec<&mut Value> = match document {
        Value::Array(elements) => elements.iter_mut().collect(),
        Value::Object(members) => members.values_mut().collect(),
        _ => Vec::new(),
    };
    for one in inside {
        match replace(one, left.0, left.1) {
            Ok(()) => return Ok(()),
            Err(next) => left = next,
        }
    }
    Err(left)
}

/// A `whole` document in which up to four values are others than they should be.
pub fn damaged_document(whole: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    let edits = vec((any::<Index>(), odd_value()), 0..=MAX_EDITS);
    (whole, edits).prop_map(|(mut document, edits)| {
        for (at, value) in edits {
            let nth = at.index(count(&document));
            // There is one: the place was drawn among those that the document has.
            let _ = replace(&mut document, nth, value);
        }
        document
    })
}

/// Twice the cases that properties take: most damage is of a kind that was tried before.
pub fn thorough() -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig { cases: usual.cases.saturating_mul(2), ..usual }
}
