//! Stories of everything that may befall two rollouts, in any order.

use std::{cell::RefCell, collections::BTreeSet, time::Duration};

use daemon_plan::{Phase, Reason, Step, target::Channel};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use crate::{
    releases::{BEHAVIOURS, Behaviour, digest},
    rollouts::runs,
    weather::{Trouble, Weather},
    world::World,
};

#[derive(Debug, Clone)]
struct Story {
    first: bool,
    behaviour: Behaviour,
    newer: Behaviour,
    weather: Vec<Weather>,
    /// What a person or the registry does, and at which turn.
    events: Vec<(usize, u8)>,
    troubles: BTreeSet<Trouble>,
    /// Whether health must hold for longer than any patience.
    soaks_long: bool,
}

fn story() -> impl Strategy<Value = Story> {
    let behaviour = || prop::sample::select(BEHAVIOURS.to_vec());
    let weather = prop_oneof![
        8 => Just(Weather::Fair),
        2 => Just(Weather::Error),
        1 => Just(Weather::Lost),
        1 => Just(Weather::DiesBefore),
        1 => Just(Weather::DiesAfter),
        1 => Just(Weather::Forgets),
        1 => Just(Weather::Outage),
    ];
    // A process that lives long sees phases grow old.
    let forgetful = prop_oneof![12 => Just(Weather::Fair), 1 => Just(Weather::Forgets)];
    let weather = prop_oneof![
        2 => prop::collection::vec(weather, 0..150),
        1 => prop::collection::vec(forgetful, 0..150),
    ];
    let troubles = [
        Trouble::RestoreFails,
        Trouble::StuckPod,
        Trouble::NoReturn,
        Trouble::Undeletable,
        Trouble::SlowReturn,
    ]
    .to_vec();
    (
        prop::bool::weighted(0.3),
        behaviour(),
        behaviour(),
        weather,
        prop::collection::vec((0_usize..150, 0_u8..11), 0..4),
        prop_oneof![
            2 => Just(BTreeSet::new()),
            1 => prop::sample::subsequence(troubles, 1..3).prop_map(BTreeSet::from_iter),
        ],
        prop::bool::weighted(0.2),
    )
        .prop_map(|(first, behaviour, newer, weather, events, troubles, soaks_long)| Story {
            first,
            behaviour,
            newer,
            weather,
            events,
            troubles,
            soaks_long,
        })
}

fn live(story: &Story) -> World {
    let mut world = if story.first { World::new() } else { World::installed() };
    world.behaviours.insert(digest("b"), story.behaviour);
    world.behaviours.insert(digest("c"), story.newer);
    world.troubles.clone_from(&story.troubles);
    world.soak = story.soaks_long.then_some(Duration::from_secs(700));
    world.promote("b");
    for turn in 0..150 {
        for (_, event) in story.events.iter().filter(|(at, _)| *at == turn) {
            match event {
                0 | 1 => world.promote("c"),
                2 => world.hold = !world.hold,
                3 => world.pin = world.kept,
                4 => world.pin = None,
                5 => {
                    world.troubles.insert(Trouble::RegistryDown);
                }
                6 => world.channel = Channel::Unknown,
                7 => world.channel = Channel::Refused { message: "expired".to_owned() },
                8 => {
                    world.behaviours.insert(digest("b"), Behaviour::Unsigned);
                }
                9 => world.channel = Channel::Held { release: digest("b") },
                _ => world.pin = Some(digest("c")),
            }
        }
        world.turn(story.weather.get(turn).copied().unwrap_or(Weather::Fair));
    }
    world.settle(&[]);
    world
}

/// What must hold of every step is checked by the world itself; here is what must hold at the end, and that the run
/// reached all there is to reach.
#[test]
fn every_story_ends_well_and_all_is_reached() {
    let reached: RefCell<BTreeSet<String>> = RefCell::default();
    let mut runner = TestRunner::new(Config { cases: 4000, failure_persistence: None, ..Config::default() });
    let result = runner.run(&story(), |story| {
        let world = live(&story);
        reached.borrow_mut().extend(world.reached.iter().cloned());
        for journal in world.journals.values() {
            prop_assert!(journal.phase.outcome().is_some(), "{journal:?} has not ended");
        }
        // What befalls the executor is not held against a release that is well, nor against the way back.
        for journal in world.journals.values() {
            let behaviour = world.behaviours[&journal.release];
            let is_well = matches!(behaviour, Behaviour::Good | Behaviour::Grows)
                && !story.troubles.contains(&Trouble::StuckPod);
            if let Some(failure) = journal.phase.failure().filter(|_| is_well) {
                let blamed = matches!(failure.reason, Reason::NoData | Reason::DeadlineExceeded);
                prop_assert!(!blamed, "{journal:?}");
            }
            if let Phase::RollbackFailed { rollback, .. } = &journal.phase {
                let returns = journal.previous != Some(digest("a"))
                    || rollback.reason != Reason::NoData
                    || story.troubles.contains(&Trouble::StuckPod);
                prop_assert!(returns, "{journal:?}");
            }
        }
        // Nothing is in the cluster that no inventory knows.
        let known: BTreeSet<String> = world.inventory.entries().map(|entry| entry.key.to_string()).collect();
        prop_assert!(world.state().keys().all(|key| known.contains(key)));
        // A release that went back has lost its Job: another attempt runs it again, one attempt never twice.
        for (key, runs) in &world.jobs_run {
            let release = key.name().trim_start_matches("migrate-");
            let attempts = world.journals[&digest(release)].attempt;
            prop_assert!(*runs <= attempts, "{key} ran {runs} times in {attempts} attempts");
        }
        let failed = world.journals.values().any(|journal| {
            matches!(journal.phase, Phase::RollbackFailed { .. } | Phase::FirstInstallFailed { .. })
        });
        if let Some(kept) = world.kept.filter(|_| !failed && !story.troubles.contains(&Trouble::Undeletable))
        {
            let name =
                ["a", "b", "c"].into_iter().find(|name| digest(name) == kept).expect("it is one of them");
            let superseded = world.journals.values().any(|journal| {
                matches!(journal.phase, Phase::Superseded { .. }) && journal.writing_since.is_some()
            });
            if !superseded {
                runs(&world, name);
            }
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let reached = reached.into_inner();
    let phases = [
        "Fetched",
        "Verified",
        "OnNodes",
        "Protected",
        "NothingToProtect",
        "Applied",
        "Judged",
        "RollingBack",
        "Kept",
        "RolledBack",
        "Refused",
        "Superseded",
        "FirstInstallFailed",
        "RollbackFailed",
    ];
    let reasons = [
        "CrashLoop",
        "DeadlineExceeded",
        "NoData",
        "Regression",
        "ApplyRejected",
        "Withdrawn",
        "RefusedFetch",
        "RefusedIdentity",
        "RefusedVerification",
        "RefusedPreflight",
        "RefusedImages",
        "RefusedRestorePoint",
    ];
    let missing: Vec<&str> = Step::NAMES
        .into_iter()
        .chain(phases)
        .chain(reasons)
        .filter(|name| !reached.contains(*name))
        .collect();
    assert!(missing.is_empty(), "never reached: {missing:?}");
}
