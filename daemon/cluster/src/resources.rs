//! How the API server serves kinds: learned once a kind, by one request.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use daemon_plan::ObjectKey;
use kube::{
    Api,
    core::{DynamicObject, GroupVersionKind},
    discovery::{ApiResource, Scope, pinned_kind},
};

use crate::{Cluster, ClusterError, Verb, error::status_of};

type Kind = (String, String, String);

#[derive(Clone, Default)]
pub(crate) struct Resources(Arc<Mutex<HashMap<Kind, (ApiResource, bool)>>>);

impl Cluster {
    /// The way to objects of the key's kind, in the key's namespace.
    pub(crate) async fn api_of(&self, key: &ObjectKey) -> Result<Api<DynamicObject>, ClusterError> {
        let (resource, namespaced) = self.resource(key.group(), key.version(), key.kind()).await?;
        Ok(match (namespaced, key.namespace()) {
            (true, Some(namespace)) => Api::namespaced_with(self.client().clone(), namespace, &resource),
            (true, None) => {
                Api::namespaced_with(self.client().clone(), self.client().default_namespace(), &resource)
            }
            (false, _) => Api::all_with(self.client().clone(), &resource),
        })
    }

    /// How a kind is served, and whether its objects live in namespaces.
    pub(crate) async fn resource(
        &self,
        group: &str,
        version: &str,
        kind: &str,
    ) -> Result<(ApiResource, bool), ClusterError> {
        let name: Kind = (group.to_owned(), version.to_owned(), kind.to_owned());
        let known = self.resources().0.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let wanted = GroupVersionKind::gvk(group, version, kind);
        let found = match pinned_kind(self.client(), &wanted).await {
            Ok((resource, capabilities)) => (resource, capabilities.scope == Scope::Namespaced),
            Err(source) if is_not_served(&source) => {
                return Err(ClusterError::NotServed {
                    api_version: wanted.api_version(),
                    kind: kind.to_owned(),
                });
            }
            Err(source) => {
                return Err(ClusterError::request(
                    Verb::Get,
                    format!("the kinds of {}", wanted.api_version()),
                    source,
                ));
            }
        };
        // What is not served is not remembered: it may be served a moment later.
        self.resources().0.lock().unwrap_or_else(PoisonError::into_inner).insert(name, found.clone());
        Ok(found)
    }
}

fn is_not_served(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Discovery(_)) || status_of(error).is_some_and(|status| status.code == 404)
}
