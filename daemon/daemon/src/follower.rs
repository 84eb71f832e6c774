//! Following one subscription: one turn reads what is wanted and what is stored, and goes on until something has to be
//! waited for.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bundles_objects::{Binding, NamespaceName, RegistryMap, SubscriptionName, TextError};
use daemon_cluster::{
    Cluster, EventKind, Events, RegistryEndpoint, RegistryScheme, ReleasePlace, Subscription, release_title,
    target_role,
};
use daemon_plan::{
    Phase, RolloutState, Step, Target, decide_target, next,
    rollout::{Fact, PruneWord},
    target::{Circumstances, rollout_for},
};
use jiff::{SignedDuration, Timestamp};
use kube::{Resource, ResourceExt};
use registry_client::{Options, Registry, Scheme};
use registry_wire::Digest;

use crate::{
    Clock, DaemonOptions, advice,
    channel::{ChannelFollower, ChannelView},
    conditions::{Summary, describe_status},
    contents::Contents,
    error::{Trouble, chain},
    journal::{Journals, told},
    work::{Work, limits},
};

/// Most steps in one turn: what takes longer begins with a fresh look at what is wanted.
const MOST_STEPS: usize = 200;

/// Longest time between two looks, beyond the usual pause, that is no gap.
const LONGEST_SILENCE: SignedDuration = SignedDuration::from_secs(30);

/// What to do after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// A daemon that was chosen later has written.
    Outranked,
    /// The subscription is no longer there.
    Gone,
    /// Come again after this time.
    Wait(Duration),
}

/// What a step leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// The next step.
    Again,
    /// Nothing before this time.
    Wait(Timestamp),
    /// The rollout has ended.
    Over,
}

/// What was read for one turn.
pub(crate) struct Table {
    pub(crate) subscription: Subscription,
    pub(crate) journals: Journals,
    pub(crate) view: ChannelView,
    pub(crate) target: Target,
}

/// Follows one subscription.
pub(crate) struct Follower {
    pub(crate) options: DaemonOptions,
    pub(crate) cluster: Cluster,
    pub(crate) events: Events,
    pub(crate) clock: Clock,
    pub(crate) epoch: u64,
    pub(crate) name: String,
    /// Since when this process looks without a gap.
    pub(crate) looking_since: Timestamp,
    /// When it looked last.
    pub(crate) looked: Timestamp,
    pub(crate) channel: ChannelFollower,
    pub(crate) next_poll: Option<Timestamp>,
    pub(crate) registry: Option<(RegistryEndpoint, Registry)>,
    pub(crate) contents: BTreeMap<Digest, Contents>,
    pub(crate) work: Option<Work>,
    /// What kept a step of this turn from being done, for the status.
    pub(crate) trouble: Option<String>,
    pub(crate) told_target: Option<String>,
    /// What was in the way of the last turn, and of this one so far, as it was logged.
    logged: Logged,
    /// Where the daemon needs rights for this subscription, once it was read.
    rights: Option<Rights>,
}

/// Troubles that were logged, each once as long as every turn meets it again.
#[derive(Debug, Default)]
struct Logged {
    before: BTreeSet<String>,
    now: BTreeSet<String>,
}

impl Logged {
    /// Notes a trouble; whether the last turn did not have it.
    fn is_new(&mut self, text: &str) -> bool {
        self.now.insert(text.to_owned()) && !self.before.contains(text)
    }

    /// The turn is over.
    fn end_turn(&mut self) {
        self.before = std::mem::take(&mut self.now);
    }
}

/// Where the daemon needs rights, and how it gets them.
#[derive(Debug)]
struct Rights {
    namespace: String,
    role: String,
    /// The command that gives them.
    grant: String,
}

impl Rights {
    /// What helps, if a text says that rights are missing in the namespace (as the authorizer of RBAC words it).
    fn advice(&self, text: &str) -> Option<String> {
        let Self { namespace, role, grant } = self;
        let is_refused =
            text.contains("cannot ") && text.contains(&format!("in the namespace \"{namespace}\""));
        is_refused.then(|| format!("; if RoleBinding {namespace}/{role} is missing: {grant}"))
    }
}

