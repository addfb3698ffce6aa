//! What clients are told while leaders are killed, paused and cut off has one order.
//!
//! Another run of chance: `MUSTER_FAULTS_SEED=<seed> cargo test -p muster-tests --test faults linear`. The machine's own
//! timing does not replay.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use muster_tests::api::{Api, CallError};
use muster_tests::lab::{Lab, Liveness};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;

use crate::PROGRAM;
use crate::history::{Object, Record, Told, is_linearizable};
use crate::service::{self, Service};
use crate::steering::{self, Operation};

const SERVICES: usize = 3;
const CLIENTS: usize = 8;
/// How many of ten calls are about an operation, and how many of a hundred of those are to end it: much is asked of it
/// before, and something afterwards.
const STEERING: u32 = 4;
const CANCELLING: u32 = 3;
/// Clients do not wait for whoever is away.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a client that wants to know asks again.
const TRIES: usize = 5;
/// Between two calls of one client, in ms.
const PAUSE_MS: std::ops::Range<u64> = 20..60;
/// Before each fault, and while it lasts, in ms.
const QUIET_MS: std::ops::Range<u64> = 1_000..1_500;
const FAULT_MS: std::ops::Range<u64> = 2_000..3_000;
/// A service may have 1 to 256 instances on an executor.
const COUNTS: u32 = 256;
/// The executor is there all the time: what is steered must not end because of a leader that does not hear it yet.
const LIVENESS: Liveness = Liveness { unknown_after: "2m", ..Liveness::DEFAULT };

#[derive(Debug, Clone, Copy)]
enum Fault {
    Kill,
    Pause,
    Cut,
    /// Only one of the others does not hear it.
    Part,
}

/// What clients were told of each object.
#[derive(Default)]
struct Heard {
    services: Vec<(usize, Record<Service>)>,
    operations: Vec<(usize, Record<Operation>)>,
}

impl Heard {
    fn and(mut self, other: Self) -> Self {
        self.services.extend(other.services);
        self.operations.extend(other.operations);
        self
    }
}

/// The calls of one client.
struct Client<'a> {
    number: usize,
    controllers: &'a [Api],
    /// For each service the last count that somebody asked for: no two ask for the same, for long.
    counts: &'a [AtomicU32],
    /// What is steered, one after the other: which of them at the moment is `turn`.
    operations: &'a [String],
    turn: &'a AtomicUsize,
    begun: Instant,
    random: StdRng,
    heard: Heard,
}

impl Client<'_> {
    fn run(mut self, stop: &AtomicBool) -> Heard {
        while !stop.load(Ordering::Relaxed) {
            if self.random.random_ratio(STEERING, 10) {
                self.steer();
            } else {
                self.change();
            }
            thread::sleep(Duration::from_millis(self.random.random_range(PAUSE_MS)));
        }
        self.heard
    }

    /// One call about a service. Every other client wants to know, and asks again under its key.
    fn change(&mut self) {
        let service = self.random.random_range(0..SERVICES);
        let count = || self.counts[service].fetch_add(1, Ordering::Relaxed) % COUNTS + 1;
        let call = match self.random.random_range(0..11) {
            0 => service::Call::Create(count()),
            1 => service::Call::Activate,
            2 => service::Call::Deactivate,
            3 => service::Call::Destroy,
            4..7 => service::Call::Scale(count()),
            _ => service::Call::Read,
        };
        let first = self.random.random_range(0..self.controllers.len());
        let called = self.begun.elapsed();
        let told = match service::request(service, call) {
            None => service::read(&self.controllers[first], service),
            Some(request) => {
                let key = format!("{}.{}", self.number, called.as_nanos());
                let (tries, again) = if self.number.is_multiple_of(2) { (TRIES, true) } else { (1, false) };
                self.ask(first, tries, again, |controller| controller.operate_as(&key, &request))
            }
        };
        self.heard.services.extend(told.map(|told| (service, self.record(call, told, called))));
    }

    /// One call about the operation whose turn it is. It has no key: who does not know what became of it leaves it at that.
    fn steer(&mut self) {
        let turn = self.turn.load(Ordering::Relaxed);
        let id = &self.operations[turn];
        let call = match self.random.random_range(0..100) {
            0..CANCELLING => steering::Call::Cancel,
            CANCELLING..8 => steering::Call::Promote,
            8..28 => steering::Call::Pause,
            28..48 => steering::Call::Resume,
            _ => steering::Call::Read,
        };
        let first = self.random.random_range(0..self.controllers.len());
        let called = self.begun.elapsed();
        let told = match steering::verb(call) {
            None => steering::read(&self.controllers[first], id),
            Some(verb) => self.ask(first, TRIES, false, |controller| controller.steer(id, verb)),
        };
        self.heard.operations.extend(told.map(|told| (turn, self.record(call, told, called))));
    }

    /// What the client is told in the end, by the controller `first` or one after it; none if it is certain that nothing
    /// happened. Who may ask `again` does so when nobody knows.
    fn ask<S>(
        &self,
        first: usize,
        tries: usize,
        again: bool,
        call: impl Fn(&Api) -> Result<Value, CallError>,
    ) -> Option<Told<S>> {
        let mut told = None;
        for controller in self.controllers.iter().cycle().skip(first).take(tries) {
            match call(controller) {
                Ok(_) => return Some(Told::Done),
                // An earlier try may still be on its way.
                Err(CallError::Refused(_)) => return Some(told.unwrap_or(Told::Refused)),
                Err(CallError::NotNow(_)) => {}
                Err(CallError::Unknown(_)) if again => told = Some(Told::Nothing),
                Err(CallError::Unknown(_)) => return Some(Told::Nothing),
                Err(error @ (CallError::NotFound(_) | CallError::Wrong(_))) => panic!("{error}"),
            }
        }
        told
    }

    fn record<O: Object>(&self, call: O::Call, told: Told<O::Seen>, called: Duration) -> Record<O> {
        Record { client: self.number, call, told, called, answered: self.begun.elapsed() }
    }
}

