//! The objects of one part in one environment.

use registry_wire::{Descriptor, Digest, MediaType};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    EnvironmentName, PartName, canonical,
    config::FORMAT_VERSION,
    names::{ENVIRONMENT_ANNOTATION, IMAGE_PLACEHOLDER_REGISTRY, OBJECTS, PART_ANNOTATION},
};

/// The document as it is written. The order of the fields is the order in which they are written.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    format_version: u32,
    environment: EnvironmentName,
    part: PartName,
    policy: Value,
    objects: Vec<Value>,
}

/// Kubernetes objects of one part in one environment, in the order in which they are applied, and the policy by which
/// the daemon rolls them out. Both are typed by the room that renders them.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectsDocument {
    /// The environment.
    pub environment: EnvironmentName,
    /// The part.
    pub part: PartName,
    /// How the daemon rolls the part out.
    pub policy: Value,
    /// The objects.
    pub objects: Vec<Value>,
}

/// Why bytes are not an objects document.
#[derive(Debug)]
pub(crate) enum DocumentFault {
    Json(serde_json::Error),
    FormatVersion(u32),
}

impl ObjectsDocument {
    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::write(&Document {
            format_version: FORMAT_VERSION,
            environment: self.environment.clone(),
            part: self.part.clone(),
            policy: canonical::sorted(self.policy.clone()),
            objects: self.objects.iter().cloned().map(canonical::sorted).collect(),
        })
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, DocumentFault> {
        let document: Document = serde_json::from_slice(bytes).map_err(DocumentFault::Json)?;
        if document.format_version != FORMAT_VERSION {
            return Err(DocumentFault::FormatVersion(document.format_version));
        }
        Ok(Self {
            environment: document.environment,
            part: document.part,
            policy: document.policy,
            objects: document.objects,
        })
    }

    pub(crate) fn layer(&self, bytes: &[u8]) -> Descriptor {
        Self::described(&self.environment, &self.part, Digest::of(bytes), bytes.len() as u64)
    }

    pub(crate) fn described(
        environment: &EnvironmentName,
        part: &PartName,
        digest: Digest,
        size: u64,
    ) -> Descriptor {
        Descriptor::new(OBJECTS, digest, size)
            .annotated(ENVIRONMENT_ANNOTATION, environment.as_str())
            .annotated(PART_ANNOTATION, part.as_str())
    }

    /// Every image that the objects name by placeholder, `bundle.invalid/NAME@sha256:…`. A text that starts like a
    /// placeholder and is none is returned as it stands.
    pub(crate) fn images(&self) -> Vec<Result<(PartName, Digest), String>> {
        let mut found = Vec::new();
        for object in &self.objects {
            collect_images(object, &mut found);
        }
        found
    }
}

fn collect_images(value: &Value, found: &mut Vec<Result<(PartName, Digest), String>>) {
    match value {
        Value::String(text) => {
            let Some(rest) =
                text.strip_prefix(IMAGE_PLACEHOLDER_REGISTRY).and_then(|rest| rest.strip_prefix('/'))
            else {
                return;
            };
            let image = rest
                .split_once('@')
                .and_then(|(name, digest)| Some((name.parse().ok()?, digest.parse().ok()?)))
                .ok_or_else(|| text.clone());
            found.push(image);
        }
        Value::Array(items) => items.iter().for_each(|item| collect_images(item, found)),
        Value::Object(members) => members.values().for_each(|member| collect_images(member, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Media type of an image that a release may list.
pub(crate) fn is_image_type(media_type: &MediaType) -> bool {
    [MediaType::IMAGE_MANIFEST, MediaType::IMAGE_INDEX].contains(media_type)
}
