//! The runtime of a program, to its end.

use std::time::Duration;

use tokio::runtime::Runtime;

/// How long threads may go on with what nobody waits for any more.
const LINGER: Duration = Duration::from_secs(5);

/// Does a program's work. Calls to the disk run in threads that nobody can end: one that hangs (a network file
/// system that is away) must not keep a program that is done.
pub fn run_to_end<T>(runtime: Runtime, work: impl Future<Output = T>) -> T {
    end_within(LINGER, runtime, work)
}

fn end_within<T>(linger: Duration, runtime: Runtime, work: impl Future<Output = T>) -> T {
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(linger);
    done
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn a_thread_that_hangs_does_not_keep_the_program() {
        let (release, held) = mpsc::channel::<()>();
        let (sender, ended) = mpsc::channel();
        let program = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let work = async {
                let (say, begun) = oneshot::channel();
                let hung = tokio::task::spawn_blocking(move || {
                    say.send(()).unwrap();
                    held.recv()
                });
                begun.await.unwrap();
                hung.is_finished()
            };
            sender.send(end_within(Duration::from_millis(10), runtime, work)).unwrap();
        });
        assert_eq!(ended.recv_timeout(Duration::from_secs(30)), Ok(false));
        drop(release);
        program.join().unwrap();
    }
}
