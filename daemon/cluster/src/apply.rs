//! Server-side apply, and what the API server answers.
//!
//! Every answer that has a meaning is an outcome; what is left is an error, and an error means that nobody knows
//! whether the object was written.

use bundles_release::names::FIELD_MANAGER;
use daemon_plan::ObjectKey;
use kube::{
    api::{Patch, PatchParams, ValidationDirective},
    core::Status,
};
use serde_json::Value;

use crate::{Cluster, ClusterError, Verb, error::status_of};

/// How to apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ApplyMode {
    /// Checks only; nothing is written.
    pub dry_run: bool,
    /// Takes fields over from other managers. Only after each conflict was decided.
    pub take_over: bool,
}

/// What became of an apply.
#[derive(Debug, Clone, PartialEq)]
pub enum ApplyOutcome {
    /// The object is as it was sent; this is how it is now.
    Applied(Value),
    /// The object is being deleted. The API server takes the write and then forgets it, so it does not count.
    Terminating(Value),
    /// Others own fields that were sent with another value; this is the answer, which [`daemon_plan::conflict`] reads.
    /// Nothing was written.
    Conflict(Value),
    /// The API server will not take the object as it is. Nothing was written.
    Refused {
        /// Why, as far as it matters.
        cause: RefusalCause,
        /// What the API server says.
        message: String,
    },
}

/// Why the API server does not take an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalCause {
    /// It is no valid object, or changes what cannot be changed.
    Invalid,
    /// The rights are missing, or an admission rule is against it.
    Forbidden,
    /// Its namespace is not there.
    NamespaceAbsent,
    /// Its namespace is being deleted.
    NamespaceTerminating,
    /// Its kind is not served.
    NotServed,
}

impl Cluster {
    /// Applies an object in one request. Repeating it changes nothing more.
    pub async fn apply(&self, object: &Value, mode: ApplyMode) -> Result<ApplyOutcome, ClusterError> {
        self.apply_as(object, FIELD_MANAGER, mode).await
    }

    pub(crate) async fn apply_as(
        &self,
        object: &Value,
        manager: &str,
        mode: ApplyMode,
    ) -> Result<ApplyOutcome, ClusterError> {
        let key = match ObjectKey::of(object) {
            Ok(key) => key,
            Err(error) => {
                return Ok(ApplyOutcome::Refused {
                    cause: RefusalCause::Invalid,
                    message: error.to_string(),
                });
            }
        };
        let shown = key.to_string();
        if !mode.dry_run {
            self.fence().check(&shown)?;
        }
        let api = match self.api_of(&key).await {
            Ok(api) => api,
            Err(error @ ClusterError::NotServed { .. }) => {
                return Ok(ApplyOutcome::Refused {
                    cause: RefusalCause::NotServed,
                    message: error.to_string(),
                });
            }
            Err(error) => return Err(error),
        };
        let parameters = PatchParams {
            dry_run: mode.dry_run,
            force: mode.take_over,
            field_manager: Some(manager.to_owned()),
            field_validation: Some(ValidationDirective::Strict),
        };
        let answer = api.patch(key.name(), &parameters, &Patch::Apply(object)).await;
        match answer {
            Ok(live) if live.metadata.deletion_timestamp.is_some() => {
                Ok(ApplyOutcome::Terminating(as_value(&shown, &live)?))
            }
            Ok(live) => Ok(ApplyOutcome::Applied(as_value(&shown, &live)?)),
            Err(error) => match status_of(&error).and_then(|status| classify(status, &key)) {
                Some(outcome) => Ok(outcome),
                None => Err(ClusterError::request(Verb::Apply, shown, error)),
            },
        }
    }
}

pub(crate) fn as_value<T: serde::Serialize>(object: &str, live: &T) -> Result<Value, ClusterError> {
    serde_json::to_value(live).map_err(|source| ClusterError::Form { object: object.to_owned(), source })
}

/// The meaning of an answer; none if it says nothing about the object.
fn classify(status: &Status, key: &ObjectKey) -> Option<ApplyOutcome> {
    let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
    let refused = |cause| Some(ApplyOutcome::Refused { cause, message: status.message.clone() });
    match status.code {
        409 => {
            // A conflict without causes is a stale resource version or a race: it says nothing about the object.
            let is_about_fields = causes.iter().any(|cause| cause.reason == "FieldManagerConflict");
            let answer = serde_json::to_value(status).ok()?;
            is_about_fields.then_some(ApplyOutcome::Conflict(answer))
        }
        400 | 422 => refused(RefusalCause::Invalid),
        403 if causes.iter().any(|cause| cause.reason == "NamespaceTerminating") => {
            refused(RefusalCause::NamespaceTerminating)
        }
        403 => refused(RefusalCause::Forbidden),
        404 if status.details.as_ref().is_some_and(|details| details.kind == "namespaces") => {
            refused(RefusalCause::NamespaceAbsent)
        }
        // An apply creates what is not there, so this is the namespace or the kind.
        404 if key.namespace().is_some() && status.message.contains("namespaces") => {
            refused(RefusalCause::NamespaceAbsent)
        }
        404 => refused(RefusalCause::NotServed),
        // Unknown fields and doubled list keys come as errors of the server, without a reason; repeating is no use.
        500 if status.message.contains("failed to create typed patch object") => {
            refused(RefusalCause::Invalid)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let key = ObjectKey::new("apps", "v1", "Deployment", Some("shop"), "api").unwrap();
        let cases = [
            (
                json!({"code": 409, "reason": "Conflict", "details": {"causes": [
                    {"reason": "FieldManagerConflict", "field": ".spec.replicas",
                     "message": "conflict with \"kubectl-scale\" using apps/v1"}]}}),
                "kubectl-scale .spec.replicas",
            ),
            (json!({"code": 409, "reason": "Conflict"}), "nothing"),
            (json!({"code": 422, "reason": "Invalid"}), "Invalid"),
            (json!({"code": 403, "reason": "Forbidden"}), "Forbidden"),
            (
                json!({"code": 403, "details": {"causes": [{"reason": "NamespaceTerminating"}]}}),
                "NamespaceTerminating",
            ),
            (
                json!({"code": 404, "reason": "NotFound", "details": {"kind": "namespaces", "name": "shop"}}),
                "NamespaceAbsent",
            ),
            (json!({"code": 404, "message": "404 page not found"}), "NotServed"),
            (json!({"code": 500, "message": "failed to create typed patch object (…)"}), "Invalid"),
            (json!({"code": 500, "message": "etcdserver: leader changed"}), "nothing"),
            (json!({"code": 429}), "nothing"),
            (json!({"code": 503}), "nothing"),
        ];
        for (answer, expected) in cases {
            let status: Status = serde_json::from_value(answer.clone()).unwrap();
            let found = match classify(&status, &key) {
                Some(ApplyOutcome::Conflict(answer)) => {
                    let conflicts = daemon_plan::conflict::parse(&answer).unwrap();
                    format!("{} {}", conflicts[0].manager, conflicts[0].field.as_str())
                }
                Some(ApplyOutcome::Refused { cause, .. }) => format!("{cause:?}"),
                Some(other) => format!("{other:?}"),
                None => "nothing".to_owned(),
            };
            assert_eq!(found, expected, "{answer}");
        }
    }
}
