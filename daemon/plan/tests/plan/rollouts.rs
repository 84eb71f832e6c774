use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use daemon_plan::{
    Health, Inventory, Observed, Phase, RolloutPlan, RolloutState, Step,
    inventory::Live,
    next,
    rollout::{Fact, ObjectFact, Outcome, PruneWord, RefusalReason, is_in_place},
};
use serde_json::json;

use crate::{
    releases::{Behaviour, digest},
    weather::{Trouble, Weather},
    world::World,
};

fn outcome(world: &World, name: &str) -> Outcome {
    world.phase(name).outcome().expect("the rollout has ended")
}

/// What is in the cluster is exactly this release, and what it may not prune.
pub(crate) fn runs(world: &World, name: &str) {
    let mut state = world.state();
    state.retain(|key, _| key != "PersistentVolumeClaim shop/old-data");
    let mut intents = world.intents(name);
    intents.retain(|key, _| key != "PersistentVolumeClaim shop/old-data");
    assert_eq!(state, intents, "{name} runs");
    let keys: BTreeSet<String> = world.inventory.entries().map(|entry| entry.key.to_string()).collect();
    assert_eq!(keys, world.state().into_keys().collect(), "the inventory is what is there");
}

#[test]
fn a_good_release_is_kept_and_the_old_pruned() {
    let mut world = World::installed();
    runs(&world, "a");
    let writes = world.writes;
    world.promote("b");
    world.settle(&[]);
    assert_eq!(outcome(&world, "b"), Outcome::Kept);
    assert_eq!(world.kept, Some(digest("b")));
    runs(&world, "b");
    assert_eq!(
        world.writes,
        writes + 6,
        "three objects are new or changed, three are pruned, the rest is left alone"
    );
    assert!(world.state().contains_key("PersistentVolumeClaim shop/old-data"), "data stays");
    assert_eq!(world.restore_points.len(), 1);
    // When a person deletes it, the inventory learns of it.
    world.meddle("PersistentVolumeClaim", true);
    world.settle(&[]);
    runs(&world, "b");
    assert_eq!(world.writes, writes + 6);
}

#[test]
fn a_release_that_drops_many_objects_waits_for_a_persons_word() {
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let plan = |release: &str, names: &[String]| {
        let object = |name: &String| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "shop"}});
        let objects: Vec<_> = names.iter().map(object).collect();
        RolloutPlan::new(digest(release), &objects, &BTreeMap::new(), []).unwrap()
    };
    let many: Vec<String> = (0..11).map(|index| format!("old-{index}")).collect();
    let mut inventory = Inventory::default();
    for planned in plan("a", &many).objects() {
        let uid = planned.key.name().parse().unwrap();
        inventory.note(planned, &Live { uid, generation: None, resource_version: "1".to_owned() }, false);
    }
    let state = RolloutState { phase: Phase::Verified, ..RolloutState::start(digest("b"), 1, None, now) };
    let mut seen = Observed {
        plan: Fact::Known(plan("b", &["new".to_owned()])),
        inventory: Fact::Known(inventory),
        prune_word: PruneWord { given: false, command: "kubectl patch".to_owned() },
        ..Observed::default()
    };
    let Step::Record(refused) = next(&state, &seen, now) else { panic!("it goes on") };
    let Phase::Refused { refusal, .. } = &refused.phase else { panic!("{refused:?}") };
    assert_eq!(refusal.reason, RefusalReason::Prune);
    assert!(refusal.message.starts_with("11 of 11 objects would be pruned, 10 are allowed"), "{refusal:?}");
    assert!(refusal.message.ends_with("to allow it: kubectl patch"), "{refusal:?}");
    seen.prune_word.given = true;
    assert!(matches!(next(&state, &seen, now), Step::Preflight { .. }));
}

