//! Events as they are sent to those who watch: each is written once, however many readers it has.
//!
//! One task follows the state and publishes it with its newest events written out. Readers wait for what it publishes
//! rather than for the state, so that all find them there. Who is further behind writes for itself what it needs.

use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::state::{EventPosition, EventRecord, State, view};

/// How many events are kept written out: more than come in a second on a busy cluster, a few MB.
const KEPT: usize = 4_096;

/// One event, and what a reader of it is sent.
#[derive(Debug, PartialEq)]
pub(super) struct Frame {
    pub(super) position: EventPosition,
    pub(super) bytes: Bytes,
}

impl Frame {
    fn of(position: EventPosition, record: &EventRecord) -> Self {
        let event = view::event::event(position, record);
        let bytes = written(position, event.kind.as_str(), &event);
        Self { position, bytes }
    }
}

/// A server-sent event. A JSON text has no line breaks, and the domain's types are always JSON.
pub(super) fn written(id: EventPosition, name: &str, data: &impl serde::Serialize) -> Bytes {
    let data = serde_json::to_string(data).unwrap_or_default();
    format!("id: {id}\nevent: {name}\ndata: {data}\n\n").into()
}

/// The state, and its newest events written out.
#[derive(Debug, Clone)]
pub(super) struct Framed {
    pub(super) state: Arc<State>,
    recent: OrdMap<EventPosition, Arc<Frame>>,
}

impl Framed {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { state, recent: OrdMap::new() }
    }

    /// What follows when the state has become `state`.
    fn next(&self, state: Arc<State>) -> Self {
        let mut recent = self.recent.clone();
        for (position, record) in state.events_after(self.state.revision()).rev().take(KEPT) {
            recent.insert(*position, Arc::new(Frame::of(*position, record)));
        }
        while recent.len() > KEPT
            && let Some((oldest, _)) = recent.get_min().cloned()
        {
            recent.remove(&oldest);
        }
        Self { state, recent }
    }

    /// An event of this state, written out.
    pub(super) fn frame(&self, position: EventPosition, record: &EventRecord) -> Arc<Frame> {
        self.recent.get(&position).cloned().unwrap_or_else(|| Arc::new(Frame::of(position, record)))
    }
}

/// Where readers get them from.
#[derive(Debug, Clone)]
pub(crate) struct Frames(watch::Sender<Arc<Framed>>);

impl Frames {
    pub(crate) fn new(state: Arc<State>) -> Self {
        Self(watch::Sender::new(Arc::new(Framed::new(state))))
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Arc<Framed>> {
        self.0.subscribe()
    }

    /// Publishes each state until `shutdown`. Nothing is written out while nobody reads.
    pub(crate) async fn follow(self, mut states: watch::Receiver<Arc<State>>, shutdown: CancellationToken) {
        loop {
            let state = states.borrow_and_update().clone();
            let is_read = self.0.receiver_count() > 0;
            self.0.send_modify(|framed| {
                *framed = Arc::new(if is_read { framed.next(state) } else { Framed::new(state) });
            });
            tokio::select! {
                () = shutdown.cancelled() => return,
                changed = states.changed() => if changed.is_err() { return },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::*;

    #[test]
    fn an_event_is_written_once_for_all_its_readers() {
        let mut fixture = Fixture::with_executors(1);
        let before = Framed::new(Arc::new(fixture.state.clone()));
        let seen = fixture.state.revision();
        fixture.report_in("i", &slot_id("web-1", "e1", 0), &UP_AND_DOWN);
        let framed = before.next(Arc::new(fixture.state.clone()));
        let events: Vec<_> = fixture.state.events_after(seen).collect();
        assert!(!events.is_empty());
        for (position, record) in events {
            let (one, other) = (framed.frame(*position, record), framed.frame(*position, record));
            assert!(Arc::ptr_eq(&one, &other), "{position:?}");
            let text = String::from_utf8(one.bytes.to_vec()).unwrap();
            assert!(
                text.starts_with(&format!("id: {}.{}\nevent: ", position.revision, position.n)),
                "{text}"
            );
            assert!(text.ends_with("}\n\n"), "{text}");
        }
    }

    #[test]
    fn no_more_are_kept_than_fit() {
        let mut fixture = Fixture::with_executors(1);
        let mut framed = Framed::new(Arc::new(fixture.state.clone()));
        for n in 0..KEPT / 4 {
            fixture.report_in(&format!("i{n}"), &slot_id("web-1", "e1", 0), &UP_AND_DOWN);
            if n % 64 == 0 {
                framed = framed.next(Arc::new(fixture.state.clone()));
            }
        }
        framed = framed.next(Arc::new(fixture.state.clone()));
        assert_eq!(framed.recent.len(), KEPT);
        let newest = fixture.state.events_after(muster_common::id::Revision(0)).next_back().unwrap().0;
        assert_eq!(framed.recent.get_max().unwrap().0, *newest);
    }
}
