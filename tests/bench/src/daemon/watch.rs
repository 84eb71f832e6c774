//! What the API server's audit log says of the daemon and of kubectl.

use jiff::Timestamp;
use test_cluster::AuditEvent;

/// The account of the daemon.
const DAEMON: &str = "system:serviceaccount:bundle-system:bundle-daemon";

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Daemon,
    Kubectl,
}

/// One look of the daemon at a kept release.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    begun: Timestamp,
    ended: Timestamp,
    /// What it asked the API server.
    pub(super) requests: usize,
}

impl Look {
    /// From the first request to the last answer.
    pub(super) fn seconds(&self) -> f64 {
        self.ended.duration_since(self.begun).as_secs_f64()
    }
}

/// What `kind` asked since a moment, complete answers only.
pub(super) fn asked(events: Vec<AuditEvent>, since: Timestamp, kind: Kind) -> Vec<AuditEvent> {
    let is_theirs = |event: &AuditEvent| match kind {
        Kind::Daemon => event.user == DAEMON,
        Kind::Kubectl => event.user != DAEMON && event.user_agent.starts_with("kubectl"),
    };
    let is_it =
        |event: &AuditEvent| event.received >= since && event.stage == "ResponseComplete" && is_theirs(event);
    let mut events: Vec<AuditEvent> = events.into_iter().filter(is_it).collect();
    events.sort_by_key(|event| event.received);
    events
}

/// Whether it is about an object of that kind.
pub(super) fn is_about(event: &AuditEvent, resource: &str) -> bool {
    event.object.as_ref().is_some_and(|object| object.resource == resource)
}

/// The whole looks at the subscription `name` among requests of the daemon. A look begins with reading the
/// subscription; the lease and the search for new subscriptions go on beside it and do not count.
pub(super) fn looks(events: &[AuditEvent], name: &str) -> Vec<Look> {
    let mut looks: Vec<Look> = Vec::new();
    for event in events {
        let is_subscription = is_about(event, "subscriptions");
        if is_about(event, "leases") || is_subscription && event.verb == "list" {
            continue;
        }
        let is_begin = is_subscription
            && event.verb == "get"
            && event.object.as_ref().is_some_and(|object| object.name == name);
        if is_begin {
            looks.push(Look { begun: event.received, ended: event.at, requests: 1 });
        } else if let Some(look) = looks.last_mut() {
            look.ended = look.ended.max(event.at);
            look.requests += 1;
        }
    }
    // The last one may still be under way.
    looks.pop();
    looks
}
