//! What the disk alone can do: one writer that appends and waits for the disk, over and over. Rates
//! are given as multiples of it, since the disk of a busy machine is another one each minute.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use crate::stats::Timed;

/// Appends `bytes` bytes and syncs them, for `time`, to a file in `dir`. Blocks; `stop` ends it early.
pub(crate) fn measure(
    dir: &Path,
    bytes: usize,
    time: Duration,
    stop: &CancellationToken,
) -> anyhow::Result<Timed> {
    let path = dir.join("floor");
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("opening {}", path.display()))?;
    let record = vec![0x5A; bytes];
    let mut latencies = Vec::new();
    let start = Instant::now();
    while start.elapsed() < time && !stop.is_cancelled() {
        let began = Instant::now();
        file.write_all(&record).and_then(|()| file.sync_data()).context("appending to the floor's file")?;
        latencies.push(began.elapsed());
    }
    let elapsed = start.elapsed();
    std::fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
    Ok(Timed { latencies, elapsed })
}