#[test]
fn every_look_at_nodes_asks_for_all_images() {
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let (a, b) = (digest("a"), digest("b"));
    let plan = |release, images: [&str; 2]| {
        RolloutPlan::new(release, &[], &BTreeMap::new(), images.map(str::to_owned)).unwrap()
    };
    let state = RolloutState { phase: Phase::Verified, ..RolloutState::start(b, 1, Some(a), now) };
    let mut seen = Observed {
        plan: Fact::Known(plan(b, ["api@2", "cache@1"])),
        kept_plan: Fact::Known(plan(a, ["api@1", "cache@1"])),
        inventory: Fact::Known(Inventory::default()),
        preflight: Fact::Known(()),
        ..Observed::default()
    };
    let all = BTreeSet::from(["api@1", "api@2", "cache@1"].map(str::to_owned));
    assert_eq!(next(&state, &seen, now), Step::WarmNodes { images: all.clone() });
    // One is missing still: a node that joins now has none of the others either.
    seen.missing_images = Fact::Known(BTreeSet::from(["api@2".to_owned()]));
    assert_eq!(next(&state, &seen, now), Step::WarmNodes { images: all });
    seen.missing_images = Fact::Known(BTreeSet::new());
    let Step::Record(on_nodes) = next(&state, &seen, now) else { panic!("it goes on") };
    assert_eq!(on_nodes.phase, Phase::OnNodes);
}

#[test]
fn a_kept_release_is_in_place_only_if_all_is_known_to_be_well() {
    let object =
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "api", "namespace": "shop"}});
    let plan = RolloutPlan::new(digest("a"), &[object], &BTreeMap::new(), []).unwrap();
    let key = plan.objects().next().unwrap().key.clone();
    let live = Live { uid: "u".parse().unwrap(), generation: None, resource_version: "1".to_owned() };
    let fact = |in_sync| ObjectFact::Present { live: live.clone(), in_sync, ours: true };
    let mut seen = Observed {
        inventory: Fact::Known(Inventory::default().superset(&plan)),
        plan: Fact::Known(plan),
        compared_with: Some(digest("a")),
        objects: BTreeMap::from([(key.clone(), fact(true))]),
        ..Observed::default()
    };
    assert!(!is_in_place(&seen), "nothing is known of its health");
    seen.health.insert(key.clone(), Health::Healthy);
    assert!(is_in_place(&seen));
    seen.objects.insert(key, fact(false));
    assert!(!is_in_place(&seen));
    seen.plan = Fact::Unknown;
    assert!(!is_in_place(&seen));
}

#[test]
fn a_kept_release_is_left_alone_and_repaired() {
    let mut world = World::installed();
    let writes = world.writes;
    for _ in 0..10 {
        world.turn(Weather::Fair);
    }
    assert_eq!(world.writes, writes, "nothing is written when nothing changed");
    world.meddle("Service", true);
    world.meddle("Deployment", false);
    world.settle(&[]);
    world.turn(Weather::Fair);
    world.settle(&[]);
    assert_eq!(world.writes, writes + 2, "one write for each");
    runs(&world, "a");
}

#[test]
fn failures_lead_back_and_are_denied() {
    for (behaviour, reason) in [
        (Behaviour::Crashes, "CrashLoop"),
        (Behaviour::NeverReady, "DeadlineExceeded"),
        (Behaviour::Silent, "NoData"),
        (Behaviour::Regresses, "CrashLoop"),
        (Behaviour::LosesReadiness, "Regression"),
        (Behaviour::Rejected, "ApplyRejected"),
        (Behaviour::Flaps, "DeadlineExceeded"),
    ] {
        let mut world = World::installed();
        world.behaviours.insert(digest("b"), behaviour);
        world.promote("b");
        world.settle(&[]);
        let Phase::RolledBack { failure } = world.phase("b") else { panic!("{behaviour:?}") };
        assert_eq!(failure.reason.to_string(), reason, "{behaviour:?}: {failure}");
        assert_eq!(world.kept, Some(digest("a")));
        assert!(world.denied.contains_key(&digest("b")));
        runs(&world, "a");
        // It stays denied, and a later release is not held up by it.
        let writes = world.writes;
        world.settle(&[]);
        assert_eq!(world.writes, writes);
        world.promote("c");
        world.settle(&[]);
        runs(&world, "c");
    }
}

