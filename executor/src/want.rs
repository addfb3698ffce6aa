//! Want of resources: errors because this node is short of something, such as descriptors or memory. They say nothing about
//! the workload that was asked, and hit everything that is asked at the same moment. So no workload may be judged by them.

use std::error::Error;
use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Whether this executor, or its node, was out of descriptors, memory, processes or free ports. What an error
/// was caused by counts, too.
pub(crate) fn is_want(error: &(dyn Error + 'static)) -> bool {
    want_of(error).is_some()
}

/// The kernel's word for it.
pub(crate) fn want_of(error: &(dyn Error + 'static)) -> Option<Errno> {
    causes(error).find(|errno| {
        matches!(
            *errno,
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

/// Whether there was no room on the disk. What is to begin can wait for room; what is to end (a log that is copied)
/// must not.
pub(crate) fn is_full(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|errno| matches!(errno, Errno::NOSPC | Errno::DQUOT))
}

/// Whether something that was named is not there.
pub(crate) fn is_missing(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|errno| errno == Errno::NOENT)
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = Errno> + 'a {
    std::iter::successors(Some(error), |&error| cause(error))
        .filter_map(|error| Errno::from_io_error(error.downcast_ref::<io::Error>()?))
}

/// An [`io::Error`] passes over the error inside when it is asked for its source.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inside) => Some(inside),
        None => error.source(),
    }
}

/// An error with what was tried, and the kernel's own word still in it.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
struct Named {
    what: String,
    source: io::Error,
}

pub(crate) fn named(what: String, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), Named { what, source: error })
}

/// Lets this process open as many files as it may; every check of every instance opens some. Workloads have a limit of
/// their own (`process.openFiles`).
pub(crate) fn raise_open_files() -> io::Result<()> {
    let now = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: now.maximum, ..now })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn want_is_known_by_the_kernels_own_word_however_deep_it_is() {
        let want = || io::Error::from_raw_os_error(Errno::MFILE.raw_os_error());
        assert!(is_want(&want()));
        assert!(is_want(&io::Error::other(io::Error::other(want()))));
        let said = named("open x".to_owned(), want());
        assert!(is_want(&said) && said.to_string().starts_with("open x: Too many open files"), "{said}");
        let full = named("write x".to_owned(), io::Error::from(Errno::NOSPC));
        assert!(is_full(&full) && !is_want(&full) && !is_full(&want()));
        for other in [Errno::CONNREFUSED, Errno::NOENT, Errno::TIMEDOUT, Errno::HOSTUNREACH] {
            assert!(!is_want(&io::Error::from(other)), "{other}");
        }
        assert!(!is_want(&io::Error::other("in words alone")));
    }

    #[test]
    fn the_limit_on_open_files_goes_up_to_the_hard_one() {
        let before = getrlimit(Resource::Nofile);
        // Lowered by so little that no other test minds.
        let lower = before.maximum.map_or(1 << 20, |maximum| maximum - 1);
        setrlimit(Resource::Nofile, Rlimit { current: Some(lower), ..before }).unwrap();
        raise_open_files().unwrap();
        assert_eq!(getrlimit(Resource::Nofile), Rlimit { current: before.maximum, ..before });
    }
}
