//! The grammar of image references, as the container engine reads them:
//! `[registry[:port]/]name[/name…][:tag][@algorithm:digest]`.

/// The engine's own limit on everything before the tag.
const MAX_NAME_BYTES: usize = 255;
const MAX_TAG_BYTES: usize = 128;
/// A digest of fewer than 128 bits is refused by the engine.
const MIN_DIGEST_DIGITS: usize = 32;
const MAX_DIGEST_DIGITS: usize = 256;

/// Whether `text` is an image reference.
pub(super) fn is_reference(text: &str) -> bool {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    name.len() <= MAX_NAME_BYTES && is_name(name) && tag.is_none_or(is_tag) && digest.is_none_or(is_digest)
}

fn is_name(name: &str) -> bool {
    let path = match name.split_once('/') {
        Some((first, path)) if is_meant_as_registry(first) => {
            if !is_registry(first) {
                return false;
            }
            path
        }
        _ => name,
    };
    path.split('/').all(is_component)
}

/// The engine's rule for telling `localhost/x` and `example.org/x` from `library/x`.
fn is_meant_as_registry(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':']) || first.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn is_registry(text: &str) -> bool {
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    host.split('.').all(is_label) && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// Lower-case words, joined by one dot, one or two underscores, or any number of hyphens.
fn is_component(text: &str) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends_in_words = bytes.first().is_some_and(is_word) && bytes.last().is_some_and(is_word);
    let is_joint =
        |joint: &[u8]| matches!(joint, b"." | b"_" | b"__") || joint.iter().all(|&byte| byte == b'-');
    ends_in_words && bytes.split(is_word).all(is_joint)
}

fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= MAX_TAG_BYTES
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

fn is_digest(text: &str) -> bool {
    let Some((algorithm, digits)) = text.split_once(':') else { return false };
    !algorithm.is_empty()
        && algorithm.split(['+', '.', '-', '_']).all(|part| {
            part.starts_with(|first: char| first.is_ascii_alphabetic())
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
        && (MIN_DIGEST_DIGITS..=MAX_DIGEST_DIGITS).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_told_from_other_texts() {
        let digest = format!("sha256:{}", "0f".repeat(32));
        for good in [
            "busybox",
            "library/busybox:1.36",
            "registry.example.org/team/web:1.0",
            "localhost:5000/a-b_c__d.e/f---g:v1.0-rc.1",
            "Registry:443/x",
            &format!("web@{digest}"),
            &format!("example.org/web:1@{digest}"),
        ] {
            assert!(is_reference(good), "{good}");
        }
        for bad in [
            "",
            "Web",
            "web:",
            "web:-1",
            "web@sha256:12",
            "web@",
            "a//b",
            "/a",
            "a/",
            "a b",
            "a..b",
            "a___b",
            "-a",
            "http://example.org/web",
            "example.org:99999/web",
            "-x.org/web",
            "web:1:2",
            "wéb",
            &"a".repeat(256),
            &format!("web:{}", "1".repeat(129)),
        ] {
            assert!(!is_reference(bad), "{bad}");
        }
    }
}
