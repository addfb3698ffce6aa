//! What a service is called and who it runs as.

use super::form;
use crate::problem::Place;
use crate::spec::{LocalServiceSpec, UserSpec};

/// Together with the hyphen well below the 255 bytes of an id, which names directories and containers.
const MAX_NAME_BYTES: usize = 160;
const MAX_VERSION_BYTES: usize = 64;
const MAX_TAGS: usize = 256;
const MAX_TAG_BYTES: usize = 1024;
/// The longest user name that Linux tools take is 32; numeric ids are shorter.
const MAX_USER_BYTES: usize = 64;

pub(super) fn check(spec_at: Place<'_>, spec: &LocalServiceSpec) {
    form::name(spec_at.member("name"), &spec.name, "- Service name is mandatory", MAX_NAME_BYTES);
    form::name(spec_at.member("version"), &spec.version, "- Service version is mandatory", MAX_VERSION_BYTES);
    spec_at.member("type").require(spec.job_type.is_some(), "- Specify if job is a computation or a service");
    form::labels(spec_at.member("tags"), &spec.tags, MAX_TAGS, MAX_TAG_BYTES);
    if let Some(user) = &spec.user_spec {
        user_spec(spec_at.member("userSpec"), user);
    }
}

fn user_spec(place: Place<'_>, spec: &UserSpec) {
    account(place.member("user"), &spec.user, "- Specify the user");
    if let Some(group) = &spec.group {
        account(place.member("group"), group, "- Specify the group");
    }
}

fn account(place: Place<'_>, name: &str, missing: &str) {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if form::present(place, name, missing, MAX_USER_BYTES) {
        place.require(
            name.bytes().all(is_plain) && !name.starts_with('-'),
            "- Must be a name or a numeric id: letters, digits, '.', '_' and '-'",
        );
    }
}
