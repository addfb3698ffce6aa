//! What the disk alone can do: one writer that appends and waits for the disk, over and over. A
//! proposal that a single client makes cannot be faster than this; many clients can, as several
//! proposals share one write.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::stats::Summary;

/// Appends `bytes` bytes and syncs them, for `time`, to a file in `dir`.
pub(crate) fn measure(dir: &Path, bytes: usize, time: Duration) -> anyhow::Result<Summary> {
    let path = dir.join("floor");
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("opening {}", path.display()))?;
    let record = vec![0x5A; bytes];
    let mut latencies = Vec::new();
    let start = Instant::now();
    while start.elapsed() < time {
        let began = Instant::now();
        file.write_all(&record).and_then(|()| file.sync_data()).context("appending to the floor's file")?;
        latencies.push(began.elapsed());
    }
    let elapsed = start.elapsed();
    std::fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
    Summary::of(latencies, elapsed).context("not one append ended in time")
}
