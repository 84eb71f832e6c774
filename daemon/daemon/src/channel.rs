//! Following a channel: trust root, records, and the floor that may never fall.
//!
//! What was accepted is kept in the cluster with its signatures, so a daemon that starts while the registry is silent
//! knows what is wanted, and judges it again by its own clock.

use std::{collections::BTreeMap, sync::Arc};

use bundles_trust::{
    Action, Channel as ChannelId, Decision, Reason, RecordLink, SignedRecord, TrustFloor, TrustRoot,
    TrustedRoot, decide, standing,
};
use daemon_cluster::{AcceptedRecord, Cluster, ClusterError, StoredFloor, Subscription, Verb, release_title};
use daemon_plan::target::Channel;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, ResourceExt};
use registry_client::{ClientError, ManifestChange, Registry};
use registry_wire::{Digest, Reference, RepositoryName, StoredManifest};

use crate::{
    advice,
    error::{Trouble, chain},
    fault::{Fault, Stored, TextError},
    links::read_links,
    roots::{self, RootWay},
};

const FLOOR: &str = "floor.json";
const RECORD: &str = "record.json";
const SEEN: &str = "seen-at";
/// Most steps of the trust root in one look.
const MOST_ROOTS: u64 = 64;
/// What a `ConfigMap` holds, with room for what the API server adds.
const MOST_STORED: usize = 900 * 1024;

/// What is known of the channel.
#[derive(Debug, Clone)]
pub(crate) struct ChannelView {
    /// For the planner.
    pub(crate) channel: Channel,
    /// The newest accepted record, for the status.
    pub(crate) accepted: Option<AcceptedRecord>,
    /// Why the newest record or root is not taken, or the registry not asked.
    pub(crate) trouble: Option<Arc<Fault>>,
}

/// Follows the channel of one subscription.
pub(crate) struct ChannelFollower {
    memory: Option<Memory>,
    tag: Option<Digest>,
    refused: Option<Arc<Fault>>,
}

struct Memory {
    source: (String, Digest),
    stored: StoredFloor,
    floor: TrustFloor,
    way: RootWay,
    record: Option<SignedRecord>,
    record_text: Option<String>,
    seen_at: Option<Timestamp>,
    /// The records after the accepted one, as far as they were read: a way that was cut off goes on from here.
    links: Vec<RecordLink>,
}

impl ChannelFollower {
    pub(crate) const fn new() -> Self {
        Self { memory: None, tag: None, refused: None }
    }

