//! Executors that came while no leader is known. They wait here for the end of the election, on the connections that they
//! have, instead of asking one controller after the other over new ones. They wait for a short time only, as another
//! controller may know more. Plain data; time is passed in.

use std::time::Duration;

use tokio::time::Instant;

use super::roster::SessionKey;

/// Longer than an election; shorter than an executor waits for an answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Who waits, in the order in which they came. There are not more than open streams.
#[derive(Debug)]
pub(super) struct Lobby<T> {
    waiting: Vec<(Instant, SessionKey, T)>,
}

impl<T> Default for Lobby<T> {
    fn default() -> Self {
        Self { waiting: Vec::new() }
    }
}

impl<T> Lobby<T> {
    /// Somebody came by the stream `key`.
    pub(super) fn enter(&mut self, key: SessionKey, visitor: T, now: Instant) {
        self.waiting.push((now, key, visitor));
    }

    /// The stream ended.
    pub(super) fn leave(&mut self, key: SessionKey) {
        self.waiting.retain(|(_, waiting, _)| *waiting != key);
    }

    /// The election is over: everybody who waits.
    pub(super) fn empty(&mut self) -> Vec<T> {
        std::mem::take(&mut self.waiting).into_iter().map(|(_, _, visitor)| visitor).collect()
    }

    /// Those who waited for too long.
    pub(super) fn weary(&mut self, now: Instant) -> Vec<T> {
        let fresh = self.waiting.iter().position(|(since, _, _)| *since + PATIENCE > now);
        let weary = self.waiting.drain(..fresh.unwrap_or(self.waiting.len()));
        weary.map(|(_, _, visitor)| visitor).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_waits_until_the_election_is_over_or_for_three_seconds() {
        let begin = Instant::now();
        let mut lobby = Lobby::default();
        for (key, visitor) in (1..).zip(["a", "b", "c", "d"]) {
            lobby.enter(SessionKey(key), visitor, begin + Duration::from_secs(key));
        }
        lobby.leave(SessionKey(2));
        assert_eq!(lobby.weary(begin), Vec::<&str>::new());
        assert_eq!(lobby.weary(begin + Duration::from_secs(4)), ["a"]);
        assert_eq!(lobby.empty(), ["c", "d"]);
        assert_eq!(lobby.empty(), Vec::<&str>::new());
        assert_eq!(lobby.weary(begin + Duration::from_secs(9)), Vec::<&str>::new());
    }
}
