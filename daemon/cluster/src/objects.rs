//! Reading and deleting objects of any kind.

use daemon_plan::{ObjectKey, key::Uid, prune::Doomed};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Preconditions, PropagationPolicy},
    core::DynamicObject,
};
use serde_json::Value;

use crate::{Cluster, ClusterError, Verb, apply::as_value, error::status_of};

/// How many objects one page of a list has.
const PAGE: u32 = 500;

/// Whether an object is there.
#[derive(Debug, Clone, PartialEq)]
pub enum Present {
    /// The API server answered that it is not.
    Absent,
    /// It is.
    Present(Value),
}

/// What became of a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteOutcome {
    /// It is gone, or will be once its finalizers have run.
    Accepted,
    /// It was gone already.
    Absent,
    /// It is another life of the object, or somebody changed it since. Nothing was deleted.
    Changed,
    /// It may not be deleted.
    Forbidden,
}

impl Cluster {
    /// Reads one object. A kind that is not served has no objects.
    pub async fn get(&self, key: &ObjectKey) -> Result<Present, ClusterError> {
        let api = match self.api_of(key).await {
            Ok(api) => api,
            Err(ClusterError::NotServed { .. }) => return Ok(Present::Absent),
            Err(error) => return Err(error),
        };
        match api.get_opt(key.name()).await {
            Ok(None) => Ok(Present::Absent),
            Ok(Some(live)) => Ok(Present::Present(as_value(&key.to_string(), &live)?)),
            Err(error) => Err(ClusterError::request(Verb::Get, key.to_string(), error)),
        }
    }

    /// Reads all objects of a kind with these labels: all or an error, never a part.
    pub async fn list(
        &self,
        group: &str,
        version: &str,
        kind: &str,
        namespace: Option<&str>,
        labels: Option<&str>,
    ) -> Result<Vec<Value>, ClusterError> {
        let (resource, namespaced) = self.resource(group, version, kind).await?;
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) if namespaced => {
                Api::namespaced_with(self.client().clone(), namespace, &resource)
            }
            _ => Api::all_with(self.client().clone(), &resource),
        };
        let mut parameters = ListParams {
            limit: Some(PAGE),
            label_selector: labels.map(str::to_owned),
            ..ListParams::default()
        };
        let mut all = Vec::new();
        loop {
            let page = api.list(&parameters).await.map_err(|source| {
                ClusterError::request(Verb::List, format!("objects of kind {kind}"), source)
            })?;
            for mut object in page.items {
                // A list leaves these out of its items.
                object.types.get_or_insert_with(|| kube::core::TypeMeta {
                    api_version: resource.api_version.clone(),
                    kind: resource.kind.clone(),
                });
                all.push(as_value(kind, &object)?);
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters.continue_token = Some(token),
                None => return Ok(all),
            }
        }
    }

    /// Deletes an object if it still is the one that was seen.
    pub async fn delete(&self, doomed: &Doomed) -> Result<DeleteOutcome, ClusterError> {
        self.delete_if(&doomed.key, &doomed.uid, Some(&doomed.resource_version)).await
    }

    /// Deletes one life of an object, whatever its state.
    pub async fn delete_life(&self, key: &ObjectKey, uid: &Uid) -> Result<DeleteOutcome, ClusterError> {
        self.delete_if(key, uid, None).await
    }

    async fn delete_if(
        &self,
        key: &ObjectKey,
        uid: &Uid,
        resource_version: Option<&str>,
    ) -> Result<DeleteOutcome, ClusterError> {
        self.fence().check(&key.to_string())?;
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(uid.to_string()),
                resource_version: resource_version.map(str::to_owned),
            }),
            propagation_policy: Some(PropagationPolicy::Background),
            ..DeleteParams::default()
        };
        match self.api_of(key).await?.delete(key.name(), &parameters).await {
            Ok(_) => Ok(DeleteOutcome::Accepted),
            Err(error) => match status_of(&error).map(|status| status.code) {
                Some(404) => Ok(DeleteOutcome::Absent),
                Some(409) => Ok(DeleteOutcome::Changed),
                Some(403) => Ok(DeleteOutcome::Forbidden),
                _ => Err(ClusterError::request(Verb::Delete, key.to_string(), error)),
            },
        }
    }
}