/// Lets a fault befall the leader, for a while; returns when all controllers answer again.
fn befall(lab: &mut Lab, fault: Fault, random: &mut StdRng) {
    let mut wait = |range| thread::sleep(Duration::from_millis(random.random_range(range)));
    wait(QUIET_MS);
    let leader = lab.leader();
    println!("{fault:?} befalls controller {}", leader + 1);
    match fault {
        Fault::Kill => {
            lab.controllers[leader].kill();
            wait(FAULT_MS);
            lab.controllers[leader].start();
        }
        Fault::Pause => {
            lab.controllers[leader].process().pause();
            wait(FAULT_MS);
            lab.controllers[leader].process().resume();
        }
        Fault::Cut => {
            lab.network.cut(&lab.controllers[leader].machine);
            wait(FAULT_MS);
            lab.network.mend(&lab.controllers[leader].machine);
        }
        Fault::Part => {
            let [one, other] = [leader, (leader + 1) % 3].map(|nth| &lab.controllers[nth].machine);
            lab.network.part(one, other);
            wait(FAULT_MS);
            lab.network.join(one, other);
        }
    }
    lab.wait_for("all controllers to answer", || {
        lab.controllers.iter().all(|role| service::read(&role.api, 0).is_some()).then_some(())
    });
}

/// Ends the clients also when a fault was not survived.
struct StopAfter<'a>(&'a AtomicBool);

impl Drop for StopAfter<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn what_clients_are_told_while_leaders_are_killed_paused_and_cut_off_is_linearizable() {
    let seed =
        std::env::var("MUSTER_FAULTS_SEED").ok().map_or_else(rand::random, |seed| seed.parse().unwrap());
    println!("MUSTER_FAULTS_SEED={seed}");
    let Some(mut lab) = Lab::start("linearizability under faults", PROGRAM, 1, LIVENESS) else { return };
    let mut random = StdRng::seed_from_u64(seed);
    let mut faults = [Fault::Kill, Fault::Pause, Fault::Cut, Fault::Part];
    faults.shuffle(&mut random);

    let controllers: Vec<Api> =
        lab.controllers.iter().map(|role| role.machine.within(|| role.api.impatient(CALL_TIMEOUT))).collect();
    let counts: Vec<AtomicU32> = (0..SERVICES).map(|_| AtomicU32::new(0)).collect();
    // One for each fault.
    let operations = steering::begin(&lab, faults.len());
    let turn = AtomicUsize::new(0);
    let (begun, stop) = (Instant::now(), AtomicBool::new(false));
    let heard = thread::scope(|scope| {
        let client = |number: usize| Client {
            number,
            controllers: &controllers,
            counts: &counts,
            operations: &operations,
            turn: &turn,
            begun,
            random: StdRng::seed_from_u64(seed.wrapping_add(1 + number as u64)),
            heard: Heard::default(),
        };
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (client, stop) = (client(number), &stop);
                scope.spawn(move || client.run(stop))
            })
            .collect();
        {
            let _stop = StopAfter(&stop);
            for (nth, fault) in faults.into_iter().enumerate() {
                turn.store(nth, Ordering::Relaxed);
                befall(&mut lab, fault, &mut random);
            }
        }
        clients.into_iter().map(|client| client.join().unwrap()).fold(Heard::default(), Heard::and)
    });
    let services = (0..SERVICES).map(|nth| (service::name(nth), history_of(nth, &heard.services)));
    judge(seed, services.collect());
    let operations = operations.into_iter().enumerate();
    judge(seed, operations.map(|(nth, id)| (id, history_of(nth, &heard.operations))).collect());
}

/// What clients were told of one object.
fn history_of<O: Object>(object: usize, records: &[(usize, Record<O>)]) -> Vec<Record<O>> {
    let mut history: Vec<_> =
        records.iter().filter(|(of, _)| *of == object).map(|(_, record)| *record).collect();
    history.sort_by_key(|record| record.called);
    history
}

/// The history of each object must have an order, and together they must have been worth looking at.
fn judge<O: Object>(seed: u64, histories: Vec<(String, Vec<Record<O>>)>) {
    let (mut all_done, mut all_saw) = (0, 0);
    for (name, history) in histories {
        let of =
            |told: fn(&Told<O::Seen>) -> bool| history.iter().filter(|record| told(&record.told)).count();
        let (done, saw) = (of(|told| *told == Told::Done), of(|told| matches!(told, Told::Saw(_))));
        let unknown = of(|told| *told == Told::Nothing);
        println!("{name}: {} calls, {done} done, {saw} reads, {unknown} unknown", history.len());
        (all_done, all_saw) = (all_done + done, all_saw + saw);
        if !is_linearizable(&history) {
            let lines: String = history.iter().map(|record| format!("\n{record}")).collect();
            panic!("MUSTER_FAULTS_SEED={seed}: no order explains what clients of {name} were told:{lines}");
        }
    }
    assert!(all_done > 3 && all_saw > 3, "too little happened");
}
