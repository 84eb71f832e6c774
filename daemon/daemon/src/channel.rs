//! Following a channel: trust root, records, and the floor that may never fall.
//!
//! What was accepted is kept in the cluster with its signatures, so a daemon that starts while the registry is silent
//! knows what is wanted, and judges it again by its own clock.

use std::collections::BTreeMap;

use bundles_trust::{
    Action, Channel as ChannelId, Decision, Reason, RecordLink, SignedRecord, SignedRoot, TrustFloor,
    TrustRoot, TrustedRoot, decide, standing,
};
use daemon_cluster::{AcceptedRecord, Cluster, StoredFloor, Subscription, release_title};
use daemon_plan::target::Channel;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, ResourceExt};
use registry_client::{ManifestChange, Registry};
use registry_wire::{Digest, MediaType, Reference, RepositoryName, StoredManifest};

use crate::{
    advice,
    error::{Trouble, chain},
    links::read_links,
};

const FLOOR: &str = "floor.json";
const ROOT: &str = "root.json";
const RECORD: &str = "record.json";
const SEEN: &str = "seen-at";
/// Most steps of the trust root in one look.
const MOST_ROOTS: u64 = 64;

/// What is known of the channel.
#[derive(Debug, Clone)]
pub(crate) struct ChannelView {
    /// For the planner.
    pub(crate) channel: Channel,
    /// The newest accepted record, for the status.
    pub(crate) accepted: Option<AcceptedRecord>,
    /// Why the newest record or root is not taken, or the registry not asked; with one word for conditions.
    pub(crate) trouble: Option<(&'static str, String)>,
}

/// Follows the channel of one subscription.
pub(crate) struct ChannelFollower {
    memory: Option<Memory>,
    tag: Option<Digest>,
    refused: Option<(&'static str, String)>,
}

struct Memory {
    source: (String, Digest),
    stored: StoredFloor,
    floor: TrustFloor,
    root: TrustedRoot,
    root_text: String,
    record: Option<SignedRecord>,
    record_text: Option<String>,
    seen_at: Option<Timestamp>,
    /// The records after the accepted one, as far as they were read: a way that was cut off goes on from here.
    links: Vec<RecordLink>,
}

/// A fault that a person has to mend.
struct Fault(&'static str, String);

impl ChannelFollower {
    pub(crate) const fn new() -> Self {
        Self { memory: None, tag: None, refused: None }
    }

    /// The signed root that is trusted now; none before the first look.
    pub(crate) fn root(&self) -> Option<&TrustedRoot> {
        self.memory.as_ref().map(|memory| &memory.root)
    }

    /// The channel that is followed; none before the first look.
    pub(crate) fn channel(&self) -> Option<&ChannelId> {
        self.memory.as_ref().map(|memory| &memory.floor.channel)
    }

    /// The accepted record.
    pub(crate) fn record(&self) -> Option<&SignedRecord> {
        self.memory.as_ref()?.record.as_ref()
    }

    /// Looks at the channel: at the registry if `ask`, else only by the clock at what was accepted.
    pub(crate) async fn look(
        &mut self,
        cluster: &Cluster,
        subscription: &Subscription,
        registry: Option<&Registry>,
        now: Timestamp,
    ) -> Result<ChannelView, Trouble> {
        let id = (subscription.spec.channel.clone(), subscription.spec.trust_root.digest);
        if self.memory.as_ref().is_none_or(|memory| memory.source != id) {
            self.memory = None;
            self.tag = None;
            match recall(cluster, subscription).await? {
                Ok(memory) => self.memory = Some(memory),
                Err(Fault(word, message)) => return Ok(refused(word, message)),
            }
        }
        let mut silent = None;
        if let (Some(registry), Some(memory)) = (registry, &mut self.memory) {
            let repository = &subscription.spec.repository;
            let asked = advance_root(memory, registry, repository).await;
            let asked = match asked {
                Ok(()) => ask(memory, &mut self.tag, registry, repository, subscription, now).await,
                Err(error) => Err(error),
            };
            match asked {
                Ok(fault) => self.refused = fault.map(|Fault(word, message)| (word, message)),
                Err(error) => silent = Some(("RegistrySilent", chain(&error))),
            }
            if let Err(error) = store(memory, cluster, subscription, now).await {
                // What is not stored must not be acted on: forget it and begin again.
                self.memory = None;
                self.tag = None;
                return Err(error);
            }
        }
        Ok(self.view(silent, now))
    }

    fn view(&self, silent: Option<(&'static str, String)>, now: Timestamp) -> ChannelView {
        let Some(memory) = &self.memory else {
            return ChannelView { channel: Channel::Unknown, accepted: None, trouble: silent };
        };
        let accepted = memory.record.as_ref().map(|record| {
            let document = record.document();
            AcceptedRecord {
                version: document.version,
                digest: record.digest(),
                release: document.release.digest,
                title: Some(release_title(Some(&document.release.version), &document.release.digest)),
                release_version: Some(document.release.version.clone()),
                seen_at: memory.seen_at.unwrap_or(now),
            }
        });
        let standing = memory.record.as_ref().map(|record| standing(record, &memory.root, now));
        let channel = match (&self.refused, &memory.record, standing) {
            // A newer record that is refused stops change; so does an accepted one that no longer holds.
            (Some((_, message)), _, _) => Channel::Refused { message: message.clone() },
            (None, Some(record), Some(Ok(()))) => {
                let release = record.document().release.digest;
                match record.document().action {
                    Action::Promote | Action::Rollback => Channel::Accepted { release },
                    Action::Hold => Channel::Held { release },
                }
            }
            (None, Some(_), Some(Err(reason))) => {
                let message = format!("{reason}; {}", reason.hint());
                let trouble = Some((reason.word(), message.clone()));
                return ChannelView { channel: Channel::Refused { message }, accepted, trouble };
            }
            (None, _, _) => Channel::Unknown,
        };
        ChannelView { channel, accepted, trouble: self.refused.clone().or(silent) }
    }
}

fn refused(word: &'static str, message: String) -> ChannelView {
    let channel = Channel::Refused { message: message.clone() };
    ChannelView { channel, accepted: None, trouble: Some((word, message)) }
}

/// What is known without the registry: the pinned root, the floor, and what was accepted.
async fn recall(cluster: &Cluster, subscription: &Subscription) -> Result<Result<Memory, Fault>, Trouble> {
    let name = subscription.name_any();
    let stored = cluster.read_floor(&name).await?;
    let text = match root_text(cluster, subscription).await? {
        Ok(text) => text,
        Err(fault) => return Ok(Err(fault)),
    };
    Ok(remember(subscription, cluster.home(), stored, text))
}

fn remember(
    subscription: &Subscription,
    home: &str,
    stored: StoredFloor,
    pinned_text: String,
) -> Result<Memory, Fault> {
    let spec = &subscription.spec;
    let broken = |message: String| Fault("BadTrustRoot", message);
    let channel: ChannelId = spec.channel.parse().map_err(|error| Fault("BadChannel", format!("{error}")))?;
    let pinned = parse_root(&pinned_text).map_err(broken)?;
    let mut root = TrustedRoot::pin(&pinned, spec.trust_root.digest)
        .map_err(|error| broken(format!("{error}; {}", error.hint())))?;
    let mut root_text = pinned_text;
    let mut floor = TrustFloor::new(channel.clone(), &root);
    let lost = |what: &str| {
        Fault(
            "BadTrustFloor",
            format!("the stored {what} of subscription {} cannot be read", subscription.name_any()),
        )
    };
    if let Some(text) = stored.texts.get(FLOOR) {
        floor = serde_json::from_str(text).map_err(|_| lost("trust floor"))?;
        if floor.channel != channel {
            return Err(Fault(
                "BadChannel",
                format!(
                    "the subscription followed {} before; a subscription stays with its channel, make another one",
                    floor.channel
                ),
            ));
        }
        floor = floor.with_pinned(&root).map_err(|reason| {
            let reset = advice::forget_floor(home, &subscription.name_any());
            let message = format!(
                "spec.trustRoot: {reason}, and the pinned one did not lead there; {}, or, to begin anew under the \
                 pinned one and forget which records were accepted: {reset}",
                reason.hint()
            );
            Fault(reason.word(), message)
        })?;
    }
    if floor.root.version > root.mark().version {
        let text = stored.texts.get(ROOT).ok_or_else(|| lost("trust root"))?;
        let signed = parse_root(text).map_err(|_| lost("trust root"))?;
        // The digest was stored when the root was reached step by step from a pinned one.
        root = TrustedRoot::pin(&signed, floor.root.digest).map_err(|_| lost("trust root"))?;
        root_text.clone_from(text);
    }
    let record_text = stored.texts.get(RECORD).cloned();
    let record = match &record_text {
        Some(text) => Some(parse_record(text).map_err(|_| lost("record"))?),
        None => None,
    };
    if record.as_ref().map(SignedRecord::digest) != floor.record.as_ref().map(|last| last.digest) {
        return Err(lost("record"));
    }
    let seen_at = stored.texts.get(SEEN).and_then(|text| text.parse().ok());
    let source = (spec.channel.clone(), spec.trust_root.digest);
    Ok(Memory { source, stored, floor, root, root_text, record, record_text, seen_at, links: Vec::new() })
}

/// The text of the pinned root, from the subscription or a `ConfigMap` beside it.
async fn root_text(cluster: &Cluster, subscription: &Subscription) -> Result<Result<String, Fault>, Trouble> {
    let source = &subscription.spec.trust_root;
    if let Some(text) = &source.inline {
        return Ok(Ok(text.clone()));
    }
    let Some(place) = &source.config_map else {
        let message = "spec.trustRoot has neither inline nor configMap".to_owned();
        return Ok(Err(Fault("NoTrustRoot", message)));
    };
    let api: Api<ConfigMap> = Api::namespaced(cluster.client().clone(), cluster.home());
    let map = api.get_opt(&place.name).await.map_err(|source| daemon_cluster::ClusterError::Request {
        verb: daemon_cluster::Verb::Get,
        object: format!("ConfigMap {}/{}", cluster.home(), place.name),
        source: Box::new(source),
    })?;
    let text = map.and_then(|map| map.data).and_then(|mut data| data.remove(&place.key));
    Ok(text.ok_or_else(|| {
        let (home, name, key) = (cluster.home(), &place.name, &place.key);
        let message = format!(
            "ConfigMap {home}/{name} has no key {key}: kubectl -n {home} create configmap {name} --from-file={key}=FILE"
        );
        Fault("NoTrustRoot", message)
    }))
}

fn manifest(text: &str) -> Result<StoredManifest, String> {
    StoredManifest::parse(MediaType::IMAGE_MANIFEST, text.as_bytes().to_vec()).map_err(|error| chain(&error))
}

fn parse_root(text: &str) -> Result<SignedRoot, String> {
    SignedRoot::parse(&manifest(text)?).map_err(|error| chain(&error))
}

fn parse_record(text: &str) -> Result<SignedRecord, String> {
    SignedRecord::parse(&manifest(text)?).map_err(|error| chain(&error))
}

/// The text of a manifest that was received. Signed documents are JSON, so they are text.
fn text_of(manifest: &StoredManifest) -> String {
    String::from_utf8_lossy(manifest.bytes()).into_owned()
}

/// Goes to the newest root, step by step. A step that is not signed as it must be ends the way; records that need more
/// say so.
async fn advance_root(
    memory: &mut Memory,
    registry: &Registry,
    repository: &RepositoryName,
) -> Result<(), registry_client::ClientError> {
    for _ in 0..MOST_ROOTS {
        let next = memory.root.root().version() + 1;
        let tag = TrustRoot::tag(&memory.floor.channel.product, next);
        let Some(found) = registry.get_manifest(repository, &Reference::Tag(tag)).await? else {
            return Ok(());
        };
        let step = SignedRoot::parse(&found)
            .map_err(|error| chain(&error))
            .and_then(|signed| memory.root.advance(&signed).map_err(|error| error.to_string()));
        match step {
            Ok(root) => {
                memory.floor = memory.floor.clone().with_root(&root);
                memory.root = root;
                memory.root_text = text_of(&found);
            }
            Err(reason) => {
                tracing::warn!(version = next, reason, "a trust root is refused");
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Asks the registry for the newest record and decides on it. The fault says why it is not taken.
async fn ask(
    memory: &mut Memory,
    tag: &mut Option<Digest>,
    registry: &Registry,
    repository: &RepositoryName,
    subscription: &Subscription,
    now: Timestamp,
) -> Result<Option<Fault>, registry_client::ClientError> {
    let moving = memory.floor.channel.tag();
    let change = match tag {
        // A refused record is looked at again each time: what it waits for may have come.
        Some(known) if memory.record.as_ref().is_some_and(|record| record.manifest().digest() == *known) => {
            registry.get_manifest_if_changed(repository, &moving, known).await?
        }
        _ => match registry.get_manifest(repository, &Reference::Tag(moving.clone())).await? {
            Some(found) => ManifestChange::Changed(found),
            None => ManifestChange::Absent,
        },
    };
    let found = match change {
        ManifestChange::Unchanged => return Ok(None),
        ManifestChange::Absent if memory.record.is_none() => {
            let message = format!("the registry has no tag {moving} in {repository}: bundle promote");
            return Ok(Some(Fault("NoRecord", message)));
        }
        ManifestChange::Absent => {
            let message = format!("the tag {moving} is gone from {repository}; what was accepted stays");
            return Ok(Some(Fault("NoRecord", message)));
        }
        ManifestChange::Changed(found) => found,
    };
    let fault = |word, message| Ok(Some(Fault(word, message)));
    let record = match SignedRecord::parse(&found) {
        Ok(record) => record,
        Err(error) => return fault("BadRecord", chain(&error)),
    };
    let document = record.document();
    if document.environment != subscription.spec.environment {
        let message = format!(
            "record {} is for environment {}, the subscription for {}",
            document.version, document.environment, subscription.spec.environment
        );
        return fault("WrongEnvironment", message);
    }
    let between =
        match read_links(&mut memory.links, &record, &memory.root, &memory.floor, registry, repository)
            .await?
        {
            Ok(between) => between,
            Err(error) => return fault("BadRecord", chain(&error)),
        };
    match decide(&record, between, &memory.root, &memory.floor, now) {
        Decision::Accept(floor) => {
            memory.floor = floor;
            memory.links.clear();
            memory.record_text = Some(text_of(&found));
            memory.record = Some(record);
            memory.seen_at = Some(now);
            *tag = Some(found.digest());
            Ok(None)
        }
        Decision::Unchanged => {
            // The same statement may have gathered more signatures.
            memory.record_text = Some(text_of(&found));
            memory.record = Some(record);
            *tag = Some(found.digest());
            Ok(None)
        }
        Decision::Weaker(reason) => {
            tracing::warn!(record = document.version, %reason, "the tag names the accepted record in a form that does not stand; the stored one stays");
            Ok(None)
        }
        Decision::Refuse(reason) => {
            if matches!(reason, Reason::Gap { .. } | Reason::BrokenChain { .. }) {
                // What was read is not what it should be, and may be mended.
                memory.links.clear();
            }
            fault(reason.word(), format!("{reason}; {}", reason.hint()))
        }
    }
}

/// Stores what must not be forgotten, if it changed.
async fn store(
    memory: &mut Memory,
    cluster: &Cluster,
    subscription: &Subscription,
    now: Timestamp,
) -> Result<(), Trouble> {
    let floor = serde_json::to_string(&memory.floor).unwrap_or_default();
    let mut texts = BTreeMap::from([(FLOOR.to_owned(), floor), (ROOT.to_owned(), memory.root_text.clone())]);
    if let Some(text) = &memory.record_text {
        texts.insert(RECORD.to_owned(), text.clone());
        texts.insert(SEEN.to_owned(), memory.seen_at.unwrap_or(now).to_string());
    }
    if texts != memory.stored.texts {
        memory.stored = cluster.write_floor(&subscription.name_any(), &memory.stored, texts).await?;
    }
    Ok(())
}
