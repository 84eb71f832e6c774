//! Binding: what only the cluster knows enters the objects of a release.

use std::convert::Infallible;

use bundles_release::names::{INTENT_ANNOTATION, RELEASE_ANNOTATION, SUBSCRIPTION_LABEL};
use registry_wire::{Digest, RegistryAddress, RepositoryName};
use serde_json::{Map, Value, json};

use crate::{NamespaceName, Object, PlacedImage, SubscriptionName, object::containers_mut};

/// Where the nodes of a cluster pull the images of a release from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryMap {
    /// The registry as the nodes see it.
    pub registry: RegistryAddress,
    /// The repository that holds one repository for each image: `PREFIX/api`.
    pub prefix: RepositoryName,
}

impl RegistryMap {
    /// The full name of an image for the nodes.
    pub fn image(&self, image: &PlacedImage) -> String {
        format!("{}/{}/{}@{}", self.registry, self.prefix, image.name, image.digest)
    }
}

/// What only the cluster knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// Where images come from.
    pub registry: RegistryMap,
    /// The namespace that the objects live in.
    pub namespace: NamespaceName,
    /// The subscription that they belong to.
    pub subscription: SubscriptionName,
    /// The release that they come from.
    pub release: Digest,
}

/// Objects that cannot be bound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// An image that is not named by placeholder and digest, so that nobody signed it.
    #[error("{object} names image `{image}`, a placeholder with a digest is expected")]
    Image {
        /// The object.
        object: String,
        /// What it names.
        image: String,
    },
}

/// Sets registry, namespace, labels and annotations. Nothing is changed when one object is refused.
pub fn bind(objects: &mut [Object], binding: &Binding) -> Result<(), BindError> {
    let mut bound = objects.to_vec();
    for object in &mut bound {
        bind_object(object, binding)?;
    }
    objects.clone_from_slice(&bound);
    Ok(())
}

fn bind_object(object: &mut Object, binding: &Binding) -> Result<(), BindError> {
    let shown = object.to_string();
    object.change(|value| {
        for container in containers_mut(value) {
            let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
            let placed = PlacedImage::from_placeholder(image)
                .ok_or_else(|| BindError::Image { object: shown.clone(), image: image.to_owned() })?;
            container["image"] = json!(binding.registry.image(&placed));
        }
        let metadata = &mut value["metadata"];
        metadata["namespace"] = json!(binding.namespace);
        let labels = member(metadata, "labels");
        labels.insert(SUBSCRIPTION_LABEL.to_owned(), json!(binding.subscription));
        labels.insert("app.kubernetes.io/instance".to_owned(), json!(binding.subscription));
        Ok(())
    })?;
    let intent = object.intent_digest();
    let Ok(()) = object.change(|value| {
        let annotations = member(&mut value["metadata"], "annotations");
        annotations.insert(RELEASE_ANNOTATION.to_owned(), json!(binding.release));
        annotations.insert(INTENT_ANNOTATION.to_owned(), json!(intent));
        Ok::<(), Infallible>(())
    });
    Ok(())
}

/// The object at `key`, made when it is not there.
#[allow(clippy::expect_used, reason = "the member was made an object in the line before")]
fn member<'a>(value: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    if !value[key].is_object() {
        value[key] = json!({});
    }
    value[key].as_object_mut().expect("an object")
}
