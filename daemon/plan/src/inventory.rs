//! What a subscription has in the cluster.
//!
//! Superset first: the objects of a release join the inventory before the first of them is written, and an entry
//! leaves only after the object's absence was confirmed. So a crash at any point leaves no object that no inventory
//! knows.

use std::collections::{BTreeMap, BTreeSet};

use bundles_release::names::SUBSCRIPTION_LABEL;
use registry_wire::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    chunk::{self, Chunk, ChunkError},
    key::{ObjectKey, Uid},
    order::Stage,
    plan::{PlannedObject, RolloutPlan},
    prune::Guard,
};

/// One object of the inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// The object.
    pub key: ObjectKey,
    /// The life of the object that we wrote; none before the first write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<Uid>,
    /// Digest of what was written last; of what is to be written before that.
    pub intent: Digest,
    /// Generation after the write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// Resource version after the write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
    /// The stage in which it was written; prune goes backwards.
    pub stage: Stage,
    /// Whether it may be pruned.
    pub guard: Guard,
    /// A Job that ended well. It stays done when the cluster cleans it up.
    #[serde(default, skip_serializing_if = "is_false")]
    pub completed: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// What is known of one life of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// Identity of this life.
    pub uid: Uid,
    /// Generation, if the kind counts it.
    pub generation: Option<i64>,
    /// Resource version.
    pub resource_version: String,
}

impl Live {
    /// Reads the identity from an object of the API server; none if it has none.
    pub fn of(object: &Value) -> Option<Self> {
        let metadata = object.get("metadata")?;
        Some(Self {
            uid: metadata.get("uid")?.as_str()?.parse().ok()?,
            generation: metadata.get("generation").and_then(Value::as_i64),
            resource_version: metadata.get("resourceVersion")?.as_str()?.to_owned(),
        })
    }
}

/// The objects of a subscription.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    entries: BTreeMap<ObjectKey, Entry>,
}

/// Why stored pieces are no inventory.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// The pieces do not join.
    #[error("inventory {document} cannot be put together")]
    Chunks {
        /// Digest of the inventory.
        document: Digest,
        /// Why.
        source: ChunkError,
    },
    /// The document is no inventory.
    #[error("inventory {document} cannot be read")]
    Parse {
        /// Digest of the inventory.
        document: Digest,
        /// Why.
        source: serde_json::Error,
    },
    /// The inventory has no form in which it could be stored.
    #[error("the inventory of {objects} objects cannot be written")]
    Write {
        /// How many objects it has.
        objects: usize,
        /// Why.
        source: serde_json::Error,
    },
    /// One object stands twice.
    #[error("inventory {document} names {key} twice")]
    Twice {
        /// Digest of the inventory.
        document: Digest,
        /// The object.
        key: ObjectKey,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document<E> {
    format_version: FormatVersion,
    entries: Vec<E>,
}

#[derive(Serialize, Deserialize)]
enum FormatVersion {
    #[serde(rename = "1")]
    One,
}

impl Inventory {
    /// An inventory of these entries; of two for one object the last stays.
    pub fn new(entries: impl IntoIterator<Item = Entry>) -> Self {
        Self { entries: entries.into_iter().map(|entry| (entry.key.clone(), entry)).collect() }
    }

    /// The entries, in order of their keys.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// The entry of an object.
    pub fn get(&self, key: &ObjectKey) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether every object of the plan has an entry.
    pub fn covers(&self, plan: &RolloutPlan) -> bool {
        plan.objects().all(|object| self.entries.contains_key(&object.key))
    }

    /// This inventory together with the objects of the plan. Entries that exist stay as they are.
    #[must_use]
    pub fn superset(&self, plan: &RolloutPlan) -> Self {
        let mut entries = self.entries.clone();
        for object in plan.objects() {
            entries.entry(object.key.clone()).or_insert_with(|| Entry {
                key: object.key.clone(),
                uid: None,
                intent: object.intent,
                generation: None,
                resource_version: None,
                stage: object.stage,
                guard: object.guard,
                completed: false,
            });
        }
        Self { entries }
    }

    /// This inventory without objects whose absence was confirmed.
    #[must_use]
    pub fn without(&self, gone: &BTreeSet<ObjectKey>) -> Self {
        let kept = self.entries.iter().filter(|(key, _)| !gone.contains(key));
        Self { entries: kept.map(|(key, entry)| (key.clone(), entry.clone())).collect() }
    }

    /// Notes an object as written and seen; nothing changes if that was noted already.
    ///
    /// A new resource version alone is no news: controllers change status all the time, and a reconcile that finds
    /// everything in place must not write.
    pub fn note(&mut self, object: &PlannedObject, live: &Live, completed: bool) {
        let before = self.entries.get(&object.key).filter(|entry| entry.uid.as_ref() == Some(&live.uid));
        let completed = completed || before.is_some_and(|entry| entry.completed);
        let same = before.is_some_and(|entry| {
            entry.intent == object.intent && entry.guard == object.guard && entry.completed == completed
        });
        if same {
            return;
        }
        let entry = Entry {
            key: object.key.clone(),
            uid: Some(live.uid.clone()),
            intent: object.intent,
            generation: live.generation,
            resource_version: Some(live.resource_version.clone()),
            stage: object.stage,
            guard: object.guard,
            completed,
        };
        self.entries.insert(object.key.clone(), entry);
    }

    /// The bytes of the inventory; equal inventories have equal bytes.
    pub fn encode(&self) -> Result<Vec<u8>, InventoryError> {
        let document =
            Document { format_version: FormatVersion::One, entries: self.entries.values().collect() };
        serde_json::to_vec(&document)
            .map_err(|source| InventoryError::Write { objects: self.entries.len(), source })
    }

    /// Reads the bytes of an inventory.
    pub fn decode(bytes: &[u8]) -> Result<Self, InventoryError> {
        let document = Digest::of(bytes);
        let read: Document<Entry> =
            serde_json::from_slice(bytes).map_err(|source| InventoryError::Parse { document, source })?;
        let mut entries = BTreeMap::new();
        for entry in read.entries {
            let key = entry.key.clone();
            if entries.insert(key.clone(), entry).is_some() {
                return Err(InventoryError::Twice { document, key });
            }
        }
        Ok(Self { entries })
    }

    /// The inventory in pieces that each fit into one object, and the digest that names the whole.
    pub fn to_chunks(&self) -> Result<(Digest, Vec<Chunk>), InventoryError> {
        let bytes = self.encode()?;
        Ok((Digest::of(&bytes), chunk::split(&bytes, chunk::CHUNK_LIMIT)))
    }

    /// Puts the inventory `document` together from pieces.
    pub fn from_chunks(document: Digest, chunks: &[Chunk]) -> Result<Self, InventoryError> {
        let bytes =
            chunk::join(document, chunks).map_err(|source| InventoryError::Chunks { document, source })?;
        Self::decode(&bytes)
    }
}

/// To whom an object that is there already belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ownership {
    /// To this subscription.
    Own,
    /// To nobody: it may be adopted.
    Free,
    /// To another subscription: it must not be touched.
    Foreign {
        /// Name of the other subscription.
        subscription: String,
    },
}

/// Reads from its label to which subscription a live object belongs.
pub fn ownership(live: &Value, subscription: &str) -> Ownership {
    let label = live.pointer("/metadata/labels").and_then(|labels| labels.get(SUBSCRIPTION_LABEL));
    match label.and_then(Value::as_str) {
        None => Ownership::Free,
        Some(name) if name == subscription => Ownership::Own,
        Some(other) => Ownership::Foreign { subscription: other.to_owned() },
    }
}
