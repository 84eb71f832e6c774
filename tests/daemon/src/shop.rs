//! A shop that makes, signs and promotes releases, as the command line does.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use bundles_release::{
    AssembledRelease, EnvironmentParts, PartObjects, Release, ReleaseImage, ReleaseParts,
    names::SIGNATURE_PREDICATE,
};
use bundles_trust::{
    Action, Channel, ChannelRecord, Owner, Payload, PrivateKey, ReleaseMark, Revoked, Role, RoleKeys,
    RootMark, Signed, SignedRecord, SignedRoot, SystemRandomness, TrustRoot, TrustRootParts, TrustedKey,
    referrer, sign_release,
};
use jiff::{SignedDuration, Timestamp};
use registry_client::{BlobSource, Registry};
use registry_wire::{Digest, MediaType, Platform, Reference, RepositoryName, Tag};
use serde_json::{Value, json};

/// The channel of the shop unless another is named.
pub const CHANNEL: &str = "shop/dev";

/// One part of a release.
#[derive(Debug, Clone)]
pub struct Part {
    /// Its name, which is also that of its image.
    pub name: String,
    /// Digest and size of its image.
    pub image: (Digest, u64),
    /// How it is rolled out.
    pub policy: Value,
    /// Its objects.
    pub objects: Vec<Value>,
}

/// A shop with its keys.
pub struct Shop {
    registry: Registry,
    repository: RepositoryName,
    keys: Vec<PrivateKey>,
    root: SignedRoot,
    channel: Channel,
    version: u64,
    previous: Option<Digest>,
}

impl Shop {
    /// A shop with a new key that may sign everything.
    pub fn new(registry: Registry) -> Result<Self> {
        Self::of_owners(registry, CHANNEL, &["alice"])
    }

    /// The same on a channel of its own.
    pub fn on_channel(registry: Registry, channel: &str) -> Result<Self> {
        Self::of_owners(registry, channel, &["alice"])
    }

    /// A shop of these owners with a key each: its channel moves only when all of them sign, a release needs any one.
    pub fn of_owners(registry: Registry, channel: &str, owners: &[&str]) -> Result<Self> {
        ensure!(!owners.is_empty(), "a shop has an owner");
        let channel: Channel = channel.parse()?;
        let mut keys = Vec::new();
        let mut trusted = Vec::new();
        for owner in owners {
            let key = PrivateKey::generate(&mut SystemRandomness)?;
            let owner: Owner = owner.parse()?;
            trusted.push(TrustedKey { owner, key: key.public().clone(), not_after: None });
            keys.push(key);
        }
        let hints: BTreeSet<_> = keys.iter().map(|key| key.public().hint()).collect();
        let all = RoleKeys { threshold: u32::try_from(keys.len())?, keys: hints.clone() };
        let any = RoleKeys { threshold: 1, keys: hints };
        let root = TrustRoot::new(TrustRootParts {
            product: "shop".parse()?,
            version: 1,
            expires: Timestamp::now() + SignedDuration::from_hours(24),
            development: false,
            keys: trusted,
            roles: [(Role::Root, all.clone()), (Role::Release, any), (Role::Channel(channel.clone()), all)]
                .into(),
            revoked: Revoked::default(),
        })?;
        let payload = Payload::new(&root)?;
        let bundles = keys.iter().map(|key| payload.sign(key)).collect();
        let root = Signed::new(payload, bundles)?;
        Ok(Self { registry, repository: "shop".parse()?, keys, root, channel, version: 0, previous: None })
    }

    /// The keys of the owners.
    pub fn keys(&self) -> &[PrivateKey] {
        &self.keys
    }

    /// The channel.
    pub const fn channel(&self) -> &Channel {
        &self.channel
    }

    /// The repository of releases.
    pub const fn repository(&self) -> &RepositoryName {
        &self.repository
    }

    /// The registry.
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Digest and text of the trust root.
    pub fn root(&self) -> (Digest, String) {
        (self.root.digest(), String::from_utf8_lossy(self.root.manifest().bytes()).into_owned())
    }

    /// Makes a release and pushes it; signs it too unless told otherwise.
    pub async fn release(&self, version: &str, parts: Vec<Part>, sign: bool) -> Result<Release> {
        self.release_of("shop", version, parts, sign).await
    }

