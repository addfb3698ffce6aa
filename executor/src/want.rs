//! Want of resources: errors that are about who asks, and say nothing of who was asked. They come to everything that
//! is asked at the same moment, so no workload may be judged by them.

use std::error::Error;
use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Whether this executor, or its node, was out of descriptors, memory, processes or free ports. What an error
/// was caused by counts, too.
pub(crate) fn is_want(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source())
        .filter_map(|error| Errno::from_io_error(error.downcast_ref::<io::Error>()?))
        .any(|errno| {
            matches!(
                errno,
                Errno::MFILE
                    | Errno::NFILE
                    | Errno::NOMEM
                    | Errno::NOBUFS
                    // No room for one more process.
                    | Errno::AGAIN
                    // No port is left for one more connection.
                    | Errno::ADDRNOTAVAIL
            )
        })
}

/// Lets this process open as many files as it may; every check of every instance opens some. Workloads have a limit of
/// their own (`process.openFiles`).
pub(crate) fn raise_open_files() -> io::Result<()> {
    let now = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: now.maximum, ..now })?)
}
