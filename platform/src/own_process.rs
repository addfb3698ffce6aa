//! What this process takes of the machine, under the names that Prometheus' own clients use. Read when somebody
//! asks for metrics: nothing is spent in between.

use std::fs;
use std::path::Path;

use metrics::{describe_gauge, gauge};
use rustix::param::{clock_ticks_per_second, page_size};

/// The members of `/proc/<pid>/stat` that matter here (proc(5)), in the kernel's units.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    /// Since boot.
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    /// The program's name stands in parentheses and may hold any byte, `)` and blanks included.
    fn parse(stat: &str) -> Option<Self> {
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: number(11)? + number(12)?,
            start_ticks: number(19)?,
            virtual_bytes: number(20)?,
            resident_pages: number(21)?,
        })
    }
}

/// Names the metrics for whoever reads them.
pub(crate) fn describe() {
    describe_gauge!("process_cpu_seconds_total", "User and system time taken, in seconds.");
    describe_gauge!("process_resident_memory_bytes", "Resident memory.");
    describe_gauge!("process_virtual_memory_bytes", "Virtual memory.");
    describe_gauge!("process_open_fds", "Open file descriptors.");
    describe_gauge!("process_max_fds", "How many file descriptors may be open.");
    describe_gauge!("process_start_time_seconds", "When the process started, in seconds since 1970.");
}

/// Reads `/proc` and sets the metrics. What cannot be read keeps its last value.
pub(crate) fn observe() {
    observe_in(Path::new("/proc"));
}

#[allow(clippy::cast_precision_loss)] // metrics are floats; 2^53 bytes are far away
fn observe_in(proc: &Path) {
    let own = proc.join("self");
    let ticks_per_second = clock_ticks_per_second() as f64;
    if let Some(stat) = fs::read_to_string(own.join("stat")).ok().and_then(|stat| Stat::parse(&stat)) {
        // A gauge, since counters hold whole numbers only; it never falls.
        gauge!("process_cpu_seconds_total").set(stat.cpu_ticks as f64 / ticks_per_second);
        gauge!("process_resident_memory_bytes").set((stat.resident_pages * page_size() as u64) as f64);
        gauge!("process_virtual_memory_bytes").set(stat.virtual_bytes as f64);
        if let Some(boot) = boot_seconds(proc) {
            let start = boot as f64 + stat.start_ticks as f64 / ticks_per_second;
            gauge!("process_start_time_seconds").set(start);
        }
    }
    if let Ok(open) = fs::read_dir(own.join("fd")) {
        // One of them is this listing's own.
        gauge!("process_open_fds").set(open.count().saturating_sub(1) as f64);
    }
    if let Some(most) = fs::read_to_string(own.join("limits")).ok().and_then(|limits| max_open(&limits)) {
        gauge!("process_max_fds").set(most as f64);
    }
}

/// When the machine was booted, in seconds since 1970.
fn boot_seconds(proc: &Path) -> Option<u64> {
    let stat = fs::read_to_string(proc.join("stat")).ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// The soft limit; none where it is unlimited.
fn max_open(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read() {
        let line = "42 (a) b (c)) S 7 42 40 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 1 0 987 4096000 250 1 1";
        let stat = Stat { cpu_ticks: 200, start_ticks: 987, virtual_bytes: 4_096_000, resident_pages: 250 };
        assert_eq!(Stat::parse(line), Some(stat));
        assert_eq!(Stat::parse("42 (cut"), None);
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files  1024  4096  files\n";
        assert_eq!(max_open(limits), Some(1024));
        assert_eq!(max_open("Max open files  unlimited  unlimited  files\n"), None);
    }

    #[test]
    fn this_process_is_seen() {
        let stat = Stat::parse(&fs::read_to_string("/proc/self/stat").unwrap()).unwrap();
        assert!(stat.resident_pages > 0 && stat.virtual_bytes > 0 && stat.start_ticks > 0);
        assert!(boot_seconds(Path::new("/proc")).unwrap() > 1_000_000_000);
    }
}
