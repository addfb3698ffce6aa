//! Every kind of command and of change, replayed: on two machines, on one of them through a snapshot, a log gives the
//! same answers and the same state, byte for byte.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use muster_common::executor::Contact;
use muster_common::id::Revision;
use muster_common::operation::{OperationRequest, OperationState};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;

use super::life::life;
use super::world::World;
use crate::state::codec::{read_snapshot, write_snapshot};
use crate::state::testing::spec;
use crate::state::{Change, Command, State, Wish};

/// How many lives see every kind of command and change, with some to spare.
const LIVES: usize = 40;
const COMMANDS: usize = 13;
const CHANGES: usize = 17;

/// Each kind has its number: a new one gets the next, and is not forgotten here.
fn number_of_command(command: &Command) -> usize {
    match command {
        Command::SubmitOperation { .. } => 0,
        Command::Plan { .. } => 1,
        Command::Reports { .. } => 2,
        Command::RegisterExecutor { .. } => 3,
        Command::ExecutorContact { .. } => 4,
        Command::SteerOperation { .. } => 5,
        Command::AnnounceLeader { .. } => 6,
        Command::SetClusterState { .. } => 7,
        Command::ChangeDuty { .. } => 8,
        Command::NoteSkews { .. } => 9,
        Command::TagExecutor { .. } => 10,
        Command::NoteExec { .. } => 11,
        Command::AmendTags { .. } => 12,
    }
}

/// The same of changes.
fn number_of_change(change: &Change) -> usize {
    match change {
        Change::AssignSlot { .. } => 0,
        Change::RemoveSlot { .. } => 1,
        Change::PlaceTest { .. } => 2,
        Change::StartClock { .. } => 3,
        Change::AwaitPromotion { .. } => 4,
        Change::RollBack { .. } => 5,
        Change::RaiseSlot { .. } => 6,
        Change::SettleSlot { .. } => 7,
        Change::FinishOperation { .. } => 8,
        Change::ExecutorEmptied { .. } => 9,
        Change::StartDrain { .. } => 10,
        Change::ExpireDrain { .. } => 11,
        Change::ForgetExecutor { .. } => 12,
        Change::Retain(_) => 13,
        Change::Prune { .. } => 14,
        Change::CatchUp { .. } => 15,
        Change::RemoveLost { .. } => 16,
    }
}

/// Applies a part of a log, as it is stored; the answers.
fn replay(state: &mut State, log: &[Bytes], from: usize) -> Vec<Bytes> {
    let entries = (from as u64 + 1..).zip(&log[from..]);
    entries
        .map(|(revision, command)| {
            state.apply(Revision(revision), &Command::decode(command).unwrap()).encode()
        })
        .collect()
}

/// Executors that take too long to become empty, and that are removed and forgotten.
fn executors_go() -> World {
    let mut world = World::new();
    world.fixture.create(spec("web"), 1);
    world.fixture.activate("web-1");
    world.calm_down();
    world.exec(0);
    world.change_duty(0, Wish::Drain { within: Duration::from_secs(1) });
    world.contact(1, Contact::Lost);
    world.change_duty(1, Wish::Remove);
    for seconds in [0, 0, 2, 0, 3 * 86_400, 0] {
        world.fixture.advance(seconds);
        world.reconcile();
    }
    world
}

/// An executor that is away during a rollout and catches up.
fn one_catches_up() -> World {
    let mut world = World::new();
    world.fixture.create(spec("web"), 1);
    world.fixture.activate("web-1");
    world.calm_down();
    world.contact(0, Contact::Unreachable);
    let mut changed = Box::new(spec("web"));
    changed.env.insert("CONTENT".to_owned(), "new".to_owned());
    let request = OperationRequest::UpdateSpec { spec: changed, stop_first: false, op_spec: None };
    let operation = world.fixture.submit(request).unwrap();
    for _ in 0..50 {
        world.reconcile();
        for executor in 0..world.executors.len() {
            world.exchange(executor);
            world.executors[executor].step(true);
            world.exchange(executor);
        }
    }
    assert_eq!(world.fixture.operation(&operation).state, OperationState::Succeeded);
    world.calm_down();
    world
}

#[test]
fn every_command_and_every_change_gives_the_same_on_two_machines() {
    let (mut commands, mut changes) = (BTreeSet::new(), BTreeSet::new());
    let mut runner = TestRunner::deterministic();
    for n in 0..LIVES {
        let world = match n {
            0 => executors_go(),
            1 => one_catches_up(),
            _ => life().new_tree(&mut runner).unwrap().current().live(),
        };
        let log = world.fixture.log;
        for command in &log {
            let command = Command::decode(command).unwrap();
            commands.insert(number_of_command(&command));
            if let Command::Plan { changes: planned, .. } = &command {
                changes.extend(planned.iter().map(number_of_change));
            }
        }
        let mut one = State::default();
        let answers = replay(&mut one, &log, 0);

        let cut = log.len() * n / LIVES;
        let mut other = State::default();
        let mut other_answers = replay(&mut other, &log[..cut], 0);
        let mut restored = read_snapshot(&write_snapshot(&other)).unwrap();
        other_answers.extend(replay(&mut restored, &log, cut));

        assert!(answers == other_answers, "the answers of life {n} differ");
        assert!(write_snapshot(&one) == write_snapshot(&restored), "the states after life {n} differ");
    }
    assert_eq!(commands, (0..COMMANDS).collect());
    assert_eq!(changes, (0..CHANGES).collect());
}