impl Follower {
    pub(crate) fn new(
        options: DaemonOptions,
        cluster: Cluster,
        events: Events,
        clock: Clock,
        epoch: u64,
        name: String,
    ) -> Self {
        let now = clock.now();
        Self {
            options,
            cluster,
            events,
            clock,
            epoch,
            name,
            looking_since: now,
            looked: now,
            channel: ChannelFollower::new(),
            next_poll: None,
            registry: None,
            contents: BTreeMap::new(),
            work: None,
            trouble: None,
            told_target: None,
            logged: Logged::default(),
            rights: None,
        }
    }

    /// One turn. Errors end the turn, not the follower: the next turn reads everything anew.
    pub(crate) async fn turn(&mut self) -> Turn {
        let turn = self.take_turn().await;
        let turn = self.end_turn(turn);
        self.logged.end_turn();
        turn
    }

    fn end_turn(&mut self, turn: Result<Turn, Trouble>) -> Turn {
        match turn {
            Ok(turn) => turn,
            Err(error) => {
                if !error.is_stale() {
                    self.tell_trouble("a turn was cut off", &error);
                }
                // Somebody else wrote, or nobody knows what was written: begin with what is stored.
                self.work = None;
                match error {
                    Trouble::Outranked { .. } => Turn::Outranked,
                    _ => Turn::Wait(Duration::from_secs(1)),
                }
            }
        }
    }

    async fn take_turn(&mut self) -> Result<Turn, Trouble> {
        let Some(subscription) = self.cluster.subscription(&self.name).await? else { return Ok(Turn::Gone) };
        if subscription.meta().deletion_timestamp.is_some() {
            return Ok(Turn::Gone);
        }
        let now = self.clock.now();
        if let Err(error) = binding_of(&self.name, &subscription.spec.place()) {
            return self.refuse_subscription(subscription, chain(&error)).await;
        }
        let home = self.cluster.home();
        self.rights = Some(Rights {
            namespace: subscription.spec.namespace.clone(),
            role: target_role(home),
            grant: advice::grant(home, &self.name, &subscription.spec),
        });
        let view = self.look(&subscription, now).await?;
        let journals = Journals::read(&self.cluster, &self.name, self.epoch).await?;
        let target = target_of(&subscription, &journals, &view, now);
        self.note_look();
        let mut table = Table { subscription, journals, view, target };
        self.tell_target(&table).await;
        let until = if let Some(state) = chosen(&table, now) {
            self.drive(&mut table, state).await?
        } else {
            self.work = None;
            self.trouble = None;
            None
        };
        self.publish(&mut table).await?;
        let now = self.clock.now();
        self.looked = now;
        let poll = self.next_poll.unwrap_or(now);
        let idle = now.checked_add(self.options.resync).unwrap_or(now);
        let wake = until.unwrap_or(idle).min(poll.max(now));
        let pause = wake.duration_since(now);
        Ok(Turn::Wait(Duration::try_from(pause).unwrap_or_default()))
    }

    /// What is in the way, and what helps if that is known. It is logged unless the last turn met it too.
    pub(crate) fn tell_trouble(&mut self, what: &str, error: &dyn std::error::Error) -> String {
        let mut text = chain(error);
        if let Some(advice) = self.rights.as_ref().and_then(|rights| rights.advice(&text)) {
            text.push_str(&advice);
        }
        if self.logged.is_new(&text) {
            tracing::warn!(subscription = self.name, error = text, "{what}");
        }
        text
    }

    /// Notes that the cluster answers. While it did not for long, nobody could look.
    fn note_look(&mut self) {
        let now = self.clock.now();
        let pause = SignedDuration::try_from(self.options.resync).unwrap_or(SignedDuration::MAX);
        if now.duration_since(self.looked) > pause.saturating_add(LONGEST_SILENCE) {
            self.looking_since = now;
        }
        self.looked = now;
    }

