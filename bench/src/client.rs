//! One client in a closed loop: it writes, waits until that is acknowledged, and writes again.

use std::time::{Duration, Instant};

/// After an error: a client that is refused at once must not keep the machine busy with that.
const PAUSE: Duration = Duration::from_millis(50);
/// Longer than a controller takes to give a proposal up.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// What makes durable writes, one at a time.
pub(crate) trait Writer: Send + 'static {
    /// One write, acknowledged: a majority has it on disk, and it is applied.
    fn write(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// What a client, or several, came to.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// How long each write took that was carried out.
    pub(crate) latencies: Vec<Duration>,
    /// What was said of each that was not, for certain.
    pub(crate) errors: Errors,
}

/// Errors, counted.
#[derive(Debug, Default)]
pub(crate) struct Errors {
    /// How many.
    pub(crate) count: u64,
    /// What the first one said: the others mostly follow from it.
    pub(crate) first: Option<String>,
}

impl Errors {
    fn add(&mut self, error: &anyhow::Error) {
        self.count += 1;
        self.first.get_or_insert_with(|| format!("{error:#}"));
    }

    /// Adds those of `other`, which came later.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.count += other.count;
        self.first = self.first.take().or(other.first);
    }
}

/// Writes until `end`. What began before `from` warms up: it is not timed, but its errors count.
pub(crate) async fn run(mut writer: impl Writer, from: Instant, end: Instant) -> Tally {
    let mut tally = Tally::default();
    loop {
        let began = Instant::now();
        if began >= end {
            return tally;
        }
        match writer.write().await {
            Ok(()) if began >= from => tally.latencies.push(began.elapsed()),
            Ok(()) => {}
            Err(error) => {
                tally.errors.add(&error);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
