//! An exhaustive search over one slot: the supervisor's mind, its journal and a runner, from every condition that
//! can be reached, with every answer that an effect can have, and a crash before and after each.
//!
//! Two conditions are the same when they differ only in ids, versions and how far off their timers are; each is
//! visited once. A path may
//! hold a bounded number of crashes, of troubles (a runner that is away, an answer that never comes, a step that
//! fails) and of wishes (a new epoch, an empty slot, a drain); within these bounds nothing is left out.
//!
//! Checked in every condition: never two live workloads of one slot and epoch; nothing waits without a limit; no
//! running workload is removed; none that served is killed before it was told to stop; and whatever was ever started
//! still has an instance, or has its end told with its own exit status.

mod condition;
mod ways;

use std::collections::{BTreeSet, HashSet};
use std::io::Write as _;

use muster_common::instance::InstanceState;

use self::condition::Condition;
use self::ways::Budget;

/// What a search has seen.
#[derive(Default)]
struct Seen {
    conditions: HashSet<u64>,
    /// Each state with each effect that was under way in it.
    under_way: BTreeSet<(InstanceState, String)>,
    states: BTreeSet<InstanceState>,
    crash_points: usize,
}

fn search(budget: Budget) -> Seen {
    let mut seen = Seen::default();
    let mut open = vec![Condition::first(budget)];
    seen.conditions.insert(open[0].outline());
    while let Some(condition) = open.pop() {
        for instance in condition.core.instances() {
            seen.states.insert(instance.state());
        }
        // Some states are entered and left within one turn.
        let timelines = condition.told.values().flat_map(|told| &told.timeline);
        seen.states.extend(timelines.map(|transition| transition.to));
        for (id, effect) in &condition.pending {
            if let Some(instance) = condition.core.instance(id) {
                let name = format!("{effect:?}").split([' ', '{']).next().unwrap_or_default().to_owned();
                seen.under_way.insert((instance.state(), name));
            }
        }
        if condition.budget.crashes > 0 {
            seen.crash_points += 1 + condition.pending.len();
        }
        for next in condition.next() {
            if seen.conditions.insert(next.outline()) {
                open.push(next);
            }
        }
    }
    seen
}

fn report(name: &str, seen: &Seen) {
    say(&format!(
        "{name}: {} conditions, {} crash points, {} states, {} pairs of a state and an effect under way",
        seen.conditions.len(),
        seen.crash_points,
        seen.states.len(),
        seen.under_way.len()
    ));
}

/// In every log, also of a search that found nothing: what a test prints is shown only when it fails.
fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").unwrap();
}

/// Searches of every combination that a CI run has time for; `MUSTER_SEARCH=deep` adds those that take minutes.
fn budgets() -> Vec<(&'static str, Budget)> {
    let none = Budget { crashes: 0, reboots: 0, losses: 0, troubles: 0, wishes: 0, exits: 0 };
    let mut budgets = vec![
        ("two crashes, a trouble, an exit", Budget { crashes: 2, troubles: 1, exits: 1, ..none }),
        ("a crash, a trouble, a wish", Budget { crashes: 1, troubles: 1, wishes: 1, ..none }),
        ("two crashes, a wish", Budget { crashes: 2, wishes: 1, ..none }),
        (
            "a crash, a reboot, a trouble, an exit",
            Budget { crashes: 1, reboots: 1, troubles: 1, exits: 1, ..none },
        ),
        ("two troubles, a wish", Budget { troubles: 2, wishes: 1, ..none }),
        ("a lost journal, a trouble, an exit", Budget { losses: 1, troubles: 1, exits: 1, ..none }),
        ("a lost journal, a crash, a wish", Budget { losses: 1, crashes: 1, wishes: 1, ..none }),
    ];
    if std::env::var("MUSTER_SEARCH").is_ok_and(|depth| depth == "deep") {
        budgets.extend([
            ("two crashes, a trouble, a wish", Budget { crashes: 2, troubles: 1, wishes: 1, ..none }),
            ("a crash, two troubles, a wish", Budget { crashes: 1, troubles: 2, wishes: 1, ..none }),
            ("a crash, two wishes", Budget { crashes: 1, wishes: 2, ..none }),
            ("one of each", Budget { crashes: 1, reboots: 1, troubles: 1, wishes: 1, exits: 1, ..none }),
            (
                "a lost journal and one of each",
                Budget { losses: 1, troubles: 1, wishes: 1, exits: 1, ..none },
            ),
        ]);
    }
    budgets
}

#[test]
fn a_crash_in_any_condition_loses_nothing_and_doubles_nothing() {
    let mut all = Seen::default();
    let mut conditions = 0;
    for (name, budget) in budgets() {
        let seen = search(budget);
        report(name, &seen);
        conditions += seen.conditions.len();
        all.crash_points += seen.crash_points;
        all.states.extend(seen.states);
        all.under_way.extend(seen.under_way);
    }
    say(&format!("in all: {conditions} conditions, {} crash points", all.crash_points));
    assert!(conditions > 40_000 && all.crash_points > 10_000, "it did not look everywhere");
    for (state, effect) in &all.under_way {
        println!("crashed before and after {effect} in {state}");
    }
    for state in InstanceState::ALL {
        assert!(all.states.contains(state), "{state} was never reached");
    }
    let effects: BTreeSet<&str> = all.under_way.iter().map(|(_, effect)| effect.as_str()).collect();
    let every = [
        "CheckPorts",
        "CollectEvidence",
        "CopyLog",
        "Find",
        "Probe",
        "Provision",
        "Remove",
        "RunHook",
        "Start",
        "Stop",
    ];
    assert_eq!(effects, every.into());
}
