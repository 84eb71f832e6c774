//! A release made ready to run: which objects in which order, how long each service has, what is protected first.
//!
//! A plan is a pure function of the release, so it is not stored: whoever reads the release gets the same plan, and
//! the place in it that the journal names stays valid.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bundles_objects::BackupKind;
use bundles_release::names::SERVICE_LABEL;
use registry_wire::Digest;
use serde_json::Value;

use crate::{
    intent::intent_digest,
    key::{KeyError, ObjectKey},
    order::{OrderError, Place, Stage, levels},
    prune::Guard,
};

/// Time that a service has to become healthy when it says nothing itself.
pub const DEFAULT_DEADLINE: Duration = Duration::from_mins(2);
/// Time that health must hold when a service says nothing itself.
pub const DEFAULT_SOAK: Duration = Duration::from_secs(15);

/// What a service asks of its rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceRules {
    /// Services that must be healthy before this one is written.
    pub needs: BTreeSet<String>,
    /// Time to become healthy.
    pub deadline: Duration,
    /// Time that health must hold.
    pub soak: Duration,
    /// How its data is protected; none without data.
    pub backup: Option<BackupKind>,
}

impl Default for ServiceRules {
    fn default() -> Self {
        Self { needs: BTreeSet::new(), deadline: DEFAULT_DEADLINE, soak: DEFAULT_SOAK, backup: None }
    }
}

/// One object of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedObject {
    /// The object.
    pub key: ObjectKey,
    /// Digest of what it shall be.
    pub intent: Digest,
    /// Its stage.
    pub stage: Stage,
    /// Whether it may be pruned later.
    pub guard: Guard,
    /// The service that it belongs to.
    pub service: Option<String>,
    /// Time that it has to become healthy.
    pub deadline: Duration,
}

impl PlannedObject {
    /// Whether it is a Job: it runs once, and stays done.
    pub fn is_job(&self) -> bool {
        self.key.is("batch", "Job")
    }
}

/// Objects that are written together and must be healthy before the next wave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wave {
    /// The stage of all of them.
    pub stage: Stage,
    /// The objects, in order of their keys.
    pub objects: Vec<PlannedObject>,
}

/// A release made ready to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutPlan {
    /// The release.
    pub release: Digest,
    /// References of its images as nodes pull them, sorted.
    pub images: Vec<String>,
    /// Services with data, and how each is protected.
    #[expect(clippy::zero_sized_map_values, reason = "there is one way so far")]
    pub backups: BTreeMap<String, BackupKind>,
    /// The objects in order.
    pub waves: Vec<Wave>,
    /// Time that health must hold: the longest that a service asks for.
    pub soak: Duration,
}

/// Why a release cannot be planned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A document names no object.
    #[error("object {index} of release {release} has no usable name")]
    Key {
        /// The release.
        release: Digest,
        /// Place of the object in the release.
        index: usize,
        /// Why.
        source: KeyError,
    },
    /// Two documents name one object.
    #[error("release {release} holds {key} twice")]
    Twice {
        /// The release.
        release: Digest,
        /// The object.
        key: ObjectKey,
    },
    /// Services have no order.
    #[error("the services of release {release} have no order")]
    Order {
        /// The release.
        release: Digest,
        /// Why.
        source: OrderError,
    },
}

impl RolloutPlan {
    /// Plans a release: `objects` as they will be applied (images bound to the registry of the cluster), `services`
    /// by name, `images` as nodes pull them.
    pub fn new(
        release: Digest,
        objects: &[Value],
        services: &BTreeMap<String, ServiceRules>,
        images: impl IntoIterator<Item = String>,
    ) -> Result<Self, PlanError> {
        let needs = services.iter().map(|(name, rules)| (name.clone(), rules.needs.clone())).collect();
        let levels = levels(&needs).map_err(|source| PlanError::Order { release, source })?;
        let mut places: BTreeMap<(Place, ObjectKey), PlannedObject> = BTreeMap::new();
        let mut keys = BTreeSet::new();
        for (index, object) in objects.iter().enumerate() {
            let key = ObjectKey::of(object).map_err(|source| PlanError::Key { release, index, source })?;
            if !keys.insert(key.clone()) {
                return Err(PlanError::Twice { release, key });
            }
            let service = object.pointer("/metadata/labels").and_then(|labels| labels.get(SERVICE_LABEL));
            let service = service.and_then(Value::as_str).map(str::to_owned);
            let rules = service.as_ref().and_then(|name| services.get(name));
            let level = service.as_ref().and_then(|name| levels.get(name)).copied().unwrap_or(0);
            let planned = PlannedObject {
                intent: intent_digest(object),
                stage: Stage::of(&key),
                guard: Guard::of(&key, object),
                deadline: rules.map_or(DEFAULT_DEADLINE, |rules| rules.deadline),
                service,
                key: key.clone(),
            };
            places.insert((Place::of(&key, level), key), planned);
        }
        let mut waves: Vec<(Place, Wave)> = Vec::new();
        for ((place, _), object) in places {
            match waves.last_mut() {
                Some((last, wave)) if *last == place => wave.objects.push(object),
                _ => waves.push((place, Wave { stage: place.stage(), objects: vec![object] })),
            }
        }
        let images: BTreeSet<String> = images.into_iter().collect();
        let backups =
            services.iter().filter_map(|(name, rules)| Some((name.clone(), rules.backup?))).collect();
        Ok(Self {
            release,
            images: images.into_iter().collect(),
            backups,
            waves: waves.into_iter().map(|(_, wave)| wave).collect(),
            soak: services.values().map(|rules| rules.soak).max().unwrap_or(DEFAULT_SOAK),
        })
    }

    /// All objects in order.
    pub fn objects(&self) -> impl Iterator<Item = &PlannedObject> {
        self.waves.iter().flat_map(|wave| &wave.objects)
    }

    /// The keys of all objects.
    pub fn keys(&self) -> BTreeSet<ObjectKey> {
        self.objects().map(|object| object.key.clone()).collect()
    }

    /// The longest time that an object has to become healthy.
    pub fn longest_deadline(&self) -> Duration {
        self.objects().map(|object| object.deadline).max().unwrap_or(DEFAULT_DEADLINE)
    }
}