    /// The same of another product, which the owners of the shop make as well.
    pub async fn release_of(
        &self,
        product: &str,
        version: &str,
        parts: Vec<Part>,
        sign: bool,
    ) -> Result<Release> {
        let images = parts
            .iter()
            .map(|part| {
                let platform =
                    Platform { architecture: "amd64".to_owned(), os: "linux".to_owned(), variant: None };
                Ok(ReleaseImage {
                    name: part.name.parse()?,
                    media_type: MediaType::IMAGE_MANIFEST,
                    digest: part.image.0,
                    size: part.image.1,
                    platforms: vec![(platform, part.image.0)],
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let objects = parts
            .into_iter()
            .map(|part| {
                Ok(PartObjects { part: part.name.parse()?, policy: part.policy, objects: part.objects })
            })
            .collect::<Result<Vec<_>>>()?;
        let AssembledRelease { release, blobs } = Release::assemble(ReleaseParts {
            product: product.parse()?,
            version: version.parse()?,
            images,
            requires: serde_json::from_value(json!({ "daemon": ">=0.1", "kubernetes": ">=1.29" }))?,
            environments: vec![EnvironmentParts { name: "test".parse()?, parts: objects }],
            lock: b"lock".to_vec(),
            sbom: b"{}".to_vec(),
        })?;
        for (descriptor, bytes) in blobs {
            let source = BlobSource::from(bytes);
            self.registry.put_blob(&self.repository, descriptor.digest, descriptor.size, &source).await?;
        }
        let manifest = release.manifest();
        self.registry.put_manifest(&self.repository, &Reference::Tag(release.tag()), manifest).await?;
        if sign {
            let bundle = sign_release(&self.keys[0], release.digest());
            let (manifest, blobs) = referrer(&manifest.descriptor(), &bundle, SIGNATURE_PREDICATE);
            for (descriptor, bytes) in blobs {
                let source = BlobSource::from(bytes);
                self.registry.put_blob(&self.repository, descriptor.digest, descriptor.size, &source).await?;
            }
            self.registry.attach_referrer(&self.repository, &manifest).await?;
        }
        Ok(release)
    }

    /// Promotes a release: the next record of the channel names it, signed by all owners.
    pub async fn promote(&mut self, release: &Release, action: Action) -> Result<SignedRecord> {
        let record = self.next_record(release, action)?;
        let keys: Vec<&PrivateKey> = self.keys.iter().collect();
        let signed = sign(&record, &keys)?;
        self.version += 1;
        self.previous = Some(signed.digest());
        self.put(&signed, [self.channel.version_tag(self.version), self.channel.tag()]).await?;
        Ok(signed)
    }

    /// The record that would be the next of the channel.
    pub fn next_record(&self, release: &Release, action: Action) -> Result<ChannelRecord> {
        let now = Timestamp::now();
        let mark = RootMark { version: 1, digest: self.root.digest() };
        Ok(ChannelRecord {
            channel: self.channel.clone(),
            version: self.version + 1,
            previous: self.previous,
            action,
            release: ReleaseMark {
                version: release.version().clone(),
                digest: release.digest(),
                size: release.manifest().bytes().len() as u64,
            },
            environment: "test".parse()?,
            root: mark,
            evidence: Vec::new(),
            proposed_by: "alice".parse()?,
            proposed_at: now,
            not_before: now - SignedDuration::from_mins(1),
            apply_by: now + SignedDuration::from_hours(1),
            expires: now + SignedDuration::from_hours(12),
            reason: "test".to_owned(),
        })
    }

    /// Puts a record under tags, whoever signed it.
    pub async fn put(&self, signed: &SignedRecord, tags: impl IntoIterator<Item = Tag>) -> Result<()> {
        let manifest = signed.manifest();
        // The signatures stand in the manifest; registries ask for them as blobs all the same.
        let bundles = signed.bundles().iter().map(|bundle| bundle.bytes().to_vec());
        for bytes in bundles.chain([b"{}".to_vec()]) {
            let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
            self.registry.put_blob(&self.repository, digest, size, &BlobSource::from(bytes)).await?;
        }
        for tag in tags {
            self.registry
                .put_manifest(&self.repository, &Reference::Tag(tag), &manifest)
                .await
                .context("cannot push a record")?;
        }
        Ok(())
    }
}

/// Signs a record with these keys.
pub fn sign(record: &ChannelRecord, keys: &[&PrivateKey]) -> Result<SignedRecord> {
    let payload = Payload::new(record)?;
    let bundles = keys.iter().map(|key| payload.sign(key)).collect();
    Ok(Signed::new(payload, bundles)?)
}

/// Labels that every object of a service has.
pub fn labels(service: &str) -> Value {
    json!({ "app.kubernetes.io/name": service, "bundle.build/service": service })
}

/// A policy with short times.
pub fn policy(kind: &str, stage: &str, deadline: u32, needs: &[&str]) -> Value {
    json!({
        "kind": kind,
        "stage": stage,
        "needs": needs,
        "deadlineSeconds": deadline,
        "soakSeconds": 1,
        "leastReplicas": 1,
        "zeroDowntime": false,
    })
}

/// The image of a part as objects name it.
pub fn placeholder(name: &str, image: (Digest, u64)) -> String {
    format!("bundle.invalid/{name}@{}", image.0)
}

/// Container fields that every container of the tests has.
pub fn container(name: &str, image: (Digest, u64), more: &[(&str, Value)]) -> Value {
    let mut container: BTreeMap<&str, Value> = BTreeMap::from([
        ("name", json!(name)),
        ("image", json!(placeholder(name, image))),
        ("resources", json!({ "requests": { "cpu": "10m", "memory": "16Mi" } })),
        (
            "securityContext",
            json!({ "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                    "capabilities": { "drop": ["ALL"] } }),
        ),
    ]);
    container.extend(more.iter().map(|(key, value)| (*key, value.clone())));
    json!(container)
}

/// The part `api`.
pub fn api(image: (Digest, u64), mark: &str, more: &[(&str, Value)], deadline: u32) -> Part {
    stateless("api", image, mark, more, deadline)
}

/// A part without data: a Deployment and a Service.
pub fn stateless(
    name: &str,
    image: (Digest, u64),
    mark: &str,
    more: &[(&str, Value)],
    deadline: u32,
) -> Part {
    let labels = labels(name);
    let mut fields = vec![("env", json!([{ "name": "MARK", "value": mark }]))];
    fields.extend(more.iter().cloned());
    Part {
        name: name.to_owned(),
        image,
        policy: policy("deployment", "stateless", deadline, &[]),
        objects: vec![
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": { "name": name, "labels": labels },
                "spec": { "selector": { "app.kubernetes.io/name": name },
                          "ports": [{ "name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP" }] },
            }),
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": { "name": name, "labels": labels },
                "spec": {
                    "replicas": 1,
                    "selector": { "matchLabels": { "app.kubernetes.io/name": name } },
                    "template": {
                        "metadata": { "labels": labels },
                        "spec": {
                            "securityContext": { "runAsNonRoot": true, "runAsUser": 65532 },
                            "terminationGracePeriodSeconds": 1,
                            "containers": [container(name, image, &fields)],
                        },
                    },
                },
            }),
        ],
    }
}

/// The part `cache`: Redis as a `StatefulSet` with a volume, and its Service.
pub fn cache(image: (Digest, u64)) -> Part {
    let labels = labels("cache");
    let fields = [
        ("args", json!(["--dir", "/data", "--save", "", "--bind", "0.0.0.0", "--protected-mode", "no"])),
        ("ports", json!([{ "name": "redis", "containerPort": 6379, "protocol": "TCP" }])),
        ("readinessProbe", json!({ "tcpSocket": { "port": 6379 }, "periodSeconds": 1 })),
        ("volumeMounts", json!([{ "name": "data", "mountPath": "/data" }])),
    ];
    let mut policy = policy("statefulset", "stateful", 60, &[]);
    policy["backup"] = json!({ "kind": "redis-rdb", "port": 6379 });
    Part {
        name: "cache".to_owned(),
        image,
        policy,
        objects: vec![
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": { "name": "cache", "labels": labels },
                "spec": { "selector": { "app.kubernetes.io/name": "cache" },
                          "ports": [{ "name": "redis", "port": 6379, "targetPort": 6379, "protocol": "TCP" }] },
            }),
            json!({
                "apiVersion": "apps/v1", "kind": "StatefulSet",
                "metadata": { "name": "cache", "labels": labels },
                "spec": {
                    "replicas": 1,
                    "serviceName": "cache",
                    "selector": { "matchLabels": { "app.kubernetes.io/name": "cache" } },
                    "template": {
                        "metadata": { "labels": labels },
                        "spec": {
                            "securityContext": { "runAsNonRoot": true, "runAsUser": 65532, "fsGroup": 65532 },
                            "terminationGracePeriodSeconds": 1,
                            "containers": [container("cache", image, &fields)],
                        },
                    },
                    "volumeClaimTemplates": [{
                        "apiVersion": "v1",
                        "kind": "PersistentVolumeClaim",
                        "metadata": { "name": "data" },
                        "spec": { "accessModes": ["ReadWriteOnce"], "storageClassName": "local",
                                  "resources": { "requests": { "storage": "10Mi" } } },
                    }],
                },
            }),
        ],
    }
}
