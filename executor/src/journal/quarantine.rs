//! Damaged records are set aside: the executor does not read them again, and people can look at them for a while. Records
//! that belonged only to a damaged one are removed at once, because specs hold secrets.

use std::time::Duration;

use muster_common::time::Timestamp;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableError};

use super::batch::{Drawer, META_INCOMPLETE};
use super::contents::Aside;
use super::store::Table;

/// Under `<when, in ms>/<drawer>/<key>`, so that the oldest comes first.
const QUARANTINE: Table = Table::new("quarantine");
/// How many records are kept. A disk that damages them all must not fill up with them.
const KEPT: usize = 64;
/// How long they are kept.
const KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// Takes out of the drawers what was set aside, and keeps the quarantine within its bounds.
pub(super) fn tidy(database: &Database, aside: Aside, now: Timestamp) -> Result<(), redb::Error> {
    let Aside { damaged, ownerless } = aside;
    let outdated = outdated(&places(database)?, damaged.len(), now);
    if damaged.is_empty() && ownerless.is_empty() && outdated.is_empty() {
        return Ok(());
    }
    let transaction = database.begin_write()?;
    {
        let mut quarantine = transaction.open_table(QUARANTINE)?;
        for place in &outdated {
            quarantine.remove(place.as_str())?;
        }
        for (drawer, key, bytes) in damaged.iter().take(KEPT) {
            let place = format!("{:020}/{}/{key}", now.as_ms(), drawer.name());
            quarantine.insert(place.as_str(), bytes.as_slice())?;
        }
    }
    let damaged_keys = damaged.iter().map(|(drawer, key, _)| (*drawer, key));
    for (drawer, key) in damaged_keys.chain(ownerless.iter().map(|(drawer, key)| (*drawer, key))) {
        transaction.open_table(drawer.table())?.remove(key.as_str())?;
    }
    if !damaged.is_empty() {
        transaction.open_table(Drawer::Meta.table())?.insert(META_INCOMPLETE, [].as_slice())?;
    }
    transaction.commit()?;
    if !ownerless.is_empty() {
        tracing::info!(
            count = ownerless.len(),
            "removed specs and acknowledgements of what the journal does not hold"
        );
    }
    Ok(())
}

fn places(database: &Database) -> Result<Vec<String>, redb::Error> {
    let table = match database.begin_read()?.open_table(QUARANTINE) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let places = table.iter()?.map(|entry| Ok(entry?.0.value().to_owned()));
    places.collect()
}

/// Which of the records at `places`, the oldest first, make way for `arriving` new ones, or are too old.
fn outdated(places: &[String], arriving: usize, now: Timestamp) -> Vec<String> {
    let is_old = |place: &str| {
        let since = place.split_once('/').and_then(|(millis, _)| millis.parse().ok());
        // One that does not say is of an earlier version.
        since.is_none_or(|since| now.since(Timestamp(since)) > KEPT_FOR)
    };
    let (mut outdated, young): (Vec<_>, Vec<_>) = places.iter().cloned().partition(|place| is_old(place));
    let too_many = (young.len() + arriving.min(KEPT)).saturating_sub(KEPT);
    outdated.extend(young.into_iter().take(too_many));
    outdated
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(day: u64, key: u32) -> String {
        format!("{:020}/instances/{key}", day * 24 * 3600 * 1000)
    }

    #[test]
    fn the_oldest_make_way_and_nothing_is_kept_for_ever() {
        let now = Timestamp(40 * 24 * 3600 * 1000);
        let old = vec!["instances/SI-1".to_owned(), place(9, 1)];
        let young: Vec<String> = (0..60).map(|key| place(20, key)).collect();
        let places = [old.clone(), young.clone()].concat();
        assert_eq!(outdated(&places, 0, now), old);
        assert_eq!(outdated(&places, 4, now), old);
        assert_eq!(outdated(&places, 6, now), [old, young[..2].to_vec()].concat());
        assert_eq!(outdated(&places, 1000, now).len(), places.len());
    }
}
