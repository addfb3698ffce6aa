//! Waiting that outlives what may happen meanwhile: controllers that come and go, elections, and whoever ends this program.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Duration, Instant, sleep};

use super::http::Client;
use crate::error::CliError;

/// For so long controllers are tried one after the other before it is given up: an election, or the restart of one after
/// the other, takes less.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(250);

/// Makes a call that may be made again until it is answered: what passes is borne for some time, but not beyond the
/// deadline, at one controller after the other.
pub(crate) async fn persist<T>(
    client: &Client,
    deadline: Option<Instant>,
    call: impl AsyncFn() -> Result<T, CliError>,
) -> Result<T, CliError> {
    let patience = Instant::now() + PATIENCE;
    let deadline = deadline.map_or(patience, |deadline| deadline.min(patience));
    loop {
        match call().await {
            Err(error) if error.is_passing() && Instant::now() < deadline => {
                client.try_another();
                sleep(PAUSE).await;
            }
            end => return end,
        }
    }
}

/// Waits for what the cluster does by itself. Whoever gives up waiting, or is made to, is told that it `goes_on`.
pub(crate) async fn attend<T>(
    goes_on: &str,
    wait: impl Future<Output = Result<T, CliError>>,
) -> Result<T, CliError> {
    let wait =
        async { wait.await.map_err(|error| if error.is_passing() { error.with(goes_on) } else { error }) };
    unless_interrupted(goes_on, wait).await
}

/// Does `work` unless this program is told to end meanwhile; `left` says what is to be known then.
pub(crate) async fn unless_interrupted<T>(
    left: &str,
    work: impl Future<Output = Result<T, CliError>>,
) -> Result<T, CliError> {
    tokio::select! {
        biased;
        end = work => end,
        number = interrupted() => {
            let number = number.map_err(|error| CliError::failure(format!("cannot listen for signals: {error}")))?;
            Err(CliError::interrupted(number, left))
        }
    }
}

/// The number of the signal that tells this program to end. From the first call on they do nothing else any more.
pub(crate) async fn interrupted() -> io::Result<u8> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let kind = tokio::select! {
        _ = interrupt.recv() => SignalKind::interrupt(),
        _ = terminate.recv() => SignalKind::terminate(),
        _ = hang_up.recv() => SignalKind::hangup(),
    };
    Ok(u8::try_from(kind.as_raw_value()).unwrap_or_default())
}

/// When a wait is over that lasts so long; never, where nobody said how long or it is longer than clocks count.
pub(crate) fn deadline(timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| Instant::now().checked_add(timeout))
}

/// Whether such a deadline has passed.
pub(crate) fn is_over(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::client::Target;

    fn client() -> Client {
        Client::new(Target { servers: vec!["http://a".into(), "http://b".into()], token: None }).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_borne_at_the_next_controller_and_nothing_else_is() {
        let (client, count) = (client(), Cell::new(0));
        let third = async || {
            count.set(count.get() + 1);
            if count.get() < 3 { Err(CliError::failure("no leader").passing()) } else { Ok(count.get()) }
        };
        assert_eq!(persist(&client, None, third).await, Ok(3));
        assert_eq!(client.server(), "http://a", "twice the next of two");

        count.set(0);
        let refused: Result<(), _> = persist(&client, None, async || {
            count.set(count.get() + 1);
            Err(CliError::failure("no"))
        })
        .await;
        assert!(refused.is_err() && count.get() == 1);
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_and_then_it_is_said_what_goes_on() {
        let client = client();
        let begun = Instant::now();
        let never = async |deadline| {
            let call = async || Err::<(), _>(CliError::failure("no leader").passing());
            attend("OP-1 goes on", persist(&client, deadline, call)).await.unwrap_err()
        };
        assert_eq!(never(None).await.message, "no leader; OP-1 goes on");
        assert!(begun.elapsed() >= PATIENCE);
        let begun = Instant::now();
        never(deadline(Some(Duration::from_secs(3)))).await;
        assert_eq!(begun.elapsed().as_secs(), 3, "who waits for less is not kept longer");
        let failed = attend("OP-1 goes on", async { Err::<(), _>(CliError::failure("it failed")) }).await;
        assert_eq!(failed.unwrap_err().message, "it failed", "what is over does not go on");
    }

    #[test]
    fn a_wait_without_end_or_of_more_than_clocks_count_has_no_deadline() {
        assert!(!is_over(deadline(None)) && !is_over(deadline(Some(Duration::MAX))));
        assert!(is_over(deadline(Some(Duration::ZERO))));
    }
}