    /// Drives one rollout until it waits; the time to come again.
    async fn drive(&mut self, table: &mut Table, state: RolloutState) -> Result<Option<Timestamp>, Trouble> {
        let now = self.clock.now();
        // What was in the way of the last turn may be gone; whatever still is says so again.
        self.trouble = None;
        let stored = table.journals.of(state.release) == Some(&state);
        let known = self.work.as_ref().is_some_and(|work| work.state == state);
        if !known {
            self.work = Some(Work::new(state.clone(), self.looking_since, now));
            self.clear_up(table, &state).await?;
        }
        if !stored {
            // A new attempt may run elsewhere than the last one at the same release.
            self.contents.remove(&state.release);
            table.journals.record(&self.cluster, &table.subscription, &state, now).await?;
            self.tell(table, &state).await;
        }
        if known {
            if let Some(work) = &mut self.work
                && matches!((&work.state.phase, &work.seen.plan), (Phase::Kept, Fact::Refused { .. }))
            {
                // The registry may have the documents again.
                work.seen.plan = Fact::Unknown;
            }
            self.refresh_watched().await;
        }
        let mut last: Option<Step> = None;
        for _ in 0..MOST_STEPS {
            let now = self.clock.now();
            let Some(work) = &mut self.work else { return Ok(None) };
            work.seen.looking_since = Some(self.looking_since);
            work.seen.target = Some(table.target.clone());
            work.seen.limits = limits(&table.subscription, self.options.resync);
            work.seen.prune_word = prune_word(&table.subscription, self.cluster.home(), &work.state.release);
            if let Some(status) = &table.subscription.status {
                work.seen.denied = work.is_denied(status);
            }
            let step = next(&work.state, &work.seen, now);
            let pause = now.checked_add(work.seen.limits.poll).unwrap_or(now);
            if last.as_ref() == Some(&step) {
                // Nothing was learned: ask again a little later.
                return Ok(Some(pause));
            }
            last = Some(step.clone());
            tracing::debug!(subscription = self.name, release = %work.state.release, step = step.name(), "step");
            let before = self.trouble.take();
            let taken = self.take(table, step).await;
            let in_the_way = match &taken {
                Ok(_) => self.trouble.clone(),
                Err(error) if error.is_stale() || error.is_lost() => Some(chain(error)),
                Err(error) => Some(self.tell_trouble("a step was not done", error)),
            };
            if let Some(work) = &mut self.work {
                work.seen.trouble.clone_from(&in_the_way);
            }
            // One step that was done does not undo what an earlier one has met in this turn.
            self.trouble = self.trouble.take().or(before);
            match taken {
                Ok(Flow::Again) => {}
                Ok(Flow::Wait(until)) => return Ok(Some(until)),
                Ok(Flow::Over) => return Ok(Some(now)),
                Err(error) if error.is_stale() || error.is_lost() => return Err(error),
                Err(_) => {
                    self.trouble = in_the_way;
                    return Ok(Some(pause));
                }
            }
        }
        Ok(Some(self.clock.now()))
    }

    /// Looks at the channel; at the registry only when the time has come.
    async fn look(&mut self, subscription: &Subscription, now: Timestamp) -> Result<ChannelView, Trouble> {
        let due = self.next_poll.is_none_or(|next| next <= now);
        let registry = if due { self.registry_of(subscription) } else { None };
        if due {
            let period = jiff::SignedDuration::from_secs(i64::from(subscription.spec.poll_seconds));
            self.next_poll = now.checked_add(period).ok();
        }
        self.channel.look(&self.cluster, subscription, registry.as_ref(), now).await
    }

    /// The registry of the subscription; none if its address makes no client.
    pub(crate) fn registry_of(&mut self, subscription: &Subscription) -> Option<Registry> {
        let endpoint = &subscription.spec.registry;
        if let Some((known, registry)) = &self.registry
            && known == endpoint
        {
            return Some(registry.clone());
        }
        let scheme = match endpoint.scheme {
            RegistryScheme::Http => Scheme::Http,
            RegistryScheme::Https => Scheme::Https,
        };
        let options = Options {
            attempts: 2,
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(20),
            ..Options::default()
        };
        match Registry::with_options(endpoint.address.clone(), scheme, options) {
            Ok(registry) => {
                self.registry = Some((endpoint.clone(), registry.clone()));
                Some(registry)
            }
            Err(error) => {
                tracing::warn!(
                    subscription = self.name,
                    error = chain(&error),
                    "the registry cannot be asked"
                );
                None
            }
        }
    }