    /// The signed root that is trusted now; none before the first look.
    pub(crate) fn root(&self) -> Option<&TrustedRoot> {
        self.memory.as_ref().map(|memory| memory.way.trusted())
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
            match recall(cluster, subscription, registry).await? {
                Ok(memory) => self.memory = Some(memory),
                Err(fault) => return Ok(unfollowed(fault)),
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
                Ok(fault) => self.refused = fault.map(Arc::new),
                Err(source) => silent = Some(Arc::new(Fault::Silent { source })),
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

    fn view(&self, silent: Option<Arc<Fault>>, now: Timestamp) -> ChannelView {
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
        let standing = memory.record.as_ref().map(|record| standing(record, memory.way.trusted(), now));
        let channel = match (&self.refused, &memory.record, standing) {
            // A newer record that is refused stops change; so does an accepted one that no longer holds.
            (Some(fault), _, _) => Channel::Refused { message: chain(&**fault) },
            (None, Some(record), Some(Ok(()))) => {
                let release = record.document().release.digest;
                match record.document().action {
                    Action::Promote | Action::Rollback => Channel::Accepted { release },
                    Action::Hold => Channel::Held { release },
                }
            }
            (None, Some(_), Some(Err(reason))) => {
                return ChannelView { accepted, ..unfollowed(Fault::Refused { reason: Box::new(reason) }) };
            }
            (None, _, _) => Channel::Unknown,
        };
        ChannelView { channel, accepted, trouble: self.refused.clone().or(silent) }
    }
}

/// A channel that is not followed as things stand. Silence alone refuses nothing.
fn unfollowed(fault: Fault) -> ChannelView {
    let channel =
        if fault.is_silence() { Channel::Unknown } else { Channel::Refused { message: chain(&fault) } };
    ChannelView { channel, accepted: None, trouble: Some(Arc::new(fault)) }
}

/// What is known without the registry: the pinned root and the way from it, the floor, and what was accepted. The registry
/// is asked only for roots on that way that are not stored.
async fn recall(
    cluster: &Cluster,
    subscription: &Subscription,
    registry: Option<&Registry>,
) -> Result<Result<Memory, Fault>, Trouble> {
    let stored = cluster.read_floor(&subscription.name_any()).await?;
    let text = match root_text(cluster, subscription).await? {
        Ok(text) => text,
        Err(fault) => return Ok(Err(fault)),
    };
    let mut fetched = BTreeMap::new();
    loop {
        let memory = match remember(subscription, cluster.home(), &stored, &text, &fetched) {
            Ok(memory) => memory,
            Err(fault) => return Ok(Err(fault)),
        };
        if memory.way.trusted().mark() == memory.floor.root {
            return Ok(Ok(memory));
        }
        let version = memory.way.next();
        let Some(registry) = registry else { return Ok(Err(Fault::RootUnread { version })) };
        let repository = &subscription.spec.repository;
        let tag = TrustRoot::tag(&memory.floor.channel.product, version);
        match registry.get_manifest(repository, &Reference::Tag(tag.clone())).await {
            Ok(Some(found)) => fetched.insert(version, text_of(&found)),
            Ok(None) => {
                return Ok(Err(Fault::RootMissing { version, tag, repository: repository.clone() }));
            }
            Err(error) => {
                tracing::warn!(version, error = chain(&error), "a trust root cannot be fetched");
                return Ok(Err(Fault::RootUnread { version }));
            }
        };
    }
}

/// Puts the memory together from what was stored. Its way of roots may end before the root of its floor: then the next
/// version is neither stored nor fetched.
fn remember(
    subscription: &Subscription,
    home: &str,
    stored: &StoredFloor,
    pinned_text: &str,
    fetched: &BTreeMap<u64, String>,
) -> Result<Memory, Fault> {
    let spec = &subscription.spec;
    let channel: ChannelId = spec.channel.parse().map_err(|source| Fault::Channel { source })?;
    let mut way = RootWay::pin(pinned_text.to_owned(), spec.trust_root.digest)?;
    let mut floor = TrustFloor::new(channel.clone(), way.trusted());
    let reset = || advice::forget_floor(home, &subscription.name_any());
    let lost = |what| Fault::Lost { what, subscription: subscription.name_any(), reset: reset() };
    if let Some(text) = stored.texts.get(FLOOR) {
        floor = serde_json::from_str(text).map_err(|_| lost(Stored::Floor))?;
        if floor.channel != channel {
            return Err(Fault::OtherChannel { before: floor.channel });
        }
        floor = floor
            .with_pinned(way.trusted())
            .map_err(|reason| Fault::OtherTrustRoot { reason: Box::new(reason), reset: reset() })?;
    }
    way.go_to(&floor.root, &stored.texts, fetched).map_err(|step| Fault::StoredRoot {
        version: way.next().min(floor.root.version),
        subscription: subscription.name_any(),
        step: Box::new(step),
        reset: reset(),
    })?;
    let record_text = stored.texts.get(RECORD).cloned();
    let record = match &record_text {
        Some(text) => Some(parse_record(text).map_err(|_| lost(Stored::Record))?),
        None => None,
    };
    if record.as_ref().map(SignedRecord::digest) != floor.record.as_ref().map(|last| last.digest) {
        return Err(lost(Stored::Record));
    }
    let seen_at = stored.texts.get(SEEN).and_then(|text| text.parse().ok());
    let source = (spec.channel.clone(), spec.trust_root.digest);
    let stored = stored.clone();
    Ok(Memory { source, stored, floor, way, record, record_text, seen_at, links: Vec::new() })
}

/// The text of the pinned root, from the subscription or a `ConfigMap` beside it.
async fn root_text(cluster: &Cluster, subscription: &Subscription) -> Result<Result<String, Fault>, Trouble> {
    let source = &subscription.spec.trust_root;
    if let Some(text) = &source.inline {
        return Ok(Ok(text.clone()));
    }
    let Some(place) = &source.config_map else {
        return Ok(Err(Fault::NoTrustRoot));
    };
    let api: Api<ConfigMap> = Api::namespaced(cluster.client().clone(), cluster.home());
    let object = || format!("ConfigMap {}/{}", cluster.home(), place.name);
    let map = api
        .get_opt(&place.name)
        .await
        .map_err(|source| ClusterError::request(Verb::Get, object(), source))?;
    let text = map.and_then(|map| map.data).and_then(|mut data| data.remove(&place.key));
    Ok(text.ok_or_else(|| Fault::NoTrustRootKey {
        home: cluster.home().to_owned(),
        name: place.name.clone(),
        key: place.key.clone(),
    }))
}

fn parse_record(text: &str) -> Result<SignedRecord, TextError> {
    Ok(SignedRecord::parse(&roots::manifest(text)?)?)
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
) -> Result<(), ClientError> {
    for _ in 0..MOST_ROOTS {
        let next = memory.way.next();
        let tag = TrustRoot::tag(&memory.floor.channel.product, next);
        let Some(found) = registry.get_manifest(repository, &Reference::Tag(tag)).await? else {
            return Ok(());
        };
        if let Err(step) = memory.way.advance(text_of(&found)) {
            tracing::warn!(version = next, reason = chain(&step), "a trust root is refused");
            return Ok(());
        }
        memory.floor = memory.floor.clone().with_root(memory.way.trusted());
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
) -> Result<Option<Fault>, ClientError> {
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
            return Ok(Some(Fault::NoRecord { tag: moving, repository: repository.clone() }));
        }
        ManifestChange::Absent => {
            return Ok(Some(Fault::RecordGone { tag: moving, repository: repository.clone() }));
        }
        ManifestChange::Changed(found) => found,
    };
    let record = match SignedRecord::parse(&found) {
        Ok(record) => record,
        Err(source) => return Ok(Some(Fault::Record { source })),
    };
    let document = record.document();
    if document.environment != subscription.spec.environment {
        return Ok(Some(Fault::Environment {
            version: document.version,
            found: document.environment.clone(),
            expected: subscription.spec.environment.clone(),
        }));
    }
    let root = memory.way.trusted();
    let between =
        match read_links(&mut memory.links, &record, root, &memory.floor, registry, repository).await? {
            Ok(between) => between,
            Err(source) => return Ok(Some(Fault::Record { source })),
        };
    match decide(&record, between, root, &memory.floor, now) {
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
            Ok(Some(Fault::Refused { reason: Box::new(reason) }))
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
    let floor = serde_json::to_string(&memory.floor).map_err(|source| Trouble::Floor { source })?;
    let mut texts = BTreeMap::from([(FLOOR.to_owned(), floor)]);
    if let Some(text) = &memory.record_text {
        texts.insert(RECORD.to_owned(), text.clone());
        texts.insert(SEEN.to_owned(), memory.seen_at.unwrap_or(now).to_string());
    }
    memory.way.store(&mut texts, MOST_STORED);
    if texts != memory.stored.texts {
        memory.stored = cluster.write_floor(&subscription.name_any(), &memory.stored, texts).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bundles_trust::{
        Payload, PrivateKey, Revoked, Role, RoleKeys, Signed, SignedRoot, SystemRandomness, TrustRootParts,
        TrustedKey,
    };
    use serde_json::json;

    use super::*;

    /// Version `version` of the root of shop, which names `owner` and is signed by `signers`.
    fn root(version: u64, owner: &PrivateKey, signers: &[&PrivateKey]) -> SignedRoot {
        let all = RoleKeys { threshold: 1, keys: BTreeSet::from([owner.public().hint()]) };
        let root = TrustRoot::new(TrustRootParts {
            product: "shop".parse().unwrap(),
            version,
            expires: "2030-01-01T00:00:00Z".parse().unwrap(),
            development: false,
            keys: vec![TrustedKey {
                owner: "alice".parse().unwrap(),
                key: owner.public().clone(),
                not_after: None,
            }],
            roles: [
                (Role::Root, all.clone()),
                (Role::Release, all.clone()),
                (Role::Channel("shop/dev".parse().unwrap()), all),
            ]
            .into(),
            revoked: Revoked::default(),
        });
        let payload = Payload::new(&root.unwrap()).unwrap();
        let bundles = signers.iter().map(|key| payload.sign(key)).collect();
        Signed::new(payload, bundles).unwrap()
    }

    fn text(root: &SignedRoot) -> String {
        text_of(&root.manifest())
    }

    fn subscription(pinned: &SignedRoot) -> Subscription {
        let spec = serde_json::from_value(json!({
            "registry": { "address": "registry.example:5000" }, "repository": "shop", "channel": "shop/dev",
            "environment": "test", "namespace": "shop", "trustRoot": { "digest": pinned.digest() },
        }));
        Subscription::new("shop", spec.unwrap())
    }

    fn recalled(
        pinned: &SignedRoot,
        texts: &BTreeMap<String, String>,
        fetched: &[&SignedRoot],
    ) -> Result<Memory, Fault> {
        let mut stored = StoredFloor::default();
        stored.texts.clone_from(texts);
        let fetched = fetched.iter().map(|root| (root.document().version(), text(root))).collect();
        remember(&subscription(pinned), "bundle-system", &stored, &text(pinned), &fetched)
    }

    /// A floor whose root is `newest`, as somebody writes it who takes its digest on trust.
    fn floor_at(pinned: &SignedRoot, newest: &SignedRoot) -> BTreeMap<String, String> {
        let trusted = TrustedRoot::pin(pinned, pinned.digest()).unwrap();
        let mut floor = TrustFloor::new("shop/dev".parse().unwrap(), &trusted);
        floor.lineage.push(floor.root.digest);
        floor.root = TrustedRoot::pin(newest, newest.digest()).unwrap().mark();
        BTreeMap::from([
            (FLOOR.to_owned(), serde_json::to_string(&floor).unwrap()),
            ("root.json".to_owned(), text(newest)),
        ])
    }

    #[test]
    fn whoever_writes_the_floor_does_not_choose_whom_to_trust() {
        let [alice, bob, mallory] = [0; 3].map(|_| PrivateKey::generate(&mut SystemRandomness).unwrap());
        let first = root(1, &alice, &[&alice]);
        let second = root(2, &bob, &[&alice, &bob]);
        let third = root(3, &bob, &[&bob]);

        // The way is gone again from document to document.
        let mut way = RootWay::pin(text(&first), first.digest()).unwrap();
        way.advance(text(&second)).unwrap();
        way.advance(text(&third)).unwrap();
        let mut texts = floor_at(&first, &third);
        way.store(&mut texts, MOST_STORED);
        let names: Vec<&str> = texts.keys().map(String::as_str).collect();
        assert_eq!(names, [FLOOR, "root-2.json", "root.json"], "the pinned one stands in the subscription");
        let memory = recalled(&first, &texts, &[]).unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!(memory.way.trusted().mark().digest, third.digest());

        // A floor of old has only the newest; the registry has the ones between.
        let old = floor_at(&first, &third);
        let memory = recalled(&first, &old, &[]).unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!(memory.way.next(), 2, "this one has to be fetched");
        let memory = recalled(&first, &old, &[&second]).unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!(memory.way.trusted().mark(), memory.floor.root);
        // What does not fit is left out, and is fetched as well.
        let mut small = floor_at(&first, &third);
        way.store(&mut small, 1);
        assert_eq!(small, old);

        // A root that only its own keys have signed, a way that leaves a version out, and another root of the version.
        let own = root(2, &mallory, &[&mallory]);
        let leap = root(3, &mallory, &[&mallory]);
        let sibling = root(2, &alice, &[&alice]);
        let mut swapped = floor_at(&first, &second);
        swapped.insert("root.json".to_owned(), text(&sibling));
        for (texts, fetched) in [
            (floor_at(&first, &own), vec![]),
            (floor_at(&first, &leap), vec![&own]),
            (floor_at(&first, &leap), vec![&second]),
            (swapped, vec![]),
        ] {
            let Err(fault) = recalled(&first, &texts, &fetched) else { panic!("it is trusted") };
            assert_eq!(fault.word(), "BadTrustFloor");
            let told = fault.to_string();
            assert!(told.contains("does not follow from the pinned one"), "{told}");
            assert!(told.ends_with("kubectl -n bundle-system delete configmap trust-floor-shop"), "{told}");
        }
    }
}
