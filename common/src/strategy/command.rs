//! Commands beside instances.

use proptest::prelude::*;

use super::text;
use crate::command_end::CommandEnd;
use crate::signal::Signal;

/// How a command ended, as it is said over a socket.
pub fn command_end() -> impl Strategy<Value = CommandEnd> + Clone {
    prop_oneof![
        any::<i32>().prop_map(CommandEnd::Exited),
        Signal::NUMBERS.prop_map(|number| CommandEnd::Signalled(Signal(number))),
        (any::<u8>(), text()).prop_map(|(code, why)| CommandEnd::Failed { code, why }),
    ]
}
