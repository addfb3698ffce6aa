//! `Idempotency-Key`: a call that is repeated under the same key becomes the same operation, and is answered as the first
//! time, for as long as that operation is kept. Another request under it is refused.

use axum::extract::OptionalFromRequestParts;
use http::request::Parts;
use muster_common::id::OperationId;
use muster_common::rest::IDEMPOTENCY_KEY;
use uuid::Uuid;

use super::error::ApiError;

/// The longest key.
const MAX_KEY_BYTES: usize = 255;

/// What a caller chose to recognise its call by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IdempotencyKey(String);

impl IdempotencyKey {
    /// The id of the operation that a call of `by` under this key becomes: nobody else's key leads to it.
    pub(super) fn operation(&self, by: &str) -> OperationId {
        let name = format!("{}:{by}:{}", by.len(), self.0);
        OperationId::from_uuid(Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()))
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, ApiError> {
        let mut keys = parts.headers.get_all(IDEMPOTENCY_KEY).into_iter();
        let Some(key) = keys.next() else { return Ok(None) };
        let text = key.to_str().ok().map(str::trim).filter(|key| (1..=MAX_KEY_BYTES).contains(&key.len()));
        match (text, keys.next()) {
            (Some(text), None) => Ok(Some(Self(text.to_owned()))),
            _ => Err(ApiError::Validation(vec![format!(
                "header {IDEMPOTENCY_KEY} must be there once, with 1 to {MAX_KEY_BYTES} visible ASCII characters"
            )])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_users_own() {
        let key = |text: &str| IdempotencyKey(text.to_owned());
        assert_eq!(key("a").operation("ann"), key("a").operation("ann"));
        assert_ne!(key("a").operation("ann"), key("a").operation("bob"));
        assert_ne!(key("a").operation("ann"), key("b").operation("ann"));
        assert_ne!(key("b:c").operation("a"), key("c").operation("a:b"));
    }
}