    async fn refuse_subscription(
        &mut self,
        mut subscription: Subscription,
        message: String,
    ) -> Result<Turn, Trouble> {
        let summary = Summary::bad_subscription(message);
        self.put_status(&mut subscription, summary).await?;
        Ok(Turn::Wait(self.options.resync))
    }

    /// Writes the status if it says something else than before.
    pub(crate) async fn publish(&mut self, table: &mut Table) -> Result<(), Trouble> {
        let work = self.work.as_ref();
        let summary = Summary::of(table, work, self.trouble.as_deref());
        let mut subscription = table.subscription.clone();
        self.put_status(&mut subscription, summary).await?;
        table.subscription = subscription;
        Ok(())
    }

    async fn put_status(&mut self, subscription: &mut Subscription, summary: Summary) -> Result<(), Trouble> {
        let before = subscription.status.clone().unwrap_or_default();
        let status = describe_status(&before, subscription, summary, self.clock.now());
        if status != before {
            subscription.status = Some(status);
            *subscription = self.cluster.replace_subscription_status(subscription).await?;
        }
        Ok(())
    }

    /// One event for each new decision about what is to run.
    async fn tell_target(&mut self, table: &Table) {
        let (kind, note) = match &table.target {
            Target::Pinned { seen, .. } => {
                let pin = table.subscription.spec.pin.as_ref();
                let why = pin.map_or_else(String::new, |pin| format!(" by {}: {}", pin.by, pin.reason));
                let seen = seen.map_or_else(String::new, |seen| format!("; the channel names {seen}"));
                (EventKind::Normal, format!("pinned{why}{seen}"))
            }
            Target::Held { .. } => (EventKind::Normal, "held: nothing new is taken".to_owned()),
            Target::Denied { release, reason } => {
                (EventKind::Warning, format!("release {release} failed here before: {reason}"))
            }
            Target::Refused { reason, .. } => (EventKind::Warning, reason.clone()),
            Target::Nothing | Target::Keep { .. } | Target::RollOut { .. } => {
                self.told_target = None;
                return;
            }
        };
        if self.told_target.as_ref() != Some(&note) {
            self.events.publish(&table.subscription.object_ref(&()), kind, table.target.name(), &note).await;
            self.told_target = Some(note);
        }
    }

    /// Events about a new state of a rollout: on the subscription and on the release.
    pub(crate) async fn tell(&self, table: &Table, state: &RolloutState) {
        let release = table.journals.release(state.release);
        let version = release.and_then(|release| release.status.as_ref()?.version.as_ref());
        let name = release_title(version, &state.release);
        let (_, message) = told(state);
        let kind = if message.is_some() { EventKind::Warning } else { EventKind::Normal };
        let message = message.map_or_else(String::new, |message| format!(": {message}"));
        let note = format!("release {name}, attempt {}{message}", state.attempt);
        tracing::info!(subscription = self.name, phase = state.phase_name(), note, "rollout");
        self.events.publish(&table.subscription.object_ref(&()), kind, state.phase_name(), &note).await;
        if let Some(release) = release {
            self.events.publish(&release.object_ref(&()), kind, state.phase_name(), &note).await;
        }
    }
}

/// Why a subscription does not say where its release is to run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    /// The namespace has no name.
    #[error("spec.namespace")]
    Namespace { source: TextError },
    /// The subscription has no name that objects could bear.
    #[error("the name of the subscription")]
    Name { source: TextError },
}

/// What is bound into the objects of a release that runs in this place.
pub(crate) fn binding_of(subscription: &str, place: &ReleasePlace) -> Result<Binding, PlaceError> {
    let namespace: NamespaceName =
        place.namespace.parse().map_err(|source| PlaceError::Namespace { source })?;
    let name: SubscriptionName = subscription.parse().map_err(|source| PlaceError::Name { source })?;
    let registry = RegistryMap { registry: place.registry.clone(), prefix: place.prefix.clone() };
    Ok(Binding { registry, namespace, subscription: name })
}

