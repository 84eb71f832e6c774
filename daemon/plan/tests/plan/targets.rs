use std::collections::BTreeMap;

use daemon_plan::{
    Phase, RolloutState, Target, decide_target,
    rollout::{Refusal, RefusalReason},
    target::{Channel, Circumstances, rollout_for},
};
use jiff::{SignedDuration, Timestamp};
use registry_wire::Digest;

use crate::releases::digest;

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().expect("a time")
}

#[test]
fn who_wins() {
    let (a, b, c) = (digest("a"), digest("b"), digest("c"));
    let names_b = Channel::Accepted { release: b };
    let expired = Channel::Refused { message: "expired".to_owned() };
    let held = Channel::Held { release: b };
    let none: BTreeMap<Digest, String> = BTreeMap::new();
    let denied = BTreeMap::from([(b, "CrashLoop".to_owned())]);
    let running = RolloutState::start(b, 1, Some(a), now());
    let refused = RolloutState {
        phase: Phase::Refused {
            refusal: Refusal { reason: RefusalReason::Preflight, message: "no Secret".to_owned() },
            retry_after: now() + SignedDuration::from_secs(15),
        },
        ..running.clone()
    };
    let base = Circumstances {
        pin: None,
        hold: false,
        channel: &names_b,
        denied: &none,
        kept: Some(a),
        rollout: None,
    };
    let cases = [
        ("a new record", base, Target::RollOut { release: b }),
        ("what runs", Circumstances { kept: Some(b), ..base }, Target::Keep { current: b }),
        ("nothing at all", Circumstances { kept: None, channel: &Channel::Unknown, ..base }, Target::Nothing),
        ("silence", Circumstances { channel: &Channel::Unknown, ..base }, Target::Keep { current: a }),
        (
            "silence in a rollout",
            Circumstances { channel: &Channel::Unknown, rollout: Some(&running), ..base },
            Target::RollOut { release: b },
        ),
        (
            "an expired record",
            Circumstances { channel: &expired, ..base },
            Target::Refused { reason: "expired".to_owned(), until: None },
        ),
        (
            "a denied release",
            Circumstances { denied: &denied, ..base },
            Target::Denied { release: b, reason: "CrashLoop".to_owned() },
        ),
        (
            "a pin to what runs",
            Circumstances { pin: Some(a), ..base },
            Target::Pinned { current: a, seen: Some(b) },
        ),
        (
            "a pin and an expired record",
            Circumstances { pin: Some(a), channel: &expired, ..base },
            Target::Pinned { current: a, seen: None },
        ),
        ("a pin elsewhere", Circumstances { pin: Some(c), ..base }, Target::RollOut { release: c }),
        (
            "a pin to a denied release",
            Circumstances { pin: Some(b), denied: &denied, ..base },
            Target::Denied { release: b, reason: "CrashLoop".to_owned() },
        ),
        ("a hold", Circumstances { hold: true, ..base }, Target::Held { seen: Some(b) }),
        (
            "a pin outweighs a hold",
            Circumstances { hold: true, pin: Some(a), ..base },
            Target::Pinned { current: a, seen: Some(b) },
        ),
        (
            "a held channel starts nothing",
            Circumstances { channel: &held, ..base },
            Target::Held { seen: Some(b) },
        ),
        (
            "nor on an empty cluster",
            Circumstances { channel: &held, kept: None, ..base },
            Target::Held { seen: Some(b) },
        ),
        (
            "a pin outweighs a held channel",
            Circumstances { channel: &held, pin: Some(c), ..base },
            Target::RollOut { release: c },
        ),
        (
            "a refused attempt waits",
            Circumstances { rollout: Some(&refused), ..base },
            Target::Refused {
                reason: "Preflight: no Secret".to_owned(),
                until: Some(now() + SignedDuration::from_secs(15)),
            },
        ),
    ];
    let mut names: Vec<&str> = Vec::new();
    for (case, circumstances, target) in cases {
        assert_eq!(decide_target(&circumstances, now()), target, "{case}");
        names.push(target.name());
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 7, "every target is reached: {names:?}");
    let later = now() + SignedDuration::from_secs(15);
    let again = Circumstances { rollout: Some(&refused), ..base };
    assert_eq!(decide_target(&again, later), Target::RollOut { release: b });
    assert_eq!(rollout_for(b, Some(a), Some(&refused), later).attempt, 2);
    assert_eq!(rollout_for(b, Some(a), Some(&running), later), running);
    assert_eq!(rollout_for(c, Some(a), Some(&running), later).attempt, 1);
}

/// The Job and the file of the first attempt may still be there when its Release is forgotten and it is wanted again.
#[test]
fn an_attempt_at_a_forgotten_release_shares_no_restore_point_with_the_first() {
    let first = rollout_for(digest("b"), Some(digest("a")), None, now());
    let again = rollout_for(digest("b"), Some(digest("a")), None, now() + SignedDuration::from_hours(24));
    assert_eq!(first.attempt, again.attempt);
    assert_ne!(first.restore_point("cache"), again.restore_point("cache"));
    assert_ne!(first.restore_point("cache"), first.restore_point("queue"));
}
