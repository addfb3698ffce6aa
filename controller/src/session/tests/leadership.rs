use muster_common::id::MAX_ID_LEN;

use super::*;
use crate::raft::MAX_COMMAND;

#[test]
fn the_log_takes_what_is_said_of_many_however_long_their_ids_are() {
    let longest = |nth: usize| ExecutorId::new(format!("{nth:0>MAX_ID_LEN$}")).unwrap();
    let at = Timestamp(u64::MAX);
    let verdicts = (0..MAX_JUDGED).map(|nth| (longest(nth), Contact::Unreachable)).collect();
    let skews = (0..MAX_JUDGED).map(|nth| (longest(nth), i64::MIN)).collect();
    for command in [Command::ExecutorContact { at, verdicts }, Command::NoteSkews { at, skews }] {
        let bytes = command.encode_in_term(u64::MAX).len();
        assert!(bytes < MAX_COMMAND / 2, "{bytes}");
    }
}