#[test]
fn refusals_write_nothing_and_are_tried_again() {
    for (behaviour, reason) in [
        (Behaviour::Foreign, "Identity"),
        (Behaviour::Unsigned, "Verification"),
        (Behaviour::Broken, "Fetch"),
        (Behaviour::FailsPreflight, "Preflight"),
        (Behaviour::ImageMissing, "Images"),
    ] {
        let mut world = World::installed();
        let writes = world.writes;
        world.behaviours.insert(digest("b"), behaviour);
        world.promote("b");
        world.settle(&[]);
        let Phase::Refused { refusal, .. } = world.phase("b") else { panic!("{behaviour:?}") };
        assert_eq!(refusal.reason.to_string(), reason);
        assert_eq!(world.writes, writes, "{behaviour:?}");
        assert!(world.denied.is_empty());
        // When the cause is gone the next attempt passes.
        world.behaviours.insert(digest("b"), Behaviour::Good);
        world.now += jiff::SignedDuration::from_mins(11);
        world.settle(&[]);
        assert!(world.journals[&digest("b")].attempt >= 2);
        runs(&world, "b");
    }
    let mut world = World::installed();
    world.troubles.insert(Trouble::RestoreFails);
    world.promote("b");
    world.settle(&[]);
    assert_eq!(outcome(&world, "b"), Outcome::Refused);
    runs(&world, "a");
}

/// Whoever reads the refusal learns why, not only that time ran out.
#[test]
fn a_silent_registry_is_named_when_patience_ends() {
    let mut world = World::installed();
    world.troubles.insert(Trouble::RegistryDown);
    world.promote("b");
    for _ in 0..700 {
        world.turn(Weather::Fair);
        if world.journals[&digest("b")].phase.outcome().is_some() {
            break;
        }
    }
    let Phase::Refused { refusal, .. } = world.phase("b") else { panic!("{:?}", world.phase("b")) };
    assert_eq!(refusal.reason, RefusalReason::Fetch);
    let told = "step FetchRelease did not succeed in time: registry.example does not answer";
    assert_eq!(refusal.message, told);
}

#[test]
fn a_first_install_that_fails_is_left_for_people() {
    let mut world = World::new();
    world.behaviours.insert(digest("b"), Behaviour::NeverReady);
    world.promote("b");
    world.settle(&[]);
    assert_eq!(outcome(&world, "b"), Outcome::FirstInstallFailed);
    assert!(world.denied.contains_key(&digest("b")));
    assert!(!world.state().is_empty());
    world.promote("a");
    world.settle(&[]);
    runs(&world, "a");
}

#[test]
fn a_newer_release_takes_over_a_rollout_that_waits() {
    let mut world = World::installed();
    world.behaviours.insert(digest("b"), Behaviour::NeverReady);
    world.promote("b");
    for _ in 0..60 {
        world.turn(Weather::Fair);
    }
    assert!(world.phase("b").may_have_written());
    world.promote("c");
    world.settle(&[]);
    assert_eq!(*world.phase("b"), Phase::Superseded { by: Some(digest("c")) });
    assert!(world.denied.is_empty(), "it was not judged");
    runs(&world, "c");
}

/// `b` wrote a part, gave way to `c`, and `c` was refused: `a` is written again, and what `b` brought serves until it
/// is well. The world checks health at every prune.
#[test]
fn what_a_superseded_release_left_is_pruned_after_health() {
    let mut world = World::installed();
    world.behaviours.insert(digest("b"), Behaviour::NeverReady);
    world.behaviours.insert(digest("c"), Behaviour::FailsPreflight);
    world.promote("b");
    for _ in 0..60 {
        world.turn(Weather::Fair);
    }
    assert!(world.state().contains_key("ConfigMap shop/config-b"));
    world.promote("c");
    world.settle(&[]);
    assert_eq!(*world.phase("b"), Phase::Superseded { by: Some(digest("c")) });
    assert_eq!(outcome(&world, "c"), Outcome::Refused);
    runs(&world, "a");
}

