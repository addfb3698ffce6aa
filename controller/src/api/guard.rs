//! Bounds that every call has: how long it may take, how many are at work at once, and how much is on its way as
//! answers. And what is counted of each.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use metrics::{counter, histogram};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::error::ApiError;
use super::exec_request::LONGEST_TIMEOUT;
use super::sending::Sending;

/// How long a call may take, its body's arrival included. Longer than any wait inside of one, so that
/// those answer with what they were waiting for.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The same of calls that run a command: opening the way there takes some, and the command its own.
pub(super) const COMMAND_TIMEOUT: Duration = LONGEST_TIMEOUT.saturating_add(CALL_TIMEOUT);
/// How many calls are at work at once.
const MAX_CALLS: usize = 1_024;

/// Bounds every call of `router`, to which each has so long.
pub(super) fn bounded<S: Clone + Send + Sync + 'static>(
    router: Router<S>,
    limit: Duration,
    sending: &Sending,
) -> Router<S> {
    let (places, sending) = (Arc::new(Semaphore::new(MAX_CALLS)), sending.clone());
    router.layer(from_fn(move |request: Request, next: Next| {
        let (places, sending) = (Arc::clone(&places), sending.clone());
        async move {
            let Ok(_place) = places.try_acquire() else {
                let sentence = "This controller has too many calls at work; retry in a moment";
                return ApiError::Unavailable(sentence.to_owned()).into_response();
            };
            match timeout(limit, sending.answer(request, next)).await {
                Ok(response) => response,
                Err(_) => ApiError::Unavailable(format!(
                    "The call took longer than {} s and was given up; retry, on another controller if it \
                     happens again",
                    limit.as_secs()
                ))
                .into_response(),
            }
        }
    }))
}

/// Counts the calls of one route, by status, and how long they take.
pub(super) fn measured<S: Clone + Send + Sync + 'static>(
    route: &'static str,
    methods: MethodRouter<S>,
) -> MethodRouter<S> {
    methods.layer(from_fn(move |request: Request, next: Next| async move {
        let begun = Instant::now();
        let response: Response = next.run(request).await;
        let status = response.status().as_u16().to_string();
        counter!("muster_api_requests_total", "route" => route, "status" => status).increment(1);
        histogram!("muster_api_request_seconds", "route" => route).record(begun.elapsed().as_secs_f64());
        response
    }))
}
