//! What may be deleted, and what never.

use std::collections::BTreeSet;

use bundles_release::names::PRUNE_ANNOTATION;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    inventory::{Entry, Inventory},
    key::{ObjectKey, Uid},
};

/// Whether an object may be pruned when no release wants it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guard {
    /// It may be pruned.
    Free,
    /// It holds or defines data, or says that it must stay: a person deletes it, and it leaves the inventory then.
    Confirm,
    /// Never: a namespace takes everything in it along, also what is not ours.
    Never,
}

impl Guard {
    /// The guard of an object as it is intended.
    pub fn of(key: &ObjectKey, object: &Value) -> Self {
        let keeps = object.pointer("/metadata/annotations").and_then(|all| all.get(PRUNE_ANNOTATION));
        let by_kind = match (key.group(), key.kind()) {
            ("", "Namespace") => Self::Never,
            ("", "PersistentVolumeClaim" | "PersistentVolume")
            | ("apiextensions.k8s.io", "CustomResourceDefinition") => Self::Confirm,
            ("apps", "StatefulSet") => match object.pointer("/spec/volumeClaimTemplates") {
                Some(Value::Array(templates)) if templates.is_empty() => Self::Free,
                Some(Value::Array(_)) => Self::Confirm,
                _ => statefulset_volumes(object),
            },
            _ => Self::Free,
        };
        let by_annotation =
            if keeps.and_then(Value::as_str) == Some("disabled") { Self::Confirm } else { Self::Free };
        by_kind.max(by_annotation)
    }
}

/// A set without claim templates holds data when its pods mount claims.
fn statefulset_volumes(object: &Value) -> Guard {
    let volumes = object.pointer("/spec/template/spec/volumes").and_then(Value::as_array);
    let mounts =
        |volume: &Value| ["persistentVolumeClaim", "hostPath"].iter().any(|kind| volume.get(kind).is_some());
    if volumes.is_some_and(|volumes| volumes.iter().any(mounts)) { Guard::Confirm } else { Guard::Free }
}

/// An object that is to be deleted, with the preconditions of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doomed {
    /// The object.
    pub key: ObjectKey,
    /// It is deleted only if it still is this one.
    pub uid: Uid,
    /// It is deleted only if nobody changed it since it was seen.
    pub resource_version: String,
}

/// Entries that no wanted object accounts for, in the order of deletion: the reverse of apply.
///
/// An entry whose UID is that of a wanted object is the same object under another group and no candidate.
pub fn prune_candidates<'a>(inventory: &'a Inventory, wanted: &BTreeSet<ObjectKey>) -> Vec<&'a Entry> {
    let wanted_uids: BTreeSet<&Uid> = inventory
        .entries()
        .filter(|entry| wanted.contains(&entry.key))
        .filter_map(|entry| entry.uid.as_ref())
        .collect();
    let mut candidates: Vec<&Entry> = inventory
        .entries()
        .filter(|entry| !wanted.contains(&entry.key))
        .filter(|entry| entry.uid.as_ref().is_none_or(|uid| !wanted_uids.contains(uid)))
        .collect();
    candidates.sort_by(|one, two| (two.stage, &two.key).cmp(&(one.stage, &one.key)));
    candidates
}

/// Entries that name a wanted object under another group: they leave the inventory without a deletion.
pub fn renamed(inventory: &Inventory, wanted: &BTreeSet<ObjectKey>) -> BTreeSet<ObjectKey> {
    let candidates: BTreeSet<&ObjectKey> =
        prune_candidates(inventory, wanted).into_iter().map(|entry| &entry.key).collect();
    inventory
        .entries()
        .map(|entry| &entry.key)
        .filter(|key| !wanted.contains(*key) && !candidates.contains(key))
        .cloned()
        .collect()
}

/// Entries that no wanted object accounts for and that are there to stay until a person deletes them.
pub fn left_to_people<'a>(inventory: &'a Inventory, wanted: &BTreeSet<ObjectKey>) -> Vec<&'a Entry> {
    let mut candidates = prune_candidates(inventory, wanted);
    candidates.retain(|entry| entry.guard != Guard::Free && entry.uid.is_some());
    candidates
}

/// How many objects one release may prune without a person's word: a fifth of the inventory, and ten in any case.
pub fn prune_limit(inventory: &Inventory) -> usize {
    (inventory.len() / 5).max(10)
}
