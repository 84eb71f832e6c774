//! Binding: what only the cluster knows enters the objects of a release.

use bundles_release::names::SUBSCRIPTION_LABEL;
use registry_wire::{RegistryAddress, RepositoryName};
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

/// Sets registry, namespace and labels. Nothing is changed when one object is refused.
///
/// Nothing of the release itself enters its objects: one that two releases share is the same object in both, so that
/// the second release need not write it.
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
    })
}

/// The object at `key`, made when it is not there.
#[allow(clippy::expect_used, reason = "the member was made an object in the line before")]
fn member<'a>(value: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    if !value[key].is_object() {
        value[key] = json!({});
    }
    value[key].as_object_mut().expect("an object")
}
