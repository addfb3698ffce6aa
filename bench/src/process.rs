//! What a process takes, as `/proc` tells it.

use anyhow::Context as _;

/// Clock ticks in a second, as `/proc` counts them on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// Its resident memory, in MB.
pub(crate) fn resident_mb(pid: u32) -> anyhow::Result<f64> {
    let status =
        std::fs::read_to_string(format!("/proc/{pid}/status")).context("reading the process's status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("it tells no VmRSS")?;
    let kilobytes: f64 = line.trim().trim_end_matches("kB").trim().parse().context("reading VmRSS")?;
    Ok(kilobytes / 1024.0)
}

/// The processor time that it has taken so far, in seconds.
pub(crate) fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("reading the process's stat")?;
    let (_, fields) = stat.rsplit_once(')').context("it tells no name")?;
    let ticks: Vec<f64> =
        fields.split_ascii_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse().ok()).collect();
    Ok(ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
}
