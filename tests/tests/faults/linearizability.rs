//! What clients are told while leaders are killed, paused and cut off has one order.
//!
//! Another run of chance: `MUSTER_FAULTS_SEED=<seed> cargo test -p muster-tests --test faults linear`. The machine's own
//! timing does not replay.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use muster_common::service::{ActivationState, ServiceSummary};
use muster_tests::api::{self, Api, CallError};
use muster_tests::lab::{Lab, Liveness};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::history::{Call, Record, Service, Told, is_linearizable};
use crate::{PROGRAM, idle};

const SERVICES: usize = 3;
const CLIENTS: usize = 8;
/// Clients do not wait for whoever is away.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a client that wants to know asks again.
const TRIES: u32 = 5;
/// Between two calls of one client, in ms.
const PAUSE_MS: std::ops::Range<u64> = 20..60;
/// Before each fault, and while it lasts, in ms.
const QUIET_MS: std::ops::Range<u64> = 1_000..1_500;
const FAULT_MS: std::ops::Range<u64> = 2_000..3_000;
/// A service may have 1 to 256 instances on an executor.
const COUNTS: u32 = 256;

#[derive(Debug, Clone, Copy)]
enum Fault {
    Kill,
    Pause,
    Cut,
    /// Only one of the others does not hear it.
    Part,
}

/// The calls of one client.
struct Client<'a> {
    number: usize,
    controllers: &'a [Api],
    /// For each service the last count that somebody asked for: no two ask for the same, for long.
    counts: &'a [AtomicU32],
    begun: Instant,
    random: StdRng,
    records: Vec<(usize, Record)>,
}

impl Client<'_> {
    fn run(mut self, stop: &AtomicBool) -> Vec<(usize, Record)> {
        while !stop.load(Ordering::Relaxed) {
            let service = self.random.random_range(0..SERVICES);
            let call = self.choose(service);
            let called = self.begun.elapsed();
            if let Some(told) = self.ask(service, call) {
                let record =
                    Record { client: self.number, call, told, called, answered: self.begun.elapsed() };
                self.records.push((service, record));
            }
            thread::sleep(Duration::from_millis(self.random.random_range(PAUSE_MS)));
        }
        self.records
    }

    fn choose(&mut self, service: usize) -> Call {
        let count = || self.counts[service].fetch_add(1, Ordering::Relaxed) % COUNTS + 1;
        match self.random.random_range(0..10) {
            0 => Call::Create(count()),
            1 => Call::Activate,
            2 => Call::Deactivate,
            3..6 => Call::Scale(count()),
            _ => Call::Read,
        }
    }

    /// What the client is told in the end; none if it is certain that nothing happened.
    fn ask(&mut self, service: usize, call: Call) -> Option<Told> {
        let nth = self.random.random_range(0..self.controllers.len());
        let Some(request) = request(service, call) else { return read(&self.controllers[nth], service) };
        // Every other client wants to know, and asks again under its key.
        let tries = if self.number.is_multiple_of(2) { TRIES } else { 1 };
        let key = format!("{}.{}", self.number, self.begun.elapsed().as_nanos());
        let mut told = None;
        for offset in 0..tries as usize {
            let controller = &self.controllers[(nth + offset) % self.controllers.len()];
            match controller.operate_as(&key, &request) {
                Ok(_) => return Some(Told::Done),
                // An earlier try may still be on its way.
                Err(CallError::Refused(_)) => return Some(told.unwrap_or(Told::Refused)),
                Err(CallError::NotNow(_)) => {}
                Err(CallError::Unknown(_)) => told = Some(Told::Nothing),
                Err(error @ (CallError::NotFound(_) | CallError::Wrong(_))) => panic!("{call:?}: {error}"),
            }
        }
        told
    }
}

fn name(service: usize) -> String {
    format!("object{service}")
}

fn request(service: usize, call: Call) -> Option<Value> {
    let id = format!("{}-1", name(service));
    match call {
        Call::Create(count) => {
            Some(json!({"type": "CREATE", "spec": idle(&name(service)), "instancesPerHost": count}))
        }
        Call::Scale(count) => Some(api::scale(&id, count)),
        Call::Activate => Some(json!({"type": "ACTIVATE", "serviceId": id})),
        Call::Deactivate => Some(json!({"type": "DEACTIVATE", "serviceId": id})),
        Call::Read => None,
    }
}

fn read(controller: &Api, service: usize) -> Option<Told> {
    match controller.get::<ServiceSummary>(&format!("localservices/{}-1", name(service))) {
        Ok(summary) => Some(Told::Saw(Service::Present {
            count: summary.instances_per_host,
            active: summary.activation_state == ActivationState::Active,
        })),
        Err(CallError::NotFound(_)) => Some(Told::Saw(Service::Absent)),
        Err(CallError::NotNow(_) | CallError::Unknown(_)) => None,
        Err(error @ (CallError::Refused(_) | CallError::Wrong(_))) => panic!("a read: {error}"),
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
        lab.controllers.iter().all(|role| read(&role.api, 0).is_some()).then_some(())
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
    let Some(mut lab) = Lab::start("linearizability under faults", PROGRAM, 0, Liveness::DEFAULT) else {
        return;
    };
    let mut random = StdRng::seed_from_u64(seed);
    let mut faults = [Fault::Kill, Fault::Pause, Fault::Cut, Fault::Part];
    faults.shuffle(&mut random);

    let controllers: Vec<Api> =
        lab.controllers.iter().map(|role| role.machine.within(|| role.api.impatient(CALL_TIMEOUT))).collect();
    let counts: Vec<AtomicU32> = (0..SERVICES).map(|_| AtomicU32::new(0)).collect();
    let (begun, stop) = (Instant::now(), AtomicBool::new(false));
    let records = thread::scope(|scope| {
        let client = |number: usize| Client {
            number,
            controllers: &controllers,
            counts: &counts,
            begun,
            random: StdRng::seed_from_u64(seed.wrapping_add(1 + number as u64)),
            records: Vec::new(),
        };
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (client, stop) = (client(number), &stop);
                scope.spawn(move || client.run(stop))
            })
            .collect();
        {
            let _stop = StopAfter(&stop);
            for fault in faults {
                befall(&mut lab, fault, &mut random);
            }
        }
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    judge(seed, &records);
}

/// Each service's history must have an order, and must have been worth looking at.
fn judge(seed: u64, records: &[(usize, Record)]) {
    for service in 0..SERVICES {
        let mut history: Vec<Record> =
            records.iter().filter(|(of, _)| *of == service).map(|(_, record)| *record).collect();
        history.sort_by_key(|record| record.called);
        let of = |told: fn(&Told) -> bool| history.iter().filter(|record| told(&record.told)).count();
        let (done, saw) = (of(|told| *told == Told::Done), of(|told| matches!(told, Told::Saw(_))));
        println!(
            "{}: {} calls, {done} done, {saw} reads, {} unknown",
            name(service),
            history.len(),
            of(|told| *told == Told::Nothing)
        );
        assert!(done > 3 && saw > 3, "too little happened");
        if !is_linearizable(&history) {
            let lines: String = history.iter().map(|record| format!("\n{record}")).collect();
            panic!(
                "MUSTER_FAULTS_SEED={seed}: no order explains what clients of {} were told:{lines}",
                name(service)
            );
        }
    }
}
