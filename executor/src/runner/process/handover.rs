//! Descriptors handed over to a process that was started already, over a socket (`SCM_RIGHTS`): what it is started with
//! has room for three, and one of them is the socket itself.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// Stdin, stdout and stderr.
const MOST: usize = 3;
/// Descriptors travel with at least one byte.
const WITH: [u8; 1] = [0];

/// Hands them over. The caller's own stay open.
pub(super) fn hand_over(socket: impl AsFd, descriptors: &[OwnedFd]) -> io::Result<()> {
    let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut message = SendAncillaryBuffer::new(&mut space);
    if !message.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("more descriptors than there is room for"));
    }
    sendmsg(socket, &[IoSlice::new(&WITH)], &mut message, SendFlags::empty())?;
    Ok(())
}

/// Takes those that were handed over. Waits for them.
pub(super) fn take_over(socket: impl AsFd) -> io::Result<Vec<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut message = RecvAncillaryBuffer::new(&mut space);
    let mut with = WITH;
    recvmsg(socket, &mut [IoSliceMut::new(&mut with)], &mut message, RecvFlags::CMSG_CLOEXEC)?;
    let mut taken = Vec::new();
    for part in message.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = part {
            taken.extend(descriptors);
        }
    }
    Ok(taken)
}
