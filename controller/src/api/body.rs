//! A call's body: bounded while it arrives, in size and in time, and refused with the envelope. All bodies that are
//! arriving share a budget, which is charged by what is there and not by what is announced: slow clients hold no more
//! memory than that, however many they are. The first part of each is free, so that an operation comes through while
//! large bodies take all there is.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use http_body_util::BodyExt as _;
use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError};
use tokio::time::{Instant, timeout_at};

use super::access::Api;
use super::error::ApiError;

/// The most that any call takes.
pub(super) const MAX_BODY_BYTES: usize = 1024 * 1024;
/// The most that all bodies may take that are arriving at once, beyond what is free.
const ARRIVING_BYTES: usize = 64 * MAX_BODY_BYTES;
/// What is free of each body: more than operations take, but for those with files in their specs.
const FREE_BYTES: usize = 16 * 1024;
/// How many bodies may be arriving at once: half of the calls at work, so that there are places for those that only ask.
const MAX_ARRIVING: usize = 512;
/// How long a body may take, beside a second for each [`BYTES_PER_SECOND`] of it that are there: who sends nothing, or
/// next to nothing, has as long as for a head.
const ARRIVES_WITHIN: Duration = Duration::from_secs(10);
/// So that the largest body has nearly as long as its call.
const BYTES_PER_SECOND: usize = 64 * 1024;

/// A whole body.
#[derive(Debug)]
pub(super) struct Body(pub(super) Bytes);

impl FromRequest<Api> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Api) -> Result<Self, ApiError> {
        api.arriving().whole(request.into_body()).await.map(Self)
    }
}

/// Room for bodies that are arriving.
pub(crate) struct Arriving {
    places: Semaphore,
    bytes: Semaphore,
}

impl Default for Arriving {
    fn default() -> Self {
        Self { places: Semaphore::new(MAX_ARRIVING), bytes: Semaphore::new(ARRIVING_BYTES) }
    }
}

impl Arriving {
    /// The body, once all of it is there.
    async fn whole(&self, mut body: axum::body::Body) -> Result<Bytes, ApiError> {
        let _place = self.places.try_acquire().map_err(full)?;
        let (begun, mut whole, mut charged) = (Instant::now(), Vec::new(), None);
        loop {
            let arrived = match timeout_at(begun + time_for(whole.len()), body.frame()).await {
                Ok(None) => return Ok(whole.into()),
                Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
                Ok(Some(Err(_))) => {
                    return Err(ApiError::Json(vec!["the body ended before it was complete".to_owned()]));
                }
                Err(_) => return Err(given_up()),
            };
            if whole.len() + arrived.len() > MAX_BODY_BYTES {
                return Err(ApiError::TooLarge { limit: MAX_BODY_BYTES });
            }
            self.charge(&mut charged, whole.len() + arrived.len())?;
            whole.extend_from_slice(&arrived);
        }
    }

    /// Charges a body of which so much is there.
    fn charge<'a>(
        &'a self,
        charged: &mut Option<SemaphorePermit<'a>>,
        arrived: usize,
    ) -> Result<(), ApiError> {
        let before = charged.as_ref().map_or(0, SemaphorePermit::num_permits);
        let more = arrived.saturating_sub(FREE_BYTES).saturating_sub(before);
        let more = self.bytes.try_acquire_many(u32::try_from(more).unwrap_or(u32::MAX)).map_err(full)?;
        match charged {
            Some(charged) => charged.merge(more),
            None => *charged = Some(more),
        }
        Ok(())
    }
}

/// How long a body may take of which so much is there.
fn time_for(arrived: usize) -> Duration {
    let seconds = u32::try_from(arrived / BYTES_PER_SECOND).unwrap_or(u32::MAX);
    ARRIVES_WITHIN.saturating_add(Duration::from_secs(seconds.into()))
}

#[allow(clippy::needless_pass_by_value)] // as map_err hands it over
fn full(_: TryAcquireError) -> ApiError {
    let sentence = "This controller is receiving too many large bodies; retry in a moment";
    ApiError::Unavailable(sentence.to_owned())
}

fn given_up() -> ApiError {
    let sentence = "The call's body came too slowly and was given up; nothing was done, send it again";
    ApiError::Unavailable(sentence.to_owned())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream::{self, StreamExt as _};
    use tokio::time::sleep;

    use super::*;

    /// A body of pieces of that size, each after that pause; what comes after the last never does.
    fn dawdling(piece: usize, pieces: usize, pause: Duration) -> axum::body::Body {
        let sent = stream::iter(0..pieces).then(move |_| async move {
            if !pause.is_zero() {
                sleep(pause).await;
            }
            Ok::<_, Infallible>(Bytes::from(vec![b' '; piece]))
        });
        axum::body::Body::from_stream(sent.chain(stream::pending()))
    }

    #[tokio::test(start_paused = true)]
    async fn small_bodies_come_through_while_large_ones_dawdle() {
        let arriving = Arriving::default();
        let large = MAX_BODY_BYTES - 1;
        let room = ARRIVING_BYTES / (large - FREE_BYTES);
        let mut dawdlers: Vec<_> =
            (0..room).map(|_| Box::pin(arriving.whole(dawdling(large, 1, Duration::ZERO)))).collect();
        for dawdler in &mut dawdlers {
            assert!(timeout_at(Instant::now(), dawdler).await.is_err(), "it is not there yet");
        }
        let refused = arriving.whole(vec![b' '; large].into()).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "This controller is receiving too many large bodies; retry in a moment"
        );
        let small = arriving.whole(vec![b' '; FREE_BYTES].into()).await.unwrap();
        assert_eq!(small.len(), FREE_BYTES);
        for dawdler in dawdlers {
            assert_eq!(dawdler.await.unwrap_err(), given_up());
        }
        assert_eq!(arriving.whole(vec![b' '; MAX_BODY_BYTES].into()).await.unwrap().len(), MAX_BODY_BYTES);
        assert_eq!(arriving.bytes.available_permits(), ARRIVING_BYTES);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_has_time_for_as_long_as_it_gets_on() {
        let arriving = Arriving::default();
        let begun = Instant::now();
        let byte_by_byte = arriving.whole(dawdling(1, 1_000, Duration::from_secs(1))).await;
        assert_eq!(byte_by_byte.unwrap_err(), given_up());
        assert!(begun.elapsed() <= ARRIVES_WITHIN);

        let piece = BYTES_PER_SECOND / 2;
        let slowly = dawdling(piece, MAX_BODY_BYTES / piece + 1, Duration::from_millis(500));
        let too_large = ApiError::TooLarge { limit: MAX_BODY_BYTES };
        assert_eq!(arriving.whole(slowly).await.unwrap_err(), too_large, "all of it came");
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_only_ask_find_places_however_many_bodies_dawdle() {
        let arriving = Arriving::default();
        let mut dawdlers: Vec<_> =
            (0..MAX_ARRIVING).map(|_| Box::pin(arriving.whole(dawdling(1, 1, Duration::ZERO)))).collect();
        for dawdler in &mut dawdlers {
            assert!(timeout_at(Instant::now(), dawdler).await.is_err(), "it is not there yet");
        }
        assert!(arriving.whole(axum::body::Body::empty()).await.is_err());
        drop(dawdlers);
        assert!(arriving.whole(axum::body::Body::empty()).await.is_ok());
    }
}