#[test]
fn a_pin_takes_a_rollout_back_without_blame() {
    let mut world = World::installed();
    world.behaviours.insert(digest("b"), Behaviour::NeverReady);
    world.promote("b");
    for _ in 0..60 {
        world.turn(Weather::Fair);
    }
    world.pin = Some(digest("a"));
    world.settle(&[]);
    assert_eq!(outcome(&world, "b"), Outcome::RolledBack);
    assert!(world.denied.is_empty());
    runs(&world, "a");
    // While pinned nothing moves, whatever the channel says.
    let writes = world.writes;
    world.promote("c");
    world.settle(&[]);
    assert_eq!(world.writes, writes);
    assert!(!world.journals.contains_key(&digest("c")));
}

#[test]
fn a_hold_stops_what_has_not_begun_to_write() {
    let mut world = World::installed();
    world.promote("b");
    world.turn(Weather::Fair);
    world.hold = true;
    world.settle(&[]);
    assert_eq!(*world.phase("b"), Phase::Superseded { by: None });
    runs(&world, "a");
    world.hold = false;
    world.settle(&[]);
    runs(&world, "b");
}

/// Expiry and revocation: of the record, and of the release alone, which a pin would go on with.
#[test]
fn what_is_no_longer_trusted_is_not_written() {
    let expired = |world: &mut World| {
        world.channel = daemon_plan::target::Channel::Refused { message: "expired".to_owned() };
    };
    let revoked = |world: &mut World| {
        world.behaviours.insert(digest("b"), Behaviour::Unsigned);
    };
    for phase in ["Started", "Fetched", "Verified", "OnNodes"] {
        let at = |change: fn(&mut World)| {
            let mut world = World::installed();
            world.promote("b");
            while world.journals.get(&digest("b")).is_none_or(|journal| journal.phase.name() != phase) {
                world.turn(Weather::Fair);
            }
            let writes = world.writes;
            change(&mut world);
            world.settle(&[]);
            assert_eq!(world.writes, writes, "{phase}");
            runs(&world, "a");
            world
        };
        let world = at(expired);
        assert_eq!(*world.phase("b"), Phase::Superseded { by: None }, "{phase}");
        let world = at(revoked);
        let Phase::Refused { refusal, .. } = world.phase("b") else { panic!("{phase}: it goes on") };
        assert_eq!(refusal.reason, RefusalReason::Verification, "{phase}");
    }
}

#[test]
fn a_stuck_set_is_freed_on_the_way_back() {
    let mut world = World::installed();
    world.behaviours.insert(digest("b"), Behaviour::Crashes);
    world.troubles.insert(Trouble::StuckPod);
    world.promote("b");
    world.settle(&[]);
    assert_eq!(outcome(&world, "b"), Outcome::RolledBack);
    assert!(world.reached.contains("DeletePods"));
}

/// A pod of the release before cannot become ready, and the next release is what makes it well.
#[test]
fn a_stuck_set_is_freed_on_the_way_forward_and_later() {
    let mut world = World::installed();
    world.troubles.insert(Trouble::StuckPod);
    world.promote("c");
    while !matches!(world.journals.get(&digest("c")), Some(state) if state.phase.name() == "Protected") {
        world.turn(Weather::Fair);
    }
    let began = world.now;
    while !world.reached.contains("DeletePods") && world.phase("c").outcome().is_none() {
        world.turn(Weather::Fair);
    }
    assert!(world.now.duration_since(began) >= jiff::SignedDuration::from_mins(1), "it may be slow only");
    world.settle(&[]);
    assert_eq!(outcome(&world, "c"), Outcome::Kept, "{:?}", world.phase("c"));
    runs(&world, "c");

    // The same of a release that is kept.
    world.reached.clear();
    world.troubles.insert(Trouble::StuckPod);
    for _ in 0..5 {
        world.turn(Weather::Fair);
    }
    assert!(world.reached.contains("DeletePods"), "{:?}", world.reached);
}

