//! Conflicts of server-side apply: who may keep a field, whom we take it from, and when we stop.
//!
//! Nothing is forced blindly. First the fields of controllers with a right to them leave the intent; what remains
//! must be all from appliers that we replace. Only then is the apply repeated with force.

use serde_json::Value;

use crate::field::{FieldPath, list, text};

/// One field that another manager owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The other manager.
    pub manager: String,
    /// The subresource through which it wrote.
    pub subresource: Option<String>,
    /// The field.
    pub field: FieldPath,
}

/// What is done about one conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ruling {
    /// The field becomes ours: the other is a person's or a former applier's tool.
    TakeOver,
    /// The field leaves our intent: the other is a controller with a right to it.
    LeaveField,
    /// Nobody knows why the other owns the field.
    Stop,
}

/// Who sets the number of replicas of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scaling {
    /// An autoscaler that is there: the number is its own.
    Autoscaled,
    /// The release. What an autoscaler that has gone set last is nobody's any more.
    Fixed,
}

/// What is done about all conflicts of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Apply again.
    Resolve {
        /// Fields to drop from the intent first.
        leave: Vec<FieldPath>,
        /// Whether to force: there are fields to take over.
        force: bool,
    },
    /// The answer named no field: the object changed under us, and the same request may pass.
    Retry,
    /// Write nothing; these are not decided.
    Stop {
        /// The conflicts that nobody may decide.
        conflicts: Vec<Conflict>,
    },
}

/// Why an answer of the API server is no conflict that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConflictError {
    /// It is another answer.
    #[error("the answer `{reason}` of the API server is no conflict")]
    Other {
        /// Its reason.
        reason: String,
    },
    /// A cause cannot be read.
    #[error("the conflict at `{field}` cannot be read: {message}")]
    Cause {
        /// The field that it names.
        field: String,
        /// Its message.
        message: String,
    },
}

/// Whether a conflict is one with a controller that sets the number of replicas, so that [`Scaling`] decides it.
pub fn is_about_scaling(conflict: &Conflict) -> bool {
    conflict.field.as_str() == ".spec.replicas" && is_one_of(&conflict.manager, &SCALERS)
}

/// Decides about the conflicts in a `Status` with code 409.
pub fn decide(answer: &Value, scaling: Scaling) -> Result<Decision, ConflictError> {
    let conflicts = parse(answer)?;
    if conflicts.is_empty() {
        return Ok(Decision::Retry);
    }
    let mut leave = Vec::new();
    let mut force = false;
    let mut undecided = Vec::new();
    for conflict in conflicts {
        match rule(&conflict, scaling) {
            Ruling::TakeOver => force = true,
            Ruling::LeaveField => leave.push(conflict.field),
            Ruling::Stop => undecided.push(conflict),
        }
    }
    if undecided.is_empty() {
        return Ok(Decision::Resolve { leave, force });
    }
    Ok(Decision::Stop { conflicts: undecided })
}

/// Reads the conflicts of a `Status`.
pub fn parse(answer: &Value) -> Result<Vec<Conflict>, ConflictError> {
    if text(answer, "/reason") != "Conflict" {
        return Err(ConflictError::Other { reason: text(answer, "/reason").to_owned() });
    }
    list(answer, "/details/causes")
        .iter()
        .filter(|cause| text(cause, "/reason") == "FieldManagerConflict")
        .map(|cause| {
            let (field, message) = (text(cause, "/field"), text(cause, "/message"));
            let wrong = || ConflictError::Cause { field: field.to_owned(), message: message.to_owned() };
            let rest = message.strip_prefix("conflict with ").ok_or_else(wrong)?;
            let (manager, rest) = quoted(rest).ok_or_else(wrong)?;
            let subresource = rest.strip_prefix(" with subresource ").and_then(quoted).map(|(name, _)| name);
            Ok(Conflict { manager, subresource, field: field.parse().map_err(|_| wrong())? })
        })
        .collect()
}

/// Reads one quoted text at the beginning.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<String>();
    let value = stream.next()?.ok()?;
    Some((value, &text[stream.byte_offset()..]))
}

/// Rules about one conflict.
pub fn rule(conflict: &Conflict, scaling: Scaling) -> Ruling {
    let Conflict { manager, field, .. } = conflict;
    if is_about_scaling(conflict) {
        match scaling {
            Scaling::Autoscaled => Ruling::LeaveField,
            Scaling::Fixed => Ruling::TakeOver,
        }
    } else if has_right(manager, field.as_str()) {
        Ruling::LeaveField
    } else if is_applier(manager) {
        Ruling::TakeOver
    } else {
        Ruling::Stop
    }
}

/// Tools of people and of delivery that we replace. What they set is repaired.
fn is_applier(manager: &str) -> bool {
    let is =
        |name: &str| manager == name || manager.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'));
    [
        "kubectl",
        "helm",
        "Helm",
        "argocd",
        "kustomize",
        "flux",
        "kapp",
        "k9s",
        "Terraform",
        "pulumi",
        "pulumi-kubernetes",
    ]
    .into_iter()
    .any(is)
        || matches!(manager, "before-first-apply" | "kustomize-controller" | "helm-controller" | "fleetagent")
}

/// Controllers that set the number of replicas for an autoscaler.
const SCALERS: [&str; 3] = ["kube-controller-manager", "horizontal-pod-autoscaler", "keda"];

/// Controllers that must be able to set a field for what they are there for.
fn has_right(manager: &str, field: &str) -> bool {
    let resources = field.contains(".resources.") || field.ends_with(".resources");
    let bundle = field.ends_with(".caBundle");
    let routes = field.contains(".backendRefs") || field.starts_with(".spec.selector");
    resources && is_one_of(manager, &["vpa"])
        || bundle
            && is_one_of(
                manager,
                &["cainjector", "cert-manager", "cert-manager-cainjector", "service-ca-operator"],
            )
        || routes && is_one_of(manager, &["rollouts-controller", "flagger"])
}

/// Whether a manager is one of these or a part of one.
fn is_one_of(manager: &str, names: &[&str]) -> bool {
    names.iter().any(|name| manager == *name || manager.starts_with(&format!("{name}-")))
}