fn prune_word(subscription: &Subscription, home: &str, release: &Digest) -> PruneWord {
    let word = subscription.spec.confirmed_prune.as_ref();
    PruneWord {
        given: word.is_some_and(|word| word.digest == *release),
        command: advice::confirm_prune(home, &subscription.name_any(), release),
    }
}

/// What the subscription should run, by what was read and written so far.
pub(crate) fn target_of(
    subscription: &Subscription,
    journals: &Journals,
    view: &ChannelView,
    now: Timestamp,
) -> Target {
    let spec = &subscription.spec;
    let denied: BTreeMap<Digest, String> = subscription
        .status
        .iter()
        .flat_map(|status| status.denied_now(spec))
        .map(|denied| (denied.digest, format!("{}: {}", denied.reason, denied.message)))
        .collect();
    decide_target(
        &Circumstances {
            pin: spec.pin.as_ref().map(|pin| pin.digest),
            hold: spec.hold.is_some(),
            channel: &view.channel,
            denied: &denied,
            kept: journals.kept().map(|state| state.release),
            rollout: journals.latest(),
        },
        now,
    )
}

/// The journal to go on with: an unfinished rollout first, so that it ends as it should; then the wanted one; then the
/// kept one.
fn chosen(table: &Table, now: Timestamp) -> Option<RolloutState> {
    let latest = table.journals.latest();
    if let Some(latest) = latest.filter(|latest| latest.phase.outcome().is_none()) {
        return Some(latest.clone());
    }
    let kept = table.journals.kept();
    match &table.target {
        Target::RollOut { release } => {
            // The release may have been tried before another one was: its own attempts count on.
            let own = table.journals.of(*release);
            Some(rollout_for(*release, kept.map(|kept| kept.release), own, now))
        }
        _ => kept.cloned(),
    }
}

/// Releases that must not be forgotten.
pub(crate) fn remembered(table: &Table) -> BTreeSet<Digest> {
    let mut keep: BTreeSet<Digest> = table.journals.kept().map(|state| state.release).into_iter().collect();
    keep.extend(table.journals.latest().map(|state| state.release));
    keep.extend(table.journals.latest().and_then(|state| state.previous));
    keep.extend(table.subscription.spec.pin.as_ref().map(|pin| pin.digest));
    keep.extend(
        table.subscription.status.iter().flat_map(|status| &status.denied).map(|denied| denied.digest),
    );
    keep
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_logged_when_it_comes() {
        let mut logged = Logged::default();
        let mut turn = |texts: &[&str]| {
            let new: Vec<_> = texts.iter().map(|text| logged.is_new(text)).collect();
            logged.end_turn();
            new
        };
        assert_eq!(turn(&["a", "b", "a"]), [true, true, false]);
        assert_eq!(turn(&["b", "a"]), [false, false], "each turn meets them again");
        assert_eq!(turn(&["a"]), [false]);
        assert_eq!(turn(&["a", "b"]), [false, true], "it was gone");
        assert!(turn(&[]).is_empty());
        assert_eq!(turn(&["a"]), [true]);
    }

    #[test]
    fn only_missing_rights_in_the_namespace_are_given() {
        let rights = Rights {
            namespace: "shop".to_owned(),
            role: "bundle-daemon-target".to_owned(),
            grant: "bundle subscribe".to_owned(),
        };
        let denied = |namespace: &str| {
            format!(
                "cannot list objects of kind Pod: pods is forbidden: User \"system:serviceaccount:bundle-system:bundle-daemon\" \
                 cannot list resource \"pods\" in API group \"\" in the namespace \"{namespace}\""
            )
        };
        let expected = "; if RoleBinding shop/bundle-daemon-target is missing: bundle subscribe";
        assert_eq!(rights.advice(&denied("shop")).as_deref(), Some(expected));
        assert_eq!(rights.advice(&denied("bundle-system")), None);
        let quota =
            "cannot create pod: pods \"a\" is forbidden: exceeded quota: pods, used: pods=1, limited: pods=1";
        assert_eq!(rights.advice(quota), None);
    }
}