#[test]
fn the_registry_may_go_after_the_images_are_on_nodes() {
    for behaviour in [Behaviour::Good, Behaviour::NeverReady] {
        let mut world = World::installed();
        world.behaviours.insert(digest("b"), behaviour);
        world.promote("b");
        while !world.journals.get(&digest("b")).is_some_and(|journal| journal.phase == Phase::OnNodes) {
            world.turn(Weather::Fair);
        }
        world.troubles.insert(Trouble::RegistryDown);
        world.channel = daemon_plan::target::Channel::Unknown;
        // The daemon starts anew as well.
        world.settle(&[Weather::DiesBefore]);
        runs(&world, if behaviour == Behaviour::Good { "b" } else { "a" });
    }
}

/// A replica that is added at the end of the soak begins it anew, and has its whole deadline each time.
#[test]
fn a_break_of_health_counts_from_the_break() {
    let mut world = World::installed();
    world.soak = Some(Duration::from_mins(10));
    world.behaviours.insert(digest("b"), Behaviour::Grows);
    world.promote("b");
    let began = world.now;
    world.settle(&[]);
    assert_eq!(outcome(&world, "b"), Outcome::Kept, "{:?}", world.phase("b"));
    assert!(world.now.duration_since(began) > jiff::SignedDuration::from_mins(20), "it soaked twice");
}

#[test]
fn a_release_whose_health_breaks_for_ever_does_not_soak_for_ever() {
    let mut world = World::installed();
    world.soak = Some(Duration::from_mins(10));
    world.behaviours.insert(digest("b"), Behaviour::Flaps);
    world.promote("b");
    world.settle(&[]);
    let Phase::RolledBack { failure } = world.phase("b") else { panic!("{:?}", world.phase("b")) };
    assert!(
        failure.message.starts_with("health did not hold for 600 s within 2160 s; now Deployment"),
        "{failure}"
    );
    let journal = &world.journals[&digest("b")];
    assert!(journal.since.duration_since(journal.started) < jiff::SignedDuration::from_mins(40));
}

#[test]
fn a_journal_of_an_older_daemon_goes_on() {
    let world = World::installed();
    let state = &world.journals[&digest("a")];
    for (stored, healthy) in [
        (json!({"name": "Applied", "healthySince": "2026-01-01T00:00:00Z"}), Some(world.now)),
        (json!({"name": "Applied"}), None),
    ] {
        let phase: Phase = serde_json::from_value(stored).unwrap();
        let Phase::Applied { healthy_since, unhealthy_since: None } = phase else { panic!("{phase:?}") };
        assert_eq!(healthy_since.is_some(), healthy.is_some());
        let state = RolloutState { phase, since: world.now, ..state.clone() };
        let plan = RolloutPlan::new(digest("a"), &[json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "api", "namespace": "shop"}})], &BTreeMap::new(), []).unwrap();
        let seen = Observed {
            inventory: Fact::Known(Inventory::default().superset(&plan)),
            plan: Fact::Known(plan),
            ..Observed::default()
        };
        let later = world.now + jiff::SignedDuration::from_hours(1);
        let Step::Record(broken) = next(&state, &seen, later) else { panic!("it is judged at once") };
        let unhealthy = Phase::Applied { healthy_since: None, unhealthy_since: Some(later) };
        assert_eq!(broken.phase, unhealthy, "the break counts from now");
    }
}

