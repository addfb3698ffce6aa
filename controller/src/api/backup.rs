//! A backup of the state, while everything goes on (an addition to Drove's API).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State as Context;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use http::header::CONTENT_TYPE;

use super::access::Api;
use super::error::ApiError;
use super::query::Parameters;
use crate::backup::{self, BackupHeader};
use crate::state::codec::write_snapshot;

/// `GET /cluster/backup`: the state as of one revision, which is what anybody acknowledged before the call;
/// with `?stale=true` what this controller has. One at a time: it is in memory until it is sent.
pub(super) async fn take(Context(api): Context<Api>, query: Parameters) -> Result<Response, ApiError> {
    let turn = Arc::clone(api.backups()).try_acquire_owned();
    let turn = turn.map_err(|_| {
        ApiError::Unavailable("this controller is sending a backup already; try again later".to_owned())
    })?;
    let state = api.read(&query).await?;
    let header = BackupHeader {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cluster: api.cluster().to_string(),
        revision: state.revision().0,
        term: api.raft().term,
        at_ms: api.now().0,
    };
    let chunks = api.blocking(move || write_snapshot(&state)).await?;
    tracing::info!(revision = header.revision, "sending a backup");
    let pieces = backup::write(&header, chunks).map(move |piece| {
        // Held until the last piece is gone.
        let _ = &turn;
        Ok::<Bytes, std::convert::Infallible>(piece)
    });
    let body = Body::from_stream(stream::iter(pieces));
    Ok(([(CONTENT_TYPE, "application/octet-stream")], body).into_response())
}
