use std::collections::{BTreeMap, BTreeSet};

use bundles_objects::BackupKind;
use daemon_plan::{
    Failure, Health, Inventory, Observed, Phase, Reason, RolloutPlan, RolloutState, Step, Target,
    inventory::Live,
    next,
    plan::ServiceRules,
    rollout::{Fact, ObjectFact, RestorePoint},
};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::releases::digest;

fn plan(name: &str) -> RolloutPlan {
    let objects: Vec<Value> = [("v1", "ConfigMap"), ("batch/v1", "Job"), ("apps/v1", "StatefulSet")]
        .iter()
        .map(|(api, kind)| {
            json!({"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": "shop"}})
        })
        .collect();
    let rules = ServiceRules { backup: Some(BackupKind::RedisRdb), ..ServiceRules::default() };
    RolloutPlan::new(digest(name), &objects, &BTreeMap::from([("cache".to_owned(), rules)]), [])
        .expect("the plan is sound")
}

/// What may be seen, drawn from numbers without any sense: no cluster behaves like this.
fn observe(dice: &[u8; 12], release: &str) -> Observed {
    let refused = || Fact::Refused { message: "no".to_owned() };
    let plans = [plan("b"), plan("a")];
    let fact = |die: u8, value: Fact<RolloutPlan>| match die % 8 {
        0 | 1 => Fact::Unknown,
        2 if die > 250 => Fact::Refused { message: "no".to_owned() },
        _ => value,
    };
    let unit = |die: u8| match die % 8 {
        0 | 1 => Fact::Unknown,
        2 if die > 250 => refused(),
        _ => Fact::Known(()),
    };
    let live = |die: u8| Live {
        uid: format!("u{}", die % 3).parse().expect("a uid"),
        generation: None,
        resource_version: die.to_string(),
    };
    let mut objects = BTreeMap::new();
    let mut health = BTreeMap::new();
    for (index, object) in plans.iter().flat_map(RolloutPlan::objects).enumerate() {
        let number =
            dice[8].wrapping_mul(31).wrapping_add(dice[9].wrapping_mul(u8::try_from(index).unwrap_or(0)));
        let present =
            ObjectFact::Present { live: live(number), in_sync: number % 5 > 0, ours: number % 7 > 0 };
        match number % 16 {
            0 => {}
            1 => drop(objects.insert(object.key.clone(), ObjectFact::Absent)),
            2 => drop(objects.insert(object.key.clone(), ObjectFact::Terminating)),
            3 if number > 240 => {
                let failure = Failure::new(Reason::ApplyRejected, "no");
                objects.insert(object.key.clone(), ObjectFact::Rejected(failure));
            }
            _ => drop(objects.insert(object.key.clone(), present)),
        }
        let message = || "soon".to_owned();
        let own = match dice[10].wrapping_add(number) % 16 {
            0 => Health::Unknown,
            1 => Health::Progressing { message: message() },
            2 => Health::Degraded { message: message() },
            3 if number > 250 => Health::Failed(Failure::new(Reason::CrashLoop, "no")),
            _ => Health::Healthy,
        };
        health.insert(object.key.clone(), own);
    }
    let point = [
        RestorePoint::Absent,
        RestorePoint::Running,
        RestorePoint::Confirmed,
        RestorePoint::Confirmed,
        RestorePoint::NoData,
        RestorePoint::Failed { message: "no".to_owned() },
    ];
    let inventory = match dice[6] % 5 {
        0 => Fact::Unknown,
        1 => Fact::Known(Inventory::default()),
        2 => Fact::Known(Inventory::default().superset(&plans[0])),
        _ => Fact::Known(Inventory::default().superset(&plans[0]).superset(&plans[1])),
    };
    Observed {
        target: match dice[0] {
            0 => Some(Target::RollOut { release: digest("c") }),
            1 => Some(Target::Keep { current: digest("a") }),
            2 => Some(Target::Held { seen: None }),
            3..=9 => None,
            _ => Some(Target::RollOut { release: digest("b") }),
        },
        plan: fact(dice[1], Fact::Known(plans[0].clone())),
        kept_plan: fact(dice[2], Fact::Known(plans[1].clone())),
        belongs: unit(dice[3].rotate_left(4)),
        verified: unit(dice[3]),
        preflight: unit(dice[4]),
        missing_images: match dice[5] % 4 {
            0 => Fact::Unknown,
            1 => Fact::Known(BTreeSet::from(["x".to_owned()])),
            _ => Fact::Known(BTreeSet::new()),
        },
        restore_points: BTreeMap::from([("cache".to_owned(), point[usize::from(dice[7]) % 6].clone())]),
        inventory,
        compared_with: Some(digest(release)),
        objects,
        health,
        denied: dice[11].is_multiple_of(2),
        ..Observed::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is seen, in whatever order: the journal only goes forward, nothing is written before protection, and
    /// time ends it.
    #[test]
    fn any_facts_in_any_order_end(
        first in any::<bool>(),
        dice in prop::collection::vec(any::<[u8; 12]>(), 1..60),
    ) {
        let mut now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let mut state = RolloutState::start(digest("b"), 1, (!first).then(|| digest("a")), now);
        let mut records = 0;
        for turn in 0..4_000 {
            let release = if matches!(state.phase, Phase::RollingBack { .. }) { "a" } else { "b" };
            let seen = observe(&dice[turn % dice.len()], release);
            let step = next(&state, &seen, now);
            prop_assert!(!step.writes() || state.protection.is_some(), "{:?} in {:?}", step, state);
            if let Step::Record(new) = step {
                prop_assert!(new.phase.rank() >= state.phase.rank(), "{:?} → {:?}", state, new);
                // A journal survives its storage.
                let stored = serde_json::to_string(&new).expect("a journal is plain JSON");
                let read: RolloutState = serde_json::from_str(&stored).expect("what was stored is read");
                prop_assert_eq!(&read, &*new);
                state = read;
                records += 1;
            }
            if state.phase.outcome().is_some() {
                return Ok(());
            }
            now += SignedDuration::from_secs(5);
        }
        // Only one thing may be asked for without an end: that a person's list takes the denial.
        let denies = matches!(&state.phase, Phase::Judged { .. }) && dice.iter().all(|dice| dice[11] % 2 > 0);
        prop_assert!(denies, "after {} records: {:?}", records, state);
    }
}