/// A failed request or a write that met another cuts a turn off, and all that was in memory is asked for again. That the
/// phase is older than the patience for the answer says nothing: nobody asked before.
#[test]
fn a_memory_that_is_lost_in_an_old_phase_fails_no_release() {
    // Soaking for longer than the ten minutes that a question may stay open.
    let mut world = World::installed();
    world.soak = Some(Duration::from_mins(12));
    world.promote("b");
    while !matches!(world.journals.get(&digest("b")), Some(state) if state.phase.name() == "Applied") {
        world.turn(Weather::Fair);
    }
    let began = world.now;
    while world.now.duration_since(began) < jiff::SignedDuration::from_mins(11) {
        world.turn(Weather::Fair);
    }
    world.settle(&[Weather::Forgets]);
    assert_eq!(outcome(&world, "b"), Outcome::Kept, "{:?}", world.phase("b"));

    // On the way back for longer than its minute.
    let mut world = World::installed();
    world.behaviours.insert(digest("b"), Behaviour::Crashes);
    world.troubles.insert(Trouble::SlowReturn);
    world.promote("b");
    while !matches!(world.journals.get(&digest("b")), Some(state) if state.phase.name() == "RollingBack") {
        world.turn(Weather::Fair);
    }
    let began = world.now;
    while world.now.duration_since(began) < jiff::SignedDuration::from_secs(70) {
        world.turn(Weather::Fair);
    }
    assert_eq!(world.phase("b").outcome(), None, "it is slow");
    world.settle(&[Weather::Forgets]);
    assert_eq!(outcome(&world, "b"), Outcome::RolledBack, "{:?}", world.phase("b"));
}

/// Scenarios whose end does not depend on when something happens.
fn scenarios() -> Vec<(&'static str, World)> {
    let with = |behaviour, change: fn(&mut World)| {
        let mut world = World::installed();
        world.behaviours.insert(digest("b"), behaviour);
        change(&mut world);
        world.promote("b");
        world
    };
    let mut first = World::new();
    first.promote("b");
    vec![
        ("good", with(Behaviour::Good, |_| {})),
        ("crashing", with(Behaviour::Crashes, |_| {})),
        ("never ready", with(Behaviour::NeverReady, |_| {})),
        ("rejected", with(Behaviour::Rejected, |_| {})),
        (
            "stuck",
            with(Behaviour::Crashes, |world| {
                world.troubles.insert(Trouble::StuckPod);
            }),
        ),
        (
            "no way back",
            with(Behaviour::Crashes, |world| {
                world.troubles.insert(Trouble::NoReturn);
            }),
        ),
        ("first", first),
    ]
}

const EVERY_MISHAP: [Weather; 6] = [
    Weather::DiesBefore,
    Weather::DiesAfter,
    Weather::Lost,
    Weather::Error,
    Weather::Forgets,
    Weather::Outage,
];

#[test]
fn dying_at_any_step_leads_to_the_same_end() {
    let mut deaths = 0;
    for (name, start) in scenarios() {
        let mut calm = start.clone();
        let steps = calm.settle(&[]);
        assert!(steps > 20, "{name} is a whole rollout");
        for at in 0..steps {
            for kind in EVERY_MISHAP {
                let mut weather = vec![Weather::Fair; at];
                weather.push(kind);
                let mut world = start.clone();
                world.settle(&weather);
                let place = format!("{name}, {kind:?} at step {at}");
                assert_eq!(outcome(&world, "b"), outcome(&calm, "b"), "{place}");
                assert_eq!(world.state(), calm.state(), "{place}");
                assert_eq!(world.kept, calm.kept, "{place}");
                assert_eq!(
                    world.denied.keys().collect::<Vec<_>>(),
                    calm.denied.keys().collect::<Vec<_>>(),
                    "{place}"
                );
                assert_eq!(
                    world.restore_points.keys().collect::<Vec<_>>(),
                    calm.restore_points.keys().collect::<Vec<_>>(),
                    "no second restore point: {place}"
                );
                assert!(world.jobs_run.values().all(|runs| *runs == 1), "no Job runs twice: {place}");
                deaths += 1;
            }
        }
    }
    assert!(deaths > 1000, "{deaths} places were tried");
}

#[test]
fn time_in_which_nobody_looked_counts_against_no_release() {
    let mut world = World::installed();
    world.promote("b");
    while !world.journals.get(&digest("b")).is_some_and(|journal| journal.phase.may_have_written()) {
        world.turn(Weather::Fair);
    }
    for _ in 0..3 {
        world.turn(Weather::Fair);
    }
    world.now += jiff::SignedDuration::from_hours(1);
    world.settle(&[Weather::DiesBefore]);
    assert_eq!(outcome(&world, "b"), Outcome::Kept);
}
