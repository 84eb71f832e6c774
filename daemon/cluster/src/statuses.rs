//! The custom resources, read one by one and written by compare-and-swap.

use bundles_release::names::{API_GROUP, API_VERSION, RELEASE_ANNOTATION, SUBSCRIPTION_LABEL};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
};
use registry_wire::Digest;
use serde_json::Value;

use crate::{
    Cluster, ClusterError, Release, ReleaseObjectSpec, Subscription, Verb, error::status_of,
    release::release_object_names,
};

/// The manager of fields that people set through our commands.
const COMMAND_MANAGER: &str = "bundle-command";

impl Cluster {
    /// All subscriptions; one that cannot be read does not hide the others.
    pub async fn subscriptions(&self) -> Result<Vec<Result<Subscription, ClusterError>>, ClusterError> {
        let objects = self.list(API_GROUP, API_VERSION, "Subscription", Some(self.home()), None).await?;
        let read = |value: Value| {
            let name = value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            let object = format!("subscription {name}");
            serde_json::from_value(value).map_err(|source| ClusterError::Form { object, source })
        };
        Ok(objects.into_iter().map(read).collect())
    }

    /// One subscription.
    pub async fn subscription(&self, name: &str) -> Result<Option<Subscription>, ClusterError> {
        match self.own::<Subscription>().get(name).await {
            Ok(found) => Ok(Some(found)),
            Err(source) => match status_of(&source) {
                // Whoever does not serve the kind answers 404 as well, but does not say of what.
                Some(status) if status.code == 404 && status.reason == "NotFound" => Ok(None),
                Some(status) if status.code == 404 => Err(ClusterError::NotServed {
                    api_version: format!("{API_GROUP}/{API_VERSION}"),
                    kind: "Subscription".to_owned(),
                }),
                _ => Err(ClusterError::request(Verb::Get, format!("subscription {name}"), source)),
            },
        }
    }

    /// Replaces the status of a subscription as it was read.
    pub async fn replace_subscription_status(
        &self,
        changed: &Subscription,
    ) -> Result<Subscription, ClusterError> {
        let name = changed.name_any();
        let object = format!("the status of subscription {name}");
        self.fence().check(&object)?;
        let answer = self.own::<Subscription>().replace_status(&name, &PostParams::default(), changed).await;
        answer.map_err(|source| stale_or(Verb::Replace, object, source))
    }

    /// Changes members of a subscription's `spec` (JSON merge patch); none if there is no such subscription.
    pub async fn change_subscription(
        &self,
        name: &str,
        spec: Value,
    ) -> Result<Option<Subscription>, ClusterError> {
        let parameters =
            PatchParams { field_manager: Some(COMMAND_MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(serde_json::json!({ "spec": spec }));
        match self.own::<Subscription>().patch(name, &parameters, &patch).await {
            Ok(changed) => Ok(Some(changed)),
            Err(error) if status_of(&error).is_some_and(|status| status.code == 404) => Ok(None),
            Err(source) => Err(ClusterError::request(Verb::Apply, format!("subscription {name}"), source)),
        }
    }

    /// The releases of a subscription, in the order of their attempts.
    pub async fn releases(&self, subscription: &str) -> Result<Vec<Release>, ClusterError> {
        let parameters = ListParams::default().labels(&format!("{SUBSCRIPTION_LABEL}={subscription}"));
        let list = self.own::<Release>().list(&parameters).await.map_err(|source| {
            ClusterError::request(Verb::List, format!("releases of {subscription}"), source)
        })?;
        let mut releases = list.items;
        releases.sort_by_key(|release| release.status.as_ref().map_or(0, |status| status.sequence));
        Ok(releases)
    }

    /// The highest epoch that a journal was ever stored with; 0 before the first.
    pub(crate) async fn highest_epoch(&self) -> Result<u64, ClusterError> {
        let releases = match self.list(API_GROUP, API_VERSION, "Release", Some(self.home()), None).await {
            // What the API server does not serve, it does not store.
            Err(ClusterError::NotServed { .. }) => Vec::new(),
            releases => releases?,
        };
        let epochs = releases.iter().filter_map(|release| release.pointer("/status/epoch")?.as_u64());
        Ok(epochs.max().unwrap_or(0))
    }

    /// The object of a release, made if it is not there. That of another release is never taken for it, however alike
    /// their names are.
    pub async fn ensure_release(
        &self,
        subscription: &Subscription,
        digest: Digest,
    ) -> Result<Release, ClusterError> {
        let api = self.own::<Release>();
        let mut free = None;
        for name in release_object_names(&subscription.name_any(), &digest) {
            let found = api.get_opt(name.as_str()).await;
            match found
                .map_err(|source| ClusterError::request(Verb::Get, format!("release {name}"), source))?
            {
                Some(found) if found.spec.digest == digest => return Ok(found),
                Some(_) => {}
                None => free = free.or(Some(name)),
            }
        }
        let name = free.ok_or(ClusterError::NamesTaken { release: digest })?;
        let object = format!("release {name}");
        self.fence().check(&object)?;
        let release = Release {
            metadata: ObjectMeta {
                name: Some(name.to_string()),
                labels: Some([(SUBSCRIPTION_LABEL.to_owned(), subscription.name_any())].into()),
                annotations: Some([(RELEASE_ANNOTATION.to_owned(), digest.to_string())].into()),
                owner_references: subscription.owner_ref(&()).map(|owner| vec![owner]),
                ..ObjectMeta::default()
            },
            spec: ReleaseObjectSpec { subscription: subscription.name_any(), digest },
            status: None,
        };
        let created = api.create(&PostParams::default(), &release).await;
        created.map_err(|source| stale_or(Verb::Create, object, source))
    }

    /// Replaces the status of a release as it was read.
    pub async fn replace_release_status(&self, changed: &Release) -> Result<Release, ClusterError> {
        let name = changed.name_any();
        let object = format!("the status of release {name}");
        self.fence().check(&object)?;
        let answer = self.own::<Release>().replace_status(&name, &PostParams::default(), changed).await;
        answer.map_err(|source| stale_or(Verb::Replace, object, source))
    }

    /// Forgets a release: its object, and with it its documents. What runs is not touched.
    pub async fn forget_release(&self, release: &Release) -> Result<(), ClusterError> {
        let name = release.name_any();
        let object = format!("release {name}");
        self.fence().check(&object)?;
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                uid: release.uid(),
                resource_version: release.resource_version(),
            }),
            ..DeleteParams::default()
        };
        match self.own::<Release>().delete(&name, &parameters).await {
            Ok(_) => Ok(()),
            Err(error) if status_of(&error).is_some_and(|status| matches!(status.code, 404 | 409)) => Ok(()),
            Err(source) => Err(ClusterError::request(Verb::Delete, object, source)),
        }
    }
}

fn stale_or(verb: Verb, object: String, source: kube::Error) -> ClusterError {
    if status_of(&source).is_some_and(|status| matches!(status.code, 404 | 409)) {
        ClusterError::Stale { object }
    } else {
        ClusterError::request(verb, object, source)
    }
}
