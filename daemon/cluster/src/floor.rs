//! What may never be forgotten: the trust floor, in a `ConfigMap` that no subscription owns. Who deletes a subscription
//! and makes it again does not get to replay an old record.

use std::collections::BTreeMap;

use bundles_release::names::SUBSCRIPTION_LABEL;
use daemon_plan::names::ShortName;
use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::api::PostParams;

use crate::{Cluster, ClusterError, Verb, error::status_of};

/// The stored floor of a subscription. The texts are the trust room's; here they are only kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredFloor {
    /// The texts by name; empty before the first write.
    pub texts: BTreeMap<String, String>,
    resource_version: Option<String>,
}

/// Name of the `ConfigMap` that holds the floor of a subscription.
pub fn floor_name(subscription: &str) -> ShortName {
    ShortName::of(&["trust-floor", subscription])
}

impl Cluster {
    /// Reads the floor of a subscription.
    pub async fn read_floor(&self, subscription: &str) -> Result<StoredFloor, ClusterError> {
        let name = floor_name(subscription);
        let found = self
            .own::<ConfigMap>()
            .get_opt(name.as_str())
            .await
            .map_err(|source| ClusterError::request(Verb::Get, format!("trust floor {name}"), source))?;
        Ok(found.map_or_else(StoredFloor::default, |map| StoredFloor {
            texts: map.data.unwrap_or_default(),
            resource_version: map.metadata.resource_version,
        }))
    }

    /// Replaces the floor that was read. Fails when another writer was faster.
    pub async fn write_floor(
        &self,
        subscription: &str,
        read: &StoredFloor,
        texts: BTreeMap<String, String>,
    ) -> Result<StoredFloor, ClusterError> {
        let name = floor_name(subscription);
        let object = format!("trust floor {name}");
        self.fence().check(&object)?;
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.to_string()),
                resource_version: read.resource_version.clone(),
                labels: Some(BTreeMap::from([(SUBSCRIPTION_LABEL.to_owned(), subscription.to_owned())])),
                ..ObjectMeta::default()
            },
            data: Some(texts),
            ..ConfigMap::default()
        };
        let api = self.own::<ConfigMap>();
        let written = if read.resource_version.is_some() {
            api.replace(name.as_str(), &PostParams::default(), &map).await
        } else {
            api.create(&PostParams::default(), &map).await
        };
        match written {
            Ok(map) => Ok(StoredFloor {
                texts: map.data.unwrap_or_default(),
                resource_version: map.metadata.resource_version,
            }),
            Err(error) if status_of(&error).is_some_and(|status| matches!(status.code, 404 | 409)) => {
                Err(ClusterError::Stale { object })
            }
            Err(source) => Err(ClusterError::request(Verb::Replace, object, source)),
        }
    }
}
